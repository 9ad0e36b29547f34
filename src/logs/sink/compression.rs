//! Whether bodies go out as gzip: where that pays, and for as long as the endpoint takes it. AWS does, without saying so
//! anywhere; what stands in for AWS may not. Not the sending, nor whether it is wanted: that is a setting.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use flate2::write::GzEncoder;
use tokio::sync::Semaphore;

use super::{Failure, Kind};
use crate::fault::Warning;

/// A smaller body saves less than a packet.
const SMALLEST: usize = 1024;

/// A body that does not become this many times smaller is sent as it is: log lines become ten times smaller, and what is
/// counted as memory for packed bodies relies on it.
pub(crate) const LEAST_GAIN: usize = 2;

/// Bodies that are packed at the same time: each takes a third of a megabyte beside its result.
const AT_ONCE: usize = 2;

/// After a refusal, bodies go out plain for so long: proxies and stand-ins are replaced, if rarely.
const TRIED_AGAIN_AFTER: Duration = Duration::from_hours(1);

/// What is known of the endpoint.
#[derive(Debug, Default, PartialEq, Eq)]
enum Standing {
    /// Nothing yet.
    #[default]
    Untried,
    /// It took a packed body.
    Taken,
    /// It refused one and took the same one plain.
    Refused {
        /// When to try again, by the boot-time clock.
        until: Duration,
        /// What it said.
        reason: String,
    },
}

/// Packs bodies for one endpoint; clones share what is known of it.
#[derive(Clone, Debug)]
pub(super) struct Compression {
    standing: Arc<Mutex<Standing>>,
    turns: Arc<Semaphore>,
}

impl Compression {
    pub(super) fn new() -> Self {
        Self { standing: Arc::default(), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// The body as gzip, if that pays and the endpoint may take it.
    pub(super) async fn pack(&self, body: &Bytes, now: Duration) -> Option<Bytes> {
        if body.len() < SMALLEST || !self.is_worth_trying(now) {
            return None;
        }
        let _turn = self.turns.acquire().await.ok()?;
        let body = body.clone();
        tokio::task::spawn_blocking(move || pack(&body)).await.ok().flatten()
    }

    fn is_worth_trying(&self, now: Duration) -> bool {
        match &*self.standing() {
            Standing::Refused { until, .. } => now >= *until,
            Standing::Untried | Standing::Taken => true,
        }
    }

    /// The endpoint took a packed body.
    pub(super) fn taken(&self) {
        *self.standing() = Standing::Taken;
    }

    /// Whether the answer to a packed body may be about the packing. Once the endpoint has taken one, "invalid" is about
    /// the events, and a fault is one; before, it may have fallen over bytes that it can't read.
    pub(super) fn may_be_why(&self, failure: &Failure) -> bool {
        match failure.kind {
            Kind::Refused => true,
            Kind::InvalidEvents | Kind::Unavailable => *self.standing() != Standing::Taken,
            _ => false,
        }
    }

    /// Whether the packing was why, since the same body got this answer plain. An endpoint that has a fault may have
    /// another one a moment later.
    pub(super) fn was_why(packed: &Failure, plain: Option<&Failure>) -> bool {
        plain.is_none_or(|plain| match packed.kind {
            Kind::Unavailable => matches!(plain.kind, Kind::NotFound | Kind::GroupNotFound),
            kind => plain.kind != kind,
        })
    }

    /// The endpoint took plain what it had refused packed.
    pub(super) fn refused(&self, failure: &Failure, now: Duration) {
        let mut standing = self.standing();
        if !matches!(*standing, Standing::Refused { .. }) {
            tracing::warn!(error = %failure, "the endpoint refuses gzip, bodies are sent plain");
        }
        *standing = Standing::Refused { until: now + TRIED_AGAIN_AFTER, reason: failure.message.clone() };
    }

    /// What a person should know.
    pub(super) fn warning(&self) -> Option<Warning> {
        let Standing::Refused { reason, .. } = &*self.standing() else { return None };
        Some(Warning {
            code: "gzip_refused".to_owned(),
            message: format!("the endpoint refuses gzip, so bodies are sent plain: {reason}"),
            hint: Some("set compression = \"none\" in [logs], or see what stands between here and AWS".to_owned()),
        })
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `body` as gzip; `None` when it gains too little.
fn pack(body: &[u8]) -> Option<Bytes> {
    let room = body.len() / LEAST_GAIN;
    let mut encoder = GzEncoder::new(Bounded { packed: Vec::new(), room }, flate2::Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok().map(|bounded| Bytes::from(bounded.packed))
}

/// Takes so many bytes and no more.
struct Bounded {
    packed: Vec<u8>,
    room: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.packed.len() + bytes.len() > self.room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.packed.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn failure(kind: Kind) -> Failure {
        Failure { kind, message: "no gzip".to_owned(), hint: None, retry_after: None }
    }

    #[test]
    fn a_packed_body_is_the_same_body() {
        let body = "{\"message\":\"GET /index.html 200\"}".repeat(1000);
        let packed = pack(body.as_bytes()).expect("it pays");
        assert!(packed.len() * LEAST_GAIN <= body.len());
        let mut again = String::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut again).expect("gzip");
        assert_eq!(again, body);
    }

    #[test]
    fn what_does_not_become_half_as_long_is_sent_as_it_is() {
        let noise: Vec<u8> = (0..100_000).map(|_| fastrand::u8(..)).collect();
        assert_eq!(pack(&noise), None);
    }

    #[tokio::test]
    async fn a_small_body_is_sent_as_it_is() {
        assert_eq!(Compression::new().pack(&Bytes::from(vec![b'x'; SMALLEST - 1]), Duration::ZERO).await, None);
    }

    #[test]
    fn a_fault_is_about_packing_only_before_any_packed_body_was_taken_and_if_the_plain_one_works() {
        let (compression, fault) = (Compression::new(), failure(Kind::Unavailable));
        assert!(compression.may_be_why(&fault));
        assert!(Compression::was_why(&fault, None));
        assert!(Compression::was_why(&fault, Some(&failure(Kind::NotFound))));
        assert!(!Compression::was_why(&fault, Some(&failure(Kind::Throttled))));
        compression.taken();
        assert!(!compression.may_be_why(&fault));
    }

    #[test]
    fn a_refusal_is_remembered_and_tried_again_after_an_hour() {
        let compression = Compression::new();
        assert!(compression.may_be_why(&failure(Kind::InvalidEvents)));
        assert!(!compression.may_be_why(&failure(Kind::Throttled)));
        compression.refused(&failure(Kind::Refused), Duration::ZERO);
        assert!(!compression.is_worth_trying(Duration::from_mins(59)));
        assert!(compression.warning().expect("said").message.contains("no gzip"));
        assert!(compression.is_worth_trying(Duration::from_hours(1)));
        compression.taken();
        assert!(compression.warning().is_none());
        assert!(!compression.may_be_why(&failure(Kind::InvalidEvents)));
        assert!(compression.may_be_why(&failure(Kind::Refused)));
    }
}

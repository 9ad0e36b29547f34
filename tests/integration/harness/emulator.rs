//! The emulator, for tests that are plain functions: it serves on a thread of its own. Not what it does: that is
//! `imds_agent::emulator`, which this merely asks.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub(crate) use imds_agent::emulator::{Change, Denial, Effect, Fault, Policy};
use imds_agent::emulator::{Counts, GroupSummary, Options, StreamSummary};

/// A running emulator; stopped when dropped.
pub(crate) struct Emulator {
    inner: imds_agent::emulator::Emulator,
    stop: CancellationToken,
    server: Option<JoinHandle<()>>,
}

impl Emulator {
    /// Starts one on a free port of loopback.
    pub(crate) fn start() -> Self {
        Self::with(Options::default())
    }

    /// Starts one where something else was asked before.
    pub(crate) fn start_at(address: SocketAddr) -> Self {
        assert!(address.ip().is_loopback(), "the tests serve on loopback only, and {address} is not");
        Self::with(Options { listen: vec![address], ..Options::default() })
    }

    /// Starts one whose instance has user data.
    pub(crate) fn with_user_data(text: &str) -> Self {
        Self::with(Options { user_data: Some(text.to_owned()), ..Options::default() })
    }

    /// Starts one whose STS gives out a role only to who sends this external id.
    pub(crate) fn demanding(role_arn: &str, external_id: &str) -> Self {
        let external_ids = [(role_arn.to_owned(), external_id.to_owned())].into();
        Self::with(Options { external_ids, ..Options::default() })
    }

    fn with(options: Options) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let started = runtime.block_on(imds_agent::emulator::Emulator::start(options));
        let inner = started.expect("the emulator can listen on loopback");
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let server = std::thread::spawn(move || runtime.block_on(stopped.cancelled()));
        Self { inner, stop, server: Some(server) }
    }

    pub(crate) fn url(&self) -> String {
        self.inner.url()
    }

    /// A stream's messages as the console shows them: by their time, and in the order of arrival where that is the same.
    pub(crate) fn lines(&self, group: &str, stream: &str) -> Vec<String> {
        self.events(group, stream).into_iter().map(|(_, message)| message).collect()
    }

    /// The same, each with its time in milliseconds.
    pub(crate) fn events(&self, group: &str, stream: &str) -> Vec<(i64, String)> {
        let mut events = Vec::new();
        self.inner.each_event(group, stream, |timestamp, _, message| events.push((timestamp, message.to_owned())));
        events.sort_by_key(|(timestamp, _)| *timestamp);
        events
    }

    /// The most events that one call brought, as far as the time of their arrival tells calls apart.
    pub(crate) fn largest_put(&self, group: &str, stream: &str) -> usize {
        let (mut largest, mut run, mut last) = (0, 0, 0);
        self.inner.each_event(group, stream, |_, ingestion_time, _| {
            run = if ingestion_time == last { run + 1 } else { 1 };
            last = ingestion_time;
            largest = largest.max(run);
        });
        largest
    }

    pub(crate) fn set_fault(&self, fault: Fault) {
        self.inner.set_fault(fault);
    }

    pub(crate) fn clear_faults(&self) {
        self.inner.clear_faults();
    }

    pub(crate) fn change(&self, change: &Change) {
        self.inner.change(change);
    }

    /// How long each `PutLogEvents` takes from now on.
    pub(crate) fn set_put_latency(&self, latency: Duration) {
        let put_latency_ms = u64::try_from(latency.as_millis()).expect("a short time");
        self.change(&Change { put_latency_ms: Some(put_latency_ms), ..Change::default() });
    }

    /// The credentials that the metadata service serves expire now; it issues others at the next request.
    pub(crate) fn expire_credentials(&self) {
        self.inner.expire_credentials();
    }

    /// AWS's APIs refuse the credentials that the metadata service goes on serving.
    pub(crate) fn revoke_credentials(&self) {
        self.inner.revoke_credentials();
    }

    /// The metadata service issues other credentials at the next request.
    pub(crate) fn rotate_credentials(&self) {
        self.inner.rotate_credentials();
    }

    /// All metadata tokens are invalid from now on.
    pub(crate) fn forget_tokens(&self) {
        self.inner.forget_tokens();
    }

    /// The log groups there are.
    pub(crate) fn groups(&self) -> Vec<GroupSummary> {
        self.inner.groups()
    }

    /// The log streams there are.
    pub(crate) fn streams(&self) -> Vec<StreamSummary> {
        self.inner.streams()
    }

    /// What was asked of it so far.
    pub(crate) fn counts(&self) -> Counts {
        self.inner.counts()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

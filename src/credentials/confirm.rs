//! Who the credentials are, as STS sees it: asked once per role. STS being out of reach is worth a warning and nothing
//! more; whether the credentials are good is not decided here.

use std::time::Duration;

use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_types::SdkConfig;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::cache::{CredentialCache, Inner};
use super::refusal::is_rejection;
use crate::aws::certificate_hint;
use crate::backoff::Backoff;
use crate::fault::{self, Fault};
use crate::heartbeat::{Heartbeat, LONGEST_SLEEP};

/// Waits between attempts: nobody waits for the answer, and a host without a route to STS stays that way for long.
const WAITS: Backoff = Backoff::new(Duration::from_secs(30), Duration::from_mins(5));

/// STS is never asked sooner than this after a failure.
const SHORTEST_WAIT: Duration = Duration::from_secs(30);

impl CredentialCache {
    /// Asks STS once per role who the credentials are, until `stop`. STS being unreachable is a warning in the
    /// snapshot. After a panic it may be run again.
    pub async fn confirm_identity(&self, sdk: SdkConfig, stop: CancellationToken, heartbeat: Heartbeat) {
        let sts = aws_sdk_sts::Client::new(&sdk);
        let region = sdk.region().map_or_else(String::new, ToString::to_string);
        let mut changes = self.0.changes.subscribe();
        let mut failures = 0;
        let mut not_before = Instant::now();
        loop {
            heartbeat.beat();
            if let Some((role, key)) = self.0.unconfirmed()
                && Instant::now() >= not_before
            {
                let Some(answer) = beating(ask(&sts), &stop, &heartbeat).await else {
                    return;
                };
                match answer {
                    Ok(arn) => failures = self.0.confirmed(role, arn),
                    Err(problem) => {
                        failures += 1;
                        not_before = Instant::now() + WAITS.half_jitter(failures + 1).max(SHORTEST_WAIT);
                        if problem.rejected {
                            self.rejected(&key);
                        }
                        self.0.not_confirmed(problem.message, &region);
                    }
                }
                continue;
            }
            let sleep = not_before.saturating_duration_since(Instant::now()).min(LONGEST_SLEEP);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(if sleep.is_zero() { LONGEST_SLEEP } else { sleep }) => {}
                _ = changes.changed() => {}
            }
        }
    }
}

impl Inner {
    /// The role and key to ask about: valid, and not confirmed yet.
    fn unconfirmed(&self) -> Option<(String, String)> {
        let (role, key) = self.peek()?;
        let known = self.book().arn().is_some();
        (!known).then_some((role, key))
    }

    fn confirmed(&self, role: String, arn: String) -> u32 {
        tracing::info!(role, arn, "STS confirms who the credentials are");
        let mut book = self.book();
        book.confirmed = Some((role, arn));
        book.confirmation = None;
        0
    }

    fn not_confirmed(&self, message: String, region: &str) {
        let route = || {
            format!(
                "nothing else depends on it; for the ARN in status let this host reach sts.{region}.amazonaws.com: \
                 route, DNS, HTTPS_PROXY, or the VPC endpoint com.amazonaws.{region}.sts"
            )
        };
        let hint = certificate_hint(&message).map_or_else(route, str::to_owned);
        let mut book = self.book();
        if book.confirmation.as_ref().is_none_or(|last| last.message != message) {
            tracing::warn!(role = book.role, error = message, "STS can't confirm who the credentials are");
        }
        book.confirmation = Some(Fault { at: self.clock.now(), message, hint: Some(hint) });
    }
}

/// Why STS gave no answer.
struct Problem {
    message: String,
    /// It called the credentials expired or invalid.
    rejected: bool,
}

async fn ask(sts: &aws_sdk_sts::Client) -> Result<String, Problem> {
    let missing =
        || Problem { message: "STS answered sts:GetCallerIdentity without an ARN".to_owned(), rejected: false };
    match sts.get_caller_identity().send().await {
        Ok(identity) => identity.arn.ok_or_else(missing),
        Err(SdkError::ServiceError(error)) => {
            let code = error.err().code().unwrap_or("an error without a code");
            let text = error.err().message().unwrap_or_default();
            let message = format!("STS answered sts:GetCallerIdentity with {code}: {text}");
            Err(Problem { message, rejected: is_rejection(code) })
        }
        Err(error) => {
            let message = format!("can't ask STS (sts:GetCallerIdentity): {}", fault::chain(&error));
            Err(Problem { message, rejected: false })
        }
    }
}

/// The outcome of `call`, with a heart that goes on beating while AWS takes its time; `None` when `stop` came first.
async fn beating<T>(call: impl Future<Output = T>, stop: &CancellationToken, heartbeat: &Heartbeat) -> Option<T> {
    tokio::pin!(call);
    loop {
        tokio::select! {
            outcome = &mut call => return Some(outcome),
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(LONGEST_SLEEP) => heartbeat.beat(),
        }
    }
}

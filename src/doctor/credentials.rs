//! The base credentials: where they come from and why there, whose they are, and how long they last. Fetched anew, so
//! that what the daemon still holds does not hide what has broken since. Not what they may do.

use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Providing;
use jiff::Timestamp;
use tokio::sync::watch;

use super::visit::{Check, Finding, Found, Host, look};
use crate::credentials::{Error, Fetched, SourceKind, base_source};
use crate::fault::chain;
use crate::imds::ImdsClient;

pub(super) const CHECK: Check = Check {
    name: "credentials",
    title: "there are base credentials, and they are valid",
    needs: &[],
    after: &["imds-identity", "region"],
    look: |host| look(check(host)),
};

/// How long the source may take: a whole operation of IMDS, and less than the visit gives a check.
const PATIENCE: Duration = Duration::from_millis(3500);

/// IMDS has new ones at least so long before the old ones end (FACTS, IMDSv2).
const RENEWED_BEFORE: Duration = Duration::from_mins(5);

async fn check(host: Arc<Host>) -> Found {
    let kind = host.ground.credentials.resolve(host.config().credentials.source);
    if kind == SourceKind::Instance && host.facts.imds.get().is_none() {
        let finding = Finding::note("the base credentials are the instance's, and its metadata service can't be asked");
        return Found::stop(finding.why("imds-token tells why"));
    }
    let (source, fetched) = match fetch(&host).await {
        Ok(done) => done,
        Err(finding) => return (*finding).into(),
    };
    let now = host.ground.clock.now();
    let found = judge(&fetched, &source, now);
    if fetched.expiration.is_none_or(|end| end > now) {
        tell(&host, fetched, kind);
    }
    found.into()
}

/// Asks the source, as the daemon would; tells which that is.
async fn fetch(host: &Host) -> Result<(String, Fetched), Box<Finding>> {
    let config = host.config();
    let ground = &host.ground;
    let imds = match host.facts.imds.get() {
        Some(client) => client.clone(),
        None => ImdsClient::new(&config.imds, &ground.imds, &ground.clock)
            .map_err(|error| Finding::fault(error.to_string()).cure_if_known(error.cure(None)))?,
    };
    let unsigned =
        host.facts.region.get().and_then(|region| {
            ground.aws.sdk_config(region, SharedCredentialsProvider::new(Nobody), &ground.clock).ok()
        });
    let (_sdk, known) = watch::channel(unsigned);
    let source = base_source(config.credentials.source, &ground.credentials, imds, known, &ground.clock);
    match tokio::time::timeout(PATIENCE, source.fetch()).await {
        Ok(Ok(fetched)) => Ok((source.describe(), fetched)),
        Ok(Err(error)) => Err(Box::new(failed(host, &error, &source.describe()))),
        Err(_) => Err(Box::new(failed(host, &Error::TimedOut { after: PATIENCE }, &source.describe()))),
    }
}

fn failed(host: &Host, error: &Error, source: &str) -> Finding {
    let finding = Finding::fault(format!("there are no base credentials from {source}")).evidence(chain(error));
    match error {
        Error::Imds(error) => finding.why_if_known(error.why()).cure_if_known(error.cure(host.instance_id())),
        error => finding.cure_if_known(error.hint()),
    }
}

fn judge(fetched: &Fetched, source: &str, now: Timestamp) -> Finding {
    let Fetched { role, expiration, .. } = fetched;
    let Some(end) = *expiration else {
        return Finding::warning("the base credentials never expire: they are static keys")
            .evidence(source)
            .why("who copies them has them for good")
            .cure("give the instance a role, and remove `source` from the [credentials] table");
    };
    let left = end.duration_since(now);
    let evidence = format!("{source}: they expire at {end}, and it is {now}");
    if left.is_negative() || left.is_zero() {
        return Finding::fault(format!("the credentials issued for role {role} expired {} ago", span(-left)))
            .evidence(evidence)
            .why("the metadata service does not renew them, or this machine's clock is wrong")
            .cure("timedatectl; if the clock is right, detach the instance profile and attach it again");
    }
    if left.unsigned_abs() < RENEWED_BEFORE {
        return Finding::warning(format!("the credentials of role {role} expire in {}", span(left)))
            .evidence(evidence)
            .why("there should be new ones at least five minutes before the old ones end");
    }
    Finding::ok(format!("role {role}, valid for another {}", span(left))).evidence(evidence)
}

/// Tells what the checks of AWS build on.
fn tell(host: &Host, fetched: Fetched, kind: SourceKind) {
    let Fetched { role, credentials, .. } = fetched;
    if let Some(region) = host.facts.region.get() {
        let provider = SharedCredentialsProvider::new(credentials.clone());
        if let Ok(sdk) = host.ground.aws.sdk_config(region, provider, &host.ground.clock) {
            let _ = host.facts.sdk.set(sdk);
        }
    }
    if kind != SourceKind::Environment {
        let _ = host.facts.role.set(role);
    }
    let _ = host.facts.credentials.set(credentials);
}

/// `3 h 12 min`.
fn span(duration: jiff::SignedDuration) -> String {
    let minutes = duration.as_secs() / 60;
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{} s", duration.as_secs()),
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// Calls that are not signed have no credentials.
#[derive(Debug)]
struct Nobody;

impl aws_credential_types::provider::ProvideCredentials for Nobody {
    fn provide_credentials<'a>(&'a self) -> Providing<'a>
    where
        Self: 'a,
    {
        Providing::ready(Err::<Credentials, _>(CredentialsError::not_loaded("this call is not signed")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Outcome;

    fn judged(expiration: Option<&str>) -> Finding {
        let expiration = expiration.map(|text| text.parse().unwrap());
        let fetched = Fetched::new("web".to_owned(), Credentials::for_tests(), expiration);
        judge(&fetched, "instance", "2026-11-22T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn credentials_are_judged_by_how_long_they_last() {
        for (end, outcome, said) in [
            (Some("2026-11-22T17:30:00Z"), Outcome::Ok, "another 5 h 30 min"),
            (Some("2026-11-22T12:04:59Z"), Outcome::Warning, "expire in 4 min"),
            (Some("2026-11-22T12:00:00Z"), Outcome::Fault, "expired 0 s ago"),
            (Some("2026-11-22T11:00:00Z"), Outcome::Fault, "expired 1 h 0 min ago"),
            (None, Outcome::Warning, "never expire"),
        ] {
            let finding = judged(end);
            assert!(finding.outcome == outcome && finding.summary.contains(said), "{finding:?}");
        }
    }
}

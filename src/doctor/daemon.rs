//! What the running daemon says of itself. One that is down is no fault of the host's: the checks do without it.

use std::sync::Arc;
use std::time::Duration;

use super::visit::{Check, Finding, Found, Host, look};
use crate::fault::chain;
use crate::status::{ClientError, Report, SOCKET_NAME, fetch};

pub(super) const CHECK: Check = Check {
    name: "daemon",
    title: "the daemon runs and answers",
    needs: &[],
    after: &[],
    look: |host| look(check(host)),
};

/// How long the daemon may take: it answers in milliseconds, and other checks wait for what it says.
const PATIENCE: Duration = Duration::from_secs(2);

async fn check(host: Arc<Host>) -> Found {
    let runtime = host.ground.runtime_dir.clone();
    let asked = tokio::task::spawn_blocking(move || fetch(&runtime));
    let answer = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => return Finding::unseen("the daemon could not be asked").into(),
        Err(_) => Err(ClientError::Silent { path: host.ground.runtime_dir.join(SOCKET_NAME) }),
    };
    match answer.map(|json| serde_json::from_str::<Report>(&json)) {
        Ok(Ok(report)) => {
            let finding = Finding::ok(format!("imds-agent {} runs, pid {}", report.version, report.pid));
            let _ = host.facts.report.set(report);
            finding.into()
        }
        Ok(Err(error)) => Finding::warning("the daemon is of another version, and its report can't be read")
            .evidence(error.to_string())
            .cure("systemctl restart imds-agent")
            .into(),
        // What asks the daemon has no point then; what does without it goes on.
        Err(error) => Found::stop(unanswered(&error).evidence(chain(&error)).cure(error.hint())),
    }
}

fn unanswered(error: &ClientError) -> Finding {
    match error {
        ClientError::Unreachable { .. } => Finding::note("no daemon runs"),
        ClientError::NotAllowed { .. } => Finding::unseen("this user may not ask the daemon"),
        ClientError::Silent { .. } => Finding::fault("the daemon does not answer"),
        ClientError::Garbage { .. } => Finding::warning("what answers for the daemon sends no report"),
    }
}

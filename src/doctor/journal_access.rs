//! Whether the service may read the journal, where the configuration ships it. Not what is in it.

use std::sync::Arc;

use super::command;
use super::service::{Eyes, Service, run_as};
use super::visit::{Check, Finding, Found, Host, look};
use crate::logs::SourceState;

pub(super) const CHECK: Check = Check {
    name: "journal-access",
    title: "the service may read the journal that it ships",
    needs: &["configuration"],
    after: &["daemon"],
    look: |host| look(check(host)),
};

/// The newest entry of any: enough to see whether there is a journal that may be read.
const ARGUMENTS: [&str; 5] = ["--quiet", "--system", "--lines=1", "--output=cat", "--no-pager"];

async fn check(host: Arc<Host>) -> Found {
    if host.config().logs.journals.is_empty() {
        return Finding::ok("the configuration names no journal").into();
    }
    if let Some(report) = host.facts.report.get() {
        let failed = report.logs.sources.iter().find(|s| s.kind == "journal" && s.state == SourceState::Failed);
        let Some(source) = failed else { return Finding::ok("the daemon reads it").into() };
        let error = source.last_error.as_ref();
        let finding = Finding::fault(format!("the daemon can't read the journal of {}", source.name));
        let finding = finding.evidence(error.map_or("imds-agent status", |fault| fault.message.as_str()));
        return finding.cure_if_known(error.and_then(|fault| fault.hint.clone())).into();
    }
    let (user, output) = match Eyes::for_service(Service::installed().await) {
        Eyes::Own => ("this user".to_owned(), command::ask("journalctl", &ARGUMENTS).await),
        Eyes::Of(user) => {
            let output = run_as(&user, "journalctl", ARGUMENTS.map(Into::into).to_vec()).await;
            (user, output)
        }
        Eyes::Nobodys(user) => {
            let finding = Finding::unseen(format!("only root can see what {user}, the service's user, may read"));
            return finding.cure("sudo imds-agent doctor --only journal-access").into();
        }
    };
    let Some(output) = output else {
        let finding = Finding::fault("journalctl can't be run, and the configuration has [[logs.journal]]");
        return finding
            .why("this machine has no journal, or no such program")
            .cure("remove [[logs.journal]], or install systemd")
            .into();
    };
    if output.status.success() {
        return Finding::ok(format!("{user} can read the journal")).into();
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Finding::fault(format!("{user} can't read the journal"))
        .evidence(format!("journalctl {}: {said}", ARGUMENTS.join(" ")))
        .why("the journal's files are for root and the group systemd-journal")
        .cure("sudo usermod -aG systemd-journal imds-agent && sudo systemctl restart imds-agent")
        .into()
}

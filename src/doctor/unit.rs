//! How systemd sees the agent's service: whether it is there, runs, and why it ended last. Not what the daemon says itself.

use std::sync::Arc;

use super::systemd::{self, AGENT, Properties};
use super::visit::{Check, Finding, Found, Host, look};
use crate::clock::boot_time;

pub(super) const CHECK: Check = Check {
    name: "unit",
    title: "systemd runs the service, and keeps it running",
    needs: &[],
    after: &[],
    look: |host| look(check(host)),
};

const PROPERTIES: [&str; 9] = [
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "NRestarts",
    "ExecMainStatus",
    "UnitFileState",
    "ActiveEnterTimestampMonotonic",
    "ExecMainStartTimestampMonotonic",
];

/// The last of what it said: why a service could not start fits into it.
const LINES: &str = "5";

async fn check(host: Arc<Host>) -> Found {
    if !systemd::is_here() {
        return Finding::note("systemd does not run this machine").into();
    }
    let shown = systemd::show(AGENT, &PROPERTIES).await;
    let Some(unit) = shown.first() else {
        return Finding::unseen("systemd does not answer").evidence(format!("systemctl show {AGENT}")).into();
    };
    let since = host.ground.since;
    let since_argument = format!("--since=-{}s", since.as_secs());
    let arguments = ["-q", "-u", AGENT, "-p", "err", "-n", LINES, "-o", "cat", &since_argument];
    let said = systemd::run("journalctl", &arguments).await.unwrap_or_default();
    // The journal's clock does not count suspend, ours does: at worst a restart seems longer ago than it is.
    let running = unit
        .get("ExecMainStartTimestampMonotonic")
        .and_then(|micros| micros.parse::<u64>().ok())
        .map(|micros| boot_time().saturating_sub(std::time::Duration::from_micros(micros)));
    let judged = judge(unit, said.trim(), running.is_some_and(|running| running <= since));
    Found::all([Some(judged), taken_over(&host.ground.of_service)].into_iter().flatten().collect())
}

/// What decides here although only the service's environment says it.
fn taken_over(variables: &[String]) -> Option<Finding> {
    let names = variables.join(", ");
    (!variables.is_empty()).then(|| {
        Finding::note(format!("this visit goes the service's way: it has {names} from {AGENT}"))
            .evidence(format!("systemctl show {AGENT} -p Environment -p EnvironmentFiles"))
    })
}

/// `said` is what the service complained of lately; `is_young` whether it was started lately.
fn judge(unit: &Properties, said: &str, is_young: bool) -> Finding {
    let property = |name: &str| unit.get(name).map(String::as_str).unwrap_or_default();
    let (state, result) = (property("ActiveState"), property("Result"));
    let restarts: u32 = property("NRestarts").parse().unwrap_or(0);
    if property("LoadState") == "not-found" {
        return Finding::note(format!("{AGENT} is not installed: nothing starts the agent at boot"));
    }
    if property("LoadState") == "masked" {
        let finding = Finding::fault(format!("{AGENT} is masked: it can't be started"));
        return finding.cure(format!("sudo systemctl unmask {AGENT} && sudo systemctl enable --now {AGENT}"));
    }
    let status = property("ExecMainStatus");
    let mut evidence = format!("ActiveState={state}, Result={result}, ExecMainStatus={status}, NRestarts={restarts}");
    if !said.is_empty() {
        evidence = format!("{evidence}; it said: {said}");
    }
    if state == "failed" || property("SubState") == "auto-restart" {
        let (why, cure) = explain(result, status);
        return Finding::fault(format!("{AGENT} fails to run")).evidence(evidence).why(why).cure(cure);
    }
    match state {
        "active" if restarts > 0 && is_young => {
            let (why, cure) = explain(result, status);
            let times = if restarts == 1 { "once".to_owned() } else { format!("{restarts} times") };
            let finding = Finding::warning(format!("{AGENT} failed and was restarted, {times} so far"));
            finding.evidence(evidence).why(if result == "success" { "it runs now" } else { why }).cure(cure)
        }
        "active" | "reloading" => Finding::ok(format!("{AGENT} runs")),
        "activating" => Finding::warning(format!("{AGENT} is being started")).evidence(evidence),
        _ => Finding::note(format!("{AGENT} does not run")).evidence(evidence).cure(
            if property("UnitFileState") == "enabled" {
                format!("sudo systemctl start {AGENT}")
            } else {
                format!("sudo systemctl enable --now {AGENT}")
            },
        ),
    }
}

/// Why a service ended, by systemd's word for it and the exit code, and what cures that.
fn explain(result: &str, status: &str) -> (&'static str, &'static str) {
    match (result, status) {
        (_, "78") => ("its configuration, or its environment, can't be used", "imds-agent config check"),
        (_, "77") => (
            "it may not use a directory or a file that it needs",
            "journalctl -u imds-agent -n 20 names it; as installed: sudo chown -R imds-agent:imds-agent /var/lib/imds-agent",
        ),
        (_, "2") => ("its command line is wrong", "systemctl cat imds-agent shows ExecStart="),
        (_, "203") => ("its program can't be executed", "ls -l /usr/bin/imds-agent; getenforce"),
        (_, "217") => ("its user does not exist", "sudo systemd-sysusers && sudo systemctl restart imds-agent"),
        (_, "226") => ("its sandbox can't be set up here, in a container say", "journalctl -u imds-agent -n 20"),
        ("oom-kill", _) => (
            "it reached its memory limit",
            "sudo systemctl edit imds-agent: [Service] MemoryMax=256M, or lower memory_limit under [logs]",
        ),
        ("watchdog", _) => ("it made no progress and the watchdog ended it", "journalctl -u imds-agent -n 50"),
        ("timeout", _) => ("it did not start or stop in time", "journalctl -u imds-agent -n 50"),
        ("start-limit-hit", _) => (
            "it failed too often in a row",
            "sudo systemctl reset-failed imds-agent && sudo systemctl start imds-agent",
        ),
        _ => ("it ended with an error, or was killed", "journalctl -u imds-agent -n 50"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Outcome;

    fn judged(properties: &[(&str, &str)], is_young: bool) -> Finding {
        let all = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        judge(&all, "it broke", is_young)
    }

    #[test]
    fn a_service_that_failed_has_its_reason_and_cure_by_its_exit_code() {
        for (result, status, cure) in [
            ("exit-code", "78", "imds-agent config check"),
            ("exit-code", "77", "chown"),
            ("oom-kill", "9", "MemoryMax="),
            ("exit-code", "217", "systemd-sysusers"),
        ] {
            let failed = [("ActiveState", "failed"), ("Result", result), ("ExecMainStatus", status)];
            let finding = judged(&failed, false);
            assert!(finding.outcome == Outcome::Fault && finding.cure.as_ref().unwrap().contains(cure), "{finding:?}");
            assert!(finding.evidence.unwrap().contains("it broke"));
        }
    }

    #[test]
    fn a_service_that_is_not_installed_or_stopped_is_a_note() {
        assert_eq!(judged(&[("LoadState", "not-found")], false).outcome, Outcome::Note);
        let stopped = judged(&[("ActiveState", "inactive"), ("UnitFileState", "disabled")], false);
        assert_eq!(
            (stopped.outcome, stopped.cure.as_deref()),
            (Outcome::Note, Some("sudo systemctl enable --now imds-agent.service"))
        );
    }

    #[test]
    fn old_restarts_are_forgotten() {
        let active = [("ActiveState", "active"), ("NRestarts", "3"), ("Result", "success")];
        assert_eq!((judged(&active, true).outcome, judged(&active, false).outcome), (Outcome::Warning, Outcome::Ok));
    }
}

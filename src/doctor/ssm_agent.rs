//! Whether the SSM agent runs, where it is installed: Session Manager and Run Command are the way to an instance in a
//! private subnet. Not whether its role has the permissions.

use std::path::Path;
use std::sync::Arc;

use super::systemd;
use super::visit::{Check, Finding, Found, Host, look};

pub(super) const CHECK: Check = Check {
    name: "ssm-agent",
    title: "the SSM agent runs, where it is installed",
    needs: &[],
    after: &[],
    look: |host| look(check(host)),
};

/// As a package, and as a snap.
const UNITS: [&str; 2] = ["amazon-ssm-agent.service", "snap.amazon-ssm-agent.amazon-ssm-agent.service"];

/// There where it was registered with an activation: it then has that registration's role, not the instance's.
const REGISTRATION: &str = "/var/lib/amazon/ssm/registration";

async fn check(_: Arc<Host>) -> Found {
    for unit in UNITS {
        let shown = systemd::show(unit, &["LoadState", "ActiveState"]).await;
        let Some(properties) = shown.first() else { continue };
        let property = |name: &str| properties.get(name).map(String::as_str).unwrap_or_default();
        if property("LoadState") == "loaded" {
            return judge(unit, property("ActiveState"), Path::new(REGISTRATION).exists()).into();
        }
    }
    Finding::ok("it is not installed").into()
}

fn judge(unit: &str, state: &str, is_registered: bool) -> Finding {
    if !["active", "reloading", "activating"].contains(&state) {
        return Finding::warning("the SSM agent is installed and does not run")
            .evidence(format!("{unit}: ActiveState={state}"))
            .why("Session Manager and Run Command don't reach this instance")
            .cure(format!("sudo systemctl enable --now {unit}"));
    }
    if is_registered {
        return Finding::note("the SSM agent runs, registered with an activation")
            .evidence(format!("{REGISTRATION} is there"))
            .why("it uses that registration's role and not the instance's");
    }
    Finding::ok("the SSM agent runs, with the instance's role")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Outcome;

    #[test]
    fn one_that_is_stopped_is_a_warning_and_one_with_a_role_of_its_own_a_note() {
        assert_eq!(judge(UNITS[0], "failed", false).outcome, Outcome::Warning);
        assert_eq!(judge(UNITS[0], "active", true).outcome, Outcome::Note);
        assert_eq!(judge(UNITS[0], "active", false).outcome, Outcome::Ok);
    }
}

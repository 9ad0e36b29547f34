//! Which entries are our own: those are never shipped, or each would make the next one. Told by fields that journald
//! itself writes, which no program can forge. Not a filter that a configuration can change.

use std::fs;

use super::export::Entry;

/// The process that systemd starts services from.
const INIT: u32 = 1;

/// What the kernel puts behind the path of a binary that was replaced while it runs.
const REPLACED: &str = " (deleted)";

/// Who we are, in journald's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Own {
    /// Our unit, if systemd started us: everything in it is ours, children included.
    unit: Option<String>,
    /// Our binary: what we wrote when we ran by hand, and what others of us write.
    exe: Option<String>,
    /// This process, in this boot: should journald know nothing else of it.
    process: Option<(String, String)>,
}

impl Own {
    /// This process.
    pub(crate) fn of_this_process() -> Self {
        let cgroup = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let started_by_systemd = std::os::unix::process::parent_id() == INIT;
        let exe = std::env::current_exe().ok().and_then(|path| path.into_os_string().into_string().ok());
        // In the unit's /proc there is nothing but processes; journald names the boot by the same id as our entries do.
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().replace('-', ""));
        Self {
            unit: started_by_systemd.then(|| unit_of(&cgroup)).flatten(),
            exe: exe.map(|exe| exe.trim_end_matches(REPLACED).to_owned()),
            process: boot.map(|boot| (std::process::id().to_string(), boot)),
        }
    }

    /// Whether we wrote this entry.
    pub(crate) fn wrote(&self, entry: &Entry) -> bool {
        let is = |name, ours: Option<&str>| ours.is_some() && entry.text(name) == ours;
        let exe = entry.text("_EXE").map(|exe| exe.trim_end_matches(REPLACED));
        let process = self.process.as_ref();
        is("_SYSTEMD_UNIT", self.unit.as_deref())
            || (exe.is_some() && exe == self.exe.as_deref())
            || (is("_PID", process.map(|(pid, _)| pid.as_str()))
                && is("_BOOT_ID", process.map(|(_, boot)| boot.as_str())))
    }
}

/// The service that a process is in, by the content of its /proc/PID/cgroup: the innermost part that is one.
fn unit_of(cgroup: &str) -> Option<String> {
    let systemd = cgroup.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        matches!(controllers, "" | "name=systemd").then_some(path)
    });
    systemd
        .filter_map(|path| {
            path.rsplit('/').find(|part| part.strip_suffix(".service").is_some_and(|name| !name.is_empty()))
        })
        .map(str::to_owned)
        .next()
}

#[cfg(test)]
mod tests {
    use super::super::export::entry;
    use super::*;

    fn own() -> Own {
        Own {
            unit: Some("imds-agent.service".into()),
            exe: Some("/usr/bin/imds-agent".into()),
            process: Some(("77".into(), "b007".into())),
        }
    }

    #[test]
    fn everything_in_our_unit_is_ours() {
        assert!(own().wrote(&entry(&[("_SYSTEMD_UNIT", "imds-agent.service"), ("_EXE", "/usr/bin/kill")])));
        assert!(!own().wrote(&entry(&[("_SYSTEMD_UNIT", "app.service"), ("_EXE", "/usr/bin/app")])));
    }

    #[test]
    fn what_systemd_says_of_our_unit_is_not_ours() {
        assert!(!own().wrote(&entry(&[
            ("_SYSTEMD_UNIT", "init.scope"),
            ("UNIT", "imds-agent.service"),
            ("_PID", "1")
        ])));
    }

    #[test]
    fn our_binary_is_ours_wherever_it_runs_and_also_when_it_was_replaced() {
        assert!(own().wrote(&entry(&[("_SYSTEMD_UNIT", "session-1.scope"), ("_EXE", "/usr/bin/imds-agent")])));
        assert!(own().wrote(&entry(&[("_EXE", "/usr/bin/imds-agent (deleted)")])));
    }

    #[test]
    fn a_process_id_is_ours_in_this_boot_only() {
        assert!(own().wrote(&entry(&[("_PID", "77"), ("_BOOT_ID", "b007")])));
        assert!(!own().wrote(&entry(&[("_PID", "77"), ("_BOOT_ID", "beef")])));
    }

    #[test]
    fn what_any_program_may_write_proves_nothing() {
        assert!(!own().wrote(&entry(&[
            ("SYSLOG_IDENTIFIER", "imds-agent"),
            ("SYSLOG_PID", "77"),
            ("UNIT", "imds-agent.service")
        ])));
    }

    #[test]
    fn who_knows_nothing_of_itself_owns_nothing() {
        assert!(!Own::default().wrote(&entry(&[("MESSAGE", "hello")])));
    }

    #[test]
    fn the_unit_is_read_from_either_kind_of_cgroup() {
        assert_eq!(unit_of("0::/system.slice/imds-agent.service\n").as_deref(), Some("imds-agent.service"));
        let old = "12:memory:/system.slice/other.service\n1:name=systemd:/system.slice/imds-agent.service\n";
        assert_eq!(unit_of(old).as_deref(), Some("imds-agent.service"));
        assert_eq!(unit_of("0::/user.slice/user-0.slice/session-1.scope\n"), None);
    }
}

//! Disks that fail: a small one that fills up, and one that can't sync. Not what the agent does about it.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Host, SOON, append, numbered};

/// Room for a checkpoint of this test and some dead letters.
const SIZE: &str = "size=4m,mode=755";

/// A file system of a few megabytes; unmounted when dropped.
pub(crate) struct SmallDisk {
    path: PathBuf,
    was_full: bool,
}

impl SmallDisk {
    /// Mounts one at `path`; `None`, and said so, where that is not allowed.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(path).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self { path: path.to_owned(), was_full: false });
        }
        skip("no disk is filled: mounting one needs root");
        None
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    pub(crate) fn fill(&mut self) {
        self.was_full = true;
        let mut ballast = File::create(self.ballast()).expect("an inode is left");
        while ballast.write_all(&[0; 4096]).is_ok() {}
        // The last page's rest.
        while ballast.write_all(&[0]).is_ok() {}
    }

    pub(crate) fn free(&mut self) {
        // It may not be there.
        let _ = std::fs::remove_file(self.ballast());
    }

    /// Whether it was full since it was mounted.
    pub(crate) fn was_full(&self) -> bool {
        self.was_full
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: an agent that is just ending may be in there.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

#[expect(clippy::print_stderr, reason = "who reads the log must see what was not tested")]
fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
}

/// The agent under `strace`, which makes all syncing fail.
fn without_sync(command: &Command) -> Command {
    let mut traced = Command::new("strace");
    traced.args(["-f", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO"]);
    traced.arg("--").arg(command.get_program()).args(command.get_args()).env_clear();
    traced.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    traced
}

#[test]
fn a_disk_that_can_not_sync_holds_nothing_up_and_loses_nothing() {
    if !Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success()) {
        return skip("no fsync fails: strace is missing, or may not trace");
    }
    let (host, _emulator) = Host::with_emulator();
    let lines = numbered(0, 2_000, 200);
    append(&host.log("app.log"), &lines[..1_000]);
    // Opened while the disk was well: a checkpoint that can't be made is another story.
    let agent = host.start();
    agent.wait_until_delivered(1_000);
    agent.stop_in_order();
    let config = host.config().display().to_string();
    let traced = without_sync(&host.command(&["run", "--config", &config]));
    let agent = crate::harness::Agent::start(traced, host.path("run/status.sock"));
    append(&host.log("app.log"), &lines[1_000..]);
    let warns = |report: &crate::harness::Report| !report.list("/warnings").is_empty();
    let report = agent.wait_until("it says that the state can't be kept", warns);
    let pid = report.at("/pid").as_i64().and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?));
    rustix::process::kill_process(pid.expect("a pid"), rustix::process::Signal::KILL).expect("our own child's child");
    // strace ends when what it traces is gone for good.
    agent.wait_for_exit(SOON);
    let agent = host.start();
    agent.wait_until_delivered(2_000).assert_ledger_adds_up();
}

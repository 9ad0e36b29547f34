//! What the kernel knows of a process: CPU time and memory. And the yardstick: what `openssl` needs on this machine.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Linux reports CPU times in hundredths of a second, whatever the kernel's own tick (`USER_HZ`, `proc_pid_stat(5)`).
const TICKS_PER_SECOND: f64 = 100.0;

/// One run takes a tenth of a second, and ticks are a hundredth: ten runs bring the error to one percent.
const YARDSTICK_RUNS: u32 = 10;

/// CPU time of a process so far, user and system, its finished threads included.
pub(crate) fn cpu(pid: u32) -> Duration {
    ticks(&format!("/proc/{pid}/stat"), 11)
}

/// CPU time of what a process has started and waited for.
pub(crate) fn cpu_of_children(pid: u32) -> Duration {
    ticks(&format!("/proc/{pid}/stat"), 13)
}

/// The sum of two neighbouring fields, counted from the state, which follows the name in parentheses.
fn ticks(path: &str, first: usize) -> Duration {
    let stat = std::fs::read_to_string(path).expect("a process that runs has a /proc entry");
    let (_, fields) = stat.rsplit_once(") ").expect("the name stands in parentheses");
    let sum: u32 = fields.split(' ').skip(first).take(2).map(|field| field.parse::<u32>().expect("ticks")).sum();
    Duration::from_secs_f64(f64::from(sum) / TICKS_PER_SECOND)
}

/// A line of `/proc/PID/status` in MiB: `VmRSS` (now) or `VmHWM` (the most so far).
pub(crate) fn memory_mib(pid: u32, key: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process that runs has a /proc entry");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("the kernel knows the key");
    let kib: u32 = line.trim_matches([':', '\t', ' ']).trim_end_matches(" kB").parse().expect("a size in kB");
    f64::from(kib) / 1024.0
}

/// The CPU time that `openssl dgst -sha256` needs for all of `files` together.
pub(crate) fn yardstick(directory: &Path) -> Duration {
    let this = std::process::id();
    let before = cpu_of_children(this);
    for _ in 0..YARDSTICK_RUNS {
        // One process however many files, as the agent is one.
        let files =
            std::fs::read_dir(directory).expect("our own directory").map(|entry| entry.expect("an entry").path());
        let status = Command::new("openssl").args(["dgst", "-sha256"]).args(files).stdout(Stdio::null()).status();
        assert!(status.is_ok_and(|status| status.success()), "the yardstick needs the openssl command");
    }
    cpu_of_children(this).saturating_sub(before) / YARDSTICK_RUNS
}

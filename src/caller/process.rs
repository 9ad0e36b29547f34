//! Finds out about one process. All that is read of it is read through one descriptor of its directory in /proc, which
//! leads nowhere once the process is gone, whoever has its number then.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open, openat};
use rustix::net::UCred;
use rustix::net::sockopt::socket_peercred;

use super::cgroup::{self, Container};
use crate::clock::boot_time;

/// No file that is looked at is longer; a process with thousands of groups has them in less.
const LONGEST: u64 = 256 * 1024;

/// A process's start is told in ticks of so many milliseconds: the kernel's `USER_HZ` is 100 everywhere.
const TICK_MILLIS: u64 = 10;

/// Who is calling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The process, for messages; not known of one that calls by TCP.
    pub pid: Option<i32>,
    /// The user.
    pub uid: u32,
    /// The groups: the first as the kernel attested it, the others as long as the process was there to be looked at.
    pub gids: Vec<u32>,
    /// What the process calls itself, for messages.
    pub command: Option<String>,
    /// The system's unit that it runs in.
    pub unit: Option<String>,
    /// The container that it runs in, if that is not ours.
    pub container: Option<Container>,
    /// Whether the caller was there to be looked at.
    pub is_known: bool,
    /// Whether its place, unit and container, was found out. By TCP an older kernel does not tell.
    pub is_placed: bool,
}

/// What /proc says.
struct Findings {
    gids: Vec<u32>,
    command: Option<String>,
    cgroups: String,
    /// Whether it has another number in a namespace of its own, as in a container.
    is_nested: bool,
}

impl Caller {
    /// Who connected to the other end of `socket`.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn of_peer(socket: impl AsFd) -> io::Result<Self> {
        Ok(Self::of(&socket_peercred(socket)?))
    }

    /// Who the kernel says it is, when it sent something.
    #[must_use]
    pub fn of(attested: &UCred) -> Self {
        Self::at(attested, boot_time())
    }

    /// Who it is that was there at `seen`, by the clock of the boot.
    fn at(attested: &UCred, seen: Duration) -> Self {
        let (pid, uid, gid) = (attested.pid.as_raw_nonzero().get(), attested.uid.as_raw(), attested.gid.as_raw());
        let mut caller = Self { pid: Some(pid), uid, gids: vec![gid], ..Self::default() };
        let own = std::fs::read_to_string("/proc/self/cgroup");
        if let (Ok(findings), Ok(own)) = (look(pid, uid, seen), own) {
            caller.gids.extend(findings.gids.into_iter().filter(|other| *other != gid));
            caller.command = findings.command;
            caller.stand(cgroup::path_of(&findings.cgroups), cgroup::path_of(&own));
            if findings.is_nested && caller.container.is_none() {
                caller.container = Some(Container::without_name());
            }
            (caller.is_known, caller.is_placed) = (true, true);
        }
        caller
    }

    /// It runs in the cgroup at `path`, while we run in that at `own`.
    pub(super) fn stand(&mut self, path: Option<&str>, own: Option<&str>) {
        self.unit = path.and_then(cgroup::unit_of);
        let ours = own.and_then(cgroup::container_of);
        self.container = path.and_then(cgroup::container_of).filter(|container| Some(container) != ours.as_ref());
    }
}

/// For people: `user app (uid 1000), pid 4711 (curl), in web.service`.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}", self.uid)?;
        if let Some(pid) = self.pid {
            write!(f, ", pid {pid}")?;
        }
        if let Some(command) = &self.command {
            write!(f, " ({})", command.escape_debug())?;
        }
        match (&self.unit, &self.container) {
            _ if !self.is_known => f.write_str(", which was gone before it could be looked at"),
            (unit, Some(container)) => {
                let name = container.name.as_deref().unwrap_or("without a name");
                write!(f, ", in the container {}", name.escape_debug())?;
                unit.as_ref().map_or(Ok(()), |unit| write!(f, " of {unit}"))
            }
            (Some(unit), None) => write!(f, ", in {unit}"),
            (None, None) if !self.is_placed => f.write_str(", in a unit that this system does not tell"),
            (None, None) => f.write_str(", in no unit of the system"),
        }
    }
}

/// Looks at process `pid`, if it ran at `seen` and still runs as `uid`: one that took its number, or became somebody
/// else, is another.
fn look(pid: i32, uid: u32, seen: Duration) -> io::Result<Findings> {
    let directory = open(format!("/proc/{pid}"), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let read = |name: &str| -> io::Result<String> {
        let file = File::from(openat(&directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?);
        let mut text = String::new();
        file.take(LONGEST).read_to_string(&mut text)?;
        Ok(text)
    };
    let started = start_time(&read("stat")?).ok_or(io::ErrorKind::NotFound)?;
    let status = read("status")?;
    let cgroups = read("cgroup")?;
    let same_user = numbers(&status, "Uid:").get(1) == Some(&uid);
    // The start never changes: the same one means the same process throughout, and one after the call another process.
    let is_later = Duration::from_millis(started.saturating_mul(TICK_MILLIS)) > seen;
    if !same_user || is_later || start_time(&read("stat")?) != Some(started) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let is_nested = numbers(&status, "NSpid:").len() > 1;
    let command = line(&status, "Name:").map(|name| name.trim().to_owned());
    Ok(Findings { gids: numbers(&status, "Groups:"), command, cgroups, is_nested })
}

/// The numbers behind `name` in the text of /proc/PID/status.
fn numbers(status: &str, name: &str) -> Vec<u32> {
    line(status, name).unwrap_or_default().split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

fn line<'s>(status: &'s str, name: &str) -> Option<&'s str> {
    status.lines().find_map(|line| line.strip_prefix(name))
}

/// Field 22 of /proc/PID/stat (proc(5)); the second is a name in parentheses that may hold anything.
fn start_time(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn we_are_who_we_are() {
        let (one, _other) = UnixStream::pair().unwrap();
        let caller = Caller::of_peer(&one).unwrap();
        assert_eq!(caller.pid, i32::try_from(std::process::id()).ok());
        assert!(caller.is_known && caller.command.is_some(), "{caller:?}");
        assert_eq!(caller.uid, rustix::process::geteuid().as_raw());
        assert_eq!(caller.gids[0], rustix::process::getegid().as_raw());
        assert_eq!(caller.container, None, "what is in our own container is on our host");
    }

    #[test]
    fn a_process_that_is_gone_or_somebody_elses_is_not_looked_at() {
        let uid = rustix::process::geteuid().as_raw();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        child.wait().unwrap();
        assert!(look(pid, uid, boot_time()).is_err());
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(look(own, uid, boot_time()).is_ok());
        assert!(look(own, uid + 1, boot_time()).is_err());
    }

    #[test]
    fn a_process_that_began_after_the_call_has_only_the_callers_number() {
        let uid = rustix::process::geteuid().as_raw();
        let called = boot_time();
        std::thread::sleep(Duration::from_millis(3 * TICK_MILLIS));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let (before, after) = (look(pid, uid, called), look(pid, uid, boot_time()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(before.is_err() && after.is_ok());
    }

    #[test]
    fn a_caller_is_shown_as_what_it_was_taken_for() {
        let mut caller = Caller { pid: Some(7), uid: 1000, command: Some("a\x1bb".to_owned()), ..Caller::default() };
        assert_eq!(caller.to_string(), r"uid 1000, pid 7 (a\u{1b}b), which was gone before it could be looked at");
        caller.is_known = true;
        assert_eq!(caller.to_string(), r"uid 1000, pid 7 (a\u{1b}b), in a unit that this system does not tell");
        caller.is_placed = true;
        assert_eq!(caller.to_string(), r"uid 1000, pid 7 (a\u{1b}b), in no unit of the system");
        caller.unit = Some("web.service".to_owned());
        assert!(caller.to_string().ends_with(", in web.service"));
        caller.container = Some(Container::without_name());
        assert!(caller.to_string().ends_with(", in the container without a name of web.service"));
    }

    #[test]
    fn a_start_time_is_found_behind_any_name() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(start_time(stat), Some(4711));
        assert_eq!(start_time("7 (a"), None);
    }
}

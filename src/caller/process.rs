//! Finds out about one process. All that is read of it is read through one descriptor of its directory in /proc, which
//! leads nowhere once the process is gone, whoever has its number then.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags, open, openat};
use rustix::net::UCred;
use rustix::net::sockopt::socket_peercred;

use super::cgroup;

/// No file that is looked at is longer; a process with thousands of groups has them in less.
const LONGEST: u64 = 256 * 1024;

/// Who is calling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The process, for messages.
    pub pid: i32,
    /// The user.
    pub uid: u32,
    /// The groups: the first as the kernel attested it, the others as long as the process was there to be looked at.
    pub gids: Vec<u32>,
    /// The system's unit that it runs in.
    pub unit: Option<String>,
    /// Whether it runs in a container that is not ours.
    pub is_contained: bool,
}

/// What /proc says.
struct Findings {
    gids: Vec<u32>,
    cgroups: String,
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
        let (pid, uid, gid) = (attested.pid.as_raw_nonzero().get(), attested.uid.as_raw(), attested.gid.as_raw());
        let mut caller = Self { pid, uid, gids: vec![gid], ..Self::default() };
        if let Ok(findings) = look(pid, uid) {
            caller.gids.extend(findings.gids.into_iter().filter(|other| *other != gid));
            caller.unit = cgroup::unit_of(&findings.cgroups);
            let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
            let container = cgroup::container_of(&findings.cgroups);
            caller.is_contained = container.is_some() && container != cgroup::container_of(&own);
        }
        caller
    }
}

/// Looks at process `pid`, if it still runs as `uid`: one that took its number, or became somebody else, is another.
fn look(pid: i32, uid: u32) -> io::Result<Findings> {
    let directory = open(format!("/proc/{pid}"), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let read = |name: &str| -> io::Result<String> {
        let file = File::from(openat(&directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?);
        let mut text = String::new();
        file.take(LONGEST).read_to_string(&mut text)?;
        Ok(text)
    };
    let started = start_time(&read("stat")?);
    let status = read("status")?;
    let cgroups = read("cgroup")?;
    let same_user = numbers(&status, "Uid:").get(1) == Some(&uid);
    // The numbers of a process do not change, so that the same start time means the same process throughout.
    if !same_user || started.is_none() || start_time(&read("stat")?) != started {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(Findings { gids: numbers(&status, "Groups:"), cgroups })
}

/// The numbers behind `name` in the text of /proc/PID/status.
fn numbers(status: &str, name: &str) -> Vec<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().filter_map(|number| number.parse().ok()).collect()
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
        assert_eq!(caller.pid, i32::try_from(std::process::id()).unwrap());
        assert_eq!(caller.uid, rustix::process::geteuid().as_raw());
        assert_eq!(caller.gids[0], rustix::process::getegid().as_raw());
        assert!(!caller.is_contained, "what is in our own container is on our host");
    }

    #[test]
    fn a_process_that_is_gone_or_somebody_elses_is_not_looked_at() {
        let uid = rustix::process::geteuid().as_raw();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        child.wait().unwrap();
        assert!(look(pid, uid).is_err());
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(look(own, uid).is_ok());
        assert!(look(own, uid + 1).is_err());
    }

    #[test]
    fn a_start_time_is_found_behind_any_name() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(start_time(stat), Some(4711));
        assert_eq!(start_time("7 (a"), None);
    }
}

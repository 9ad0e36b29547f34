//! How a socket of ours comes to be open: a TCP listener (`tcp`), or a unix socket: the one that a former process left,
//! if it still leads here, or a new one in the place of one that nobody answers at; and that those which are wanted are
//! served (`serving`). Not who is served, and not how it is handed on.

mod serving;
mod tcp;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, fchmod};
use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use tokio::net::{UnixDatagram, UnixListener, UnixStream};

pub use serving::serve_wanted;
pub use tcp::{Error as TcpError, open_tcp};

/// How long to wait for a connection to whoever may hold the socket already: it is local, the kernel answers.
const PROBE_DEADLINE: Duration = Duration::from_secs(1);

/// Connections that wait while nobody accepts, during a restart for instance: as many as the kernel allows by default
/// (`net.core.somaxconn` before Linux 5.4), far more than there are askers.
const BACKLOG: i32 = 128;

/// Who may connect.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// The mode of the socket's file.
    pub mode: u32,
    /// The group that its file is given to, if it is there.
    pub group: Option<&'static str>,
}

impl Access {
    /// Everybody: who is served is decided by who it is.
    pub const EVERYBODY: Self = Self { mode: 0o666, group: None };
}

/// Why a socket can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another daemon answers there.
    #[error(
        "another imds-agent answers at {path}; stop it, or set IMDS_AGENT_RUNTIME_DIR to a directory of this one's own"
    )]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is not a socket has its name.
    #[error("{path} is in the way and not a socket; remove it")]
    NotASocket {
        /// The thing.
        path: PathBuf,
    },
    /// The system said no.
    #[error(
        "{operation} the socket {path} failed; its directory must be writable for this user, or set IMDS_AGENT_RUNTIME_DIR to one that is"
    )]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The socket.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// Opens the listening socket at `path`: `inherited`, which was bound there, if it still leads there, else a new one.
/// Also whether it is the inherited one.
///
/// # Errors
/// When another daemon answers there, or the system says no.
pub async fn open(
    path: &Path,
    inherited: Option<std::os::unix::net::UnixListener>,
    access: Access,
) -> Result<(UnixListener, bool), Error> {
    let failed = |operation| move |source| Error::Io { operation, path: path.to_owned(), source };
    let answers = is_answered(path).await?;
    // Nobody but the inherited one listens where somebody answers: another daemon's would have taken its place.
    if let Some(inherited) = inherited.filter(|_| answers) {
        keep_access(path, access);
        inherited.set_nonblocking(true).map_err(failed("taking over"))?;
        return Ok((UnixListener::from_std(inherited).map_err(failed("taking over"))?, true));
    }
    let socket = replace(path, answers, SocketType::STREAM, access)?;
    // Only now: until it listens, nobody can connect.
    listen(&socket, BACKLOG).map_err(|error| failed("listening at")(error.into()))?;
    Ok((UnixListener::from_std(socket.into()).map_err(failed("listening at"))?, false))
}

/// Opens the datagram socket at `path` likewise; the kernel says of each datagram who sent it.
///
/// # Errors
/// When another daemon receives there, or the system says no.
pub fn open_datagram(
    path: &Path,
    inherited: Option<std::os::unix::net::UnixDatagram>,
    access: Access,
) -> Result<(UnixDatagram, bool), Error> {
    let failed = |operation| move |source| Error::Io { operation, path: path.to_owned(), source };
    let answers = is_received(path)?;
    let (socket, is_inherited) = match inherited.filter(|_| answers) {
        Some(inherited) => {
            keep_access(path, access);
            inherited.set_nonblocking(true).map_err(failed("taking over"))?;
            (inherited, true)
        }
        None => (replace(path, answers, SocketType::DGRAM, access)?.into(), false),
    };
    set_socket_passcred(&socket, true).map_err(|error| failed("opening")(error.into()))?;
    Ok((UnixDatagram::from_std(socket).map_err(failed("opening"))?, is_inherited))
}

/// Takes a socket's name away, if nobody answers there: it is not served any more.
pub fn remove(path: &Path) {
    // One that stayed would do no harm: the next start replaces it.
    let _ = std::fs::remove_file(path);
}

/// A new socket in the place of what is at `path`, which nobody can connect to before its rights are set.
fn replace(path: &Path, answers: bool, kind: SocketType, access: Access) -> Result<OwnedFd, Error> {
    let failed = |operation| move |source| Error::Io { operation, path: path.to_owned(), source };
    if answers {
        return Err(Error::Taken { path: path.to_owned() });
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("replacing")(error)),
        _ => {}
    }
    let socket = bind_closed(path, kind).map_err(|error| failed("binding")(error.into()))?;
    set_access(path, access)?;
    Ok(socket)
}

fn keep_access(path: &Path, access: Access) {
    if let Err(error) = set_access(path, access) {
        // A socket unit's belongs to root, who gave it the rights it should have.
        tracing::info!(error = crate::fault::chain(&error), "a socket keeps the rights it was given");
    }
}

/// Whether somebody receives datagrams at `path`.
fn is_received(path: &Path) -> Result<bool, Error> {
    let failed = |source| Error::Io { operation: "looking at", path: path.to_owned(), source };
    if !is_socket(path)? {
        return Ok(false);
    }
    match std::os::unix::net::UnixDatagram::unbound().and_then(|probe| probe.connect(path)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        // A socket of another kind, which somebody may listen at.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PROTOTYPE.raw_os_error()) => {
            Ok(std::os::unix::net::UnixStream::connect(path).is_ok())
        }
        Err(error) => Err(failed(error)),
    }
}

/// Whether there is a socket at `path`; an error if it is something else.
fn is_socket(path: &Path) -> Result<bool, Error> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => Ok(true),
        Ok(_) => Err(Error::NotASocket { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::Io { operation: "looking at", path: path.to_owned(), source }),
    }
}

/// Whether somebody listens at `path`.
async fn is_answered(path: &Path) -> Result<bool, Error> {
    let failed = |source| Error::Io { operation: "looking at", path: path.to_owned(), source };
    if !is_socket(path)? {
        return Ok(false);
    }
    match tokio::time::timeout(PROBE_DEADLINE, UnixStream::connect(path)).await {
        Ok(Err(error)) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
            Ok(false)
        }
        // Connected, or a queue too full to connect: somebody is there.
        Ok(Ok(_)) | Err(_) => Ok(true),
        Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        // A socket of datagrams.
        Ok(Err(error)) if error.raw_os_error() == Some(rustix::io::Errno::PROTOTYPE.raw_os_error()) => {
            is_received(path)
        }
        Ok(Err(error)) => Err(failed(error)),
    }
}

/// Binds a socket that nobody may connect to yet, whatever the umask: unix(7), a socket's own mode is that of its file.
fn bind_closed(path: &Path, kind: SocketType) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, kind, flags, None)?;
    fchmod(&socket, Mode::empty())?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

fn set_access(path: &Path, access: Access) -> Result<(), Error> {
    let failed = |operation| move |source| Error::Io { operation, path: path.to_owned(), source };
    let is_of = std::fs::symlink_metadata(path).map_err(failed("looking at"))?.gid();
    // The service's own group it has already; a sandbox may forbid even asking for that.
    if let Some(name) = access.group
        && let Some(group) = group_id(&std::fs::read_to_string("/etc/group").unwrap_or_default(), name)
        && group != is_of
        && let Err(error) = std::os::unix::fs::chown(path, None, Some(group))
    {
        tracing::warn!(path = %path.display(), group = name, %error, "a socket can't be given to the group; its members can't use it");
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(access.mode)).map_err(failed("setting the mode of"))
}

/// A group's id by the text of `/etc/group` (group(5): `name:password:gid:members`).
fn group_id(groups: &str, name: &str) -> Option<u32> {
    let mut fields = groups
        .lines()
        .map(|line| line.split(':'))
        .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
    fields.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[tokio::test]
    async fn an_inherited_socket_goes_on_if_it_still_leads_there_and_is_replaced_if_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("some.sock");
        let (first, inherited) = open(&path, None, Access::EVERYBODY).await.unwrap();
        assert!(!inherited);
        let handed_on = || std::os::unix::net::UnixListener::from(first.as_fd().try_clone_to_owned().unwrap());
        assert!(open(&path, Some(handed_on()), Access::EVERYBODY).await.unwrap().1);
        // As when the runtime directory was emptied meanwhile.
        std::fs::remove_file(&path).unwrap();
        let (second, inherited) = open(&path, Some(handed_on()), Access::EVERYBODY).await.unwrap();
        assert!(!inherited);
        UnixStream::connect(&path).await.unwrap();
        second.accept().await.unwrap();
    }

    #[tokio::test]
    async fn nobody_can_connect_before_the_rights_are_set() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("some.sock");
        let _socket = bind_closed(&path, SocketType::STREAM).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0);
        assert!(UnixStream::connect(&path).await.is_err());
    }

    #[tokio::test]
    async fn a_datagram_socket_is_replaced_unless_somebody_receives_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("some.sock");
        let (first, inherited) = open_datagram(&path, None, Access::EVERYBODY).unwrap();
        assert!(!inherited);
        assert!(matches!(open_datagram(&path, None, Access::EVERYBODY), Err(Error::Taken { .. })));
        assert!(matches!(open(&path, None, Access::EVERYBODY).await, Err(Error::Taken { .. })));
        let handed_on = std::os::unix::net::UnixDatagram::from(first.as_fd().try_clone_to_owned().unwrap());
        assert!(open_datagram(&path, Some(handed_on), Access::EVERYBODY).unwrap().1);
        drop(first);
        let (listener, _) = open(&path, None, Access::EVERYBODY).await.unwrap();
        assert!(matches!(open_datagram(&path, None, Access::EVERYBODY), Err(Error::Taken { .. })));
        drop(listener);
        assert!(open_datagram(&path, None, Access::EVERYBODY).is_ok());
    }

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        let groups = "root:x:0:\nimds-agent-old:x:7:\nimds-agent:x:998:ops,web\n";
        assert_eq!(group_id(groups, "imds-agent"), Some(998));
        assert_eq!(group_id(groups, "imds"), None);
    }
}

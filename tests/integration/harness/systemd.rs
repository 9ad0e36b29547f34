//! systemd's end of the notify socket: what the agent says, and the descriptors it hands over to be kept. Not a service
//! manager: that one is tested for real elsewhere.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::{Host, SOON};

/// Where a host's agent says how it is.
pub(crate) struct Systemd(UnixDatagram);

/// One message, and what came with it.
pub(crate) struct Message {
    pub(crate) text: String,
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Systemd {
    /// Listens to the agents that are started on `host` from now on.
    pub(crate) fn of(host: &mut Host) -> Self {
        let path = host.path("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket in a temporary directory");
        socket.set_read_timeout(Some(SOON)).expect("a socket can have a timeout");
        host.set("NOTIFY_SOCKET", &path.display().to_string());
        Self(socket)
    }

    /// The next message.
    ///
    /// # Panics
    /// When none comes soon.
    pub(crate) fn next(&self) -> Message {
        let mut text = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut text)];
        let received =
            recvmsg(&self.0, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC).expect("the agent says something");
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        Message { text: String::from_utf8_lossy(&text[..received.bytes]).into_owned(), descriptors }
    }

    /// The descriptors that are handed over to be kept until the agent is ready.
    pub(crate) fn stored_until_ready(&self) -> Vec<OwnedFd> {
        let mut stored = Vec::new();
        loop {
            let message = self.next();
            stored.extend(message.descriptors);
            if message.text.lines().any(|line| line == "READY=1") {
                return stored;
            }
        }
    }

    /// The next message with a line that is `wanted`; those before it are passed over.
    pub(crate) fn wait_for(&self, wanted: &str) -> String {
        self.wait_for_line(|line| line == wanted)
    }

    /// The next message with such a line.
    pub(crate) fn wait_for_line(&self, is_it: impl Fn(&str) -> bool) -> String {
        loop {
            let message = self.next().text;
            if message.lines().any(&is_it) {
                return message;
            }
        }
    }
}

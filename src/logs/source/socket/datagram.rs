//! A datagram socket, as /dev/log is: each datagram is one message or a few lines, its sender is who the kernel says, and
//! waits for nothing. Not who may send.

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::sync::Arc;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, UCred, recvmsg};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio_util::sync::CancellationToken;

use super::count_of;
use super::intake::Intake;
use super::receiver::Inner;
use crate::caller::{Accounts, Caller};
use crate::logs::spool::{Append, Key};

/// The longest datagram: several times what a socket sends by default (`net.core.wmem_default`). Of the memory, only what
/// was used is real.
const LONGEST: usize = 1 << 20;

/// So many are stored together at most.
const TOGETHER: usize = 64;

/// So many bytes are stored together at most, so that their memory is bounded.
const MOST_BYTES: usize = 256 * 1024;

/// Serves the socket called `name` until `stop`, and then what has come by then.
pub(super) async fn serve(inner: Arc<Inner>, socket: &UnixDatagram, name: &str, stop: CancellationToken) {
    let mut buffer = vec![0; LONGEST];
    loop {
        let stopped = tokio::select! {
            biased;
            () = stop.cancelled() => true,
            ready = socket.readable() => ready.is_err(),
        };
        let appends = receive(&inner, socket, name, &mut buffer);
        if stopped && appends.is_empty() {
            return;
        }
        for append in appends {
            let (key, count) = (append.key.clone(), count_of(&append));
            if let Err((refused, _)) = inner.inbox.hand_in(append).await {
                inner.inbox.spool().note_refusal(&refused.to_string());
                inner.inbox.spool().note_loss(&key, count, inner.now());
            }
        }
    }
}

/// What has come, as far as its senders may send.
fn receive(inner: &Inner, socket: &UnixDatagram, name: &str, buffer: &mut [u8]) -> Vec<Append> {
    let (tables, accounts) = (inner.tables(), Accounts::of_system());
    let Some(table) = tables.get(name) else { return Vec::new() };
    let mut senders: BTreeMap<(i32, u32), Option<Arc<Key>>> = BTreeMap::new();
    let (mut appends, mut bytes) = (Vec::<Append>::new(), 0);
    for _ in 0..TOGETHER {
        let Ok((length, sender)) = socket.try_io(Interest::READABLE, || receive_one(socket, buffer)) else { break };
        bytes += length;
        let Some(sender) = sender else { continue };
        let number = (sender.pid.as_raw_nonzero().get(), sender.uid.as_raw());
        let key = senders.entry(number).or_insert_with(|| {
            let caller = Caller::of(&sender);
            let admitted = table.allow.admit(&caller, &accounts);
            if !admitted {
                inner.refuse(name, &caller);
            }
            admitted.then(|| Arc::new(tables.key(table, caller.uid, None)))
        });
        let Some(key) = key else { continue };
        let mut intake = Intake::new(table.syntax, table.framing.clone(), false);
        intake.push(&buffer[..length]);
        for more in intake.take(key, true, inner.now()) {
            match appends.last_mut().filter(|last| last.key == more.key) {
                Some(last) => last.records.extend_from_slice(&more.records),
                None => appends.push(more),
            }
        }
        if bytes >= MOST_BYTES {
            break;
        }
    }
    appends
}

/// One datagram's length, and who sent it.
fn receive_one(socket: &UnixDatagram, buffer: &mut [u8]) -> io::Result<(usize, Option<UCred>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let sender = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmCredentials(sender) => Some(sender),
        _ => None,
    });
    Ok((received.bytes, sender))
}

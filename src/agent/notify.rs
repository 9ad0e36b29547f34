//! What systemd is told: READY once the doors listen, RELOADING, STATUS in one line, STOPPING, WATCHDOG while every task
//! of ours makes progress, and which listening sockets it is to keep. It never waits, neither for systemd nor for AWS or
//! a disk.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use sd_notify::NotifyState;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::heartbeat::Heartbeat;

/// How soon a withheld WATCHDOG is tried again: after a suspend all beats are old until each task's next one, and the
/// feed must then not wait for another half interval.
const RETRY: Duration = Duration::from_secs(1);

/// How often it is looked whether there is another status: what `systemctl status` shows is never older, and a look
/// costs a few microseconds.
const LOOK: Duration = Duration::from_secs(1);

/// How often the status is made anew although nothing happened: credentials expire by themselves.
const RENEW: Duration = Duration::from_secs(5);

/// How systemd is reached, if it started us; clones share the socket.
#[derive(Clone, Debug, Default)]
pub struct Notifier {
    socket: Option<Arc<UnixDatagram>>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// As `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` say (`sd_notify`(3), `sd_watchdog_enabled`(3)). A socket
    /// that can't be reached is logged: systemd would only wait, and then give its own reason.
    #[must_use]
    pub fn from_process() -> Self {
        let Some(address) = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) else {
            return Self::default();
        };
        Self::connect(address.as_bytes(), sd_notify::watchdog_enabled()).unwrap_or_else(|error| {
            tracing::warn!(socket = ?address, %error, "systemd's notify socket can't be reached");
            Self::default()
        })
    }

    /// Through the socket at `address` (a path, or `@` and an abstract name), feeding a watchdog with that timeout.
    ///
    /// # Errors
    /// When nothing listens there.
    pub fn connect(address: &[u8], watchdog: Option<Duration>) -> std::io::Result<Self> {
        let peer = match address.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(address))?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&peer)?;
        // A systemd too busy to take a message must not stop the loop; the next message says it again.
        socket.set_nonblocking(true)?;
        Ok(Self { socket: Some(Arc::new(socket)), watchdog: watchdog.filter(|timeout| !timeout.is_zero()) })
    }

    /// READY=1: the doors are listening.
    pub fn ready(&self) {
        self.send(&NotifyState::Ready);
    }

    /// RELOADING=1: the configuration is read again; READY=1 ends it. systemd wants to know since when.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.send_text(&format!("{}\n{}", NotifyState::Reloading, NotifyState::MonotonicUsec(micros)));
    }

    /// FDSTORE=1: systemd keeps this listening socket, and hands it to the next process of this service in `LISTEN_FDS`,
    /// so that who connects in between waits instead of failing. It takes the place of others of that name. Whether
    /// systemd was told.
    pub(super) fn store(&self, socket: BorrowedFd<'_>, name: &str) -> bool {
        let Some(systemd) = &self.socket else { return false };
        self.send_text(&format!("FDSTOREREMOVE=1\nFDNAME={name}"));
        let message = format!("FDSTORE=1\nFDNAME={name}");
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let sockets = [socket];
        control.push(SendAncillaryMessage::ScmRights(&sockets));
        let sent = sendmsg(systemd, &[IoSlice::new(message.as_bytes())], &mut control, SendFlags::empty());
        if let Err(error) = &sent {
            tracing::warn!(name, %error, "systemd took no socket; who connects during a restart will fail");
        }
        sent.is_ok()
    }

    /// FDSTOREREMOVE=1: systemd need not keep the sockets of that name any more.
    pub(super) fn forget(&self, name: &str) {
        self.send_text(&format!("FDSTOREREMOVE=1\nFDNAME={name}"));
    }

    /// STOPPING=1: the shutdown has begun.
    pub fn stopping(&self) {
        self.send(&NotifyState::Stopping);
    }

    /// Feeds the watchdog while no task is `stuck`, and shows `status` when it changes, until `stop`. `status` is costly,
    /// so it is asked when `revision` changed, and now and then, since some of it changes with time alone.
    pub(super) async fn run<R: PartialEq>(
        &self,
        stuck: impl Fn() -> Vec<&'static str>,
        revision: impl Fn() -> R,
        status: impl Fn() -> String,
        stop: CancellationToken,
        heartbeat: Heartbeat,
    ) {
        let mut shown = Shown { revision: None, line: String::new(), renew_at: Instant::now() };
        let mut pulse = Pulse::new(self.watchdog, Instant::now());
        while !stop.is_cancelled() {
            heartbeat.beat();
            let now = Instant::now();
            if pulse.feed(&stuck(), now) {
                self.send(&NotifyState::Watchdog);
            }
            if self.socket.is_some() && shown.is_old(revision(), now) {
                let line = one_line(&status());
                if line != shown.line {
                    self.send(&NotifyState::Status(&line));
                    shown.line = line;
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep_until(pulse.next(now)) => {}
            }
        }
    }

    fn send(&self, state: &NotifyState<'_>) {
        self.send_text(&state.to_string());
    }

    fn send_text(&self, message: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(message.as_bytes())
        {
            tracing::debug!(%error, "systemd took no message");
        }
    }
}

/// `STATUS=` ends at a line end; what came behind it would be another message.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What `systemctl status` shows.
struct Shown<R> {
    revision: Option<R>,
    line: String,
    renew_at: Instant,
}

impl<R: PartialEq> Shown<R> {
    /// Whether it is to be renewed, for what is there now.
    fn is_old(&mut self, revision: R, now: Instant) -> bool {
        let revision = Some(revision);
        if revision == self.revision && now < self.renew_at {
            return false;
        }
        self.revision = revision;
        self.renew_at = now + RENEW;
        true
    }
}

/// When the watchdog is fed: at half its timeout, and only while nothing is stuck.
struct Pulse {
    interval: Option<Duration>,
    due: Instant,
    withheld: bool,
}

impl Pulse {
    fn new(timeout: Option<Duration>, now: Instant) -> Self {
        Self { interval: timeout.map(|timeout| timeout / 2), due: now, withheld: false }
    }

    /// Whether to feed now. The first time it must not, it says why.
    fn feed(&mut self, stuck: &[&'static str], now: Instant) -> bool {
        let was_withheld = std::mem::replace(&mut self.withheld, !stuck.is_empty());
        if self.withheld {
            if !was_withheld {
                tracing::error!(tasks = stuck.join(","), "tasks make no progress, the watchdog is not fed");
            }
            return false;
        }
        let Some(interval) = self.interval.filter(|_| now >= self.due) else {
            return false;
        };
        self.due = now + interval;
        true
    }

    /// When to look again.
    fn next(&self, now: Instant) -> Instant {
        match self.interval {
            Some(_) if self.withheld => now + RETRY,
            Some(_) => self.due.min(now + LOOK),
            None => now + LOOK,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::supervisor::{Board, Supervisor};
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    struct Systemd {
        socket: UnixDatagram,
        notifier: Notifier,
        _directory: tempfile::TempDir,
    }

    fn systemd(watchdog: Option<Duration>) -> Systemd {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let notifier = Notifier::connect(path.as_os_str().as_bytes(), watchdog).unwrap();
        Systemd { socket, notifier, _directory: directory }
    }

    impl Systemd {
        fn heard(&self) -> Vec<String> {
            let mut heard = Vec::new();
            let mut message = [0; 4096];
            while let Ok(n) = self.socket.recv(&mut message) {
                heard.push(String::from_utf8(message[..n].to_vec()).unwrap());
            }
            heard
        }
    }

    #[test]
    fn systemd_hears_ready_and_stopping() {
        let systemd = systemd(None);
        systemd.notifier.ready();
        systemd.notifier.stopping();
        assert_eq!(systemd.heard(), ["READY=1", "STOPPING=1"]);
    }

    #[test]
    fn an_abstract_socket_is_reached_too() {
        let name = format!("imds-agent-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Notifier::connect(format!("@{name}").as_bytes(), None).unwrap().ready();
        let mut message = [0; 16];
        assert_eq!(socket.recv(&mut message).unwrap(), "READY=1".len());
    }

    #[test]
    fn a_systemd_that_takes_no_messages_does_not_block_us() {
        let systemd = systemd(None);
        for _ in 0..10_000 {
            systemd.notifier.ready();
        }
        assert!(!systemd.heard().is_empty());
    }

    #[test]
    fn without_systemd_nothing_is_said() {
        Notifier::default().ready();
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_fed_at_half_its_timeout_and_status_is_said_once() {
        let systemd = systemd(Some(seconds(30)));
        let (notifier, stop) = (systemd.notifier.clone(), CancellationToken::new());
        let token = stop.clone();
        let task = tokio::spawn(async move {
            notifier.run(Vec::new, || 0, || "healthy\nREADY=1".to_owned(), token, Heartbeat::new()).await;
        });
        tokio::time::sleep(seconds(31)).await;
        stop.cancel();
        task.await.unwrap();
        assert_eq!(systemd.heard(), ["WATCHDOG=1", "STATUS=healthy READY=1", "WATCHDOG=1", "WATCHDOG=1"]);
    }

    #[test]
    fn a_stuck_task_withholds_the_watchdog_until_it_beats_again() {
        let start = Instant::now();
        let mut pulse = Pulse::new(Some(seconds(30)), start);
        assert!(pulse.feed(&[], start));
        assert!(!pulse.feed(&[], start + seconds(14)), "not due yet");
        assert!(!pulse.feed(&["logs"], start + seconds(15)));
        assert_eq!(pulse.next(start + seconds(15)), start + seconds(16), "it is tried again soon");
        assert!(pulse.feed(&[], start + seconds(16)), "and fed at once when the task is back");
        assert_eq!(pulse.due, start + seconds(31));
    }

    #[test]
    fn a_short_timeout_is_kept_and_a_long_one_does_not_make_status_old() {
        let start = Instant::now();
        let mut short = Pulse::new(Some(seconds(2)), start);
        assert!(short.feed(&[], start));
        assert_eq!(short.next(start), start + seconds(1));
        let mut long = Pulse::new(Some(seconds(600)), start);
        assert!(long.feed(&[], start));
        assert_eq!(long.next(start), start + seconds(1));
    }

    #[test]
    fn without_a_watchdog_none_is_fed() {
        let start = Instant::now();
        assert!(!Pulse::new(None, start).feed(&[], start + seconds(100)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_that_changed_is_shown_within_a_second_and_one_that_did_not_is_not_made() {
        let systemd = systemd(None);
        let (notifier, stop) = (systemd.notifier.clone(), CancellationToken::new());
        let (revision, made) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (token, seen, counter) = (stop.clone(), revision.clone(), made.clone());
        let task = tokio::spawn(async move {
            let look = || seen.load(Ordering::Relaxed);
            let status = || {
                counter.fetch_add(1, Ordering::Relaxed);
                format!("revision {}", look())
            };
            notifier.run(Vec::new, look, status, token, Heartbeat::new()).await;
        });
        tokio::time::sleep(seconds(60)).await;
        assert!(made.load(Ordering::Relaxed) <= 13, "made {made:?} times in a minute in which nothing happened");
        revision.store(1, Ordering::Relaxed);
        tokio::time::sleep(seconds(1)).await;
        stop.cancel();
        task.await.unwrap();
        assert_eq!(systemd.heard(), ["STATUS=revision 0", "STATUS=revision 1"]);
    }

    /// How often the watchdog was fed meanwhile.
    async fn fed_during(systemd: &Systemd, time: Duration) -> usize {
        systemd.heard();
        tokio::time::sleep(time).await;
        systemd.heard().iter().filter(|message| *message == "WATCHDOG=1").count()
    }

    #[tokio::test]
    async fn a_task_that_is_really_stuck_trips_the_watchdog_and_one_that_waits_for_aws_does_not() {
        let systemd = systemd(Some(Duration::from_millis(20)));
        let board = Board::default();
        let mut group = Supervisor::new(board.clone(), CancellationToken::new());
        let (release, released) = tokio::sync::watch::channel(false);
        // Waits for an answer that does not come, and beats.
        group.keep("patient", |stop, heartbeat| async move {
            while !stop.is_cancelled() {
                heartbeat.beat();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let (notifier, stop) = (systemd.notifier.clone(), CancellationToken::new());
        let (watched, token) = (board.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let stuck = || watched.stuck(Duration::from_millis(200));
            notifier.run(stuck, || 0, String::new, token, Heartbeat::new()).await;
        });
        assert!(fed_during(&systemd, Duration::from_millis(500)).await > 5, "a task that waits and beats is well");
        group.keep("stuck", move |stop, heartbeat| {
            let mut released = released.clone();
            async move {
                let _ = released.wait_for(|released| *released).await;
                heartbeat.beat();
                stop.cancelled().await;
            }
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(fed_during(&systemd, Duration::from_millis(300)).await, 0, "a stuck task withholds it");
        release.send_replace(true);
        group.finish(Instant::now() + seconds(5)).await;
        assert!(fed_during(&systemd, RETRY + Duration::from_millis(500)).await > 0, "it is fed again when all is well");
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(systemd.heard(), [""; 0], "a loop that is blocked feeds nothing");
        stop.cancel();
        task.await.unwrap();
    }
}

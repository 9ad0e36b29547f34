//! The daemon's process: started, asked for its report, signalled, and what it said. Not where it lives: that is the host's.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Report, SOON, look_until};

/// How long a shutdown may take, drain included.
pub(crate) const STOP_WITHIN: Duration = Duration::from_secs(10);

/// What a loaded machine may take on top.
const GRACE: Duration = Duration::from_secs(5);

/// A running daemon; killed when dropped.
pub(crate) struct Agent {
    child: Child,
    socket: PathBuf,
    said: Arc<Mutex<String>>,
    listener: Option<JoinHandle<()>>,
}

impl Agent {
    /// Starts `command` and waits until `socket` answers.
    pub(crate) fn start(command: Command, socket: PathBuf) -> Self {
        let mut agent = Self::start_without_waiting(command, socket);
        let opened = look_until(SOON, || {
            if let Some(status) = agent.child.try_wait().expect("our own child can be waited for") {
                panic!("the agent ended at once, with {status}, saying:\n{}", agent.said_to_its_end());
            }
            agent.try_report()
        });
        assert!(opened.is_ok(), "no report at {} within {SOON:?}; it said:\n{}", agent.socket.display(), agent.said());
        agent
    }

    /// Starts `command`, which may end before it answers.
    pub(crate) fn start_without_waiting(mut command: Command, socket: PathBuf) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary can be started");
        let said = Arc::new(Mutex::new(String::new()));
        let mut stderr = child.stderr.take().expect("stderr is piped");
        let heard = Arc::clone(&said);
        let listener = std::thread::spawn(move || {
            let mut chunk = [0; 8192];
            while let Ok(count @ 1..) = stderr.read(&mut chunk) {
                heard.lock().expect("nobody panics here").push_str(&String::from_utf8_lossy(&chunk[..count]));
            }
        });
        Self { child, socket, said, listener: Some(listener) }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to stderr so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().expect("nobody panics here").clone()
    }

    /// All that it wrote to stderr; waits until it is gone.
    fn said_to_its_end(&mut self) -> String {
        if let Some(listener) = self.listener.take() {
            listener.join().expect("the listener does not panic");
        }
        self.said()
    }

    /// The report, straight from the socket: one JSON document a connection.
    pub(crate) fn report(&self) -> Report {
        self.try_report().unwrap_or_else(|| {
            panic!("no report at {}; the agent said:\n{}", self.socket.display(), self.said());
        })
    }

    fn try_report(&self) -> Option<Report> {
        let mut stream = UnixStream::connect(&self.socket).ok()?;
        stream.set_read_timeout(Some(SOON)).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Report::parse(&text)
    }

    /// Waits until the report says what `what` describes.
    pub(crate) fn wait_until(&self, what: &str, holds: impl FnMut(&Report) -> bool) -> Report {
        self.wait_within(SOON, what, holds)
    }

    /// The same, with a deadline of its own.
    pub(crate) fn wait_within(&self, within: Duration, what: &str, mut holds: impl FnMut(&Report) -> bool) -> Report {
        look_until(within, || Some(self.report()).filter(|report| holds(report))).unwrap_or_else(|waited| {
            panic!("waited {waited:?} until {what}; the report is\n{:#}\nand it said:\n{}", self.report(), self.said());
        })
    }

    /// Waits until it has written `text` to stderr, whose reader is a thread of its own.
    pub(crate) fn wait_until_said(&self, text: &str) {
        let said = look_until(SOON, || self.said().contains(text).then_some(()));
        assert!(said.is_ok(), "waited until it says '{text}'; it said:\n{}", self.said());
    }

    /// Waits until `count` records are delivered and nothing is pending.
    pub(crate) fn wait_until_delivered(&self, count: u64) -> Report {
        self.wait_until(&format!("{count} events are delivered"), |report| {
            let events = report.events();
            events.delivered >= count && events.pending == 0
        })
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a child has a pid");
        kill_process(pid, signal).expect("our own child can be signalled");
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("our own child can be killed");
        self.child.wait().expect("our own child can be waited for");
    }

    /// SIGTERM, and waits for the end; returns how it ended and all it said.
    pub(crate) fn stop(self) -> (ExitStatus, String) {
        self.signal(Signal::TERM);
        self.wait_for_exit(SOON)
    }

    /// Asks it to stop, which it must do well and in time.
    pub(crate) fn stop_in_order(self) {
        let asked = Instant::now();
        let (status, said) = self.stop();
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(asked.elapsed() < STOP_WITHIN + GRACE, "stopping took {:?}", asked.elapsed());
    }

    /// Waits until a request for the stream is on its way, whose answer a fault holds back.
    pub(crate) fn wait_until_in_flight(&self, log_group: &str, log_stream: &str) {
        self.wait_until("a put hangs", |report| {
            report.destination(log_group, log_stream).is_some_and(|place| place["in_flight"] != 0)
        });
    }

    /// Waits for the end; returns how it ended and all it said.
    pub(crate) fn wait_for_exit(mut self, within: Duration) -> (ExitStatus, String) {
        let status = look_until(within, || self.child.try_wait().expect("our own child can be waited for"))
            .unwrap_or_else(|waited| panic!("still running after {waited:?}; it said:\n{}", self.said()));
        let said = self.said_to_its_end();
        let mut printed = String::new();
        let stdout = self.child.stdout.as_mut().expect("stdout is piped");
        stdout.read_to_string(&mut printed).expect("a pipe can be read");
        assert_eq!(printed, "", "the daemon prints nothing on stdout");
        (status, said)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

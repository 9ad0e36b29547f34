//! What receives the logs while the agent is measured: IMDS, STS and the Logs API with as little work as possible,
//! in a process of its own. Not strict: it checks no signature and refuses nothing; the emulator is for that.

mod answers;
mod server;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use server::serve;

/// The argument that makes this program a sink.
pub(crate) const COMMAND: &str = "sink";

/// What a sink has received so far.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Requests to the metadata service.
    pub(crate) imds_requests: u64,
    /// `AssumeRole` calls.
    pub(crate) assumed: u64,
    /// `PutLogEvents` calls.
    pub(crate) puts: u64,
    /// Events in them.
    pub(crate) events: u64,
    /// Lines seen at least once, by their number.
    pub(crate) distinct: u64,
    /// When the last of them came, in microseconds since the epoch.
    pub(crate) last_put_at: u64,
}

impl Tally {
    /// Events beyond the first of their line.
    pub(crate) fn twice(&self) -> u64 {
        self.events - self.distinct
    }
}

/// A sink in another process; killed when dropped.
pub(crate) struct Sink {
    child: Child,
    address: String,
}

impl Sink {
    /// Starts one that takes `delay` for each `PutLogEvents`.
    pub(crate) fn start(delay: Duration) -> Self {
        let this = std::env::current_exe().expect("a running program has a path");
        let mut child = Command::new(this)
            .args([COMMAND, &delay.as_millis().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started again");
        let mut address = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut address).expect("the sink says where it listens");
        Self { child, address: address.trim().to_owned() }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it has received so far.
    pub(crate) fn tally(&self) -> Tally {
        let mut stream = TcpStream::connect(&self.address).expect("the sink listens");
        stream.write_all(b"GET /tally HTTP/1.1\r\nConnection: close\r\n\r\n").expect("the sink listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the sink answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("the sink speaks HTTP");
        serde_json::from_str(body).expect("the tally is JSON")
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

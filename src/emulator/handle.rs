//! The emulator as its owner holds it: started, told what to do wrong, asked what it saw, stopped. Not the serving.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::task::JoinSet;

use super::control;
use super::counts::Counts;
use super::fault::Fault;
use super::logs::{Event, GroupSummary, StreamSummary};
use super::options::{Change, Door, Options};
use super::server;
use super::shared::{Activity, Shared};

/// A running emulator; dropping it closes its listeners and all connections.
#[derive(Debug)]
pub struct Emulator {
    shared: Arc<Shared>,
    addrs: Vec<SocketAddr>,
    listeners: JoinSet<()>,
}

impl Emulator {
    /// Binds and serves.
    ///
    /// # Errors
    /// When an address can't be bound; the error names it. Without any address.
    #[allow(clippy::unused_async, reason = "sockets and tasks need a runtime, and awaiting makes sure there is one")]
    pub async fn start(options: Options) -> io::Result<Self> {
        let listen = options.listen.clone();
        let shared = Shared::new(options);
        let mut addrs = Vec::new();
        let mut listeners = JoinSet::new();
        for addr in listen {
            let named = |error: io::Error| io::Error::new(error.kind(), format!("can't listen on {addr}: {error}"));
            let listener = server::bind(addr).map_err(named)?;
            addrs.push(listener.local_addr().map_err(named)?);
            listeners.spawn(server::run(listener, Arc::clone(&shared)));
        }
        if addrs.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the emulator needs an address to listen on"));
        }
        Ok(Self { shared, addrs, listeners })
    }

    /// The first address it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addrs[0]
    }

    /// All addresses it listens on.
    #[must_use]
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// `http://ADDR` of the first address: the endpoint of IMDS, STS and CloudWatch Logs alike.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Adds a fault to those in force.
    pub fn set_fault(&self, fault: Fault) {
        self.shared.state().faults.add(fault);
    }

    /// Removes all faults. Requests that hang go on hanging.
    pub fn clear_faults(&self) {
        self.shared.state().faults.clear();
    }

    /// Accepts, refuses or ignores connections from now on.
    pub fn set_door(&self, door: Door) {
        self.shared.door.send_replace(door);
    }

    /// Changes settings.
    pub fn change(&self, change: &Change) {
        self.shared.change(change);
    }

    /// IMDS issues other credentials at the next request; the present ones stay valid.
    pub fn rotate_credentials(&self) {
        self.shared.state().keyring.rotate();
    }

    /// The credentials that IMDS serves expire now, and their document says so; others follow at the next request,
    /// unless they are frozen.
    pub fn expire_credentials(&self) {
        self.shared.state().keyring.expire(self.shared.clock.now());
    }

    /// AWS's APIs refuse the credentials that IMDS serves as expired, and IMDS goes on serving them.
    pub fn revoke_credentials(&self) {
        self.shared.state().keyring.revoke();
    }

    /// All metadata tokens are invalid from now on.
    pub fn forget_tokens(&self) {
        self.shared.state().tokens.clear();
    }

    /// The emulator's time, in milliseconds since the epoch.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.shared.clock.now()
    }

    /// What was asked of it so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.state().counts.clone()
    }

    /// The log groups, by name.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupSummary> {
        self.shared.state().store.group_summaries()
    }

    /// The log streams, by group and name.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamSummary> {
        self.shared.state().store.stream_summaries()
    }

    /// A stream's events in the order of their arrival; none if there is no such stream.
    #[must_use]
    pub fn events(&self, group: &str, stream: &str) -> Vec<Event> {
        let mut events = Vec::new();
        self.each_event(group, stream, |timestamp, ingestion_time, message| {
            events.push(Event { timestamp, ingestion_time, message: message.to_string() });
        });
        events
    }

    /// Shows a stream's events in the order of their arrival, without a copy: `(timestamp, ingestion_time, message)`.
    pub fn each_event(&self, group: &str, stream: &str, mut look: impl FnMut(i64, i64, &str)) {
        let batches = self.shared.state().store.batches(group, stream).unwrap_or_default();
        for batch in batches {
            batch.iter().for_each(|(timestamp, message)| look(timestamp, batch.ingested_at, message));
        }
    }

    /// Everything as `GET /_emulator/state` shows it.
    #[must_use]
    pub fn state(&self) -> serde_json::Value {
        control::document(&mut self.shared.state(), &self.shared)
    }

    /// What happens from now on, a line a request. A reader that is thousands of requests behind loses the oldest.
    #[must_use]
    pub fn activity(&self) -> broadcast::Receiver<Activity> {
        self.shared.activity.subscribe()
    }

    /// Closes listeners and connections, and waits until they are closed.
    pub async fn stop(mut self) {
        self.listeners.shutdown().await;
    }
}

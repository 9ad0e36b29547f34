//! The way into the spool: whoever receives something hands it in here and waits for the answer; what was handed in
//! meanwhile is written together. Not who may hand in what.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::clock::cpu_time;
use crate::heartbeat::{Heartbeat, LONGEST_SLEEP};
use crate::logs::spool::{Append, Refused, Spool, Writer};

/// So many are written together at most: each waits for an answer, and more share the next sync.
const TOGETHER: usize = 64;

/// How long what nobody waits for may be lost by a power failure; the checkpoint's rhythm.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// Clones lead to the same spool.
#[derive(Clone, Debug)]
pub(super) struct Inbox {
    spool: Spool,
    sender: mpsc::Sender<Request>,
    /// Taken by the writer, and left behind for the next one if it panics.
    requests: Arc<Mutex<mpsc::Receiver<Request>>>,
}

#[derive(Debug)]
struct Request {
    append: Append,
    answer: oneshot::Sender<(Append, Result<(), Refused>)>,
}

impl Inbox {
    pub(super) fn new(spool: Spool) -> Self {
        let (sender, requests) = mpsc::channel(TOGETHER);
        Self { spool, sender, requests: Arc::new(Mutex::new(requests)) }
    }

    pub(super) fn spool(&self) -> &Spool {
        &self.spool
    }

    /// Waits until `append` is written, and durable if it asks for that; what is refused comes back.
    pub(super) async fn hand_in(&self, append: Append) -> Result<(), (Refused, Option<Append>)> {
        let gone = || Refused::from(std::io::Error::other("the writer ended"));
        let (answer, answered) = oneshot::channel();
        if let Err(unsent) = self.sender.send(Request { append, answer }).await {
            return Err((gone(), Some(unsent.0.append)));
        }
        match answered.await {
            Ok((_, Ok(()))) => Ok(()),
            Ok((append, Err(refused))) => Err((refused, Some(append))),
            // It panicked meanwhile: nobody knows what became of it.
            Err(_) => Err((gone(), None)),
        }
    }

    /// Writes what is handed in until `stop`, and then what is there.
    ///
    /// # Panics
    /// When the writer does, so that a supervisor sees it.
    pub(super) async fn write(&self, stop: CancellationToken, heartbeat: Heartbeat) {
        let mut requests = self.requests.lock().await;
        let mut writer = Writer::new(self.spool.clone());
        let mut stopping = false;
        while !stopping {
            heartbeat.beat();
            let mut together = Vec::new();
            let pause = if writer.is_dirty() { SYNC_INTERVAL } else { LONGEST_SLEEP };
            tokio::select! {
                biased;
                _ = requests.recv_many(&mut together, TOGETHER) => {}
                () = stop.cancelled() => stopping = true,
                () = sleep(pause) => {}
            }
            let writing = tokio::task::spawn_blocking(move || {
                answer(&mut writer, together);
                writer
            });
            match heartbeat.beat_while(writing, cpu_time).await {
                Ok(whole) => writer = whole,
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
        }
    }
}

/// Writes `requests` and answers them; with none, makes durable what was written before.
fn answer(writer: &mut Writer, requests: Vec<Request>) {
    if requests.is_empty() {
        if let Err(error) = writer.sync() {
            tracing::error!(%error, "the spool can't be synced; a power failure now would lose what was received last");
        }
        return;
    }
    let (appends, answers): (Vec<_>, Vec<_>) =
        requests.into_iter().map(|request| (request.append, request.answer)).unzip();
    let results = writer.write(&appends);
    for ((append, answer), result) in appends.into_iter().zip(answers).zip(results) {
        // Who went away meanwhile needs no answer.
        let _ = answer.send((append, result));
    }
}

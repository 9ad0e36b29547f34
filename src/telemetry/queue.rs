//! Between the event loop and whoever reads what the daemon says: journald on a slow disk, or a full pipe, must not
//! hold up the loop. A bounded queue and a thread that writes; what does not fit is counted and told. Not the format.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use jiff::Timestamp;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::fields::Fields;
use super::output::Line;

/// Lines that wait: a burst at a failing start, with room to spare, and some 100 KiB at most.
const WAITING: usize = 256;

/// How long the end of the process waits for the last lines: longer than a healthy journald needs for all of them.
const FLUSH: Duration = Duration::from_millis(500);

enum Message {
    Line(Line),
    /// Answered when all before it is written.
    Flush(SyncSender<()>),
}

/// The loop's end of the queue.
#[derive(Clone)]
pub(super) struct Queue {
    sender: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

/// As long as it lives, events are heard; dropping it waits, shortly, for the last of them to be written.
#[must_use = "dropping it at once would not wait for what is said later"]
pub struct Listening(Queue);

impl Queue {
    /// A queue whose lines `write` gets, one by one, in a thread of its own.
    pub(super) fn new(write: impl FnMut(&Line) + Send + 'static) -> std::io::Result<(Self, Listening)> {
        let (sender, receiver) = sync_channel(WAITING);
        let queue = Self { sender, lost: Arc::default() };
        let lost = queue.lost.clone();
        std::thread::Builder::new().name("say".to_owned()).spawn(move || write_all(&receiver, &lost, write))?;
        Ok((queue.clone(), Listening(queue)))
    }
}

impl<S: Subscriber> Layer<S> for Queue {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = Line { at: Timestamp::now(), metadata: event.metadata(), fields };
        if self.sender.try_send(Message::Line(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let (done, wait) = sync_channel(1);
        // A full queue has a reader that hangs; then there is nothing to wait for.
        if self.0.sender.try_send(Message::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(FLUSH);
        }
    }
}

fn write_all(receiver: &Receiver<Message>, lost: &AtomicU64, mut write: impl FnMut(&Line)) {
    while let Ok(message) = receiver.recv() {
        match message {
            Message::Line(mut line) => {
                let lost = lost.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    line.fields.pairs.push(("lines_lost_before", lost.to_string()));
                }
                write(&line);
            }
            Message::Flush(done) => {
                let _ = done.send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::super::output::text;
    use super::*;

    #[test]
    fn a_line_has_time_level_message_and_fields_and_the_last_one_is_waited_for() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = lines.clone();
        let (queue, listening) = Queue::new(move |line| kept.lock().unwrap().push(text(line))).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(queue), || {
            tracing::warn!(role = "app", attempt = 3, error = %"no route: gone", "refresh failed");
        });
        drop(listening);
        let lines = lines.lock().unwrap();
        let (time, rest) = lines[0].split_at("2026-11-22T12:00:00.500Z".len());
        assert!(time.parse::<Timestamp>().is_ok(), "{time}");
        assert_eq!(rest, " WARN  refresh failed role=app attempt=3 error=\"no route: gone\"\n");
    }

    #[test]
    fn a_reader_that_hangs_holds_nobody_up_and_hears_later_how_much_it_missed() {
        let (heard, lines) = mpsc::channel();
        let (open, gate) = mpsc::channel::<()>();
        let write = move |line: &Line| {
            // Closed for good once `open` is dropped: then nothing hangs any more.
            let _ = gate.recv();
            let _ = heard.send(line.fields.line());
        };
        let (queue, listening) = Queue::new(write).unwrap();
        let events = WAITING + 50;
        tracing::subscriber::with_default(tracing_subscriber::registry().with(queue), || {
            for n in 0..events {
                tracing::info!(n, "said");
            }
        });
        drop(open);
        drop(listening);
        // Ends with the thread, which ends with the last sender.
        let lines: Vec<String> = lines.iter().collect();
        let told: usize =
            lines.iter().filter_map(|line| line.split_once("lines_lost_before=")?.1.parse::<usize>().ok()).sum();
        assert!(told >= 49, "{told}");
        assert_eq!(lines.len() + told, events);
    }
}

//! What the loop waits for besides answers: the kernel's word of files, and the spool's of what was received. Not what is
//! done about it.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use inotify::{EventMask, EventStream, Inotify};
use tokio::sync::watch;
use tokio::time::sleep;

use super::engine::Event;
use super::source::watch::{EVENT_BUFFER, Ears, RawChange};
use crate::clock::boot_time;

/// After the kernel told of growth it is not asked again so soon, nor the spool: a busy file tells at every line. Who has
/// something to say all the time must not drown the others, either.
const PACE: Duration = Duration::from_millis(50);

/// After it told of files that came or went: a rotation may take away the next one as soon as it has made another.
const PACE_OF_TREE: Duration = Duration::from_millis(2);

/// What is listened to, and until when it is not.
pub(super) struct Hearing {
    /// What the kernel tells of files that come and go.
    tree: Option<EventStream<Vec<u8>>>,
    tree_until: Duration,
    /// What it tells of those that are written to.
    content: Option<EventStream<Vec<u8>>>,
    content_until: Duration,
    /// Told when there is more in the spool.
    received: Option<watch::Receiver<()>>,
    received_until: Duration,
}

impl Hearing {
    /// Listens to what there is.
    pub(super) fn new(ears: Option<Ears>, received: Option<watch::Receiver<()>>) -> Self {
        let hear = |inotify: Inotify| inotify.into_event_stream(vec![0; EVENT_BUFFER]).ok();
        let (tree, content) = ears.map_or((None, None), |ears| (hear(ears.tree), hear(ears.content)));
        let (tree_until, content_until, received_until) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        Self { tree, tree_until, content, content_until, received, received_until }
    }

    /// What is heard next: what came or went first, then what was written to it.
    pub(super) async fn next(&mut self) -> Event {
        let now = boot_time();
        tokio::select! {
            biased;
            event = listen(&mut self.tree, self.tree_until.saturating_sub(now)) => {
                self.tree_until = boot_time() + PACE_OF_TREE;
                event
            }
            event = listen(&mut self.content, self.content_until.saturating_sub(now)) => {
                self.content_until = boot_time() + PACE;
                event
            }
            () = more_received(&mut self.received, self.received_until.saturating_sub(now)) => {
                self.received_until = boot_time() + PACE;
                Event::Spooled
            }
        }
    }

    /// What else can be heard now.
    pub(super) fn rest(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.next().now_or_never()).collect()
    }
}

/// Returns when there is more in the spool, after a pause; never without a spool.
async fn more_received(received: &mut Option<watch::Receiver<()>>, pause: Duration) {
    let Some(received) = received else { return std::future::pending().await };
    if !pause.is_zero() {
        sleep(pause).await;
    }
    if received.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What the kernel told, after a pause; never without inotify.
async fn listen(changes: &mut Option<EventStream<Vec<u8>>>, pause: Duration) -> Event {
    let Some(changes) = changes else { return std::future::pending().await };
    if !pause.is_zero() {
        sleep(pause).await;
    }
    let mut told = Vec::new();
    let mut next = changes.next().await;
    while let Some(event) = next {
        let Ok(event) = event else { return Event::Overflow };
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            return Event::Overflow;
        }
        told.extend(RawChange::of(event.wd, event.name.as_deref(), event.mask));
        next = changes.next().now_or_never().flatten();
    }
    Event::Changed(told)
}

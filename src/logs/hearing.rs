//! What the loop waits for besides answers: the kernel's word of files, and the spool's of what was received. Not what is
//! done about it.

use std::time::Duration;

use futures_util::StreamExt;
use inotify::{EventMask, EventStream};
use tokio::sync::watch;
use tokio::time::sleep;

use super::engine::Event;
use super::source::watch::{Kind, RawChange};

/// Returns when there is more in the spool, after a pause; never without a spool.
pub(super) async fn more_received(received: &mut Option<watch::Receiver<()>>, pause: Duration) {
    let Some(received) = received else { return std::future::pending().await };
    if !pause.is_zero() {
        sleep(pause).await;
    }
    if received.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What the kernel told, after a pause; for ever without inotify.
pub(super) async fn listen(changes: &mut Option<EventStream<Vec<u8>>>, pause: Duration) -> Option<Event> {
    let Some(changes) = changes else { return std::future::pending().await };
    if !pause.is_zero() {
        sleep(pause).await;
    }
    let mut told = Vec::new();
    let mut next = changes.next().await;
    while let Some(event) = next {
        let Ok(event) = event else { return Some(Event::Overflow) };
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            return Some(Event::Overflow);
        }
        let kind = Kind::of(event.mask);
        if !event.mask.contains(EventMask::IGNORED) {
            told.push(RawChange { watch: event.wd, name: event.name, kind });
        }
        next = futures_util::FutureExt::now_or_never(changes.next()).flatten();
    }
    Some(Event::Changed(told))
}

//! What others see of one log stream: what it holds, what is on its way, what `status` shows. Reads, changes nothing.

use std::time::Duration;

use jiff::SignedDuration;

use super::{Destination, KEEPS_UP, Moment, WIDEST_WINDOW};
use crate::logs::{DestinationSnapshot, DestinationState, Ledger};

impl Destination {
    /// When, after `now`, to ask again although nothing happened. What was due before waits for an answer.
    pub(crate) fn wake_at(&self, now: Moment) -> Option<Duration> {
        let sealing = self.seal_at();
        let retrying = self.trouble.as_ref().map(|trouble| trouble.not_before);
        let widening = self.ready.front().filter(|(shipment, _)| {
            self.trouble.is_none() && self.proven && self.window < WIDEST_WINDOW && shipment.batch.is_full()
        });
        let widening = widening.map(|(_, since)| *since + KEEPS_UP);
        [sealing, retrying, widening].into_iter().flatten().filter(|due| *due > now.boot).min()
    }

    /// Whether it holds no batch at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_none() && self.ready.is_empty() && self.flying.is_empty()
    }

    /// Whether it holds nothing, and nothing is being done for it.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_empty() && !self.creating
    }

    /// Requests on their way.
    pub(crate) fn requests(&self) -> usize {
        self.flying.len()
    }

    /// When each request on its way was sent, by the boot-time clock.
    pub(crate) fn sent(&self) -> impl Iterator<Item = Duration> {
        self.flying.values().map(|shipment| shipment.sent_at)
    }

    /// Whether a batch waits to be sent.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether it is in trouble.
    pub(crate) fn is_troubled(&self) -> bool {
        self.trouble.is_some()
    }

    /// Whether nothing is on its way, and nothing that could be sent now.
    pub(crate) fn is_drained(&self) -> bool {
        self.flying.is_empty() && (self.trouble.is_some() || (self.ready.is_empty() && self.open.is_none()))
    }

    /// The memory its batches take, in bytes.
    pub(crate) fn memory(&self) -> usize {
        let open = self.open.as_ref().map_or(0, |(batch, _)| batch.memory());
        let ready: usize = self.ready.iter().map(|(shipment, _)| shipment.batch.memory()).sum();
        let flying: usize = self.flying.values().map(|shipment| shipment.batch.memory()).sum();
        open + ready + flying
    }

    /// The memory that packed bodies on their way take beside it, in bytes.
    pub(crate) fn packed_memory(&self) -> usize {
        self.flying.values().map(|shipment| shipment.packed).sum()
    }

    /// What `status` shows.
    pub(crate) fn snapshot(&self, now: Moment) -> DestinationSnapshot {
        let waiting = self.ready.iter().map(|(shipment, _)| shipment.batch.first_at());
        let flying = self.flying.values().map(|shipment| shipment.batch.first_at());
        let open = self.open.as_ref().map(|(batch, _)| batch.first_at());
        let oldest = waiting.chain(flying).chain(open).min();
        let lag = oldest.map_or(SignedDuration::ZERO, |oldest| now.wall.duration_since(oldest));
        let mut ledger = Ledger::default();
        self.account.add_to(&mut ledger);
        DestinationSnapshot {
            log_group: self.log_group.clone(),
            log_stream: self.log_stream.clone(),
            state: self.trouble.as_ref().map_or(DestinationState::Running, |trouble| trouble.state),
            in_flight: self.flying.len() as u64,
            delivered_until: self.delivered_until,
            oldest_pending_at: oldest,
            lag_seconds: lag.as_secs_f64().max(0.0),
            ledger,
            put_calls: self.put_calls,
            throttles: self.throttles,
            retries: self.retries,
            last_error: self.trouble.as_ref().map(|trouble| Box::new(trouble.fault.clone())),
        }
    }
}

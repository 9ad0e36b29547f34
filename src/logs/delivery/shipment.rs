//! A sealed batch on its way, whole or halved while a poison event is looked for, with what was given up of it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::logs::batch::Sealed;
use crate::logs::gaps::Gap;
use crate::logs::ledger::Reason;
use crate::logs::sink::{Accepted, LEAST_GAIN};

/// A batch on its way.
#[derive(Debug)]
pub(crate) struct Shipment {
    /// The batch.
    pub(crate) batch: Sealed,
    /// Ranges of events that are still to be accepted, in order.
    todo: VecDeque<Range<usize>>,
    /// Events that were given up, in order.
    rejected: Vec<(Range<usize>, Reason)>,
    /// The gaps that its events say, with their sources.
    pub(crate) said: Vec<(Arc<str>, Gap)>,
    /// How often it was sent.
    pub(crate) tries: u32,
    /// When it was sent last, by the boot-time clock.
    pub(crate) sent_at: Duration,
    /// The most that its packed body takes, beside what it was packed from; 0 when it was sent as it is.
    pub(crate) packed: usize,
}

impl Shipment {
    /// A batch that was not sent yet.
    pub(crate) fn new(batch: Sealed) -> Self {
        let events = 0..batch.len();
        let todo = VecDeque::from_iter((!events.is_empty()).then_some(events));
        Self { batch, todo, rejected: Vec::new(), said: Vec::new(), tries: 0, sent_at: Duration::ZERO, packed: 0 }
    }

    /// The next request's body, sent now, packed where that needs no more than `room`; `None` when nothing is left to
    /// send.
    pub(crate) fn send(&mut self, room: usize, now: Duration) -> Option<Bytes> {
        let body = self.batch.body_of(self.todo.front()?.clone());
        let packed = body.len() / LEAST_GAIN;
        self.packed = if packed <= room { packed } else { 0 };
        self.tries += 1;
        self.sent_at = now;
        Some(body)
    }

    /// Whether all of it is accepted or given up.
    pub(crate) fn is_finished(&self) -> bool {
        self.todo.is_empty()
    }

    /// Whether nothing of it was accepted or given up yet, so that it could be read again from its source.
    pub(crate) fn is_untouched(&self) -> bool {
        self.todo.len() == 1 && self.todo[0] == (0..self.batch.len())
    }

    /// Whether it holds nothing of any source.
    pub(crate) fn is_marker(&self) -> bool {
        !self.said.is_empty()
    }

    /// What was given up, and why.
    pub(crate) fn rejected(&self) -> &[(Range<usize>, Reason)] {
        &self.rejected
    }

    /// The request was accepted, but for what its indices say. Too old, expired and too new may overlap: the first
    /// reason that applies is the one counted.
    pub(crate) fn accept(&mut self, accepted: Accepted) {
        let Some(range) = self.todo.pop_front() else { return };
        let old = accepted.too_old_end.unwrap_or(0).min(range.len());
        let expired = accepted.expired_end.unwrap_or(0).clamp(old, range.len());
        let new = accepted.too_new_start.unwrap_or(range.len()).clamp(expired, range.len());
        let parts = [(0..old, Reason::TooOld), (old..expired, Reason::Expired), (new..range.len(), Reason::TooNew)];
        for (part, reason) in parts {
            if !part.is_empty() {
                self.rejected.push((range.start + part.start..range.start + part.end, reason));
            }
        }
    }

    /// The request was called invalid: its events are halved; one that is alone is the poison, and given up.
    pub(crate) fn bisect(&mut self) {
        let Some(range) = self.todo.pop_front() else { return };
        if range.len() <= 1 {
            self.rejected.push((range, Reason::Invalid));
            return;
        }
        let middle = range.start + range.len() / 2;
        self.todo.push_front(middle..range.end);
        self.todo.push_front(range.start..middle);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::logs::batch::{Batch, Message, Pool};
    use crate::logs::framing::{Piece, Record};

    fn shipment(events: usize) -> Shipment {
        let mut batch = Batch::new(Timestamp::UNIX_EPOCH, 0, &Pool::default());
        batch.begin_segment(1, 0, 0);
        for _ in 0..events {
            let record = Record::of(b"x", 2, Piece::Line);
            batch.push(&record, Message::of("x"), Timestamp::UNIX_EPOCH, usize::MAX);
        }
        Shipment::new(batch.seal("g", "s"))
    }

    #[test]
    fn the_old_ends_are_exclusive_and_the_new_start_is_inclusive() {
        let mut shipment = shipment(10);
        shipment.accept(Accepted { too_old_end: Some(2), expired_end: Some(3), too_new_start: Some(8) });
        assert!(shipment.is_finished());
        assert_eq!(shipment.rejected(), [(0..2, Reason::TooOld), (2..3, Reason::Expired), (8..10, Reason::TooNew)]);
    }

    #[test]
    fn indices_out_of_range_reject_no_more_than_there_is() {
        let mut shipment = shipment(3);
        shipment.accept(Accepted { too_old_end: Some(99), expired_end: None, too_new_start: Some(0) });
        assert_eq!(shipment.rejected(), [(0..3, Reason::TooOld)]);
    }

    #[test]
    fn only_the_poison_event_is_given_up() {
        for poison in 0..7 {
            let mut shipment = shipment(7);
            let mut calls = 0;
            while let Some(range) = shipment.todo.front().cloned() {
                calls += 1;
                if range.contains(&poison) { shipment.bisect() } else { shipment.accept(Accepted::default()) }
            }
            assert_eq!(shipment.rejected(), [(poison..poison + 1, Reason::Invalid)]);
            assert!(calls <= 7, "{calls}");
        }
    }
}

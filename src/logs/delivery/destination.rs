//! One log stream: the batch being filled, those waiting, those on their way, and the trouble it is in. Pure: it is
//! told what happened and when, and says what may be read, what is to be sent and when to ask again.
//!
//! Order: every batch begins at least a millisecond after the one before it ended, so batches may overtake each other
//! on their way and CloudWatch still shows the file's order. Events that bring their own times make batches whose times
//! overlap; such a one waits until those it touches are answered.

mod changing;
mod outlook;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::retry::{self, LONG_WAIT, Verdict};
use super::shipment::Shipment;
use crate::fault::Fault;
use crate::logs::DestinationState;
use crate::logs::batch::{Batch, Pool, Segment};
use crate::logs::gaps::Gap;
use crate::logs::ledger::Account;
use crate::logs::sink::{Accepted, Failure, Kind};

/// An idle stream sends a new line after so long: a person is waiting for it.
const IDLE_LINGER: Duration = Duration::from_millis(250);

/// How many small batches a stream may send that soon in a row; it earns one each flush interval. A stream that uses
/// them up is busy: a thousand hosts with a line a second each must not use up the account's requests.
const QUICK_SENDS: f64 = 20.0;

/// A full batch that waited so long behind one on its way shows that one at a time does not keep up; well above the
/// time a nearby sink takes.
const KEEPS_UP: Duration = Duration::from_millis(5);

/// The most requests side by side for one stream: at 100 ms each, 80 MB/s.
const WIDEST_WINDOW: usize = 8;

/// The longest linger that throttling leads to.
const LONGEST_LINGER: Duration = Duration::from_secs(30);

/// How much of the linger that throttling added each success takes back.
const LINGER_STEP: Duration = Duration::from_secs(1);

/// A stream that is missing again after it was created so often in a row waits between two tries: somebody deletes it, or
/// AWS takes its time to know it.
const CREATIONS_AT_ONCE: u32 = 2;

/// A stream that has not accepted anything yet, or is in trouble, gets small batches: most likely it comes back.
const SMALL_BODY: usize = 64 * 1024;

/// Names one request, for its answer.
pub(crate) type Ticket = u64;

/// A time on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// For intervals.
    pub(crate) boot: Duration,
    /// For events.
    pub(crate) wall: Timestamp,
}

/// Why it does not just go on.
#[derive(Debug)]
struct Trouble {
    state: DestinationState,
    attempts: u32,
    not_before: Duration,
    wait: Duration,
    fault: Fault,
}

/// What an answer led to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// A batch of which everything is accepted or given up.
    pub(crate) finished: Option<Shipment>,
    /// Whether the stream (and its group) must be created.
    pub(crate) create: bool,
    /// A change of state worth a log line.
    pub(crate) news: Option<News>,
}

/// A change of state.
#[derive(Debug)]
pub(crate) enum News {
    /// Trouble began, or became another.
    Trouble(DestinationState, Fault),
    /// It accepts again, after this.
    Recovered(DestinationState),
}

/// One log stream.
#[derive(Debug)]
pub(crate) struct Destination {
    /// The group's name.
    pub(crate) log_group: Arc<str>,
    /// The stream's name.
    pub(crate) log_stream: Arc<str>,
    open: Option<(Box<Batch>, Duration)>,
    ready: VecDeque<(Shipment, Duration)>,
    flying: BTreeMap<Ticket, Shipment>,
    window: usize,
    flush_interval: Duration,
    linger: Duration,
    /// Small batches that may still be sent soon, at the time of the last one.
    quick_sends: f64,
    last_partial: Option<Duration>,
    read_until: Timestamp,
    delivered_until: Option<Timestamp>,
    proven: bool,
    creating: bool,
    creations: u32,
    trouble: Option<Box<Trouble>>,
    /// What was read for it, and what became of that, since the start.
    pub(crate) account: Account,
    put_calls: u64,
    throttles: u64,
    retries: u64,
}

impl Destination {
    /// A stream that nothing was sent to yet. A busy one lingers `flush_interval`.
    pub(crate) fn new(log_group: Arc<str>, log_stream: Arc<str>, flush_interval: Duration) -> Self {
        Self {
            log_group,
            log_stream,
            open: None,
            ready: VecDeque::new(),
            flying: BTreeMap::new(),
            window: 1,
            flush_interval,
            linger: flush_interval,
            quick_sends: QUICK_SENDS,
            last_partial: None,
            read_until: Timestamp::MIN,
            delivered_until: None,
            proven: false,
            creating: false,
            creations: 0,
            trouble: None,
            account: Account::default(),
            put_calls: 0,
            throttles: 0,
            retries: 0,
        }
    }

    /// How large a body may be read now; `None` for nothing: a batch waits already, or it would only be held.
    pub(crate) fn appetite(&self, now: Moment) -> Option<usize> {
        match &self.trouble {
            Some(trouble) => (self.is_empty() && now.boot >= trouble.not_before).then_some(SMALL_BODY),
            None if !self.ready.is_empty() => None,
            None if !self.proven && !self.flying.is_empty() => None,
            None if self.proven => Some(usize::MAX),
            None => Some(SMALL_BODY),
        }
    }

    /// The batch being filled; a new one is made for `expected` bytes, later than all before it.
    pub(crate) fn open(&mut self, now: Moment, expected: usize, pool: &Pool) -> &mut Batch {
        let begin = self.begin(now);
        &mut self.open.get_or_insert_with(|| (Box::new(Batch::new(begin, expected, pool)), now.boot)).0
    }

    /// Closes the batch being filled if it is full, or has lingered long enough, or `at_once`.
    pub(crate) fn seal(&mut self, now: Moment, at_once: bool) {
        let due = self.seal_at().is_some_and(|due| due <= now.boot);
        let Some((batch, since)) = self.open.take() else { return };
        if batch.is_empty() {
            return;
        }
        if !(due || at_once || batch.is_full()) {
            self.open = Some((batch, since));
            return;
        }
        if !batch.is_full() {
            self.quick_sends = (self.quick_sends_at(now.boot) - 1.0).max(0.0);
            self.last_partial = Some(now.boot);
        }
        self.read_until = self.read_until.max(batch.read_until());
        let sealed = batch.seal(&self.log_group, &self.log_stream);
        self.ready.push_back((Shipment::new(sealed), now.boot));
    }

    /// Takes a batch whose events bring their own times.
    pub(crate) fn enqueue(&mut self, batch: Batch, now: Moment) {
        self.seal(now, true);
        let sealed = batch.seal(&self.log_group, &self.log_stream);
        self.put_back(Shipment::new(sealed), now);
    }

    /// Says what is missing here, in a batch of its own behind all that waits.
    pub(crate) fn say(&mut self, gaps: Vec<(Arc<str>, Gap)>, now: Moment, pool: &Pool) {
        self.seal(now, true);
        let at = self.begin(now);
        let mut batch = Batch::new(at, 0, pool);
        // A few lines: a batch has room for them.
        for (source, gap) in &gaps {
            batch.push_marker(&gap.text(source), at);
        }
        self.read_until = self.read_until.max(at);
        let mut shipment = Shipment::new(batch.seal(&self.log_group, &self.log_stream));
        shipment.said = gaps;
        self.ready.push_back((shipment, now.boot));
    }

    /// The time from which the next batch may begin: later than all before it.
    fn begin(&self, now: Moment) -> Timestamp {
        let after_last = self.read_until.saturating_add(SignedDuration::from_millis(1)).unwrap_or(now.wall);
        now.wall.max(after_last)
    }

    /// When the batch being filled has lingered long enough: an idle stream's soon, a busy one's `linger` after the
    /// last batch that was not full.
    fn seal_at(&self) -> Option<Duration> {
        let (_, since) = self.open.as_ref()?;
        let soon = *since + IDLE_LINGER;
        match self.last_partial {
            Some(last) if self.quick_sends_at(*since) < 1.0 => Some(soon.max(last + self.linger)),
            _ => Some(soon),
        }
    }

    fn quick_sends_at(&self, time: Duration) -> f64 {
        let since = time.saturating_sub(self.last_partial.unwrap_or_default());
        (self.quick_sends + since.div_duration_f64(self.flush_interval)).min(QUICK_SENDS)
    }

    /// Batches that hold nothing to send: only empty lines.
    pub(crate) fn take_finished(&mut self) -> Option<Shipment> {
        if self.ready.front().is_some_and(|(shipment, _)| shipment.is_finished()) {
            return self.ready.pop_front().map(|(shipment, _)| shipment);
        }
        None
    }

    /// The body to be sent now under `ticket`, if one is due, and what it may take packed, beside that: no more than
    /// `room`, or it is 0 and sent as it is.
    pub(crate) fn send(&mut self, ticket: Ticket, room: usize, now: Moment) -> Option<(Bytes, usize)> {
        let (front, since) = self.ready.front()?;
        if self.creating || self.trouble.as_ref().is_some_and(|trouble| now.boot < trouble.not_before) {
            return None;
        }
        if self.flying.values().any(|other| front.batch.touches(&other.batch)) {
            return None;
        }
        let waited = front.batch.is_full() && now.boot.saturating_sub(*since) >= KEEPS_UP;
        if self.flying.len() >= self.window_now() {
            if !waited || self.trouble.is_some() || !self.proven || self.window >= WIDEST_WINDOW {
                return None;
            }
            self.window += 1;
        }
        let (mut shipment, _) = self.ready.pop_front()?;
        let body = shipment.send(room, now.boot)?;
        let packed = shipment.packed;
        self.put_calls += 1;
        self.retries += u64::from(shipment.tries > 1);
        self.flying.insert(ticket, shipment);
        Some((body, packed))
    }

    fn window_now(&self) -> usize {
        if self.trouble.is_some() || !self.proven { 1 } else { self.window }
    }

    /// What became of the request under `ticket`.
    pub(crate) fn answer(&mut self, ticket: Ticket, result: Result<Accepted, Failure>, now: Moment) -> Outcome {
        let Some(mut shipment) = self.flying.remove(&ticket) else { return Outcome::default() };
        let mut outcome = Outcome::default();
        match result {
            Ok(accepted) => {
                shipment.accept(accepted);
                outcome.news = self.recover();
            }
            Err(failure) => self.fail(&failure, &mut shipment, &mut outcome, now),
        }
        if shipment.is_finished() {
            self.delivered_until = self.delivered_until.max(Some(shipment.batch.last_at()));
            outcome.finished = Some(shipment);
        } else {
            self.put_back(shipment, now);
        }
        if self.is_empty() {
            // An emptied map keeps room for eleven requests: three kilobytes a stream.
            (self.ready, self.flying) = (VecDeque::new(), BTreeMap::new());
        }
        outcome
    }

    fn recover(&mut self) -> Option<News> {
        self.proven = true;
        self.creations = 0;
        if self.linger > self.flush_interval {
            self.linger = self.linger.saturating_sub(LINGER_STEP).max(self.flush_interval);
        }
        self.trouble.take().map(|trouble| News::Recovered(trouble.state))
    }

    fn fail(&mut self, failure: &Failure, shipment: &mut Shipment, outcome: &mut Outcome, now: Moment) {
        if failure.kind == Kind::NoCredentials {
            // Nothing was sent.
            shipment.tries -= 1;
            self.put_calls -= 1;
        }
        let attempts = self.trouble.as_ref().map_or(0, |trouble| trouble.attempts).saturating_add(1);
        match retry::verdict(failure, attempts) {
            Verdict::Bisect => shipment.bisect(),
            Verdict::Create => {
                outcome.create = !self.creating;
                self.creations += u32::from(outcome.create);
                self.creating = true;
                if self.creations > CREATIONS_AT_ONCE {
                    outcome.news = self.trouble_of(DestinationState::BackingOff, LONG_WAIT, failure, now);
                }
            }
            Verdict::Wait { state, wait } => outcome.news = self.trouble_of(state, wait, failure, now),
        }
    }

    /// Enters a state of trouble. Answers to requests that were side by side count as one attempt.
    fn trouble_of(&mut self, state: DestinationState, wait: Duration, failure: &Failure, now: Moment) -> Option<News> {
        if state == DestinationState::Throttled {
            self.throttles += 1;
            self.window = (self.window / 2).max(1);
            self.quick_sends = 0.0;
            self.linger = (self.linger * 2).min(LONGEST_LINGER.max(self.flush_interval));
        }
        let before = self.trouble.take();
        let side_by_side = before.as_ref().is_some_and(|trouble| trouble.not_before > now.boot);
        let attempts = before.as_ref().map_or(0, |trouble| trouble.attempts) + u32::from(!side_by_side);
        let not_before = now.boot + wait;
        let not_before = before.as_ref().map_or(not_before, |trouble| trouble.not_before.max(not_before));
        let fault = Fault { at: now.wall, message: failure.message.clone(), hint: failure.hint.clone() };
        let changed = before.is_none_or(|trouble| trouble.state != state);
        let news = changed.then(|| News::Trouble(state, fault.clone()));
        self.trouble = Some(Box::new(Trouble { state, attempts, not_before, wait, fault }));
        news
    }

    /// The stream was created, or could not be.
    pub(crate) fn created(&mut self, result: Result<(), Failure>, now: Moment) -> Option<News> {
        self.creating = false;
        let failure = result.err()?;
        let attempts = self.trouble.as_ref().map_or(0, |trouble| trouble.attempts).saturating_add(1);
        match retry::verdict(&failure, attempts) {
            Verdict::Wait { state, wait } => self.trouble_of(state, wait, &failure, now),
            // "Not found" or "invalid" from a creation is no event's fault: it is shown, and tried again.
            Verdict::Create | Verdict::Bisect => {
                self.trouble_of(DestinationState::BackingOff, LONG_WAIT, &failure, now)
            }
        }
    }

    /// Puts a shipment where its time belongs.
    fn put_back(&mut self, shipment: Shipment, now: Moment) {
        let first = shipment.batch.first_at();
        let index = self.ready.partition_point(|(other, _)| other.batch.first_at() < first);
        self.ready.insert(index, (shipment, now.boot));
    }

    /// Gives back, newest first, what need not be held while a long wait lasts. What could overtake a batch that is
    /// already accepted or on its way is kept, and what `may_go` says can't be read again.
    pub(crate) fn release(&mut self, now: Moment, may_go: impl Fn(&[Segment]) -> bool) -> Vec<Segment> {
        let mut released = Vec::new();
        let long = |trouble: &Trouble| trouble.wait > LONG_WAIT && trouble.not_before > now.boot;
        if !self.trouble.as_deref().is_some_and(long) {
            return released;
        }
        let flying = self.flying.values().map(|shipment| shipment.batch.last_at()).max();
        let frontier = flying.max(self.delivered_until);
        if let Some((batch, since)) = self.open.take() {
            if may_go(batch.segments()) {
                released.extend_from_slice(batch.segments());
            } else {
                self.open = Some((batch, since));
                return released;
            }
        }
        let mut markers = Vec::new();
        while let Some((shipment, since)) = self.ready.pop_back_if(|(shipment, _)| {
            shipment.is_untouched() && Some(shipment.batch.first_at()) > frontier && may_go(shipment.batch.segments())
        }) {
            released.extend_from_slice(shipment.batch.segments());
            if shipment.is_marker() {
                markers.push((shipment, since));
            }
        }
        self.ready.extend(markers.into_iter().rev());
        released
    }
}

#[cfg(test)]
#[path = "destination_tests.rs"]
mod tests;

//! Everything the shipper knows, and what it does about an event: files, streams, accounts, checkpoint. One step takes
//! what happened and a time, reads what is due, and returns what is to be sent. It touches disks, never the network,
//! and runs where blocking is allowed.

mod adopting;
mod archives;
mod books;
mod budgets;
mod changes;
mod ending;
mod events;
mod feeds;
mod files;
mod finished;
mod former;
mod framers;
mod groups;
mod held;
mod journal;
mod keeping;
mod kin;
mod memory;
mod reading;
mod recognising;
mod reconfiguring;
mod resending;
mod routing;
mod saying;
mod settling;
mod showing;
mod spooled;
mod stream;
mod streams;
mod survey;
mod timing;
mod undecided;
mod warning;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use self::books::Books;
use self::budgets::Budgets;
pub(crate) use self::events::{Action, Event, Step};
use self::feeds::Feeds;
use self::files::Files;
use self::framers::Framers;
use self::groups::Groups;
use self::held::Held;
use self::journal::Journals;
use self::keeping::NOTED_A_TICK;
pub(crate) use self::routing::{group_name, stream_name};
use self::spooled::Spooled;
use self::streams::Streams;
use self::timing::Timing;
use super::batch::{FileId, Pool};
use super::delivery::destination::{Moment, Ticket};
use super::delivery::shipment::Shipment;
use super::source::feed::Feed;
use super::source::read::{Buffer, Suspect};
use super::source::spill::SpillDirectory;
use super::source::watch::Ears;
use super::spool::Budget;
use super::{Settings, Snapshot};
use crate::fault::Warning;
use crate::template::Names;

/// Without a hint from the kernel, files are looked for this often.
const SURVEY_INTERVAL: Duration = Duration::from_secs(10);

/// After a hint that files came or went: long enough for a rotation to be over, short enough not to miss a second one.
const SURVEY_SOON: Duration = Duration::from_millis(100);

/// How often what can't wait for an event is done: files that are leaving, a checkpoint to sync or repair.
const TICK: Duration = Duration::from_secs(1);

/// Records that are not to be framed again: they made us panic twice.
pub(crate) type Quarantine = BTreeSet<(FileId, u64)>;

/// The shipper's state.
#[derive(Debug)]
pub(crate) struct Engine {
    settings: Settings,
    names: Names,
    files: Files,
    journals: Journals,
    spooled: Spooled,
    feeds: Feeds,
    framers: Framers,
    held: Held,
    streams: Streams,
    books: Books,
    buffer: Buffer,
    pool: Pool,
    suspect: Arc<Suspect>,
    quarantine: Quarantine,
    /// Shipments that could not be settled yet: their dead letters could not be written.
    unsettled: Vec<(usize, Shipment)>,
    budget: Budget,
    groups: Groups,
    /// When a request that is never answered stops holding others up, if some wait for that.
    slots_free_at: Option<Duration>,
    /// When a gap is to be said.
    say_at: Option<Duration>,
    /// Groups whose full batches wait for a slot: more of theirs is not read before it could be sent.
    starved: BTreeSet<Arc<str>>,
    warnings: BTreeMap<&'static str, Warning>,
    timing: Timing,
    survey_at: Duration,
    tick_at: Duration,
    next_ticket: Ticket,
    stopping: bool,
}

impl Engine {
    /// An engine that goes on where the checkpoint in `state_dir` ends.
    ///
    /// # Errors
    /// When the checkpoint can be neither read nor made.
    pub(crate) fn open(
        settings: Settings,
        state_dir: &Path,
        ears: Option<&Ears>,
        suspect: Arc<Suspect>,
        quarantine: Quarantine,
    ) -> std::io::Result<Self> {
        let (mut books, mut known) = Books::open(state_dir)?;
        let framers = Framers::new(&settings);
        books.budgets = Budgets::new(&settings, &framers, std::mem::take(&mut known.budgets));
        let feeds = Feeds::after(known.last_id());
        let (journals, is_new) = (std::mem::take(&mut known.journals), known.is_new);
        let spooled = Spooled::new(std::mem::take(&mut known.segments));
        let files = Files::new(&settings, ears, known, SpillDirectory::below(state_dir));
        let budget = Budget::open(&state_dir.join("spool"), settings.spool_limit)?;
        let streams = Streams::new(settings.flush_interval);
        let mut engine = Self {
            settings,
            names: Names::default(),
            files,
            journals: Journals::none(),
            spooled,
            feeds,
            framers,
            held: Held::default(),
            streams,
            books,
            buffer: Buffer::default(),
            pool: Pool::default(),
            suspect,
            quarantine,
            unsettled: Vec::new(),
            budget,
            groups: Groups::default(),
            slots_free_at: None,
            say_at: None,
            starved: BTreeSet::new(),
            warnings: BTreeMap::new(),
            timing: Timing::default(),
            survey_at: Duration::ZERO,
            tick_at: Duration::ZERO,
            next_ticket: 0,
            stopping: false,
        };
        engine.warn_of_torn_lines();
        engine.open_journals(journals, is_new);
        Ok(engine)
    }

    /// Takes in what happened, does what is due, says what is to be done.
    pub(crate) fn step(&mut self, events: Vec<Event>, now: Moment) -> Step {
        let mut step = Step::default();
        for event in events {
            self.take_in(event, &mut step, now);
        }
        self.look_at_clock(now);
        let mut more = false;
        if !self.stopping && (self.files.walk.is_some() || now.boot >= self.survey_at) {
            more |= self.survey(now);
        }
        if now.boot >= self.tick_at {
            self.tick(&mut step, now);
        }
        if !self.stopping {
            self.read_the_held(now);
            self.look_at_spool(now);
        }
        // What waited is sent first, so that its stream has an appetite again.
        self.send(&mut step, now);
        more |= !self.stopping && self.unpack(now);
        more |= !self.stopping && self.read_all(now);
        self.say_gaps(now);
        self.send(&mut step, now);
        step.actions.extend(self.journals.take_orders().into_iter().map(Action::Journal));
        step.actions.extend(self.checks_due(now));
        step.drained = self.stopping && self.unsettled.is_empty() && self.streams.is_drained();
        step.wake_at = if more { Duration::ZERO } else { self.wake_at(now) };
        step
    }

    /// Takes in what the journal brought, and reads; `true` when there is more to read at once.
    fn read_all(&mut self, now: Moment) -> bool {
        self.run_journals(now);
        let more = self.read(now);
        let was_held = self.journals.is_held();
        if was_held {
            // There may be room now.
            self.run_journals(now);
        }
        more || (was_held && !self.journals.is_held())
    }

    fn take_in(&mut self, event: Event, step: &mut Step, now: Moment) {
        match event {
            Event::Changed(changes) => self.note_changes(&changes, now),
            Event::Overflow => self.survey_soon(Duration::ZERO, now),
            Event::Answer { stream, ticket, result } => self.take_answer(stream, ticket, result, step, now),
            Event::Created { stream, result } => self.note_created(stream, result, now),
            Event::Checked { log_group, result } => self.note_checked(&log_group, result.as_ref(), now),
            Event::Journal { reader, output } => self.journals.receive(reader, output),
            Event::Spooled => self.spooled.has_changed(),
            Event::Names(names) => self.learn(names, now),
            Event::Settings { settings, elsewhere } => self.reconfigure(&settings, elsewhere, now),
            Event::Stop => {
                self.journals.stop();
                self.stopping = true;
                self.note_grown(usize::MAX);
                self.streams.seal_all(now);
            }
        }
    }

    fn tick(&mut self, step: &mut Step, now: Moment) {
        self.tick_at = now.boot + TICK;
        for id in self.leaving() {
            self.look(id, now);
        }
        self.poll(now);
        self.retry_unsettled(now);
        if self.streams.is_quiet() {
            self.pool.let_go();
        }
        self.note_grown(NOTED_A_TICK);
        self.forget_finished(now);
        self.release_parked();
        self.let_streams_go();
        self.sum_up_finished();
        self.spill_nameless(now);
        self.tick_journals(now);
        self.tick_spool(now);
        if let Err(error) = self.books.maintain(&self.files, &self.spooled, &self.journals, &mut self.feeds) {
            self.warn_of_checkpoint(&error);
        } else {
            self.warnings.remove("checkpoint_unwritable");
        }
        step.actions.extend(self.books.take_sync().map(Action::Sync));
    }

    fn wake_at(&self, now: Moment) -> Duration {
        let streams = self.streams.wake_at(now);
        // Neither is done while stopping.
        let later = if self.stopping { None } else { self.groups.wake_at().into_iter().chain(self.say_at).min() };
        let tick = if self.needs_ticks() { Some(self.tick_at) } else { None };
        let (journals, held) = (self.journals.wake_at(), self.held.wake_at(now.boot));
        [Some(self.survey_at), streams, tick, held, self.slots_free_at, later, journals]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(self.survey_at)
    }

    fn needs_ticks(&self) -> bool {
        self.polls()
            || !self.files.grown.is_empty()
            || !self.unsettled.is_empty()
            || self.pool.memory() > 0
            || self.books.is_dirty()
            || self.journals.needs_tick()
            || self.spooled.needs_ticks()
            || self.streams.is_parting()
            || self.feeds.all().any(Feed::is_parting)
    }

    /// Everything `status` shows of the logs.
    pub(crate) fn snapshot(&self, now: Moment) -> Snapshot {
        self.show(now)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

#[cfg(test)]
mod reload_tests;
#[cfg(test)]
mod rotation_tests;
#[cfg(test)]
mod spooled_tests;
#[cfg(test)]
mod torture;

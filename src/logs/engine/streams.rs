//! The streams that files go to, and which of them want data. Not what one stream does with a batch
//! (`delivery::destination`).

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;

use crate::logs::DestinationState;
use crate::logs::batch::FileId;
use crate::logs::delivery::destination::{Destination, Moment, News, Outcome, Ticket};
use crate::logs::gaps::Where;
use crate::logs::sink::{Accepted, Failure};

/// A stream and the files that go to it.
#[derive(Debug)]
pub(super) struct Stream {
    /// What it does with batches.
    pub(super) destination: Box<Destination>,
    /// Its files with unread data, in the order in which they are read.
    unread: VecDeque<FileId>,
    /// The same files, for finding out quickly.
    is_unread: HashSet<FileId>,
    /// Whether it stands in the queue.
    queued: bool,
}

impl Stream {
    /// The file to be read next.
    pub(super) fn next_file(&self) -> Option<FileId> {
        self.unread.front().copied()
    }

    /// The file that was read last was read to its end.
    pub(super) fn file_is_read(&mut self) {
        if let Some(file) = self.unread.pop_front() {
            self.is_unread.remove(&file);
        }
        if self.unread.is_empty() {
            // Of thousands of streams few have something to read: the others keep no room for it.
            (self.unread, self.is_unread) = (VecDeque::new(), HashSet::new());
        }
    }

    /// The file that was read last goes on when the others had their turn.
    pub(super) fn file_waits(&mut self) {
        self.unread.rotate_left(1);
    }

    fn want(&mut self, file: FileId) {
        if self.is_unread.insert(file) {
            self.unread.push_back(file);
        }
    }

    fn forget(&mut self, file: FileId) {
        if self.is_unread.remove(&file) {
            self.unread.retain(|other| *other != file);
        }
    }
}

/// All streams.
#[derive(Debug)]
pub(super) struct Streams {
    all: Vec<Stream>,
    by_name: BTreeMap<(Arc<str>, Arc<str>), usize>,
    /// Streams with unread files, in the order in which they get their turn.
    queue: VecDeque<usize>,
    /// Those whose group has no request to spare, by group: they need not be asked before it has. They count as queued.
    parked: BTreeMap<Arc<str>, VecDeque<usize>>,
    /// Streams that hold batches or wait for an answer.
    active: BTreeSet<usize>,
    /// Streams that were in trouble when they were heard of last.
    troubled: BTreeSet<usize>,
    /// Which stream a file goes to, once its name is known.
    routes: BTreeMap<FileId, Route>,
    /// Streams of days that files have left; one that holds nothing any more gives its place to the next day's.
    retired: Vec<usize>,
    flush_interval: Duration,
    /// The stream after the one that sent last: it goes first when there are fewer requests to be had than wanted.
    turn: usize,
}

/// Where a file's events go.
#[derive(Clone, Copy, Debug)]
struct Route {
    stream: usize,
    /// Those of this day; `None` for all.
    day: Option<Date>,
}

impl Streams {
    pub(super) fn new(flush_interval: Duration) -> Self {
        Self {
            all: Vec::new(),
            by_name: BTreeMap::new(),
            queue: VecDeque::new(),
            parked: BTreeMap::new(),
            active: BTreeSet::new(),
            troubled: BTreeSet::new(),
            routes: BTreeMap::new(),
            retired: Vec::new(),
            flush_interval,
            turn: 0,
        }
    }

    /// Where `file` goes, if that is known.
    pub(super) fn route(&self, file: FileId) -> Option<&Destination> {
        self.routes.get(&file).map(|route| &*self.all[route.stream].destination)
    }

    /// The day whose events of `file` go to its stream; `None` when they all do.
    pub(super) fn day(&self, file: FileId) -> Option<Date> {
        self.routes.get(&file).and_then(|route| route.day)
    }

    /// From now on `file` goes to this stream, or its events of `day` do. `may_reuse` says that nobody else remembers
    /// a stream by its number, so that one that is done with may give its place to another.
    pub(super) fn set_route(&mut self, file: FileId, group: &str, stream: &str, day: Option<Date>, may_reuse: bool) {
        let stream = self.at(&(self.group_named(group), stream.into()), may_reuse);
        if let Some(before) = self.routes.insert(file, Route { stream, day })
            && before.stream != stream
        {
            self.all[before.stream].forget(file);
            self.retired.push(before.stream);
        }
    }

    /// A group's name, one copy for all its streams.
    fn group_named(&self, name: &str) -> Arc<str> {
        let known = self.by_name.range((Arc::from(name), Arc::from(""))..).next();
        known.filter(|((group, _), _)| **group == *name).map_or_else(|| name.into(), |((group, _), _)| group.clone())
    }

    /// The stream of this name; made if there is none, in the place of another as `may_reuse` says.
    pub(super) fn at(&mut self, place: &Where, may_reuse: bool) -> usize {
        let known = self.by_name.get(place).copied();
        known.unwrap_or_else(|| self.add(place.clone(), may_reuse))
    }

    fn add(&mut self, key: Where, may_reuse: bool) -> usize {
        let destination = Box::new(Destination::new(key.0.clone(), key.1.clone(), self.flush_interval));
        let (unread, is_unread) = (VecDeque::new(), HashSet::new());
        let stream = Stream { destination, unread, is_unread, queued: false };
        let retired = if may_reuse { self.take_retired() } else { None };
        let index = retired.unwrap_or(self.all.len());
        match self.all.get_mut(index) {
            Some(place) => *place = stream,
            None => self.all.push(stream),
        }
        self.by_name.insert(key, index);
        index
    }

    /// The place of a stream that no file goes to any more and that holds nothing.
    fn take_retired(&mut self) -> Option<usize> {
        let used: HashSet<usize> = self.routes.values().map(|route| route.stream).collect();
        self.retired.retain(|index| !used.contains(index));
        let free = |index: &usize| self.all[*index].destination.is_empty() && !self.all[*index].queued;
        let index = self.retired.iter().copied().find(free)?;
        self.retired.retain(|other| *other != index);
        self.by_name.retain(|_, other| *other != index);
        Some(index)
    }

    /// `file` has unread data.
    pub(super) fn want(&mut self, file: FileId) {
        let Some(&Route { stream, .. }) = self.routes.get(&file) else { return };
        self.all[stream].want(file);
        self.queue_again(stream);
    }

    /// `file` is no longer followed.
    pub(super) fn lose_interest(&mut self, file: FileId) {
        if let Some(route) = self.routes.remove(&file) {
            self.all[route.stream].forget(file);
        }
    }

    /// All routes are to be found anew: names have changed.
    pub(super) fn forget_routes(&mut self) {
        self.routes.clear();
        self.queue.clear();
        self.parked.clear();
        for stream in &mut self.all {
            stream.unread.clear();
            stream.is_unread.clear();
            stream.queued = false;
        }
    }

    /// How many streams want data.
    pub(super) fn queue_length(&self) -> usize {
        self.queue.len()
    }

    /// The stream whose turn it is; one that goes on wanting is put back with [`Streams::queue_again`].
    pub(super) fn next_in_queue(&mut self) -> Option<usize> {
        let index = self.queue.pop_front()?;
        self.all[index].queued = false;
        Some(index)
    }

    /// A stream wants data, after those that want some already.
    pub(super) fn queue_again(&mut self, index: usize) {
        if !std::mem::replace(&mut self.all[index].queued, true) {
            self.queue.push_back(index);
        }
    }

    /// The stream that was taken from the queue has to wait until its group is among the `starved` no longer.
    pub(super) fn park(&mut self, index: usize) {
        self.all[index].queued = true;
        let group = self.all[index].destination.log_group.clone();
        self.parked.entry(group).or_default().push_back(index);
    }

    /// Puts those back into the queue whose group is not among `starved` any more.
    pub(super) fn unpark(&mut self, starved: &BTreeSet<Arc<str>>) {
        for (_, mut streams) in self.parked.extract_if(.., |group, _| !starved.contains(group)) {
            self.queue.append(&mut streams);
        }
    }

    /// One stream, which from now on counts as active.
    pub(super) fn activate(&mut self, index: usize) -> &mut Stream {
        self.active.insert(index);
        &mut self.all[index]
    }

    /// One stream.
    pub(super) fn get(&self, index: usize) -> &Stream {
        &self.all[index]
    }

    /// One stream.
    pub(super) fn get_mut(&mut self, index: usize) -> &mut Stream {
        &mut self.all[index]
    }

    /// All streams.
    pub(super) fn all(&self) -> impl Iterator<Item = &Destination> {
        self.all.iter().map(|stream| &*stream.destination)
    }

    /// Another instance begins here: what is on its way is of no interest any more.
    pub(super) fn begin_anew(&mut self) {
        *self = Self::new(self.flush_interval);
    }

    /// The streams that hold something, those first that did not send last.
    pub(super) fn active(&mut self) -> Vec<usize> {
        let idle: Vec<usize> =
            self.active.iter().copied().filter(|&index| self.all[index].destination.is_empty()).collect();
        for index in idle {
            self.active.remove(&index);
        }
        self.active.range(self.turn..).chain(self.active.range(..self.turn)).copied().collect()
    }

    /// A stream has sent: the others come first next time.
    pub(super) fn had_its_turn(&mut self, index: usize) {
        self.turn = index + 1;
    }

    /// Which stream one is.
    pub(super) fn place(&self, index: usize) -> Where {
        let destination = &self.all[index].destination;
        (destination.log_group.clone(), destination.log_stream.clone())
    }

    /// The group of a stream that is known.
    pub(super) fn group_of(&self, index: usize) -> Option<Arc<str>> {
        self.all.get(index).map(|stream| stream.destination.log_group.clone())
    }

    /// The memory of all batches, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.active.iter().map(|&index| self.all[index].destination.memory()).sum()
    }

    /// The memory of all batches on their way, in bytes.
    pub(super) fn flying_memory(&self) -> usize {
        self.active.iter().map(|&index| self.all[index].destination.flying_memory()).sum()
    }

    /// Closes every batch: no more is read.
    pub(super) fn seal_all(&mut self, now: Moment) {
        for &index in &self.active {
            self.all[index].destination.seal(now, true);
        }
    }

    /// Whether nothing is on its way.
    pub(super) fn is_quiet(&self) -> bool {
        self.active.iter().all(|&index| self.all[index].destination.requests() == 0)
    }

    /// Whether nothing is on its way, and nothing could be sent now.
    pub(super) fn is_drained(&self) -> bool {
        self.active.iter().all(|&index| self.all[index].destination.is_drained())
    }

    /// When a stream wants to be asked again although nothing happened.
    pub(super) fn wake_at(&self, now: Moment) -> Option<Duration> {
        // Of those that hold nothing, only the troubled wait for a time; the others wait for room.
        self.active.union(&self.troubled).filter_map(|&index| self.all[index].destination.wake_at(now)).min()
    }

    /// A put was answered.
    pub(super) fn answer(
        &mut self,
        index: usize,
        ticket: Ticket,
        result: Result<Accepted, Failure>,
        now: Moment,
    ) -> Outcome {
        // An answer to what was sent before another instance began here finds nobody.
        let Some(stream) = self.all.get_mut(index) else { return Outcome::default() };
        let outcome = stream.destination.answer(ticket, result, now);
        report(&stream.destination, outcome.news.as_ref());
        self.note_trouble(index);
        outcome
    }

    /// A stream was created, or not.
    pub(super) fn created(&mut self, index: usize, result: Result<(), Failure>, now: Moment) {
        let Some(stream) = self.all.get_mut(index) else { return };
        let news = stream.destination.created(result, now);
        report(&stream.destination, news.as_ref());
        self.note_trouble(index);
    }

    fn note_trouble(&mut self, index: usize) {
        if self.all[index].destination.is_troubled() {
            self.troubled.insert(index);
        } else {
            self.troubled.remove(&index);
        }
    }
}

/// One line per change of state.
fn report(destination: &Destination, news: Option<&News>) {
    let (log_group, log_stream) = (&destination.log_group, &destination.log_stream);
    match news {
        // Without credentials all streams wait at once, and the credentials' own lines say it.
        None
        | Some(News::Recovered(DestinationState::NoCredentials) | News::Trouble(DestinationState::NoCredentials, _)) => {
        }
        Some(News::Recovered(_)) => tracing::info!(%log_group, %log_stream, "delivery goes on"),
        Some(News::Trouble(state, fault)) => {
            tracing::warn!(%log_group, %log_stream, %state, error = fault.message, "delivery is held up");
        }
    }
}

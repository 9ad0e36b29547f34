//! The streams that files go to, and which of them want data. Not what one stream does with a batch
//! (`delivery::destination`).

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;

use super::stream::Stream;
use crate::logs::DestinationState;
use crate::logs::batch::{FileId, Segment};
use crate::logs::delivery::destination::{Destination, Moment, News, Outcome, Ticket};
use crate::logs::gaps::Where;
use crate::logs::sink::{Accepted, Failure};

/// So many streams are still shown that no file goes to any more: files that were done, days that are over. Some 500
/// bytes each.
const MOST_LEFT: usize = 256;

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
    /// Streams that files have left, the last one at the end.
    left: VecDeque<usize>,
    /// Those of them whose day is over: shown until the next day's is made.
    over: Vec<usize>,
    /// Those of them that nobody will ask for.
    passing: BTreeSet<usize>,
    /// Streams that files were taken away from. What waits there in vain is for others.
    estranged: BTreeSet<usize>,
    /// The places of streams that were let go.
    free: Vec<usize>,
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
            left: VecDeque::new(),
            over: Vec::new(),
            passing: BTreeSet::new(),
            estranged: BTreeSet::new(),
            free: Vec::new(),
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

    /// From now on `file` goes to this stream, or its events of `day` do.
    pub(super) fn set_route(&mut self, file: FileId, group: &str, stream: &str, day: Option<Date>) {
        let stream = self.at(&(self.group_named(group), stream.into()));
        if let Some(before) = self.routes.insert(file, Route { stream, day })
            && before.stream != stream
        {
            self.all[before.stream].forget(file);
            self.left.push_back(before.stream);
            self.over.push(before.stream);
        }
    }

    /// A group's name, one copy for all its streams.
    fn group_named(&self, name: &str) -> Arc<str> {
        let known = self.by_name.range((Arc::from(name), Arc::from(""))..).next();
        known.filter(|((group, _), _)| **group == *name).map_or_else(|| name.into(), |((group, _), _)| group.clone())
    }

    /// The stream of this name; made if there is none.
    pub(super) fn at(&mut self, place: &Where) -> usize {
        let known = self.by_name.get(place).copied();
        known.unwrap_or_else(|| self.add(place.clone()))
    }

    fn add(&mut self, key: Where) -> usize {
        let stream = Stream::new(Destination::new(key.0.clone(), key.1.clone(), self.flush_interval));
        let index = self.free.pop().unwrap_or(self.all.len());
        self.passing.extend(self.over.drain(..));
        match self.all.get_mut(index) {
            Some(place) => *place = stream,
            None => self.all.push(stream),
        }
        self.by_name.insert(key, index);
        index
    }

    /// Lets go of streams that files have left and that hold nothing: of those of finished files when there are too many. `is_needed` says that somebody remembers a stream by its number.
    pub(super) fn let_go(&mut self, is_needed: impl Fn(usize) -> bool) {
        if self.passing.is_empty() && self.left.len() <= MOST_LEFT {
            return;
        }
        let mut used: HashSet<usize> = self.routes.values().map(|route| route.stream).collect();
        let mut left = std::mem::take(&mut self.left);
        // Each but once.
        left.retain(|index| used.insert(*index));
        self.left = left;
        let is_free = |index: &usize| {
            let stream = &self.all[*index];
            stream.destination.is_idle() && !stream.queued && !is_needed(*index)
        };
        let surplus = self.left.len().saturating_sub(MOST_LEFT);
        let surplus = self.left.iter().copied().filter(is_free).take(surplus);
        let passing = self.left.iter().copied().filter(|index| self.passing.contains(index)).filter(is_free);
        let gone: BTreeSet<usize> = surplus.chain(passing).collect();
        self.left.retain(|index| !gone.contains(index));
        self.passing.retain(|index| self.left.contains(index));
        self.estranged.retain(|index| !self.all[*index].destination.is_idle());
        self.by_name.retain(|_, index| !gone.contains(index));
        self.free.extend(gone);
    }

    /// Whether there may be streams to let go of.
    pub(super) fn is_parting(&self) -> bool {
        !self.passing.is_empty()
    }

    /// The configuration takes `file` away from its stream.
    pub(super) fn estrange(&mut self, file: FileId) {
        let stream = self.routes.get(&file).map(|route| route.stream);
        self.passing.extend(stream);
        self.estranged.extend(stream);
        self.lose_interest(file);
    }

    /// What waits in vain in a stream and would go elsewhere, if it were read again; `may_go` says what can be.
    pub(super) fn release_strays(&mut self, index: usize, may_go: impl Fn(FileId) -> bool) -> Vec<Segment> {
        if !self.estranged.contains(&index) {
            return Vec::new();
        }
        let routes = &self.routes;
        let is_stray = |segment: &Segment| routes.get(&segment.file).is_none_or(|route| route.stream != index);
        self.all[index].destination.release_strays(|segments| {
            segments.iter().any(is_stray) && segments.iter().all(|segment| may_go(segment.file))
        })
    }

    /// A busy stream lingers `interval` from now on.
    pub(super) fn set_flush_interval(&mut self, interval: Duration) {
        self.flush_interval = interval;
        self.all.iter_mut().for_each(|stream| stream.destination.set_flush_interval(interval));
    }

    /// Somebody has changed something: what failed is tried again at once.
    pub(super) fn try_again(&mut self, now: Moment) {
        self.all.iter_mut().for_each(|stream| stream.destination.try_again(now));
    }

    /// How many there are or were: one more than the greatest index.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// Which streams something goes to, by file.
    pub(super) fn routed(&self) -> impl Iterator<Item = (FileId, &Arc<str>)> {
        self.routes.iter().map(|(file, route)| (*file, &self.all[route.stream].destination.log_group))
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
            self.left.push_back(route.stream);
        }
    }

    /// All routes are to be found anew: names have changed.
    pub(super) fn forget_routes(&mut self) {
        for route in std::mem::take(&mut self.routes).values() {
            self.left.push_back(route.stream);
            self.passing.insert(route.stream);
            self.estranged.insert(route.stream);
        }
        self.queue.clear();
        self.parked.clear();
        for stream in &mut self.all {
            stream.forget_all();
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
        self.by_name.values().map(|index| &*self.all[*index].destination)
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

    /// The memory that packed bodies on their way take beside it, in bytes.
    pub(super) fn packed_memory(&self) -> usize {
        self.active.iter().map(|&index| self.all[index].destination.packed_memory()).sum()
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

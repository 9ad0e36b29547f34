//! What sockets received, from the spool into the streams: its segments become feeds, one after the other for each sender,
//! and are deleted when all of them is delivered or dropped. Not the receiving.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::former::{former_table, name_of, position, same_place};
use super::framers::Framers;
use crate::logs::batch::FileId;
use crate::logs::checkpoint::SegmentState;
use crate::logs::coverage::{Coverage, Place};
use crate::logs::delivery::destination::Moment;
use crate::logs::ledger::{Count, Reason};
use crate::logs::report::SpoolSnapshot;
use crate::logs::settings::Table;
use crate::logs::source::feed::{Feed, Origin};
use crate::logs::source::segment::Segment;
use crate::logs::spool::{Damage, Key, Listed, Loss, Spool};
use crate::logs::{Settings, SocketSettings};

/// What the accounts of sockets begin with: a file of that path has another.
pub(super) const SOURCE: &str = "socket:";

/// A segment of which all is delivered and to which nothing was added for so long is completed, so that it can be deleted:
/// short against what its room is worth, long against what a new one costs.
const QUIET: Duration = Duration::from_secs(5);

/// Whose account has what stood in segments that lost their headers: it came in by a socket, but not even that is known.
const HEADLESS: &str = "unknown";

/// How long it is said that there was no room, after somebody last found none.
const REFUSAL_SHOWN: Duration = Duration::from_secs(10);

/// The spool, as the engine sees it.
#[derive(Debug, Default)]
pub(super) struct Spooled {
    spool: Option<Spool>,
    /// What the checkpoint knew, by number.
    pub(super) known: BTreeMap<u64, SegmentState>,
    /// The feeds of segments, by number.
    feeds: BTreeMap<u64, FileId>,
    /// Whether there may be a segment to begin with.
    changed: bool,
    refused_at: Option<Duration>,
    /// How many places of the spool were damaged since the start, and their bytes.
    damaged: (u64, u64),
    /// The sockets that the configuration has.
    sockets: BTreeSet<PathBuf>,
    /// Where they are.
    directory: PathBuf,
    /// How many of the tables are the configuration's; those behind them are of what came in before.
    tables: usize,
}

impl Spooled {
    pub(super) fn new(known: BTreeMap<u64, SegmentState>) -> Self {
        Self { known, ..Self::default() }
    }

    /// There may be more to read.
    pub(super) fn has_changed(&mut self) {
        self.changed = true;
    }

    /// Whether something is to be looked at from time to time.
    pub(super) fn needs_ticks(&self) -> bool {
        !self.feeds.is_empty() || self.refused_at.is_some()
    }

    /// How full it is.
    pub(super) fn snapshot(&self) -> SpoolSnapshot {
        let Some(spool) = &self.spool else { return SpoolSnapshot::default() };
        SpoolSnapshot {
            bytes: spool.budget().used(),
            limit_bytes: spool.budget().limit(),
            quarantined_bytes: spool.quarantined(),
        }
    }
}

impl Engine {
    /// Reads what is in `spool`, too; sockets are in `directory`. Before the first step.
    pub(crate) fn attach_spool(&mut self, spool: Spool, directory: &Path) {
        directory.clone_into(&mut self.spooled.directory);
        self.note_sockets();
        let there: BTreeSet<u64> = spool.segments().iter().map(|listed| listed.number).collect();
        let gone: Vec<u64> = self.spooled.known.keys().filter(|number| !there.contains(number)).copied().collect();
        for number in gone {
            let Some(state) = self.spooled.known.remove(&number) else { continue };
            if let Err(error) = self.books.forget(state.id) {
                self.warn_of_checkpoint(&error);
            }
        }
        self.budget = spool.budget().clone();
        self.budget.give_back(std::mem::take(&mut self.files.swept));
        // What files leave in the spool is taken of the same room.
        self.budget = spool.budget().clone();
        self.spooled.spool = Some(spool);
        self.spooled.changed = true;
    }

    fn note_sockets(&mut self) {
        self.spooled.tables = self.settings.sockets.len();
        let paths = self.settings.sockets.iter().map(|socket| self.spooled.directory.join(&socket.path));
        self.spooled.sockets = paths.collect();
        for source in &self.spooled.sockets {
            self.books.account(&account_of(&source.to_string_lossy()));
        }
    }

    /// Another configuration has other sockets. What came in by the tables before goes where they said: what of it is on
    /// its way into the spool, too.
    pub(super) fn change_sockets(&mut self, before: &Settings) {
        let Some(spool) = &self.spooled.spool else { return };
        let keys: Vec<Arc<Key>> = spool.segments().into_iter().map(|listed| listed.key).collect();
        let configured = self.spooled.tables;
        self.note_sockets();
        for (index, table) in before.sockets.iter().enumerate() {
            let is_waited_for = || keys.iter().any(|key| position(&before.sockets, key) == Some(index));
            let is_known = self.settings.sockets.iter().any(|other| same_place(other, table));
            if !is_known && (index < configured || is_waited_for()) {
                self.settings.sockets.push(table.clone());
            }
        }
        self.spooled.changed = true;
    }

    /// The table of what came in with `key`.
    pub(super) fn socket_of(&self, key: &Key) -> Option<usize> {
        position(&self.settings.sockets, key)
    }

    /// The same; made when there is none any more.
    fn table_for(&mut self, key: &Key) -> Option<usize> {
        if let Some(known) = self.socket_of(key) {
            return Some(known);
        }
        if self.is_without_rules(key) {
            return None;
        }
        let table = former_table(&self.settings.sockets, key)?;
        self.settings.sockets.push(table);
        self.framers = Framers::new(&self.settings);
        Some(self.settings.sockets.len() - 1)
    }

    /// Another instance begins here: what stands in the spool since before is not its.
    pub(super) fn set_spool_aside(&mut self, owner: &str) -> std::io::Result<()> {
        self.spooled.known.clear();
        self.spooled.feeds.clear();
        let Some(spool) = &self.spooled.spool else { return Ok(()) };
        self.spooled.changed = true;
        spool.set_aside(owner)
    }

    /// Follows what is in the spool: of each sender the first segment that is not read to its end.
    pub(super) fn look_at_spool(&mut self, now: Moment) {
        let Some(spool) = self.spooled.spool.clone().filter(|_| std::mem::take(&mut self.spooled.changed)) else {
            return;
        };
        let mut waiting: BTreeSet<Arc<Key>> = BTreeSet::new();
        let mut held = None;
        for listed in spool.segments() {
            if waiting.contains(&listed.key) {
                continue;
            }
            let key = listed.key.clone();
            if self.is_without_rules(&key) {
                held.get_or_insert_with(|| key.source.clone());
            }
            let id = match self.spooled.feeds.get(&listed.number) {
                Some(id) => Some(*id),
                None => self.follow_segment(&spool, listed, now),
            };
            if let Some(id) = id {
                self.look(id, now);
            }
            if !id.is_some_and(|id| self.is_read_out(id)) {
                waiting.insert(key);
            }
        }
        let held = held.map(|source| {
            format!("what came in by '{source}' stays in the spool: its table, which says what is redacted, is gone")
        });
        let hint = "put that [[logs.socket]] back until it is delivered; or stop the service and delete the spool";
        self.set_warning("spool_without_table", held, hint);
    }

    /// Whether it is not known any more what was to become of records with `key`: then they are kept, since sending them
    /// as they came may be what their table was to prevent.
    fn is_without_rules(&self, key: &Key) -> bool {
        let has_its_socket = |socket: &SocketSettings| name_of(key) == Some(&*socket.path);
        !key.as_they_came && !self.settings.sockets.iter().any(has_its_socket)
    }

    fn follow_segment(&mut self, spool: &Spool, listed: Listed, now: Moment) -> Option<FileId> {
        let table = self.table_for(&listed.key)?;
        let (number, begin) = (listed.number, listed.begin);
        let source = account_of(&listed.key.source);
        let segment = match Segment::open(spool, listed, now.boot) {
            Ok(segment) => segment,
            Err(error) => {
                let message = format!("segment {number} of the spool can't be read: {error}");
                self.set_warning("spool_unreadable", Some(message), "look at the state directory's file system");
                return None;
            }
        };
        let known = self.spooled.known.remove(&number);
        let (id, coverage) =
            known.map_or_else(|| (self.feeds.next_id(), Coverage::from(begin)), |state| (state.id, state.coverage));
        self.books.account(&source);
        self.feeds.insert(Feed::of_segment(id, source, Table::Socket(table), segment, coverage));
        self.spooled.feeds.insert(number, id);
        Some(id)
    }

    /// Whether all of a segment was read, and nothing will follow.
    fn is_read_out(&self, id: FileId) -> bool {
        let segment = self.feeds.get(id).and_then(|feed| feed.segment().map(|segment| (feed, segment)));
        segment.is_some_and(|(feed, segment)| segment.sealed && feed.unread_bytes() == 0)
    }

    /// A segment was read as far as it goes: the sender's next one may be read. What stands behind the last whole record is
    /// damage, since only whole ones are written. `true` if there is more to read of it.
    pub(super) fn segment_was_read(&mut self, id: FileId, now: Moment) -> bool {
        let Some((feed, segment)) = self.feeds.get(id).and_then(|feed| Some((feed, feed.segment()?))) else {
            return false;
        };
        let is_damaged = feed.unread_bytes() > 0;
        self.spooled.changed |= segment.sealed;
        is_damaged && self.pass_over_damage(id, now)
    }

    /// What stands where the next record should begin is none: it is put away and counted, and what stands behind it is
    /// read. `true` if something does.
    pub(super) fn pass_over_damage(&mut self, id: FileId, now: Moment) -> bool {
        let Some((feed, segment)) = self.feeds.get(id).and_then(|feed| Some((feed, feed.segment()?))) else {
            return false;
        };
        let (from, until) = feed.coverage.next();
        let (number, source) = (segment.number, feed.source.clone());
        let Some(spool) = self.spooled.spool.clone() else { return false };
        let damage = match spool.quarantine(number, from.offset, until) {
            Ok(damage) => damage,
            Err(error) => {
                let message = format!("a damaged segment of the spool can't be put away: {error}");
                self.set_warning("spool_unwritable", Some(message), "make room in the state directory");
                if let Some(feed) = self.feeds.get_mut(id) {
                    feed.reached_end();
                }
                return false;
            }
        };
        // At least one record; how many there were can't be told.
        self.books.account(&source).lose(Reason::Gap, Count { events: 1, bytes: damage.bytes });
        self.tell_of_damage(&damage);
        self.spooled.changed = true;
        if let (Some(next), Some(feed)) = (damage.next, self.feeds.get_mut(id)) {
            feed.coverage.take(from.offset, Place { offset: next, parts: 0 });
            feed.coverage.finish(from.offset);
            feed.unread();
            self.write_down(std::iter::once(id), now);
        } else {
            self.look(id, now);
        }
        damage.next.is_some()
    }

    fn tell_of_damage(&mut self, damage: &Damage) {
        let (places, bytes) = &mut self.spooled.damaged;
        (*places, *bytes) = (*places + 1, *bytes + damage.bytes);
        let kept = damage.kept.parent().unwrap_or(&damage.kept).display();
        let message = format!("{bytes} bytes in {places} places of the spool were damaged, and are kept in '{kept}'");
        let hint = "all else is delivered; a power failure does that, or a failing disk: see dmesg";
        self.set_warning("spool_damaged", Some(message), hint);
    }

    /// Completes what is delivered and quiet, deletes what is delivered and complete, and says what went wrong.
    pub(super) fn tick_spool(&mut self, now: Moment) {
        let Some(spool) = self.spooled.spool.clone() else { return };
        for (number, id) in self.spooled.feeds.clone() {
            let Some(feed) = self.feeds.get_mut(id) else { continue };
            let is_done = feed.coverage.is_settled() && feed.coverage.low().offset >= feed.size;
            let (size, Some(segment)) = (feed.size, feed.segment_mut()) else { continue };
            if is_done && !segment.sealed && now.boot.saturating_sub(segment.quiet_since) >= QUIET {
                segment.sealed = spool.seal_at(number, size);
            }
            // With the segment would go what the ledger has to count again, should the checkpoint not have it.
            if is_done && segment.sealed && self.books.stands() {
                self.finish_segment(&spool, number, id);
            }
        }
        self.tell_of_spool(&spool, now);
    }

    /// First the file, then the checkpoint: the other way round a kill between them would have it delivered again.
    fn finish_segment(&mut self, spool: &Spool, number: u64, id: FileId) {
        // The end may have moved since it was looked at.
        if spool.segment(number).zip(self.feeds.get(id)).is_some_and(|(listed, feed)| listed.length > feed.size) {
            self.spooled.changed = true;
            return;
        }
        if let Err(error) = spool.remove(number) {
            let message = format!("a delivered segment of the spool can't be deleted: {error}");
            return self.set_warning(
                "spool_unwritable",
                Some(message),
                "let the service's user write the state directory",
            );
        }
        self.spooled.feeds.remove(&number);
        self.feeds.remove(id);
        self.streams.lose_interest(id);
        if let Err(error) = self.books.forget(id) {
            self.warn_of_checkpoint(&error);
        }
    }

    fn tell_of_spool(&mut self, spool: &Spool, now: Moment) {
        let trouble = spool.take_trouble();
        for (key, loss) in &trouble.lost {
            self.note_loss(key, loss, now);
        }
        // An empty one is of a kill before its first record.
        for damage in trouble.headless.iter().filter(|damage| damage.bytes > 0) {
            self.note_headless(damage);
        }
        if let Some(refusal) = trouble.refusal {
            self.spooled.refused_at = Some(now.boot);
            let hint = "see the destinations' errors in this report, or raise `spool_limit` under [logs]";
            self.set_warning("spool_full", Some(refusal), hint);
        } else if self.spooled.refused_at.is_some_and(|at| now.boot.saturating_sub(at) >= REFUSAL_SHOWN) {
            self.spooled.refused_at = None;
            self.set_warning("spool_full", None, "");
        }
    }
}

impl Engine {
    /// What found no room is counted, and the stream that it was for is to say so.
    fn note_loss(&mut self, key: &Key, loss: &Loss, now: Moment) {
        let source = account_of(&key.source);
        let (uid, events) = (key.uid, loss.count.events);
        tracing::error!(
            source = key.source,
            uid,
            events,
            "the spool is full, what senders could not wait with is lost"
        );
        let place = self.place_of_key(key, now);
        let account = self.books.account(&source);
        account.lose(Reason::SpoolFull, loss.count);
        if let Some(place) = place {
            account.note_gaps(&place, (loss.from, loss.to), now.boot);
        }
        if let Err(error) = self.books.write_account(&source) {
            self.warn_of_checkpoint(&error);
        }
    }

    /// At least one record is lost; how many there were can't be told, nor whose.
    fn note_headless(&mut self, damage: &Damage) {
        let source = account_of(HEADLESS);
        self.books.account(&source).lose(Reason::Gap, Count { events: 1, bytes: damage.bytes });
        if let Err(error) = self.books.write_account(&source) {
            self.warn_of_checkpoint(&error);
        }
        self.tell_of_damage(damage);
    }

    /// Whether the configuration has the socket at `path`.
    pub(super) fn is_open(&self, path: &str) -> bool {
        self.spooled.sockets.contains(Path::new(path))
    }
}

/// What the account of the socket at `path` is called.
pub(super) fn account_of(path: &str) -> Arc<str> {
    format!("{SOURCE}{path}").into()
}

impl Feed {
    fn of_segment(id: FileId, source: Arc<str>, table: Table, segment: Segment, coverage: Coverage) -> Self {
        let origin = Origin::Segment(segment);
        Self { id, source, table, origin, coverage, size: 0, read_to_end_at: None, behind_since: None, fault: None }
    }
}

//! An entry on its way to a feed: ours or not, asked for or not, room or not. Not when it is read.

use std::time::Duration;

use super::{Order, Purpose, Reader, Supply, TapeState};
use crate::logs::batch::FileId;
use crate::logs::delivery::destination::Moment;
use crate::logs::engine::Engine;
use crate::logs::framing::recorded;
use crate::logs::settings::Table as TableId;
use crate::logs::source::journal::cursor::Cursor;
use crate::logs::source::journal::export::Entry;
use crate::logs::source::journal::render::{render, time_of};

/// How long a feed that takes nothing holds up the others of its table: about what a slow answer takes.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long a reader waits that holds up nobody: then its process has lived long enough for nothing.
const LONG_PATIENCE: Duration = Duration::from_secs(10);

/// What became of an entry.
enum Placed {
    Done,
    NoRoom(FileId),
}

/// How long a reader may hold an entry for which there is no room.
pub(super) fn patience(reader: &Reader) -> Duration {
    if reader.is_shared { PATIENCE } else { LONG_PATIENCE }
}

impl Engine {
    /// Takes in what a reader has, as far as there is room, and lets it read on.
    pub(super) fn pump(&mut self, id: u64, now: Moment) {
        let Some(mut reader) = self.journals.readers.remove(&id) else { return };
        if self.take_entries(&mut reader, now) {
            self.journals.readers.insert(id, reader);
        }
    }

    /// `false` when the reader is done with.
    fn take_entries(&mut self, reader: &mut Reader, now: Moment) -> bool {
        loop {
            if !self.is_of_use(reader) {
                self.dismiss(reader.id);
                return false;
            }
            if let Some(cursor) = reader.cursor {
                if self.has_suspect_hole(reader) {
                    return false;
                }
                if let Placed::NoRoom(feed) = self.place(reader, cursor, now) {
                    let since = *reader.held_since.get_or_insert(now.boot);
                    if now.boot.saturating_sub(since) < patience(reader) {
                        return true;
                    }
                    self.fall_behind(feed, now);
                    continue;
                }
                reader.placed();
            }
            if !reader.next() {
                if let Some(result) = reader.ended() {
                    self.reader_ended(reader, result, now);
                    return false;
                }
                if reader.wants_order() {
                    self.journals.orders.push(Order::Read(reader.id));
                }
                return true;
            }
        }
    }

    /// Whether what the reader brings is still wanted.
    fn is_of_use(&self, reader: &Reader) -> bool {
        match reader.purpose {
            Purpose::Help(id) | Purpose::At(_, Some(id)) => self.supply(id) == Some(Supply::Helped),
            Purpose::Newest | Purpose::At(_, None) => true,
            Purpose::All | Purpose::Follow => {
                let table = &self.journals.tables[reader.table];
                table.per_unit || table.feeds.values().any(|id| self.supply(*id) == Some(Supply::Live))
            }
        }
    }

    fn place(&mut self, reader: &mut Reader, cursor: Cursor, now: Moment) -> Placed {
        match reader.purpose {
            Purpose::Newest | Purpose::At(..) => {
                reader.first.get_or_insert(cursor);
                Placed::Done
            }
            Purpose::All | Purpose::Follow => self.route(reader.table, reader.decoder.entry(), cursor, now),
            Purpose::Help(id) => {
                let table = &self.journals.tables[reader.table];
                let entry = reader.decoder.entry();
                let key = self.chosen(reader.table, entry).map(|unit| table.key(unit));
                let its_own = self.feeds.get(id).and_then(|feed| Some(feed.tape()?.unit.clone()));
                if key.is_some() && key == its_own {
                    self.offer(id, reader.table, entry, cursor, now)
                } else {
                    Placed::Done
                }
            }
        }
    }

    /// Whether the table asks for an entry, which is not ours; if so, for which unit's sake.
    #[expect(clippy::option_option, reason = "asked for or not, and then about a unit or not")]
    fn chosen<'a>(&self, table: usize, entry: &'a Entry) -> Option<Option<&'a str>> {
        if self.journals.own.wrote(entry) {
            return None;
        }
        self.journals.tables[table].selection.choose(entry)
    }

    fn route(&mut self, index: usize, entry: &Entry, cursor: Cursor, now: Moment) -> Placed {
        let Some(unit) = self.chosen(index, entry) else {
            self.journals.tables[index].saw(cursor);
            return Placed::Done;
        };
        let table = &self.journals.tables[index];
        let key = table.key(unit);
        let id = match table.feeds.get(&key) {
            Some(id) => *id,
            // A unit that was forgotten: what was seen before is done.
            None if table.tip.is_some_and(|tip| cursor.is_at_or_before(&tip)) => return Placed::Done,
            None => self.new_feed(index, key),
        };
        if self.supply(id) == Some(Supply::Live)
            && let Placed::NoRoom(id) = self.offer(id, index, entry, cursor, now)
        {
            return Placed::NoRoom(id);
        }
        self.journals.tables[index].saw(cursor);
        Placed::Done
    }

    /// A unit is heard of for the first time. Its feed is written down before anything of it is read, so that its
    /// records have the same numbers after a panic.
    fn new_feed(&mut self, index: usize, key: Option<String>) -> FileId {
        let after = self.journals.tables[index].tip;
        let id = self.add_feed(index, key, TapeState { settled: true, cursor: after, ..TapeState::default() });
        self.write_journal(index);
        id
    }

    /// Puts an entry onto a feed's tape, unless that has it already.
    fn offer(&mut self, id: FileId, index: usize, entry: &Entry, cursor: Cursor, now: Moment) -> Placed {
        let Some(feed) = self.feeds.get_mut(id) else { return Placed::Done };
        let Some((tape, coverage)) = feed.tape_mut() else { return Placed::Done };
        if tape.after().is_some_and(|after| cursor.is_at_or_before(&after)) {
            return Placed::Done;
        }
        let (mut text, mut record) = (Vec::new(), Vec::new());
        render(entry, &self.journals.tables[index].format, &mut text);
        let framing = self.framers.of(TableId::Journal(index)).settings();
        recorded::encode_part(&mut record, framing, time_of(entry), &text, false);
        let length = i64::try_from(record.len()).unwrap_or(i64::MAX);
        if !tape.is_empty() && (!tape.has_room(record.len()) || self.journals.room < length) {
            return Placed::NoRoom(id);
        }
        self.journals.room -= length;
        tape.push(cursor, &record, coverage);
        feed.size = tape.end();
        feed.unread();
        self.want(id, now);
        Placed::Done
    }

    /// A feed takes nothing: it gets the rest when its stream wants data again.
    pub(super) fn fall_behind(&mut self, id: FileId, now: Moment) {
        let Some(feed) = self.feeds.get_mut(id) else { return };
        let Some((tape, coverage)) = feed.tape_mut() else { return };
        tape.fall_behind(coverage);
        feed.size = tape.end();
        feed.unread();
        feed.behind_since.get_or_insert(now.boot);
        self.want(id, now);
    }

    /// Batches of a feed were given back: they are read again from the journal.
    pub(in crate::logs::engine) fn rewind_journal(&mut self, id: FileId, now: Moment) {
        if self.supply(id).is_some() {
            self.fall_behind(id, now);
        }
    }

    /// Something of a feed was taken, or is done: its tape lets go of it.
    pub(in crate::logs::engine) fn relieve_tape(&mut self, id: FileId) {
        if let Some((tape, coverage)) = self.feeds.get_mut(id).and_then(|feed| feed.tape_mut()) {
            tape.let_go(coverage);
        }
    }
}

//! The stretch of the journal that one stream's worth of entries has in memory: records, numbered like the bytes of a
//! file, with the cursor of each. Bounded and never written anywhere: the journal has it all, so what finds no room here
//! is read again from there. Not the reading of the journal.
//!
//! Invariants: an offset means the same byte for as long as it is not done; a cursor that is given out as a position
//! belongs to an entry of which everything, and everything before it, is done (or taken, as asked).

use std::collections::{BTreeMap, VecDeque};
use std::io;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::cursor::Cursor;
use crate::logs::batch::FileId;
use crate::logs::coverage::{Coverage, Place};
use crate::logs::source::feed::Content;

/// What waits here at most, beside a single record that is longer: two reads of a batch being filled.
const ROOM: usize = 128 * 1024;

/// How a feed gets its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Supply {
    /// From the reader of its table, as they come.
    Live,
    /// It could not take what came, and is read again from where it was left: once its stream wants data.
    Behind,
    /// The same, and its stream wants data.
    Hungry,
    /// A reader of its own brings it what it missed.
    Helped,
}

/// What the checkpoint keeps of a feed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TapeState {
    /// The feed's id.
    pub(crate) id: FileId,
    /// The unit it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unit: Option<String>,
    /// Where its numbering goes on.
    pub(crate) offset: u64,
    /// Whether everything that its table has seen is done.
    #[serde(default)]
    pub(crate) settled: bool,
    /// The last entry of which it and everything before is done, or the place before the first one; not set before that
    /// came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<Cursor>,
    /// What is done above that: behind the first entry, up to the second.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) done: Vec<(Cursor, Cursor)>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Tape {
    /// The unit it is for, where each has a stream.
    pub(crate) unit: Option<String>,
    /// What stands for `{unit}`.
    pub(crate) unit_name: Option<String>,
    /// How it gets its entries.
    pub(crate) supply: Supply,
    /// Whether its table's reader has still to go back for what came while it was helped: until then what its table has
    /// seen is more than it has.
    pub(crate) joining: bool,
    /// The last entry that it took.
    after: Option<Cursor>,
    bytes: VecDeque<u8>,
    /// The offset of the first of `bytes`.
    base: u64,
    /// Where the entries end that are here or on their way, and where they stand.
    marks: BTreeMap<u64, Option<Cursor>>,
    /// What a run before this one has done already, in order.
    done_before: VecDeque<(Cursor, Cursor)>,
    /// Where such a stretch began that is just coming by.
    passing: Option<u64>,
}

impl Tape {
    /// A tape that goes on behind `after`, with number `offset`.
    pub(crate) fn new(
        unit: Option<String>,
        unit_name: Option<String>,
        supply: Supply,
        after: Option<Cursor>,
        offset: u64,
    ) -> Self {
        let marks = [(offset, after)].into();
        let (bytes, done_before) = (VecDeque::new(), VecDeque::new());
        Self { unit, unit_name, supply, joining: false, after, bytes, base: offset, marks, done_before, passing: None }
    }

    /// What these stretches hold is done already.
    pub(crate) fn pass_over(&mut self, done: Vec<(Cursor, Cursor)>) {
        self.done_before = done.into();
    }

    /// Behind the last record.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// The last entry that it took.
    pub(crate) fn after(&self) -> Option<Cursor> {
        self.after
    }

    /// Whether its stream is to be told that there is something for it, here or in the journal.
    pub(crate) fn wants_reading(&self) -> bool {
        !self.bytes.is_empty() || self.supply == Supply::Behind
    }

    /// Whether something of the journal is missing here.
    pub(crate) fn is_behind(&self) -> bool {
        self.supply != Supply::Live
    }

    /// Its stream wants data, and there is none here: whether that is news.
    pub(crate) fn is_asked_in_vain(&mut self) -> bool {
        let news = self.bytes.is_empty() && self.supply == Supply::Behind;
        if news {
            self.supply = Supply::Hungry;
        }
        news
    }

    /// Whether nothing waits here.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The memory it takes, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity() + self.marks.len() * size_of::<(u64, Option<Cursor>)>()
    }

    /// Whether a record of this length finds room. One of any length does when nothing waits.
    pub(crate) fn has_room(&self, length: usize) -> bool {
        self.bytes.is_empty() || self.bytes.len() + length <= ROOM
    }

    /// Takes an entry's record, or passes it over, if it is done already.
    pub(crate) fn push(&mut self, cursor: Cursor, record: &[u8], coverage: &mut Coverage) {
        let start = self.end();
        if self.after.is_none() {
            // From here on it is known what may be missed: an entry that is gone before it was delivered is a gap.
            self.marks.insert(start, Some(cursor.just_before()));
        }
        self.bytes.extend(record);
        self.after = Some(cursor);
        self.marks.insert(self.end(), self.after);
        if self.is_done_before(&cursor) {
            let from = *self.passing.get_or_insert(start);
            coverage.take(from, Place { offset: self.end(), parts: 0 });
        } else {
            self.end_passing(coverage);
        }
    }

    fn is_done_before(&mut self, cursor: &Cursor) -> bool {
        while let Some((from, to)) = self.done_before.front() {
            // Across series nothing is sure: those are delivered twice rather than never.
            if (from.series, to.series) == (cursor.series, cursor.series) && cursor.number <= to.number {
                return cursor.number > from.number;
            }
            self.done_before.pop_front();
        }
        false
    }

    fn end_passing(&mut self, coverage: &mut Coverage) {
        if let Some(start) = self.passing.take() {
            coverage.finish(start);
        }
    }

    /// No more comes for now: what was passed over counts.
    pub(crate) fn settle_passed(&mut self, coverage: &mut Coverage) {
        self.end_passing(coverage);
        self.let_go(coverage);
    }

    /// Lets go of what was taken, and of cursors that no position can be asked at any more.
    pub(crate) fn let_go(&mut self, coverage: &Coverage) {
        let next = coverage.next().0.offset;
        let gone = usize::try_from(next.saturating_sub(self.base)).unwrap_or(usize::MAX).min(self.bytes.len());
        self.bytes.drain(..gone);
        self.base += gone as u64;
        let boundaries: Vec<u64> = coverage.boundaries().filter_map(|at| self.mark_at(at)).collect();
        let passed: Vec<u64> = self.marks.range(..next).map(|(end, _)| *end).collect();
        for end in passed.into_iter().filter(|end| !boundaries.contains(end)) {
            self.marks.remove(&end);
        }
        if self.bytes.is_empty() && self.bytes.capacity() > ROOM {
            self.bytes = VecDeque::new();
        }
    }

    /// Where the last entry ends that is whole at `offset`.
    fn mark_at(&self, offset: u64) -> Option<u64> {
        self.marks.range(..=offset).next_back().map(|(end, _)| *end)
    }

    fn cursor_at(&self, offset: u64) -> Option<Cursor> {
        self.marks.range(..=offset).next_back().and_then(|(_, cursor)| *cursor)
    }

    /// Empties it: what was not taken is to be read again, once its stream wants data. An entry of which a part is
    /// taken will come whole, with the numbers it had.
    pub(crate) fn fall_behind(&mut self, coverage: &mut Coverage) {
        self.end_passing(coverage);
        let next = coverage.next().0.offset;
        let end = self.mark_at(next).unwrap_or(next);
        self.after = self.cursor_at(next);
        self.bytes = VecDeque::new();
        self.base = end;
        self.marks.split_off(&(end + 1));
        self.supply = Supply::Behind;
    }

    /// Entries are missing behind the last one: should a part of the next one be taken, the rest will never come.
    pub(crate) fn close_gap(&mut self, coverage: &mut Coverage) {
        let next = coverage.next().0;
        if self.bytes.is_empty() && next.offset > self.base {
            // A byte that stands for the rest, so that what follows begins a record.
            coverage.take(next.offset, Place { offset: next.offset + 1, parts: 0 });
            coverage.finish(next.offset);
            self.base = next.offset + 1;
            self.marks.insert(self.base, self.after);
        }
        self.done_before.clear();
    }

    /// What stands up to `cursor` is not for it.
    pub(crate) fn go_on_behind(&mut self, cursor: Cursor) {
        self.after = Some(cursor);
        self.marks.insert(self.end(), self.after);
    }

    /// When the last entry came that is done.
    pub(crate) fn delivered_at(&self, coverage: &Coverage) -> Option<Timestamp> {
        let micros = self.cursor_at(coverage.low().offset)?.realtime;
        Timestamp::from_microsecond(i64::try_from(micros).ok()?).ok()
    }

    /// What the checkpoint keeps of it; its table has seen all up to `tip`.
    pub(crate) fn state(&self, id: FileId, tip: Option<Cursor>, coverage: &Coverage) -> TapeState {
        let low = coverage.low().offset;
        let cursors = |(start, end)| self.cursor_at(start).zip(self.cursor_at(end));
        // One that was helped may be beyond what its table has seen: it has a place of its own until that has come there.
        let is_within = self.after.is_none_or(|after| tip.is_some_and(|tip| after.is_at_or_before(&tip)));
        let settled = self.supply == Supply::Live && !self.joining && low == self.end() && is_within;
        TapeState {
            id,
            unit: self.unit.clone(),
            offset: self.mark_at(low).unwrap_or(low),
            settled,
            cursor: self.cursor_at(low).filter(|_| !settled),
            done: coverage.done().filter_map(cursors).collect(),
        }
    }
}

impl Content for Tape {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let Some(skipped) = offset.checked_sub(self.base) else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "this part of the journal is not in memory any more"));
        };
        let start = usize::try_from(skipped).unwrap_or(usize::MAX).min(self.bytes.len());
        let (front, back) = self.bytes.as_slices();
        let rest = if start < front.len() { &front[start..] } else { &back[start - front.len()..] };
        let count = buffer.len().min(rest.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cursor(number: u64) -> Cursor {
        Cursor { series: 1, number, boot: 1, monotonic: number, realtime: number, content: 0 }
    }

    fn read(tape: &Tape, offset: u64) -> Vec<u8> {
        let (mut content, mut buffer) = (Vec::new(), [0; 64]);
        while let Ok(count @ 1..) = tape.read_at(&mut buffer, offset + content.len() as u64) {
            content.extend_from_slice(&buffer[..count]);
        }
        content
    }

    #[test]
    fn what_an_earlier_run_has_done_is_passed_over() {
        let mut tape = Tape::new(None, None, Supply::Helped, Some(cursor(1)), 100);
        let mut coverage = Coverage::from(100);
        tape.pass_over(vec![(cursor(2), cursor(4))]);
        (2..=5).for_each(|number| tape.push(cursor(number), b"0123456789", &mut coverage));
        assert_eq!(coverage.next(), (Place { offset: 100, parts: 0 }, Some(110)));
        coverage.take(100, Place { offset: 110, parts: 0 });
        coverage.finish(100);
        assert_eq!(coverage.low().offset, 130);
        assert_eq!(tape.state(1, None, &coverage).cursor, Some(cursor(4)));
    }

    #[test]
    fn a_record_of_which_a_part_is_taken_comes_whole_again_with_its_numbers() {
        let mut tape = Tape::new(None, None, Supply::Live, None, 0);
        let mut coverage = Coverage::from(0);
        (1..=3).for_each(|number| tape.push(cursor(number), b"0123456789", &mut coverage));
        coverage.take(0, Place { offset: 15, parts: 1 });
        tape.let_go(&coverage);
        tape.fall_behind(&mut coverage);
        assert_eq!((tape.after(), tape.end()), (Some(cursor(1)), 10));
        tape.push(cursor(2), b"0123456789", &mut coverage);
        assert_eq!(read(&tape, 15), b"56789");
    }

    proptest! {
        /// The model: one long text. Whatever is pushed and let go of in whatever order, each offset holds its byte.
        #[test]
        fn an_offset_holds_the_same_byte_as_long_as_it_is_not_done(steps in prop::collection::vec((any::<bool>(), 1_usize..400), 1..100)) {
            let mut tape = Tape::new(None, None, Supply::Live, None, 0);
            let (mut coverage, mut text, mut taken) = (Coverage::from(0), Vec::new(), 0);
            for (number, (push, length)) in steps.into_iter().enumerate() {
                if push {
                    let record: Vec<u8> = (0..length).map(|at| u8::try_from((at + number) % 251).unwrap_or(0)).collect();
                    tape.push(cursor(number as u64 + 1), &record, &mut coverage);
                    text.extend(record);
                } else {
                    let end = (taken + length).min(text.len());
                    coverage.take(taken as u64, Place { offset: end as u64, parts: 0 });
                    coverage.finish(taken as u64);
                    taken = end;
                    tape.let_go(&coverage);
                }
                prop_assert_eq!(read(&tape, taken as u64), &text[taken..]);
            }
        }
    }
}

//! Bytes of a source become records, and records become what is sent of them: which lines belong together, what time
//! they have, what is kept, dropped and redacted. Pure, and without memory: what comes next follows from the bytes and
//! the place, so that a restart begins anywhere. Not reading (`source`), not counting (`batch`).

mod cut;
mod encoding;
mod json;
mod lines;
mod multiline;
mod pattern;
pub(crate) mod recorded;
mod settings;
mod time;
mod verdict;

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;

pub(crate) use self::cut::LOOKED_BEHIND;
pub use self::encoding::Encoding;
pub(crate) use self::json::METRICS;
pub use self::json::{Json, Level};
pub(crate) use self::lines::{LONGEST_MESSAGE, Piece, Record};
pub use self::multiline::{LONGEST_RECORD, Multiline, Rule};
pub use self::pattern::{Pattern, PatternError};
pub use self::settings::{Budget, Redaction, Sample, Settings};
pub use self::time::{Format, TimeRule, Zone};
pub(crate) use self::verdict::Verdict;
use super::coverage::Place;
use super::ledger::Reason;

/// What may follow a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// More, at any moment.
    Open,
    /// More, but nothing came for so long that a record is not waited for any more.
    Quiet,
    /// Nothing, ever.
    Complete,
}

/// What a block begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framed<'a> {
    /// A record.
    Record(Record<'a>),
    /// A record whose end is not there yet.
    Open,
    /// What can't be a record: here it can't go on.
    Corrupt,
}

/// How records lie in a source's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As lines, which may belong together.
    Lines,
    /// As [`recorded`] has them: each is one already.
    Recorded,
}

/// Frames the records of one table's sources.
#[derive(Clone, Debug)]
pub(crate) struct Framer {
    settings: Settings,
    form: Form,
}

/// [`Place::parts`] of a line whose first part was held back, so that the rest is too. No line has so many parts.
const HELD_BACK: [(u32, Reason); 2] = [(u32::MAX, Reason::Filtered), (u32::MAX - 1, Reason::Budget)];

/// Why what follows is to be held back, if its line's first part was.
#[inline]
pub(crate) fn held_back(place: Place) -> Option<Reason> {
    HELD_BACK.iter().find(|(parts, _)| *parts == place.parts).map(|(_, reason)| *reason)
}

/// What stands for the parts before what follows `record`, which is held back.
pub(crate) fn parts_behind(record: &Record<'_>, reason: Reason) -> u32 {
    let goes_on = record.piece.next_part() != 0;
    HELD_BACK.iter().find(|(_, known)| goes_on && *known == reason).map_or(0, |(parts, _)| *parts)
}

impl Framer {
    /// A framer by these settings.
    pub(crate) fn new(settings: Settings, form: Form) -> Self {
        Self { settings, form }
    }

    /// What is to be said about its records.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether a block's bytes are the texts of its records and line ends, in UTF-8.
    pub(crate) fn is_text(&self) -> bool {
        self.form == Form::Lines && self.settings.encoding.is_utf8()
    }

    /// Whether records are sent as they are, but for metrics.
    pub(crate) fn is_plain(&self) -> bool {
        self.form == Form::Lines && self.settings.says_nothing()
    }

    /// How long the end of a record that may go on is waited for; `None` when each line is a record.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.settings.multiline.as_ref().filter(|_| self.form == Form::Lines).map(|multiline| multiline.timeout)
    }

    /// Whether `block` begins with a line that may belong to what is still to come.
    pub(crate) fn holds(&self, block: &[u8], place: Place) -> bool {
        self.patience().is_some() && place.parts == 0 && self.settings.encoding.line_end(block).is_some()
    }

    /// The first record of `block`, which begins at `place`.
    #[inline]
    pub(crate) fn next<'a>(&self, block: &'a [u8], place: Place, end: End) -> Framed<'a> {
        let parts = if held_back(place).is_some() { 1 } else { place.parts };
        let record = match self.form {
            Form::Recorded => return next_recorded(block, parts),
            Form::Lines if place.offset == 0 => self.first_line(block, end),
            Form::Lines => self.next_lines(block, parts, end),
        };
        record.map_or(Framed::Open, Framed::Record)
    }

    fn first_line<'a>(&self, block: &'a [u8], end: End) -> Option<Record<'a>> {
        let head = self.settings.encoding.byte_order_mark(block);
        let record = self.next_lines(&block[head..], 0, end)?;
        Some(Record { head, length: record.length + head, bytes: record.bytes + head, ..record })
    }

    #[inline]
    fn next_lines<'a>(&self, block: &'a [u8], parts: u32, end: End) -> Option<Record<'a>> {
        match &self.settings.multiline {
            Some(multiline) if parts == 0 => multiline.next(block, self.settings.encoding, end),
            _ => lines::next_line(block, parts, self.settings.encoding, end),
        }
        .and_then(|record| self.spare(block, record, end))
    }

    /// A part of a line, not cut inside of what is to be redacted; `None` when what follows is to be seen first.
    #[inline]
    fn spare<'a>(&self, block: &'a [u8], record: Record<'a>, end: End) -> Option<Record<'a>> {
        if self.settings.redact.is_empty() || record.piece.next_part() == 0 {
            return Some(record);
        }
        let fits = record.text.len();
        let behind = &block[fits..block.len().min(fits + LOOKED_BEHIND)];
        let line_end = self.settings.encoding.line_end(behind);
        if line_end.is_none() && behind.len() < LOOKED_BEHIND && end == End::Open {
            return None;
        }
        let line = fits + line_end.map_or(behind.len(), |(length, _)| length);
        let cut = self.settings.spare(&block[..line], fits);
        Some(Record::of(&block[..cut], cut, record.piece))
    }

    /// How many bytes stand before the text of what `block` begins with, and where its line or record ends, as far as
    /// it goes: for what can't be framed.
    pub(crate) fn raw(&self, block: &[u8]) -> (usize, usize) {
        let longest = block.len().min(LONGEST_MESSAGE);
        match self.form {
            Form::Recorded => recorded::next_recorded(block)
                .ok()
                .flatten()
                .map_or((0, longest), |record| (record.length - record.text.len(), record.length)),
            Form::Lines => {
                (0, self.settings.encoding.line_end(&block[..longest]).map_or(longest, |(_, behind)| behind))
            }
        }
    }

    /// `bytes` as text, and whether some meant nothing.
    pub(crate) fn decode<'a>(&self, bytes: &'a [u8]) -> (Cow<'a, str>, bool) {
        match self.form {
            Form::Recorded => Encoding::default().decode(bytes),
            Form::Lines => self.settings.encoding.decode(bytes),
        }
    }

    /// What becomes of a record with this text.
    pub(crate) fn judge<'t>(&self, record: &Record<'_>, text: &'t str, now: Timestamp) -> Verdict<'t> {
        match record.piece {
            Piece::Line | Piece::Part(1) => self.settings.judge(text, record.sent, now),
            Piece::Part(_) | Piece::LastPart(_) => {
                let text = self.settings.redacted(text);
                Verdict::Send { text, time: record.sent, unparsed: false, metrics: false }
            }
        }
    }
}

fn next_recorded(block: &[u8], parts: u32) -> Framed<'_> {
    match recorded::next_recorded(block) {
        Err(_) => Framed::Corrupt,
        Ok(None) => Framed::Open,
        Ok(Some(found)) => {
            let piece = match (found.continued, parts) {
                (true, parts) => Piece::Part(parts + 1),
                (false, 0) => Piece::Line,
                (false, parts) => Piece::LastPart(parts + 1),
            };
            Framed::Record(Record {
                text: found.text,
                head: found.length - found.text.len(),
                length: found.length,
                bytes: found.text.len(),
                piece,
                sent: found.time.filter(|time| time::can_be_sent(*time)),
            })
        }
    }
}

#[cfg(test)]
mod hostile;

//! What is read from front to back: one sequence of bytes with offsets, whatever it comes from. What all have in common
//! is here (whose account, what of it is done, how far it was read); what differs is in the origin. Not the reading.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use super::journal::tape::Tape;
use super::letters::LetterFile;
use super::segment::Segment;
use super::tailed::{Look, Tailed};
use crate::fault::Fault;
use crate::logs::batch::FileId;
use crate::logs::checkpoint::{FileState, LettersState, Record, SegmentState};
use crate::logs::coverage::Coverage;
use crate::logs::gaps::Where;
use crate::logs::settings::Table;

/// Where bytes are read at an offset of their sequence.
///
/// Contract: the same offset holds the same byte until it is done; short reads only at the end.
pub(crate) trait Content: std::fmt::Debug {
    /// Reads at `offset`; 0 at the end.
    ///
    /// # Errors
    /// When it can't be read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl Content for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }
}

/// Where the bytes come from.
#[derive(Debug)]
pub(crate) enum Origin {
    /// A followed file.
    File(Tailed),
    /// Dead letters that are to be sent again.
    Letters(LetterFile),
    /// Entries of the journal.
    Journal(Tape),
    /// A segment of the spool.
    Segment(Segment),
}

/// One sequence of bytes that is read.
#[derive(Debug)]
pub(crate) struct Feed {
    /// Ours.
    pub(crate) id: FileId,
    /// Whose account it is on.
    pub(crate) source: Arc<str>,
    /// Which table of the configuration it belongs to.
    pub(crate) table: Table,
    /// Where its bytes come from.
    pub(crate) origin: Origin,
    /// What of it is done.
    pub(crate) coverage: Coverage,
    /// How far it goes, as of the last look.
    pub(crate) size: u64,
    /// Up to where complete records were read: behind it stands at most a partial one.
    pub(crate) read_to_end_at: Option<u64>,
    /// Since when undelivered data stands there, by the boot-time clock.
    pub(crate) behind_since: Option<Duration>,
    /// Why it can't be read, if so.
    pub(crate) fault: Option<Box<Fault>>,
}

impl Feed {
    /// The followed file, if it is one.
    pub(crate) fn file(&self) -> Option<&Tailed> {
        match &self.origin {
            Origin::File(file) => Some(file),
            Origin::Journal(_) | Origin::Letters(_) | Origin::Segment(_) => None,
        }
    }

    /// The followed file, if it is one.
    pub(crate) fn file_mut(&mut self) -> Option<&mut Tailed> {
        match &mut self.origin {
            Origin::File(file) => Some(file),
            Origin::Journal(_) | Origin::Segment(_) | Origin::Letters(_) => None,
        }
    }

    /// The letters, if they are some.
    pub(crate) fn letters(&self) -> Option<&LetterFile> {
        match &self.origin {
            Origin::Letters(letters) => Some(letters),
            Origin::File(_) | Origin::Journal(_) | Origin::Segment(_) => None,
        }
    }

    /// The entries of the journal in memory, if it is of the journal.
    pub(crate) fn tape(&self) -> Option<&Tape> {
        match &self.origin {
            Origin::Journal(tape) => Some(tape),
            Origin::File(_) | Origin::Letters(_) | Origin::Segment(_) => None,
        }
    }

    /// The same, and what of it is done.
    pub(crate) fn tape_mut(&mut self) -> Option<(&mut Tape, &mut Coverage)> {
        match &mut self.origin {
            Origin::Journal(tape) => Some((tape, &mut self.coverage)),
            Origin::File(_) | Origin::Letters(_) | Origin::Segment(_) => None,
        }
    }

    /// The segment of the spool, if it is one.
    pub(crate) fn segment(&self) -> Option<&Segment> {
        match &self.origin {
            Origin::Segment(segment) => Some(segment),
            Origin::File(_) | Origin::Journal(_) | Origin::Letters(_) => None,
        }
    }

    /// Where it goes, if it says so itself.
    pub(crate) fn own_place(&self) -> Option<&Where> {
        self.letters().map(|letters| &letters.place)
    }

    /// The segment of the spool, if it is one.
    pub(crate) fn segment_mut(&mut self) -> Option<&mut Segment> {
        match &mut self.origin {
            Origin::Segment(segment) => Some(segment),
            Origin::File(_) | Origin::Journal(_) | Origin::Letters(_) => None,
        }
    }

    /// The stream that its sender named instead of the table's.
    pub(crate) fn named_stream(&self) -> Option<&str> {
        self.segment()?.key.named_stream.as_deref()
    }

    /// Its bytes.
    pub(crate) fn content(&self) -> &dyn Content {
        match &self.origin {
            Origin::File(file) => file,
            Origin::Journal(tape) => tape,
            Origin::Letters(letters) => &letters.file,
            Origin::Segment(segment) => segment,
        }
    }

    /// What it is called in messages: a path, say.
    pub(crate) fn name(&self) -> String {
        match &self.origin {
            Origin::File(file) => file.path.display().to_string(),
            Origin::Letters(letters) => letters.path.display().to_string(),
            Origin::Journal(_) => "the journal".to_owned(),
            Origin::Segment(segment) => format!("{} (segment {} of the spool)", segment.key.source, segment.number),
        }
    }

    /// What stands for the names that its source alone knows: `{file_name}`, `{unit}`…
    pub(crate) fn own_names(&self) -> Vec<(&'static str, String)> {
        match &self.origin {
            Origin::File(_) => {
                let name = self.source.rsplit('/').next().unwrap_or_default();
                vec![("file_name", name.to_owned()), ("file_path", self.source.to_string())]
            }
            Origin::Letters(_) | Origin::Segment(_) => Vec::new(),
            Origin::Journal(tape) => tape.unit_name.iter().map(|unit| ("unit", unit.clone())).collect(),
        }
    }

    /// Looks whether there is more to read.
    ///
    /// # Errors
    /// When the system does not tell.
    pub(crate) fn look(&mut self, now: Duration) -> io::Result<Look> {
        match &mut self.origin {
            Origin::File(_) => self.look_at_file(now),
            Origin::Letters(_) if self.read_to_end_at.is_some() => Ok(Look::AtEnd),
            Origin::Letters(_) => Ok(Look::Unread),
            Origin::Journal(tape) => Ok(if tape.wants_reading() { Look::Unread } else { Look::AtEnd }),
            Origin::Segment(segment) => {
                self.size = segment.look(now);
                Ok(if self.read_to_end_at == Some(self.size) { Look::AtEnd } else { Look::Unread })
            }
        }
    }

    /// Everything up to `size` was read; behind the last record stands at most a partial one.
    pub(crate) fn reached_end(&mut self) {
        self.read_to_end_at = Some(self.size);
    }

    /// Something of it has to be read again, or more than was thought.
    pub(crate) fn unread(&mut self) {
        self.read_to_end_at = None;
    }

    /// Whether nothing will follow its end.
    pub(crate) fn is_complete(&self, now: Duration) -> bool {
        match &self.origin {
            Origin::File(file) => file.is_complete(now),
            Origin::Letters(_) => true,
            Origin::Journal(_) => false,
            Origin::Segment(segment) => segment.sealed,
        }
    }

    /// Whether what was read of it and is not done can be read again.
    pub(crate) fn can_be_read_again(&self) -> bool {
        match &self.origin {
            Origin::File(file) => !file.is_cut(),
            Origin::Letters(_) | Origin::Journal(_) | Origin::Segment(_) => true,
        }
    }

    /// Whether it is at its place, and grows there.
    pub(crate) fn is_active(&self) -> bool {
        match &self.origin {
            Origin::File(file) => file.is_active(),
            Origin::Letters(_) => false,
            Origin::Journal(_) | Origin::Segment(_) => true,
        }
    }

    /// Whether it is followed for as long as something of it is to be had, or on its way, and no longer.
    pub(crate) fn is_parting(&self) -> bool {
        !self.is_active() || self.table == Table::Former
    }

    /// Bytes that were not read yet, a partial last record included.
    pub(crate) fn unread_bytes(&self) -> u64 {
        self.size.saturating_sub(self.coverage.next().0.offset)
    }

    /// What the checkpoint keeps of it; nothing of the journal's, whose tables keep what all their feeds need.
    pub(crate) fn state(&mut self) -> Option<Record> {
        match &mut self.origin {
            Origin::File(file) => {
                file.update_fingerprint(self.coverage.low().offset);
                Some(Record::File(FileState {
                    id: self.id,
                    path: file.path.to_string_lossy().into_owned(),
                    source: self.source.to_string(),
                    fingerprint: file.known_by(),
                    coverage: self.coverage.clone(),
                    // A stretch that has just begun is shorter than what is known to be packed.
                    size: self.size.max(file.archive.as_ref().map_or(0, |archive| archive.outstanding())),
                    spilled: file.spill.is_some(),
                    finished: false,
                }))
            }
            Origin::Letters(letters) => Some(Record::Letters(LettersState {
                id: self.id,
                path: letters.path.clone(),
                coverage: self.coverage.clone(),
            })),
            Origin::Journal(_) => None,
            Origin::Segment(segment) => Some(Record::Segment(SegmentState {
                id: self.id,
                number: segment.number,
                coverage: self.coverage.clone(),
            })),
        }
    }

    /// A feed of the journal, which goes on at `offset`.
    pub(crate) fn of_journal(id: FileId, source: Arc<str>, table: Table, tape: Tape) -> Self {
        let (coverage, size) = (Coverage::from(tape.end()), tape.end());
        let origin = Origin::Journal(tape);
        Self { id, source, table, origin, coverage, size, read_to_end_at: None, behind_since: None, fault: None }
    }
}

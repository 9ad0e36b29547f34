//! One line of the checkpoint file: a CRC and the records of one write as JSON. Readable by a person, and told from a torn write.

use std::path::PathBuf;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::logs::batch::FileId;
use crate::logs::coverage::Coverage;
use crate::logs::ledger::Account;
use crate::logs::source::identity::Fingerprint;
use crate::logs::source::journal::cursor::Cursor;
use crate::logs::source::journal::tape::TapeState;

/// What is known of one file. A later record of the same id replaces an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileState {
    /// Ours, for as long as the file is known.
    pub(crate) id: FileId,
    /// Where it was seen last: a hint.
    pub(crate) path: String,
    /// Whose account it is on: the path under which it was found first.
    pub(crate) source: String,
    /// How it is recognised.
    pub(crate) fingerprint: Fingerprint,
    /// What of it is done.
    pub(crate) coverage: Coverage,
    /// Its size when it was last looked at: what is lost if it can't be found again.
    #[serde(default)]
    pub(crate) size: u64,
    /// Whether what is unsent of it was copied into the spool: it has no name any more.
    #[serde(default, skip_serializing_if = "is_not")]
    pub(crate) spilled: bool,
    /// Whether it is done for good, and only kept to recognise copies of it.
    #[serde(default, skip_serializing_if = "is_not")]
    pub(crate) finished: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_not(flag: &bool) -> bool {
    !flag
}

/// What is known of a file of dead letters that are sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LettersState {
    /// Ours, for as long as the file is there.
    pub(crate) id: FileId,
    /// Where it is; by that it is recognised.
    pub(crate) path: PathBuf,
    /// What of it is done.
    pub(crate) coverage: Coverage,
}

/// What is known of what one `[[logs.journal]]` table asked for. A later record of the same id replaces an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JournalState {
    /// Ours, for as long as the table is known.
    pub(crate) id: FileId,
    /// Where its entries went, by which it is known again although it asks for others now.
    pub(crate) target: String,
    /// What it asked for, by which it is known again although that goes elsewhere now.
    pub(crate) selection: String,
    /// The last entry that was seen; of all its feeds, those that are not settled have a position of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tip: Option<Cursor>,
    /// Its feeds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) feeds: Vec<TapeState>,
}

/// What is known of one segment of the spool. A later record of the same id replaces an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentState {
    /// Ours, for as long as the segment is there.
    pub(crate) id: FileId,
    /// Its number in the spool.
    pub(crate) number: u64,
    /// What of it is done.
    pub(crate) coverage: Coverage,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Record {
    /// Whose state this is: nobody else's instance continues it.
    Instance(String),
    /// A file's state.
    File(FileState),
    /// The state of a file of dead letters.
    Letters(LettersState),
    /// A journal's state.
    Journal(JournalState),
    /// A segment's state.
    Segment(SegmentState),
    /// A source's account.
    Source {
        /// The source's name.
        name: String,
        /// Its account.
        account: Account,
    },
    /// Sources whose accounts are in the sum from now on.
    SummedUp {
        /// Those that were not before.
        gone: Vec<String>,
        /// How many there are in all.
        summed: u64,
    },
    /// A file that is no longer of interest.
    Forget(FileId),
    /// When files were last looked for, in nanoseconds since the epoch: what is born later was never seen.
    Looked(u64),
    /// How many dead letters were rolled off in all.
    RolledOff(u64),
    /// What a table with a budget has spent.
    Budget {
        /// Its key.
        table: String,
        /// On which day, in UTC.
        day: Date,
        /// So many bytes arrived.
        spent: u64,
    },
}

/// Appends `records` as one line to `out`: all of them count, or, where the write was torn, none. A position without
/// its account would be counted twice.
pub(super) fn write(out: &mut Vec<u8>, records: &[Record]) {
    // Plain data with string keys: serialising to memory can't fail.
    let json = serde_json::to_vec(records).unwrap_or_default();
    out.extend_from_slice(format!("{:08x} ", crc32fast::hash(&json)).as_bytes());
    out.extend_from_slice(&json);
    out.push(b'\n');
}

/// Reads one line, without its line end; `None` for one that is torn or foreign.
pub(super) fn read(line: &[u8]) -> Option<Vec<Record>> {
    let (crc, json) = line.split_at_checked(9)?;
    let crc = std::str::from_utf8(crc).ok()?.strip_suffix(' ')?;
    if u32::from_str_radix(crc, 16).ok()? != crc32fast::hash(json) {
        return None;
    }
    serde_json::from_slice(json).ok()
}

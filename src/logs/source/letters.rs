//! Dead letters that are to be sent again: one file a stream, in the order of their own times, made by a command and
//! deleted when all of it is settled. Not how they get there (`dead_letters`).

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::feed::{Feed, Origin};
use crate::logs::batch::{Batch, FileId, Message, Pool};
use crate::logs::coverage::{Coverage, Place};
use crate::logs::dead_letters::Letter;
use crate::logs::framing::{Piece, Record};
use crate::logs::gaps::Where;
use crate::logs::settings::Table;

/// Whose account letters are on that are sent again.
pub(crate) const SOURCE: &str = "dead_letters";

/// A file of them.
#[derive(Debug)]
pub(crate) struct LetterFile {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Where its letters go.
    pub(crate) place: Where,
    pub(super) file: File,
}

impl Feed {
    /// The letters at `path`.
    ///
    /// # Errors
    /// When they can't be read, or are none.
    pub(crate) fn of_letters(id: FileId, path: &Path, coverage: Coverage) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut first = Vec::new();
        BufReader::new(&file).read_until(b'\n', &mut first)?;
        let first: Letter = serde_json::from_slice(&first)?;
        let place = (Arc::from(first.log_group), Arc::from(first.log_stream));
        let origin = Origin::Letters(LetterFile { path: path.to_owned(), place, file });
        let (source, table) = (SOURCE.into(), Table::Letters);
        Ok(Self { id, source, table, origin, coverage, size, read_to_end_at: None, behind_since: None, fault: None })
    }
}

impl LetterFile {
    /// A batch of the letters from `from` on, which goes to `until` at most, with a body of at most `limit` bytes.
    ///
    /// # Errors
    /// When they can't be read.
    pub(crate) fn batch(
        &self,
        id: FileId,
        (from, until): (Place, Option<u64>),
        limit: usize,
        pool: &Pool,
    ) -> io::Result<Batch> {
        let mut reader = BufReader::new(&self.file);
        reader.seek(SeekFrom::Start(from.offset))?;
        let (mut batch, mut offset, mut line) = (None, from.offset, Vec::new());
        while until.is_none_or(|until| offset < until) && reader.read_until(b'\n', &mut line)? > 0 {
            let letter: Letter = serde_json::from_slice(&line)?;
            let at = Timestamp::from_millisecond(letter.event.timestamp).map_err(io::Error::other)?;
            let batch = batch.get_or_insert_with(|| {
                let mut batch = Batch::new(at, limit.min(line.len()), pool);
                batch.begin_segment(id, from.offset, 0);
                batch
            });
            let text = letter.event.message.as_str();
            let (length, bytes) = (line.len(), line.len());
            let record = Record { text: text.as_bytes(), head: 0, length, bytes, piece: Piece::Line, sent: None };
            if !batch.push(&record, Message { text, time: Some(at), ..Message::default() }, at, limit) {
                break;
            }
            offset += line.len() as u64;
            line.clear();
        }
        Ok(batch.unwrap_or_else(|| Batch::new(Timestamp::UNIX_EPOCH, 0, pool)))
    }
}

//! One segment file: what its header says of the records behind it, and its name. Not the records, which are
//! `framing::recorded`'s, and not which segments there are.
//!
//! A segment begins with [`MAGIC`], a `u32` length and a `u32` CRC-32 (little-endian) of the JSON behind them, which is
//! its [`Key`]. Records follow until its end.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The format and its version.
const MAGIC: &[u8; 8] = b"imdsspl1";

/// Magic, length and checksum.
const FIXED: usize = 16;

/// No header is longer: a path, a user, a group and two streams of at most 512 characters each, with room to spare. It
/// bounds what is read of a damaged one.
const LONGEST_KEY: usize = 64 * 1024;

/// The ending of a segment's name; what else stands in the directory is somebody else's.
const ENDING: &str = "segment";

/// Whose records a segment holds, and where they go. Records of one key are read in the order in which they came.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Key {
    /// The socket they came in by: its path.
    pub(crate) source: String,
    /// Who sent them: whose share they are on.
    pub(crate) uid: u32,
    /// The group that the configuration named when they came, as it is written there: it serves if that socket is not
    /// in the configuration any more.
    pub(crate) log_group: String,
    /// The stream likewise.
    pub(crate) log_stream: String,
    /// The stream that the sender named, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) named_stream: Option<String>,
    /// For the parts of one very long line, so that nobody else's records come between them: whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) long_line: Option<u64>,
    /// Whether they are sent as they came, by that table. What it redacts, say, is nowhere but in the configuration.
    #[serde(default)]
    pub(crate) as_they_came: bool,
}

/// What a new segment of `key` begins with.
pub(super) fn header(key: &Key) -> Vec<u8> {
    // Plain data with string keys: serialising to memory can't fail.
    let json = serde_json::to_vec(key).unwrap_or_default();
    let length = u32::try_from(json.len()).unwrap_or(u32::MAX);
    let mut header = Vec::with_capacity(FIXED + json.len());
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&length.to_le_bytes());
    header.extend_from_slice(&crc32fast::hash(&json).to_le_bytes());
    header.extend_from_slice(&json);
    header
}

/// The key of the segment in `file`, and where its records begin; `None` when that is no segment of ours, or a damaged
/// one.
///
/// # Errors
/// When it can't be read.
pub(super) fn read_header(file: &mut impl Read) -> io::Result<Option<(Key, u64)>> {
    let mut fixed = [0; FIXED];
    if !read_whole(file, &mut fixed)? || !fixed.starts_with(MAGIC) {
        return Ok(None);
    }
    let word = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
    let length = usize::try_from(word(8)).unwrap_or(usize::MAX);
    if length > LONGEST_KEY {
        return Ok(None);
    }
    let mut json = vec![0; length];
    if !read_whole(file, &mut json)? || crc32fast::hash(&json) != word(12) {
        return Ok(None);
    }
    let key = serde_json::from_slice(&json).ok();
    Ok(key.map(|key| (key, (FIXED + length) as u64)))
}

/// `false` when the file ends before.
fn read_whole(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Where segment `number` is; names sort as their numbers do.
pub(super) fn path_of(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:020}.{ENDING}"))
}

/// The number of the segment at `path`, if it is called like one.
pub(super) fn number_of(path: &Path) -> Option<u64> {
    path.extension().filter(|ending| *ending == ENDING)?;
    path.file_stem()?.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn key() -> Key {
        Key {
            source: "/run/imds-agent/app.sock".to_owned(),
            uid: 1000,
            log_group: "/g/{environment}".to_owned(),
            log_stream: "{instance_id}".to_owned(),
            named_stream: None,
            long_line: None,
            as_they_came: true,
        }
    }

    fn read(content: &[u8]) -> Option<(Key, u64)> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        read_header(&mut file.reopen().unwrap()).unwrap()
    }

    #[test]
    fn a_header_says_whose_records_follow_and_where() {
        let mut content = header(&key());
        let length = content.len() as u64;
        content.extend_from_slice(b"records");
        assert_eq!(read(&content), Some((key(), length)));
    }

    #[test]
    fn a_header_that_is_damaged_or_cut_is_none() {
        let whole = header(&key());
        for cut in 0..whole.len() {
            assert_eq!(read(&whole[..cut]), None, "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert_eq!(read(&damaged), None, "damaged at {at}");
        }
    }

    #[test]
    fn nothing_hostile_makes_a_header_panic() {
        let whole = header(&key());
        crate::fuzz::hostile(&[&whole], |mut input| {
            let length = input.len() as u64;
            if let Ok(Some((_, begin))) = read_header(&mut input) {
                assert!(begin <= length, "records begin behind the end");
            }
        });
    }

    #[test]
    fn a_segment_is_known_by_its_name() {
        let path = path_of(Path::new("/spool"), 7);
        assert_eq!(number_of(&path), Some(7));
        assert!(path < path_of(Path::new("/spool"), 10));
        assert_eq!(number_of(Path::new("/spool/7.spill")), None);
        assert_eq!(number_of(Path::new("/spool/x.segment")), None);
    }
}

//! Events that were given up, kept for a person: one JSON object a line, synced before the checkpoint moves past them.
//! Bounded: when the file is full it becomes the old one, and the old one before it is rolled off.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::disk;
use super::ledger::Reason;

/// The file's name in the state directory; the old one has `.old` behind it.
const FILE_NAME: &str = "dead-letters.jsonl";

/// How large the file may become: with the old one, room for some ten thousand events of a kilobyte.
const LARGEST: u64 = 8 << 20;

/// One event that was given up.
#[derive(Debug, Serialize)]
pub(crate) struct DeadLetter<'a> {
    /// When.
    pub(crate) at: Timestamp,
    /// Why.
    pub(crate) reason: Reason,
    /// Where it was to go.
    pub(crate) log_group: &'a str,
    /// Where it was to go.
    pub(crate) log_stream: &'a str,
    /// Where it came from.
    pub(crate) source: &'a str,
    /// `{"timestamp":…,"message":…}` as it would have been sent.
    pub(crate) event: &'a RawValue,
}

/// The file.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    path: PathBuf,
    /// Lines that were rolled off since the start.
    pub(crate) rolled_off: u64,
}

impl DeadLetters {
    /// The dead letters in `directory`; nothing is made before there is one.
    pub(crate) fn in_directory(directory: &Path) -> Self {
        Self { path: directory.join(FILE_NAME), rolled_off: 0 }
    }

    /// Where they are.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends `letters` and syncs them.
    ///
    /// # Errors
    /// When the disk is full, say: the events then must not be given up yet.
    pub(crate) fn append(&mut self, letters: &[DeadLetter<'_>]) -> io::Result<()> {
        self.roll()?;
        let mut lines = Vec::new();
        for letter in letters {
            serde_json::to_writer(&mut lines, letter)?;
            lines.push(b'\n');
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        let before = file.metadata()?.len();
        let appended = disk::write(&mut file, &lines).and_then(|()| disk::sync(&file));
        if appended.is_err() {
            // They are written again: not behind the torn half of a line, nor twice.
            file.set_len(before)?;
        }
        appended
    }

    fn roll(&mut self) -> io::Result<()> {
        if fs::metadata(&self.path).map_or(0, |metadata| metadata.len()) < LARGEST {
            return Ok(());
        }
        let old = self.path.with_extension("jsonl.old");
        self.rolled_off += count_lines(&old);
        fs::rename(&self.path, old)
    }
}

fn count_lines(path: &Path) -> u64 {
    use std::io::{BufRead, BufReader};
    File::open(path).map_or(0, |file| BufReader::new(file).split(b'\n').count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(letters: &mut DeadLetters, message: &str) {
        let event = serde_json::value::to_raw_value(&serde_json::json!({"timestamp": 1, "message": message}));
        let event = event.expect("JSON");
        let letter = DeadLetter {
            at: Timestamp::UNIX_EPOCH,
            reason: Reason::TooOld,
            log_group: "g",
            log_stream: "s",
            source: "/var/log/x",
            event: &event,
        };
        letters.append(&[letter]).expect("writable");
    }

    #[test]
    fn a_dead_letter_says_what_why_and_where() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut letters = DeadLetters::in_directory(directory.path());
        append(&mut letters, "hello");
        let line: serde_json::Value = serde_json::from_slice(&fs::read(letters.path()).expect("there")).expect("JSON");
        assert_eq!((&line["reason"], &line["source"]), (&"too_old".into(), &"/var/log/x".into()));
        assert_eq!(line["event"]["message"], "hello");
    }

    #[test]
    fn a_full_file_rolls_and_what_rolls_off_is_counted() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut letters = DeadLetters::in_directory(directory.path());
        let large = "x".repeat(usize::try_from(LARGEST).expect("small") + 1);
        for _ in 0..3 {
            append(&mut letters, &large);
        }
        assert_eq!(letters.rolled_off, 1);
        let total: u64 = fs::read_dir(directory.path())
            .expect("there")
            .map(|entry| entry.and_then(|entry| entry.metadata()).expect("there").len())
            .sum();
        assert!(total < 2 * LARGEST + 4096);
    }
}

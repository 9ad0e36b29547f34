//! Events that were given up, kept for a person: one JSON object a line, synced before the checkpoint moves past them.
//! Bounded: when the file is full it becomes the old one, and the old one before it is rolled off.

mod moving;
mod place;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::disk;
use super::ledger::Reason;
use super::report::DeadLettersSnapshot;
pub use moving::{Error, Letter, LetterEvent, Letters, Moved, Selection, list, resend};
use place::Place;

/// How large the file may become: with the old one, room for some ten thousand events of a kilobyte.
const LARGEST: u64 = 8 << 20;

/// What a letter may be here for, in the words of `status`: those reasons by which something is given up that was to be
/// sent. What is dropped for another reason is counted and not kept.
pub const REASONS: [&str; 4] =
    [Reason::TooOld.word(), Reason::TooNew.word(), Reason::Expired.word(), Reason::Invalid.word()];

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
    place: Place,
    path: PathBuf,
    /// What was seen of both files last: letters, bytes, and by what a change is noticed.
    seen: Seen,
    /// Letters that were rolled off, in earlier runs too.
    rolled_off: u64,
}

/// What is known of the files.
#[derive(Debug, Default)]
struct Seen {
    events: u64,
    bytes: u64,
    /// Number and length of each.
    files: [(u64, u64); 2],
}

impl DeadLetters {
    /// The dead letters in `directory`; nothing is made before there is one. `rolled_off` were rolled off before.
    pub(crate) fn in_directory(directory: &Path, rolled_off: u64) -> Self {
        let place = Place::of(directory);
        let mut letters = Self { path: place.letters(), place, seen: Seen::default(), rolled_off };
        letters.look();
        letters
    }

    /// Counts the letters again if somebody else has changed them, and ends what a command broke off.
    pub(crate) fn look(&mut self) {
        // Somebody is at it, or nothing can be written: then it stays as it is until the next look.
        let _ = self.place.lock().and_then(|_lock| self.place.recover());
        let paths = [self.place.old(), self.place.letters()];
        let files = paths.each_ref().map(|path| identity(path));
        if files != self.seen.files {
            let events = paths.iter().map(|path| count_lines(path)).sum();
            self.seen = Seen { events, bytes: files.iter().map(|(_, length)| length).sum(), files };
        }
    }

    /// The files of letters that are to be sent again, those moved first first.
    pub(crate) fn to_be_sent_again(&self) -> Vec<PathBuf> {
        let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
        let files = entries(&self.place.resend()).flat_map(|moved| entries(&moved).collect::<Vec<_>>());
        let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "jsonl")).collect();
        files.sort();
        files
    }

    /// What `status` shows of them.
    pub(crate) fn snapshot(&self) -> DeadLettersSnapshot {
        DeadLettersSnapshot {
            path: self.path.display().to_string(),
            events: self.seen.events,
            bytes: self.seen.bytes,
            rolled_off: self.rolled_off,
        }
    }

    /// How many were rolled off, in earlier runs too.
    pub(crate) fn rolled_off(&self) -> u64 {
        self.rolled_off
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
        let _lock = self.place.lock()?;
        self.place.recover()?;
        self.roll()?;
        let mut lines = Vec::new();
        for letter in letters {
            serde_json::to_writer(&mut lines, letter)?;
            lines.push(b'\n');
        }
        let mut file = match OpenOptions::new().append(true).open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.place.create(&self.path)?,
            opened => opened?,
        };
        let before = file.metadata()?.len();
        let appended = disk::write(&mut file, &lines).and_then(|()| disk::sync(&file));
        if appended.is_err() {
            // They are written again: not behind the torn half of a line, nor twice.
            file.set_len(before)?;
        } else {
            self.seen.events += letters.len() as u64;
            self.seen.bytes += lines.len() as u64;
            self.seen.files = [self.place.old(), self.place.letters()].map(|path| identity(&path));
        }
        appended
    }

    fn roll(&mut self) -> io::Result<()> {
        if fs::metadata(&self.path).map_or(0, |metadata| metadata.len()) < LARGEST {
            return Ok(());
        }
        let old = self.place.old();
        let (rolled_off, (_, bytes)) = (count_lines(&old), identity(&old));
        fs::rename(&self.path, old)?;
        self.rolled_off += rolled_off;
        self.seen.events = self.seen.events.saturating_sub(rolled_off);
        self.seen.bytes = self.seen.bytes.saturating_sub(bytes);
        Ok(())
    }
}

/// Number and length of a file; nothing where there is none.
fn identity(path: &Path) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).map_or((0, 0), |metadata| (metadata.ino(), metadata.len()))
}

fn count_lines(path: &Path) -> u64 {
    use std::io::{BufRead, BufReader};
    File::open(path).map_or(0, |file| BufReader::new(file).split(b'\n').map_while(Result::ok).count() as u64)
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
        let mut letters = DeadLetters::in_directory(directory.path(), 0);
        append(&mut letters, "hello");
        let line: serde_json::Value = serde_json::from_slice(&fs::read(letters.path()).expect("there")).expect("JSON");
        assert_eq!((&line["reason"], &line["source"]), (&"too_old".into(), &"/var/log/x".into()));
        assert_eq!(line["event"]["message"], "hello");
    }

    #[test]
    fn a_full_file_rolls_and_what_rolls_off_is_counted() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut letters = DeadLetters::in_directory(directory.path(), 0);
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

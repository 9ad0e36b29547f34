//! Dead letters listed, and moved to where the daemon sends them again. For a person's command, beside the daemon.
//!
//! Invariants: a letter stands in the letters or among what is sent again, never in both and never in none, wherever a
//! crash comes: everything is written first, one rename decides, and whoever has the lock next goes on from there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::place::{Place, sync_directory};

/// CloudWatch takes nothing older (CloudWatch Logs API reference, `PutLogEvents`).
const OLDEST: SignedDuration = SignedDuration::from_hours(14 * 24);

/// An event that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// When it was given up.
    pub at: Timestamp,
    /// Why, in the words of `status`.
    pub reason: String,
    /// Where it was to go.
    pub log_group: String,
    /// Where it was to go.
    pub log_stream: String,
    /// Where it came from.
    pub source: String,
    /// What it was.
    pub event: LetterEvent,
}

/// What was to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterEvent {
    /// Its time, in milliseconds since the epoch.
    pub timestamp: i64,
    /// Its text.
    pub message: String,
}

/// Which letters are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only those given up for this reason.
    pub reason: Option<String>,
    /// Only those for this group.
    pub log_group: Option<String>,
}

impl Selection {
    /// Whether `letter` is meant.
    #[must_use]
    pub fn holds(&self, letter: &Letter) -> bool {
        self.reason.as_ref().is_none_or(|reason| *reason == letter.reason)
            && self.log_group.as_ref().is_none_or(|group| *group == letter.log_group)
    }
}

/// All letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Letters {
    /// Where they are kept.
    pub path: PathBuf,
    /// The oldest first.
    pub letters: Vec<Letter>,
    /// Lines that are none.
    pub torn: usize,
}

/// What a move did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Letters that are to be sent again.
    pub events: usize,
    /// Letters that were meant and stay: CloudWatch would not take them any more.
    pub too_old: usize,
    /// Letters that were meant and stay: it is not known where they were to go.
    pub without_place: usize,
}

/// Why letters can't be read or moved.
#[derive(Debug, thiserror::Error)]
#[error("{}: can't {what}", path.display())]
pub struct Error {
    /// What failed.
    what: &'static str,
    /// With what.
    path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl Error {
    fn of(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self { what, path, source }
    }
}

/// The letters in the state directory, those that `selection` means.
///
/// # Errors
/// When they can't be read.
pub fn list(state_dir: &Path, selection: &Selection) -> Result<Letters, Error> {
    let place = Place::of(state_dir);
    // Told apart from "there are none": a directory that may not be entered.
    fs::read_dir(state_dir).map_err(Error::of("read the state directory", state_dir))?;
    let mut letters = Letters { path: place.letters(), ..Letters::default() };
    let mut take = |parsed: Option<Letter>, _: &[u8]| match parsed {
        Some(letter) if selection.holds(&letter) => letters.letters.push(letter),
        Some(_) => {}
        None => letters.torn += 1,
    };
    for path in [place.old(), place.letters()] {
        each_line(&path, |line| {
            take(parse(line), line);
            Ok(())
        })
        .map_err(Error::of("read the dead letters", path))?;
    }
    Ok(letters)
}

/// Moves the letters that `selection` means to where the daemon finds them, but for those that CloudWatch would not take
/// any more.
///
/// # Errors
/// When that fails; then every letter is where it was, or the move goes on when it is tried again.
pub fn resend(state_dir: &Path, selection: &Selection, now: Timestamp) -> Result<Moved, Error> {
    let place = Place::of(state_dir);
    let failed = |what| Error::of(what, state_dir);
    let _lock = place.lock().map_err(failed("take the dead letters"))?;
    place.recover().map_err(failed("end the move that was broken off"))?;
    let moved = gather(&place, selection, now).map_err(failed("write what is to be sent again"))?;
    if moved.events > 0 {
        fs::rename(place.gathering(), place.decided())
            .and_then(|()| sync_directory(state_dir))
            .map_err(failed("decide the move"))?;
    }
    place.recover().map_err(failed("end the move"))?;
    Ok(moved)
}

/// Writes the letters that are meant, by stream and time, and the rest.
fn gather(place: &Place, selection: &Selection, now: Timestamp) -> io::Result<Moved> {
    let (mut moved, mut streams) = (Moved::default(), BTreeMap::<(String, String), Vec<Letter>>::new());
    let mut rest = BufWriter::new(place.create(&place.rest())?);
    for path in [place.old(), place.letters()] {
        each_line(&path, |line| {
            let letter = parse(line).filter(|letter| selection.holds(letter));
            match letter {
                Some(letter) if letter.log_group.is_empty() => moved.without_place += 1,
                Some(letter) if letter.is_too_old(now) => moved.too_old += 1,
                Some(letter) => {
                    moved.events += 1;
                    let stream = (letter.log_group.clone(), letter.log_stream.clone());
                    streams.entry(stream).or_default().push(letter);
                    return Ok(());
                }
                None => {}
            }
            rest.write_all(line)?;
            rest.write_all(b"\n")
        })?;
    }
    finish(rest)?;
    place.create_directory(&place.gathering())?;
    for (number, mut letters) in streams.into_values().enumerate() {
        letters.sort_by_key(|letter| letter.event.timestamp);
        let mut file = BufWriter::new(place.create(&place.gathering().join(format!("{number}.jsonl")))?);
        for letter in letters {
            serde_json::to_writer(&mut file, &letter)?;
            file.write_all(b"\n")?;
        }
        finish(file)?;
    }
    sync_directory(&place.gathering())?;
    Ok(moved)
}

fn finish(writer: BufWriter<File>) -> io::Result<()> {
    writer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

impl Letter {
    fn is_too_old(&self, now: Timestamp) -> bool {
        Timestamp::from_millisecond(self.event.timestamp).is_ok_and(|at| now.duration_since(at) > OLDEST)
    }
}

/// A line as a letter; `None` for one that is torn.
pub(super) fn parse(line: &[u8]) -> Option<Letter> {
    serde_json::from_slice(line).ok()
}

/// Shows each line of a file, without its end; none if there is no such file.
fn each_line(path: &Path, mut look: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    BufReader::new(file).split(b'\n').try_for_each(|line| look(&line?))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().expect("a time")
    }

    fn letter(message: &str, stream: &str, age: SignedDuration) -> Letter {
        let at = now() - age;
        Letter {
            at,
            reason: "too_new".to_owned(),
            log_group: "g".to_owned(),
            log_stream: stream.to_owned(),
            source: "/var/log/x".to_owned(),
            event: LetterEvent { timestamp: at.as_millisecond(), message: message.to_owned() },
        }
    }

    /// A state directory with these letters, the first of them in the old file.
    fn state(letters: &[Letter]) -> TempDir {
        let state = tempfile::tempdir().expect("a directory");
        let place = Place::of(state.path());
        for (path, letters) in [(place.old(), &letters[..1]), (place.letters(), &letters[1..])] {
            let lines: Vec<String> =
                letters.iter().map(|letter| serde_json::to_string(letter).expect("plain data") + "\n").collect();
            fs::write(path, lines.concat()).expect("writable");
        }
        state
    }

    fn messages(letters: &[Letter]) -> Vec<&str> {
        letters.iter().map(|letter| letter.event.message.as_str()).collect()
    }

    /// The messages of all that is to be sent again, by file.
    fn sent_again(state: &Path) -> Vec<Vec<String>> {
        let mut files = Vec::new();
        let moves = fs::read_dir(Place::of(state).resend()).into_iter().flatten().flatten();
        for entry in moves.flat_map(|entry| fs::read_dir(entry.path()).expect("a directory")) {
            let mut found = Vec::new();
            each_line(&entry.expect("there").path(), |line| {
                found.push(parse(line).expect("a letter").event.message);
                Ok(())
            })
            .expect("readable");
            files.push(found);
        }
        files.sort();
        files
    }

    fn sample() -> TempDir {
        let day = SignedDuration::from_hours(24);
        state(&[
            letter("late", "a", day),
            letter("early", "a", day * 2),
            letter("other", "b", day),
            letter("too old", "a", day * 15),
        ])
    }

    #[test]
    fn letters_are_moved_by_stream_in_the_order_of_their_time_and_the_rest_stays() {
        let state = sample();
        let moved = resend(state.path(), &Selection::default(), now()).expect("moves");
        assert_eq!(moved, Moved { events: 3, too_old: 1, without_place: 0 });
        assert_eq!(sent_again(state.path()), [vec!["early", "late"], vec!["other"]]);
        let left = list(state.path(), &Selection::default()).expect("lists");
        assert_eq!((messages(&left.letters), left.torn), (vec!["too old"], 0));
        let again = resend(state.path(), &Selection::default(), now()).expect("moves nothing");
        assert_eq!(again, Moved { too_old: 1, ..Moved::default() });
    }

    #[test]
    fn only_what_is_meant_is_moved_and_a_torn_line_stays() {
        let state = sample();
        let torn = fs::read_to_string(state.path().join("dead-letters.jsonl")).expect("there") + "{\"at\":\n";
        fs::write(state.path().join("dead-letters.jsonl"), torn).expect("writable");
        let of = |reason: &str, group: &str| Selection { reason: Some(reason.into()), log_group: Some(group.into()) };
        for none in [of("invalid", "g"), of("too_new", "h")] {
            assert_eq!(resend(state.path(), &none, now()).expect("moves nothing"), Moved::default());
        }
        assert_eq!(resend(state.path(), &of("too_new", "g"), now()).expect("moves").events, 3);
        assert_eq!(list(state.path(), &Selection::default()).expect("lists").torn, 1);
    }

    #[test]
    fn wherever_a_move_breaks_off_every_letter_stands_in_one_place() {
        type Steps = fn(&Place) -> io::Result<()>;
        let steps: [Steps; 5] = [
            |_| Ok(()),
            |place| fs::rename(place.gathering(), place.decided()),
            |place| fs::remove_file(place.old()),
            |place| fs::rename(place.rest(), place.letters()),
            |place| place.create_directory(&place.resend()),
        ];
        for broken_after in 0..steps.len() {
            let state = sample();
            let place = Place::of(state.path());
            gather(&place, &Selection::default(), now()).expect("gathers");
            steps[..=broken_after].iter().try_for_each(|step| step(&place)).expect("steps");
            place.recover().expect("recovers");
            let left = list(state.path(), &Selection::default()).expect("lists").letters.len();
            let sent: usize = sent_again(state.path()).iter().map(Vec::len).sum();
            let expected = if broken_after == 0 { (4, 0) } else { (1, 3) };
            assert_eq!((left, sent), expected, "broken off after step {broken_after}");
        }
    }

    #[test]
    fn while_somebody_is_at_it_nobody_else_is() {
        let state = sample();
        let _lock = Place::of(state.path()).lock().expect("free");
        let error = resend(state.path(), &Selection::default(), now()).expect_err("taken");
        assert_eq!(error.source.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn nothing_hostile_makes_a_letter_panic() {
        let whole = serde_json::to_vec(&letter("text \u{1f600}", "a", SignedDuration::ZERO)).expect("plain data");
        crate::fuzz::hostile(&[&whole], |line| {
            let _ = parse(line).map(|letter| letter.is_too_old(now()));
        });
    }
}

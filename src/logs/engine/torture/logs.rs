//! The logs as applications and logrotate treat them, and what could be known of each line: which file holds it, and
//! whether it may be lost because its bytes were destroyed before the agent could have them. Not what became of it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fastrand::Rng;

use super::super::Engine;
use super::cloud::POISON;
use crate::logs::batch::FileId;
use crate::logs::source::tailed::QUIET_BEFORE_LEAVING;

/// How many rotated files logrotate keeps.
const KEPT: usize = 3;

/// A line, or what a rotation made of one that was not finished.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) text: String,
    /// Which content holds it.
    pub(super) content: usize,
    /// Where its last byte stands.
    last_byte: u64,
    /// Its bytes were destroyed when the agent had not had them, or was killed while it had them.
    pub(super) excused: bool,
}

/// What a file holds from its birth, or from a truncation, to its end.
#[derive(Debug)]
struct Content {
    inode: u64,
    size: u64,
    writer: File,
    /// A line whose end is not written yet.
    partial: String,
    fate: Fate,
    /// What the agent follows under this inode from before a truncation.
    before: Option<FileId>,
    /// When it left its place, by the boot-time clock.
    left_at: Option<Duration>,
    /// Whether the checkpoint has had it since.
    enlisted: bool,
    /// Whether nobody could have it any more at some time.
    excused: bool,
}

/// Where the content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// In a file of this or a rotated name.
    Named,
    /// In a file without a name, that the agent has open, or had.
    Unlinked,
    /// Nowhere: truncated. The agent may have read it before, as this file.
    Destroyed(Option<FileId>),
}

/// All logs of one directory.
#[derive(Debug)]
pub(super) struct Logs {
    directory: PathBuf,
    /// What stands at each log's place.
    active: Vec<Option<usize>>,
    contents: Vec<Content>,
    pub(super) lines: Vec<Line>,
    pub(super) empty_lines: u64,
    /// Whether bytes were ever destroyed: then not all that was written can be in the ledger.
    pub(super) destroyed: bool,
}

impl Logs {
    pub(super) fn new(directory: &Path, count: usize) -> Self {
        Self {
            directory: directory.to_owned(),
            active: vec![None; count],
            contents: Vec::new(),
            lines: Vec::new(),
            empty_lines: 0,
            destroyed: false,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.active.len()
    }

    fn path(&self, log: usize, rotated: usize) -> PathBuf {
        let suffix = if rotated == 0 { String::new() } else { format!(".{rotated}") };
        self.directory.join(format!("{log}.log{suffix}"))
    }

    /// An application writes some lines, and perhaps the beginning of another.
    pub(super) fn write(&mut self, log: usize, random: &mut Rng) {
        let content = self.active[log].unwrap_or_else(|| self.create(log));
        self.write_to(content, random);
        if random.u8(..8) == 0 {
            self.begin_line(content);
        }
    }

    fn create(&mut self, log: usize) -> usize {
        let path = self.path(log, 0);
        let writer = OpenOptions::new().create_new(true).append(true).open(path).expect("a log");
        let content = self.add_content(writer);
        self.active[log] = Some(content);
        content
    }

    fn add_content(&mut self, writer: File) -> usize {
        let inode = writer.metadata().expect("a file of ours").ino();
        let (fate, partial) = (Fate::Named, String::new());
        self.contents.push(Content {
            inode,
            size: 0,
            writer,
            partial,
            fate,
            before: None,
            left_at: None,
            enlisted: false,
            excused: false,
        });
        self.contents.len() - 1
    }

    fn write_to(&mut self, content: usize, random: &mut Rng) {
        let mut bytes = Vec::new();
        let count = if random.u8(..10) == 0 { random.usize(200..900) } else { random.usize(1..12) };
        for _ in 0..count {
            if random.u8(..30) == 0 && self.contents[content].partial.is_empty() {
                self.empty_lines += 1;
                bytes.push(b'\n');
                self.contents[content].size += 1;
            }
            self.add_line(content, random, &mut bytes);
        }
        (&self.contents[content].writer).write_all(&bytes).expect("there is room");
    }

    /// Adds a line's end, or a whole line, to `bytes`.
    fn add_line(&mut self, content: usize, random: &mut Rng, bytes: &mut Vec<u8>) {
        let number = self.lines.len();
        let padding = if random.u16(..2000) == 0 { 70_000 } else { random.usize(..200) };
        let poison = if random.u16(..400) == 0 { POISON } else { "" };
        let rest = format!("line {number} {poison}{}", "x".repeat(padding));
        let place = &mut self.contents[content];
        let text = std::mem::take(&mut place.partial) + &rest;
        bytes.extend_from_slice(rest.as_bytes());
        bytes.push(b'\n');
        place.size += rest.len() as u64 + 1;
        self.lines.push(Line { text, content, last_byte: place.size - 1, excused: false });
    }

    fn begin_line(&mut self, content: usize) {
        let place = &mut self.contents[content];
        let text = format!("begun {} ", self.lines.len());
        (&place.writer).write_all(text.as_bytes()).expect("there is room");
        place.size += text.len() as u64;
        place.partial += &text;
    }

    /// The last lines of files that left, which nobody finished, are lines of their own.
    pub(super) fn give_up_partials(&mut self) {
        for content in 0..self.contents.len() {
            if !self.active.contains(&Some(content)) {
                self.give_up_partial(content);
            }
        }
    }

    fn give_up_partial(&mut self, content: usize) {
        let text = std::mem::take(&mut self.contents[content].partial);
        if !text.is_empty() {
            let last_byte = self.contents[content].size - 1;
            let excused = self.contents[content].excused;
            self.lines.push(Line { text, content, last_byte, excused });
        }
    }

    /// Renames a log away, and those before it; the next write makes a new one. The oldest is deleted.
    pub(super) fn rotate(&mut self, log: usize, now: Duration, engine: Option<&Engine>) {
        let Some(content) = self.active[log].take() else { return };
        self.unlink_oldest(log, engine);
        for number in (0..KEPT).rev() {
            // Not all of them are there yet.
            let _ = fs::rename(self.path(log, number), self.path(log, number + 1));
        }
        let place = &mut self.contents[content];
        place.left_at = Some(now);
        if !place.enlisted {
            // Nobody has seen it at its place.
            self.excuse(content);
        }
    }

    fn unlink_oldest(&mut self, log: usize, engine: Option<&Engine>) {
        let path = self.path(log, KEPT);
        let Ok(metadata) = fs::metadata(&path) else { return };
        fs::remove_file(&path).expect("a file of ours");
        self.unlinked(metadata.ino(), engine);
    }

    /// Deletes a log at its place.
    pub(super) fn delete(&mut self, log: usize, now: Duration, engine: Option<&Engine>) {
        let Some(content) = self.active[log].take() else { return };
        fs::remove_file(self.path(log, 0)).expect("a file of ours");
        self.contents[content].left_at = Some(now);
        let inode = self.contents[content].inode;
        self.unlinked(inode, engine);
    }

    fn unlinked(&mut self, inode: u64, engine: Option<&Engine>) {
        let index = self.contents.iter().rposition(|content| content.inode == inode && content.fate == Fate::Named);
        let index = index.expect("every file with a name is known");
        self.contents[index].fate = Fate::Unlinked;
        self.destroyed = true;
        if engine.and_then(|engine| tailed(engine, inode)).is_none() {
            self.excuse(index);
        }
    }

    /// Cuts a log off where it stands, perhaps after copying it.
    pub(super) fn truncate(&mut self, log: usize, copy: bool, engine: Option<&Engine>) {
        let Some(content) = self.active[log] else { return };
        self.give_up_partial(content);
        if copy {
            let path = self.directory.join(format!("{log}.log.copy"));
            fs::copy(self.path(log, 0), path).expect("there is room");
        }
        let id = engine.and_then(|engine| tailed(engine, self.contents[content].inode));
        let writer = self.contents[content].writer.try_clone().expect("a descriptor");
        writer.set_len(0).expect("a file of ours");
        self.contents[content].fate = Fate::Destroyed(id);
        self.destroyed = true;
        if id.is_none() {
            self.excuse(content);
        }
        let fresh = self.add_content(writer);
        self.contents[fresh].before = id;
        self.active[log] = Some(fresh);
        if let Some(engine) = engine {
            self.note(engine, true);
        }
    }

    /// An application that was not told yet goes on writing to a renamed file.
    pub(super) fn write_late(&mut self, now: Duration, random: &mut Rng) {
        let late = |content: &Content| {
            let recent = |left: Duration| now.saturating_sub(left) + Duration::from_secs(1) < QUIET_BEFORE_LEAVING;
            content.fate == Fate::Named && content.enlisted && content.left_at.is_some_and(recent)
        };
        let candidates: Vec<usize> = (0..self.contents.len()).filter(|index| late(&self.contents[*index])).collect();
        if let Some(content) = random.choice(candidates) {
            self.write_to(content, random);
        }
    }

    /// After each step: what the agent knows now, and what it gave back that is nowhere any more.
    pub(super) fn note(&mut self, engine: &Engine, checkpoint_stands: bool) {
        for content in &mut self.contents {
            let seen = || tailed(engine, content.inode).is_some_and(|id| content.before != Some(id));
            content.enlisted |= checkpoint_stands && content.fate == Fate::Named && seen();
        }
        for line in &mut self.lines {
            if let Fate::Destroyed(Some(id)) = self.contents[line.content].fate {
                let feed = engine.feeds.get(id);
                line.excused |= feed.is_some_and(|feed| !feed.coverage.holds(line.last_byte));
            }
        }
    }

    /// The agent is gone, and with it what it held; `checkpoint_stands` says whether that knows all files.
    pub(super) fn killed(&mut self, checkpoint_stands: bool) {
        for index in 0..self.contents.len() {
            let content = &mut self.contents[index];
            let away = content.left_at.is_some() && !checkpoint_stands;
            content.enlisted &= checkpoint_stands;
            if content.fate != Fate::Named || away {
                self.excuse(index);
            }
        }
    }

    fn excuse(&mut self, content: usize) {
        self.contents[content].excused = true;
        self.destroyed = true;
        self.lines.iter_mut().filter(|line| line.content == content).for_each(|line| line.excused = true);
    }
}

/// The file with this inode that can still be read.
fn tailed(engine: &Engine, inode: u64) -> Option<FileId> {
    let mut alive = engine.feeds.files().filter(|(_, file)| !file.is_cut());
    alive.find(|(_, file)| file.fingerprint.inode() == inode).map(|(feed, _)| feed.id)
}

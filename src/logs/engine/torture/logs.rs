//! The logs as applications and logrotate treat them, and what could be known of each line: which file holds it, and
//! whether it may be lost because its bytes were destroyed before the agent could have them. Not what became of it.

mod knowledge;
mod writing;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fastrand::Rng;
use flate2::Compression;
use flate2::write::GzEncoder;

use self::knowledge::tailed;
use super::super::Engine;
use super::inodes::Inodes;
use super::records::{Record, Shape};
use crate::logs::batch::FileId;
use crate::logs::disk::faults::stamp;
use crate::logs::source::identity::Fingerprint;

/// How many rotated files logrotate keeps.
const KEPT: usize = 3;

/// A line, or what a rotation made of one that was not finished.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) record: Record,
    /// Which content holds it.
    pub(super) content: usize,
    /// Where its first byte stands.
    first_byte: u64,
    /// Where its last byte stands.
    last_byte: u64,
    /// Its bytes were destroyed when the agent had not had them, or was killed while it had them.
    pub(super) excused: bool,
    /// It has no end, and stands in a copy that the table names: there its end is waited for.
    awaited: bool,
}

impl Line {
    pub(super) fn length(&self) -> u64 {
        self.last_byte + 1 - self.first_byte
    }
}

/// Which file it is: by inode and birth, since another one may get the same inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity(u64, u64);

/// What a file holds from its birth, or from a truncation, to its end.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each becomes known by itself")]
struct Content {
    file: Identity,
    size: u64,
    /// None once it was deleted and its application has let go of it.
    writer: Option<File>,
    /// A line whose end is not written yet.
    partial: String,
    fate: Fate,
    /// What the agent follows under this inode from before a truncation.
    before: Option<FileId>,
    /// When it left its place, by the boot-time clock.
    left_at: Option<Duration>,
    /// Whether the checkpoint has had it since.
    enlisted: bool,
    /// Whether the agent had looked around before it was born: then it is found under a rotated name, too.
    born_later: bool,
    /// Whether it is, or is becoming, a compressed file.
    packed: bool,
    /// How much of it the checkpoint says there is: so much of it can't be lost without a word.
    noted: u64,
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

/// A compressed file that is being written.
#[derive(Debug)]
struct Packing {
    log: usize,
    content: usize,
    rest: Vec<u8>,
    packed: File,
    plain: PathBuf,
}

impl From<Fingerprint> for Identity {
    fn from(fingerprint: Fingerprint) -> Self {
        let (inode, born) = fingerprint.file();
        Self(inode, born)
    }
}

impl Identity {
    fn of(file: &File) -> Self {
        let metadata = file.metadata().expect("a file of ours");
        Fingerprint::of(file, &metadata, 0).expect("readable").into()
    }
}

/// All logs of one directory.
#[derive(Debug)]
pub(super) struct Logs {
    directory: PathBuf,
    shape: Shape,
    /// What stands at each log's place.
    active: Vec<Option<usize>>,
    /// The rotated files of each, the newest first.
    rotated: Vec<VecDeque<usize>>,
    packing: Option<Packing>,
    contents: Vec<Content>,
    pub(super) lines: Vec<Line>,
    pub(super) empty_lines: u64,
    /// Whether bytes were ever destroyed: then not all that was written can be in the ledger.
    pub(super) destroyed: bool,
    /// Whether the agent's checkpoint says when it looked around.
    looked: bool,
    /// Whether the configuration means them now.
    meant: bool,
    inodes: Inodes,
}

impl Logs {
    pub(super) fn new(directory: &Path, count: usize, shape: Shape, inodes: Inodes) -> Self {
        Self {
            directory: directory.to_owned(),
            shape,
            active: vec![None; count],
            rotated: vec![VecDeque::new(); count],
            packing: None,
            contents: Vec::new(),
            lines: Vec::new(),
            empty_lines: 0,
            destroyed: false,
            looked: false,
            meant: true,
            inodes,
        }
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    pub(super) fn count(&self) -> usize {
        self.active.len()
    }

    fn path(&self, log: usize, rotated: usize, packed: bool) -> PathBuf {
        let suffix = if rotated == 0 { String::new() } else { format!(".{rotated}") };
        self.directory.join(format!("{log}.log{suffix}{}", if packed { ".gz" } else { "" }))
    }

    fn create(&mut self, log: usize) -> usize {
        let path = self.path(log, 0, false);
        let writer = self.inodes.create(&path);
        let content = self.add_content(writer, self.looked && self.meant);
        self.active[log] = Some(content);
        content
    }

    fn add_content(&mut self, writer: File, born_later: bool) -> usize {
        let file = Identity::of(&writer);
        self.contents.push(Content {
            file,
            size: 0,
            writer: Some(writer),
            partial: String::new(),
            fate: Fate::Named,
            before: None,
            left_at: None,
            enlisted: false,
            born_later,
            packed: false,
            noted: 0,
            excused: false,
        });
        self.contents.len() - 1
    }

    /// Renames a log away, and those before it; the next write makes a new one. The oldest is deleted.
    pub(super) fn rotate(&mut self, log: usize, now: Duration, engine: Option<&Engine>, random: &mut Rng) {
        let Some(content) = self.active[log].take() else { return };
        self.finish_packing(Some(log), random);
        if self.rotated[log].len() == KEPT
            && let Some(oldest) = self.rotated[log].pop_back()
        {
            let path = self.path(log, KEPT, self.contents[oldest].packed);
            self.remove(oldest, &path, random);
            self.unlinked(oldest, engine);
        }
        self.rotated[log].push_front(content);
        for (index, content) in self.rotated[log].iter().enumerate().rev() {
            let packed = self.contents[*content].packed;
            let (from, to) = (self.path(log, index, packed), self.path(log, index + 1, packed));
            fs::rename(from, to).expect("files of ours");
        }
        let place = &mut self.contents[content];
        place.left_at = Some(now);
        if !place.enlisted && !place.born_later {
            // Nobody has seen it at its place, nor ever looked around: it may be older than the agent.
            self.excuse(content);
        }
    }

    /// Begins to compress a rotated file, or goes on with that.
    pub(super) fn pack(&mut self, log: usize, random: &mut Rng) {
        if self.packing.is_some() {
            return self.finish_packing(None, random);
        }
        let plain = |index: &usize| !self.contents[self.rotated[log][*index]].packed;
        let Some(index) = random.choice((0..self.rotated[log].len()).filter(plain).collect::<Vec<_>>()) else { return };
        let content = self.rotated[log][index];
        self.give_up_partial(content);
        self.contents[content].packed = true;
        if !self.meant && !self.contents[content].enlisted {
            // Nobody has seen it, and the inode by which it would have been known is gone before the table is back.
            self.excuse(content);
        }
        let (plain, path) = (self.path(log, index + 1, false), self.path(log, index + 1, true));
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&fs::read(&plain).expect("a file of ours")).expect("packs");
        let mut bytes = encoder.finish().expect("packs");
        let mut packed = self.inodes.create(&path);
        let rest = bytes.split_off(random.usize(..=bytes.len()));
        packed.write_all(&bytes).expect("there is room");
        stamp(&packed, false);
        self.packing = Some(Packing { log, content, rest, packed, plain });
        if random.bool() {
            self.finish_packing(None, random);
        }
    }

    /// As gzip does: what it packed is removed once all of it is written. Of this log, or of any.
    fn finish_packing(&mut self, log: Option<usize>, random: &mut Rng) {
        if let Some(mut packing) = self.packing.take_if(|packing| log.is_none_or(|log| log == packing.log)) {
            packing.packed.write_all(&packing.rest).expect("there is room");
            stamp(&packing.packed, false);
            self.remove(packing.content, &packing.plain, random);
        }
    }

    /// Deletes the file at `path`, which holds this content; the application that wrote it is gone, or not.
    fn remove(&mut self, content: usize, path: &Path, random: &mut Rng) {
        let Content { file, .. } = self.contents[content];
        if random.bool() {
            self.contents.iter_mut().filter(|other| other.file == file).for_each(|other| other.writer = None);
        }
        self.inodes.delete(path);
    }

    /// Deletes a log at its place.
    pub(super) fn delete(&mut self, log: usize, now: Duration, engine: Option<&Engine>, random: &mut Rng) {
        let Some(content) = self.active[log].take() else { return };
        let path = self.path(log, 0, false);
        self.remove(content, &path, random);
        self.contents[content].left_at = Some(now);
        self.unlinked(content, engine);
    }

    fn unlinked(&mut self, content: usize, engine: Option<&Engine>) {
        let place = &mut self.contents[content];
        place.fate = Fate::Unlinked;
        self.destroyed = true;
        // Of one that was packed it may be the packed one that is read.
        if place.packed || !self.meant || engine.and_then(|engine| tailed(engine, place.file)).is_none() {
            self.excuse(content);
        }
    }

    /// Cuts a log off where it stands, perhaps after copying it.
    pub(super) fn truncate(&mut self, log: usize, copy: bool, engine: Option<&Engine>, random: &mut Rng) {
        let Some(content) = self.active[log] else { return };
        let begun = self.lines.len();
        self.give_up_partial(content);
        if copy {
            let path = self.directory.join(format!("{log}.log.copy"));
            // In place of the one before it, as logrotate does; or into that one, as a script does.
            let mut copy = if path.exists() && random.bool() {
                File::create(&path).expect("a file of ours")
            } else {
                if path.exists() {
                    self.inodes.delete(&path);
                }
                self.inodes.create(&path)
            };
            copy.write_all(&fs::read(self.path(log, 0, false)).expect("a file of ours")).expect("there is room");
            stamp(&copy, false);
            for line in self.lines[begun..].iter_mut().filter(|_| self.shape.names_rotated) {
                (line.excused, line.awaited) = (true, true);
            }
        }
        let known_as = engine.and_then(|engine| tailed(engine, self.contents[content].file));
        let followed = known_as.filter(|_| self.meant);
        let Content { enlisted, born_later, before, .. } = self.contents[content];
        // Cut twice between two looks, what stood there meanwhile was seen by nobody.
        let id = followed.filter(|id| before != Some(*id));
        let writer = self.contents[content].writer.as_ref().expect("it is at its place");
        let writer = writer.try_clone().expect("a descriptor");
        writer.set_len(0).expect("a file of ours");
        stamp(&writer, false);
        self.contents[content].fate = Fate::Destroyed(id);
        self.destroyed = true;
        if id.is_none() {
            self.excuse(content);
        }
        // The file is known, by an open descriptor or by the checkpoint, or is younger than the last look.
        let fresh = self.add_content(writer, born_later || enlisted || followed.is_some());
        self.contents[fresh].before = known_as;
        self.active[log] = Some(fresh);
        if let Some(engine) = engine {
            self.note(engine, engine.books.stands());
        }
    }

    /// All that is going on comes to its end.
    pub(super) fn calm_down(&mut self, random: &mut Rng) {
        self.finish_packing(None, random);
    }

    /// The lines that the checkpoint knew of and `is_lost` says are lost: they have to be gaps.
    pub(super) fn noted_and(&self, is_lost: impl Fn(&str) -> bool) -> Vec<&Line> {
        let noted =
            |line: &&Line| line.last_byte < self.contents[line.content].noted && !line.record.is_noise && !line.awaited;
        self.lines.iter().filter(noted).filter(|line| is_lost(&line.record.text)).collect()
    }

    /// A line, and what is known of where it stood.
    pub(super) fn describe(&self, line: &Line) -> String {
        let Content { size, fate, enlisted, born_later, packed, noted, left_at, .. } = &self.contents[line.content];
        let Line { record, content, first_byte, last_byte, excused, .. } = line;
        format!(
            "{:.60} at {first_byte} to {last_byte} of content {content}, excused: {excused}; {size} bytes, \
             {fate:?}, enlisted: {enlisted}, born later: {born_later}, packed: {packed}, noted: {noted}, left at {left_at:?}",
            record.written
        )
    }

    fn excuse(&mut self, content: usize) {
        self.contents[content].excused = true;
        self.destroyed = true;
        self.lines.iter_mut().filter(|line| line.content == content).for_each(|line| line.excused = true);
    }
}

//! A compressed log that is read: a stretch at a time is unpacked into the spool, read from there and delivered, before
//! the next is. Its offsets are those of what it unpacks to. Not the recognition (the survey's).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::gzip::{Reached, Unpacking};
use super::identity::{Fingerprint, TAIL};
use super::spill::{Spill, SpillDirectory};
use crate::logs::spool::Budget;

/// How much is unpacked ahead: enough that requests side by side never wait for it, an eighth of the spool's default.
const STRETCH: u64 = 64 << 20;

/// With less than this to be had in the spool it is waited for: a stretch must hold the longest record.
const LEAST_STRETCH: u64 = 4 << 20;

/// What came of going on.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Nothing: what is there has to be delivered first, or there is no room, or it is over.
    Waiting,
    /// There is more to do at once.
    Working,
    /// Another stretch began, to be read by this.
    Stretch(File),
}

/// A packed file, and how far it was unpacked.
#[derive(Debug)]
pub(crate) struct Archive {
    unpacking: Unpacking,
    /// By what it is known again under another name: a stretch that has just begun shows nothing of it yet.
    fingerprint: Fingerprint,
    /// How much was known to be there, when it was not packed yet.
    expected: u64,
    /// Where the stretch that is being unpacked ends.
    target: u64,
    /// What is unpacked now.
    stretch: Option<Spill>,
    /// Room taken for it.
    taken: u64,
    budget: Budget,
    /// Whether all of it is unpacked.
    over: bool,
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.budget.give_back(self.taken);
    }
}

impl Archive {
    /// What `unpacking` unpacks and `fingerprint` is of, of which at least `expected` bytes are known to be there.
    pub(crate) fn new(unpacking: Unpacking, fingerprint: Fingerprint, expected: u64, budget: Budget) -> Self {
        Self { unpacking, fingerprint, expected, target: 0, stretch: None, taken: 0, budget, over: false }
    }

    /// By what it is known.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Whether all of it is unpacked: nothing follows the end of the stretch.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// How far it was unpacked.
    pub(crate) fn position(&self) -> u64 {
        self.unpacking.position()
    }

    /// Up to where something is known to be there, as long as not all of it is unpacked.
    pub(crate) fn outstanding(&self) -> u64 {
        if self.over { 0 } else { self.expected }
    }

    /// How much less it unpacked to than was known to be there.
    pub(crate) fn shortfall(&self) -> u64 {
        self.expected.saturating_sub(self.unpacking.position())
    }

    /// Unpacks at most `most` bytes more, or begins another stretch at `position`, of which all before is done, where the
    /// one that is there, `old`, is `delivered`.
    ///
    /// # Errors
    /// When the spool can't be written, or the archive not be read; then it may be over.
    pub(crate) fn go_on(
        &mut self,
        position: u64,
        old: Option<&File>,
        delivered: bool,
        spills: &SpillDirectory,
        most: u64,
    ) -> io::Result<Progress> {
        if self.over {
            return Ok(Progress::Waiting);
        }
        if self.stretch.as_ref().is_some_and(|stretch| stretch.end() < self.target) {
            self.advance(most)?;
            return Ok(Progress::Working);
        }
        if old.is_none() && !self.note_damage(|archive| archive.unpacking.approach(position, most))? {
            return Ok(Progress::Working);
        }
        if old.is_some() && !delivered {
            return Ok(Progress::Waiting);
        }
        Ok(self.begin_stretch(position, old, spills)?.map_or(Progress::Waiting, Progress::Stretch))
    }

    /// What is no gzip, or no more of it than was unpacked, has come to its end.
    fn note_damage<T>(&mut self, unpack: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        let result = unpack(self);
        if let Err(error) = &result {
            use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
            self.over |= matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof);
        }
        result
    }

    /// Begins another stretch; returns what it is to be read by, or nothing when the spool has no room now.
    fn begin_stretch(
        &mut self,
        position: u64,
        old: Option<&File>,
        spills: &SpillDirectory,
    ) -> io::Result<Option<File>> {
        self.stretch = None;
        self.budget.give_back(std::mem::take(&mut self.taken));
        let Some(room) = self.room() else { return Ok(None) };
        let mut tail = vec![0; TAIL.min(usize::try_from(position).unwrap_or(TAIL))];
        let mut rest = Vec::new();
        if let Some(old) = old {
            let before = tail.len() as u64;
            old.read_exact_at(&mut tail, position - before)?;
            rest = vec![0; usize::try_from(self.unpacking.position().saturating_sub(position)).unwrap_or(0)];
            old.read_exact_at(&mut rest, position)?;
        } else {
            tail.clear();
            tail.extend_from_slice(self.unpacking.tail());
        }
        let mut spill = spills.begin_nameless(position, self.unpacking.head(), &tail)?;
        spill.append(&rest)?;
        self.taken = room;
        self.target = self.unpacking.position() + room.saturating_sub(rest.len() as u64);
        let reader = spill.reader()?;
        self.stretch = Some(spill);
        Ok(Some(reader))
    }

    fn advance(&mut self, most: u64) -> io::Result<()> {
        let target = self.target.min(self.unpacking.position() + most);
        let reached = self.note_damage(|archive| {
            let Some(stretch) = &mut archive.stretch else { return Ok(Reached::Target) };
            archive.unpacking.advance(target, |_, piece| stretch.append(piece))
        })?;
        // One that was whole when it was recognised and is not any more has been cut.
        self.over = reached != Reached::Target;
        if self.over && self.shortfall() > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends before the end of what was packed"));
        }
        Ok(())
    }

    fn room(&self) -> Option<u64> {
        let sizes = std::iter::successors(Some(STRETCH), |size| Some(size / 2));
        let mut sizes = sizes.take_while(|size| *size >= LEAST_STRETCH);
        sizes.find(|size| self.budget.try_take(*size).is_ok())
    }
}

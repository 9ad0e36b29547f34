//! Which segments there are, how far each is written, and whose share they are on: what the writer and the engine share.
//! Not what is written into them, which is `writer`'s, nor what is delivered, which is the checkpoint's.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use tokio::sync::watch;

use super::budget::{Budget, Full, MODE};
use super::quarantine::{self, Damage, read_up_to};
use super::segment::{self, Key};
use super::trouble::Trouble;
use crate::logs::framing::recorded::find_recorded;
use crate::logs::ledger::Count;

/// The spool's name in the state directory.
const NAME: &str = "spool";

/// A caller may hold this part of the room that the others leave: alone it gets half of the spool, and whoever comes next
/// half of what is left, so that nobody ever fills it for everybody.
const SHARE: u64 = 2;

/// So many segments a caller may have: each costs a file whatever it holds, and each stream that `logs send` names is one
/// at least. Half of the default limit is 64 full ones.
const MOST_SEGMENTS: usize = 1024;

/// Why records are not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// There is no room for anybody.
    #[error(transparent)]
    Full(#[from] Full),
    /// The caller's share is used up.
    #[error("user {uid} holds its share of the spool, {share} bytes; it empties as CloudWatch accepts events")]
    Share {
        /// Who.
        uid: u32,
        /// How much it may hold, in bytes.
        share: u64,
    },
    /// The caller has too many streams.
    #[error(
        "user {uid} has {MOST_SEGMENTS} segments in the spool; name fewer streams, or wait until they are delivered"
    )]
    Segments {
        /// Who.
        uid: u32,
    },
    /// The disk says no.
    #[error("the spool can't be written: {0}; let the service's user write it, and make room there")]
    Io(#[from] io::Error),
}

/// One segment as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its number: later ones of a key hold later records.
    pub(crate) number: u64,
    /// Whose records it holds.
    pub(crate) key: Arc<Key>,
    /// Where its records begin.
    pub(crate) begin: u64,
    /// Behind its last whole record.
    pub(crate) length: u64,
    /// Whether nothing is added any more.
    pub(crate) sealed: bool,
}

/// The spool. Clones share it.
#[derive(Clone, Debug)]
pub struct Spool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    budget: Budget,
    /// What has a lower number stood here when it was opened.
    first: u64,
    catalogue: Mutex<Catalogue>,
    /// Told when there is more to read, or something to be said.
    news: watch::Sender<()>,
    trouble: Mutex<Trouble>,
    /// How much is kept of what was damaged, in bytes.
    quarantined: AtomicU64,
}

#[derive(Debug, Default)]
struct Catalogue {
    segments: BTreeMap<u64, Entry>,
    shares: BTreeMap<u32, Share>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    listed: Listed,
    /// Between a promise of room and the end of the write: not to be sealed.
    writing: bool,
}

/// What one caller holds.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    bytes: u64,
    segments: usize,
}

impl Spool {
    /// The spool in `state_dir`. What stands there is sealed: after a power loss nobody knows how its last segment ends,
    /// so nothing is written behind it. What is no segment by its header goes into the quarantine.
    ///
    /// # Errors
    /// When the directory can be neither made nor read.
    pub(crate) fn open(state_dir: &Path, limit: u64) -> io::Result<Self> {
        let directory = state_dir.join(NAME);
        let budget = Budget::open(&directory, limit)?;
        let (mut catalogue, mut trouble) = (Catalogue::default(), Trouble::default());
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            let Some(number) = segment::number_of(&path) else { continue };
            catalogue.next = catalogue.next.max(number + 1);
            let mut file = File::open(&path)?;
            let length = file.metadata()?.len();
            match segment::read_header(&mut file)? {
                Some((key, begin)) => catalogue.add(Listed { number, key: key.into(), begin, length, sealed: true }),
                None => trouble.headless.push(quarantine::put_away(&directory, &path, length, &budget)?),
            }
        }
        let (news, first) = (watch::Sender::new(()), catalogue.next);
        let quarantined = quarantine::size(&directory).into();
        Ok(Self(Arc::new(Inner {
            directory,
            first,
            budget,
            catalogue: Mutex::new(catalogue),
            news,
            trouble: Mutex::new(trouble),
            quarantined,
        })))
    }

    /// Its room.
    pub(crate) fn budget(&self) -> &Budget {
        &self.0.budget
    }

    /// From now on it may hold that much.
    pub(crate) fn set_limit(&self, limit: u64) {
        self.0.budget.set_limit(limit);
    }

    /// Told when there is more to read, or something to be said.
    pub(crate) fn news(&self) -> watch::Receiver<()> {
        self.0.news.subscribe()
    }

    /// Somebody waits for room.
    pub(crate) fn note_refusal(&self, reason: &str) {
        self.trouble().refusal = Some(reason.to_owned());
        self.0.news.send_replace(());
    }

    /// Records of `key` that came at `now` found no room, and their sender did not wait.
    pub(crate) fn note_loss(&self, key: &Arc<Key>, count: Count, now: Timestamp) {
        self.trouble().note_loss(key, count, now);
        self.0.news.send_replace(());
    }

    /// What went wrong since this was asked last.
    pub(crate) fn take_trouble(&self) -> Trouble {
        std::mem::take(&mut *self.trouble())
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All segments, by number.
    pub(crate) fn segments(&self) -> Vec<Listed> {
        self.catalogue().segments.values().map(|entry| entry.listed.clone()).collect()
    }

    /// One segment as it stands, while there is one of that number.
    pub(crate) fn segment(&self, number: u64) -> Option<Listed> {
        self.catalogue().segments.get(&number).map(|entry| entry.listed.clone())
    }

    /// For reading segment `number`.
    ///
    /// # Errors
    /// When it can't be opened.
    pub(crate) fn read(&self, number: u64) -> io::Result<File> {
        File::open(self.path_of(number))
    }

    /// Nothing is added to segment `number` any more, unless something was since it ended at `length`. Whether it is so.
    pub(crate) fn seal_at(&self, number: u64, length: u64) -> bool {
        let mut catalogue = self.catalogue();
        let Some(entry) = catalogue.segments.get_mut(&number) else { return true };
        if !entry.writing && entry.listed.length == length {
            entry.listed.sealed = true;
        }
        entry.listed.sealed
    }

    /// Deletes segment `number`: all of it is delivered or dropped, and the checkpoint says so.
    ///
    /// # Errors
    /// When the file can't be deleted; it then stays on the list.
    pub(crate) fn remove(&self, number: u64) -> io::Result<()> {
        match fs::remove_file(self.path_of(number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if let Some(listed) = self.catalogue().remove(number) {
            self.0.budget.give_back(listed.length);
        }
        Ok(())
    }

    /// What stands at `from` in segment `number` is no record: up to the next one, `until` at most, where one is known to
    /// stand, it is copied into the quarantine. With no record behind it the segment ends there.
    ///
    /// # Errors
    /// When the disk says no; the segment then is as it was.
    pub(crate) fn quarantine(&self, number: u64, from: u64, until: Option<u64>) -> io::Result<Damage> {
        let (path, spool) = (self.path_of(number), &self.0.directory);
        let end = self.segment(number).map_or(from, |listed| listed.length);
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(from)).unwrap_or_default()];
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let got = read_up_to(&file, &mut bytes, from)?;
        bytes.truncate(got);
        let next = find_recorded(&bytes).map(|at| from + at as u64).into_iter().chain(until).min();
        if let Some(next) = next {
            bytes.truncate(usize::try_from(next - from).unwrap_or(usize::MAX));
        }
        let kept = quarantine::keep(spool, &path, from, &bytes, &self.0.budget)?;
        self.0.quarantined.store(quarantine::size(spool), Ordering::Relaxed);
        if next.is_none() {
            file.set_len(from)?;
            self.end_at(number, from);
        }
        Ok(Damage { bytes: bytes.len() as u64, kept, next })
    }

    fn end_at(&self, number: u64, end: u64) {
        let mut catalogue = self.catalogue();
        if let Some(entry) = catalogue.segments.get_mut(&number) {
            let bytes = entry.listed.length.saturating_sub(end);
            entry.listed.length = end;
            entry.listed.sealed = true;
            let uid = entry.listed.key.uid;
            catalogue.share(uid).bytes -= bytes;
            self.0.budget.give_back(bytes);
        }
    }

    /// How much is kept of what was damaged, in bytes.
    pub(crate) fn quarantined(&self) -> u64 {
        self.0.quarantined.load(Ordering::Relaxed)
    }

    /// Moves what stood here when it was opened beside the spool: it is `owner`'s, another instance's.
    ///
    /// # Errors
    /// When the disk says no; what was not moved stays on the list.
    pub(crate) fn set_aside(&self, owner: &str) -> io::Result<()> {
        let owner: String = owner.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let aside = self.0.directory.with_file_name(format!("{NAME}.of-{owner}"));
        let numbers: Vec<u64> = self.catalogue().segments.range(..self.0.first).map(|(number, _)| *number).collect();
        if !numbers.is_empty() {
            DirBuilder::new().recursive(true).mode(MODE).create(&aside)?;
        }
        for number in numbers {
            let path = self.path_of(number);
            fs::rename(&path, aside.join(path.file_name().unwrap_or_default()))?;
            if let Some(listed) = self.catalogue().remove(number) {
                self.0.budget.give_back(listed.length);
            }
        }
        Ok(())
    }

    pub(super) fn directory(&self) -> &Path {
        &self.0.directory
    }

    pub(super) fn path_of(&self, number: u64) -> PathBuf {
        segment::path_of(&self.0.directory, number)
    }

    /// Promises room for `bytes` more in segment `number`, if it is still open: then nobody seals it until
    /// [`Spool::written`].
    pub(super) fn extend(&self, number: u64, bytes: u64) -> Result<bool, Refused> {
        let mut catalogue = self.catalogue();
        let Some(entry) = catalogue.segments.get(&number).filter(|entry| !entry.listed.sealed) else {
            return Ok(false);
        };
        let uid = entry.listed.key.uid;
        catalogue.admit(uid, bytes, &self.0.budget)?;
        if let Some(entry) = catalogue.segments.get_mut(&number) {
            entry.writing = true;
        }
        Ok(true)
    }

    /// Promises room for a new segment of `key`, with a header of `header` bytes and `bytes` of records, and gives it a
    /// number. Nobody seals it until [`Spool::written`].
    pub(super) fn begin(&self, key: &Arc<Key>, header: u64, bytes: u64) -> Result<u64, Refused> {
        let mut catalogue = self.catalogue();
        if catalogue.share(key.uid).segments >= MOST_SEGMENTS {
            return Err(Refused::Segments { uid: key.uid });
        }
        catalogue.admit(key.uid, header + bytes, &self.0.budget)?;
        // By the clock, so that no number is ever used again, even if all segments are gone and the checkpoint knows some.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let number = catalogue.next.max(u64::try_from(now).unwrap_or_default());
        catalogue.next = number + 1;
        catalogue.share(key.uid).segments += 1;
        let listed = Listed { number, key: key.clone(), begin: header, length: header, sealed: false };
        catalogue.segments.insert(number, Entry { listed, writing: true });
        Ok(number)
    }

    /// What was promised is written: segment `number` ends at `length` now, and is complete if `sealed`.
    pub(super) fn written(&self, number: u64, length: u64, sealed: bool) {
        if let Some(entry) = self.catalogue().segments.get_mut(&number) {
            entry.writing = false;
            entry.listed.length = length;
            entry.listed.sealed |= sealed;
        }
        self.0.news.send_replace(());
    }

    /// Nothing was written of the `bytes` that were promised for segment `number`, or nothing that counts.
    pub(super) fn unwritten(&self, number: u64, bytes: u64, sealed: bool) {
        let mut catalogue = self.catalogue();
        if let Some(entry) = catalogue.segments.get_mut(&number) {
            entry.writing = false;
            entry.listed.sealed |= sealed;
            let uid = entry.listed.key.uid;
            catalogue.share(uid).bytes -= bytes;
            self.0.budget.give_back(bytes);
        }
    }

    fn catalogue(&self) -> MutexGuard<'_, Catalogue> {
        // It is whole between any two statements, so that a panic elsewhere spoils nothing.
        self.0.catalogue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Catalogue {
    fn add(&mut self, listed: Listed) {
        let share = self.share(listed.key.uid);
        share.segments += 1;
        share.bytes += listed.length;
        self.segments.insert(listed.number, Entry { listed, writing: false });
    }

    fn remove(&mut self, number: u64) -> Option<Listed> {
        let listed = self.segments.remove(&number)?.listed;
        let share = self.share(listed.key.uid);
        share.bytes -= listed.length;
        share.segments -= 1;
        if share.segments == 0 {
            self.shares.remove(&listed.key.uid);
        }
        Some(listed)
    }

    fn share(&mut self, uid: u32) -> &mut Share {
        self.shares.entry(uid).or_default()
    }

    /// Takes `bytes` of the room for `uid`.
    fn admit(&mut self, uid: u32, bytes: u64, budget: &Budget) -> Result<(), Refused> {
        let own = self.share(uid).bytes;
        let others = budget.used().saturating_sub(own);
        let share = budget.limit().saturating_sub(others) / SHARE;
        if own + bytes > share {
            return Err(Refused::Share { uid, share });
        }
        budget.try_take(bytes)?;
        self.share(uid).bytes += bytes;
        Ok(())
    }
}

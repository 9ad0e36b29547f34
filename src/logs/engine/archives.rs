//! Compressed files beside followed ones: recognised by what they unpack to, and read from where the plain one was
//! done. One at a time, a slice a step. Not the unpacking (`source::archive`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Engine;
use super::adopting::{Stranger, source_of};
use super::kin::Kin;
use crate::fault::Fault;
use crate::logs::batch::FileId;
use crate::logs::checkpoint::FileState;
use crate::logs::coverage::Coverage;
use crate::logs::delivery::destination::Moment;
use crate::logs::ledger::{Count, Reason};
use crate::logs::settings::Table;
use crate::logs::source::archive::{Archive, Progress};
use crate::logs::source::feed::Feed;
use crate::logs::source::gzip::{Reached, Unpacking};
use crate::logs::source::identity::{Fingerprint, HEAD};
use crate::logs::source::open::open_regular;
use crate::logs::source::tailed::{Life, Tailed};

/// How much one step unpacks: about 10 ms.
const SLICE: u64 = 4 << 20;

/// How many examined files are remembered; a rotation keeps tens for each log.
const MOST_SEEN: usize = 10_000;

/// Compressed files that are to be recognised.
#[derive(Debug, Default)]
pub(super) struct Archives {
    waiting: VecDeque<Stranger>,
    examined: Option<Examination>,
    /// What was examined, as it was then: it is not examined again unless it changed.
    seen: BTreeMap<PathBuf, (u64, SystemTime)>,
    /// Those that are read.
    read: BTreeSet<FileId>,
}

/// One that is being unpacked to see what it is.
#[derive(Debug)]
struct Examination {
    stranger: Stranger,
    unpacking: Unpacking,
    /// What it may be, the likeliest first; those that it is not are taken out.
    kin: Vec<Kin>,
    /// Those of the kin that it is, as far as was seen.
    is: Vec<Kin>,
    over: bool,
}

/// What became of an examination's slice.
enum Verdict {
    /// More has to be seen.
    Open,
    /// It goes on where this one was done.
    Continues(Kin),
    /// All of it is read elsewhere.
    Copy,
    /// Nobody knows it.
    New,
    /// It is not whole yet.
    Unfinished,
}

impl Archives {
    /// One more that is to be recognised; `false` if that was tried, and it has not changed since.
    pub(super) fn add(&mut self, stranger: Stranger, metadata: &Metadata) -> io::Result<bool> {
        let looks = (metadata.len(), metadata.modified()?);
        if self.seen.len() >= MOST_SEEN {
            self.seen.clear();
        }
        let fresh = self.seen.insert(stranger.path.clone(), looks) != Some(looks);
        if fresh {
            self.waiting.push_back(stranger);
        }
        Ok(fresh)
    }

    /// The tables are others: `table` says which means a path. What waits for none may be meant again, and so may what is
    /// let go of in the middle of being read: all counts as new.
    pub(super) fn change_tables(&mut self, table: impl Fn(&Path) -> Option<usize>) {
        let adapt = |stranger: &mut Stranger| table(&stranger.path).map(|table| stranger.table = table).is_some();
        self.seen.clear();
        self.waiting.retain_mut(adapt);
        self.examined.take_if(|examined| !adapt(&mut examined.stranger));
    }

    /// Whether nothing is to be recognised.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.examined.is_none()
    }
}

impl Examination {
    /// Unpacks a slice more, and judges.
    fn advance(&mut self) -> io::Result<Verdict> {
        let at = self.unpacking.position();
        if at == 0 {
            return match self.unpacking.advance(HEAD as u64, |_, _| Ok(()))? {
                Reached::Unfinished => Ok(Verdict::Unfinished),
                reached => {
                    self.over = reached == Reached::End;
                    let head = self.unpacking.head();
                    self.kin.retain(|kin| kin.fingerprint.begins_like(head));
                    Ok(self.judge())
                }
            };
        }
        // Each of the kin is compared when unpacking stands where that was done, or at the end of the head before that.
        let next = self.kin.iter().map(|kin| kin.fingerprint.position()).filter(|position| *position > at).min();
        let target = next.unwrap_or(u64::MAX).min(at + SLICE);
        self.over = match self.unpacking.advance(target, |_, _| Ok(())) {
            Ok(Reached::Unfinished) => return Ok(Verdict::Unfinished),
            Ok(reached) => reached == Reached::End,
            // What stands before the damage is worth having; whoever reads it will say that it is damaged.
            Err(_) => true,
        };
        Ok(self.judge())
    }

    fn judge(&mut self) -> Verdict {
        let at = self.unpacking.position();
        let (reached, ahead): (Vec<Kin>, Vec<Kin>) =
            self.kin.iter().partition(|kin| kin.fingerprint.position() <= at.max(self.unpacking.head().len() as u64));
        self.is.extend(reached.into_iter().filter(|kin| self.unpacking.is(&kin.fingerprint)));
        self.kin = ahead;
        if !self.kin.is_empty() && !self.over {
            return Verdict::Open;
        }
        if let Some(kin) = self.is.iter().filter(|kin| kin.sought).max_by_key(|kin| kin.likelihood()) {
            return Verdict::Continues(*kin);
        }
        // Somebody may still be writing it: read so, its last line would be cut off, and what follows be lost.
        if !self.over {
            return Verdict::Open;
        }
        // Longer than what was read of it, it is another that begins in the same way.
        if self.is.iter().all(|kin| at > kin.size) { Verdict::New } else { Verdict::Copy }
    }
}

impl Engine {
    /// Goes on recognising and unpacking; returns whether there is more to do at once.
    pub(super) fn unpack(&mut self, now: Moment) -> bool {
        let examining = self.examine(now);
        let unpacking = self.fill_stretches(now);
        examining || unpacking
    }

    fn examine(&mut self, now: Moment) -> bool {
        if self.files.archives.examined.is_none() {
            let Some(stranger) = self.files.archives.waiting.pop_front() else { return false };
            self.files.archives.examined = self.begin_examination(stranger);
        }
        let Some(mut examined) = self.files.archives.examined.take() else { return !self.files.archives.is_empty() };
        let path = examined.stranger.path.clone();
        let result = match examined.advance() {
            Ok(Verdict::Open) => {
                self.files.archives.examined = Some(examined);
                return true;
            }
            Ok(verdict) => self.conclude_examination(examined, &verdict, now),
            Err(error) => Err(error),
        };
        match result {
            Ok(followed) => self.enlist(&followed, now),
            Err(error) => self.note_unreadable(&path, &error, None, now),
        }
        if self.files.archives.is_empty() {
            // What was looked for in archives only is lost now, if it was not found.
            self.survey_soon(super::SURVEY_SOON, now);
        }
        true
    }

    fn begin_examination(&mut self, mut stranger: Stranger) -> Option<Examination> {
        if stranger.matched {
            // What it was packed from may have been found by the same look around.
            stranger.bases.extend(self.bases_of(&stranger.path, stranger.table));
        }
        let unpacking = open_regular(&stranger.path).ok().and_then(|file| Unpacking::begin(file).ok())?;
        let kin = self.kin_of(&stranger.bases);
        Some(Examination { stranger, unpacking, kin, is: Vec::new(), over: false })
    }

    /// Does what the verdict says; returns what is followed from now on.
    fn conclude_examination(
        &mut self,
        examined: Examination,
        verdict: &Verdict,
        now: Moment,
    ) -> io::Result<BTreeSet<FileId>> {
        let Examination { stranger, unpacking, kin, is, .. } = examined;
        let Ok(file) = open_regular(&stranger.path) else { return Ok(BTreeSet::new()) };
        let metadata = file.metadata()?;
        if !unpacking.is_from(&metadata)? {
            // The next rotation has put another one there; this one is found again under the name that it has now.
            self.survey_soon(super::SURVEY_SOON, now);
            return Ok(BTreeSet::new());
        }
        // It may have waited twice, after a change or a reload: then it is known by now, and what is in it is read.
        let is_known = self.same_as(&metadata).is_some();
        let is_decided = !matches!(verdict, Verdict::Open | Verdict::Unfinished);
        if is_decided {
            // Killed after this, one is known for a copy: what of has to be known, too, however much it grew meanwhile.
            self.write_down(is.iter().chain(&kin).map(|kin| kin.id), now);
            self.decide(&stranger, &metadata, now)?;
        }
        let mut followed = BTreeSet::new();
        // What is not new needs no second comparison.
        let is_new = matches!(verdict, Verdict::New)
            && stranger.fresh
            && !is_known
            && !self.is_read_by_descriptor(kin.iter().chain(&is), &unpacking)?;
        match verdict {
            // Whoever writes it will change it; until then it is not looked at again.
            Verdict::Unfinished => drop(self.is_quiet(&stranger, &metadata, now)?),
            Verdict::Continues(kin) => followed.extend(self.go_on_in_archive(kin.id, &stranger, unpacking, now)?),
            Verdict::New if is_new => {
                let (id, source) = (self.feeds.next_id(), source_of(&stranger));
                let fingerprint = Fingerprint::of_head(unpacking.head());
                self.follow_archive(id, source, fingerprint, Coverage::from(0), 0, &stranger, unpacking, now)?;
                followed.insert(id);
            }
            Verdict::New | Verdict::Open | Verdict::Copy => {}
        }
        // Its packed bytes are not to be read. They come behind what is in it: so they are what its inode stands for.
        if is_decided && !is_known {
            followed.extend(self.pass_over_copy(&stranger, file, &metadata, now)?);
        }
        Ok(followed)
    }

    /// Whether what was unpacked is a file that is read by its descriptor, or the beginning of one: somebody had it open
    /// still, and has written to it since it was last looked at.
    fn is_read_by_descriptor<'k>(&self, kin: impl Iterator<Item = &'k Kin>, unpacking: &Unpacking) -> io::Result<bool> {
        for kin in kin {
            let Some(file) = self.feeds.file(kin.id).and_then(Tailed::file) else { continue };
            let metadata = file.metadata()?;
            let at = unpacking.position();
            if metadata.len() >= at && unpacking.is(&Fingerprint::of(file, &metadata, at)?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn go_on_in_archive(
        &mut self,
        id: FileId,
        stranger: &Stranger,
        unpacking: Unpacking,
        now: Moment,
    ) -> io::Result<Option<FileId>> {
        tracing::info!(path = %stranger.path.display(), "going on in a compressed copy of a file that is gone");
        if let Some(state) = self.files.known.remove(&id) {
            let FileState { source, coverage, size, fingerprint, .. } = state;
            self.follow_archive(id, source.into(), fingerprint, coverage, size, stranger, unpacking, now)?;
            return Ok(Some(id));
        }
        let Some(feed) = self.feeds.get_mut(id) else { return Ok(None) };
        feed.unread();
        let (size, budget) = (feed.size, self.budget.clone());
        let Some(file) = feed.file_mut() else { return Ok(None) };
        file.close();
        file.archive = Some(Box::new(Archive::new(unpacking, file.fingerprint, size, budget)));
        file.life = Life::Leaving { quiet_since: now.boot };
        file.path = stranger.path.as_path().into();
        self.files.archives.read.insert(id);
        Ok(Some(id))
    }

    #[expect(clippy::too_many_arguments, reason = "what a feed is made of, which nothing else holds together")]
    fn follow_archive(
        &mut self,
        id: FileId,
        source: std::sync::Arc<str>,
        fingerprint: Fingerprint,
        coverage: Coverage,
        size: u64,
        stranger: &Stranger,
        unpacking: Unpacking,
        now: Moment,
    ) -> io::Result<()> {
        let place = Stranger { matched: false, ..stranger.clone() };
        let Ok(packed) = open_regular(&stranger.path) else { return Err(io::ErrorKind::NotFound.into()) };
        let table = Table::File(stranger.table);
        let mut feed = Feed::of_file(id, stranger.path.clone(), source, table, packed, coverage)?;
        feed.size = size;
        if let Some(file) = feed.file_mut() {
            file.close();
            // Of what is packed in it, not of the packed bytes: after a kill those would be taken for what is followed.
            file.fingerprint = fingerprint;
            file.archive = Some(Box::new(Archive::new(unpacking, fingerprint, size, self.budget.clone())));
        }
        self.files.archives.read.insert(id);
        self.follow(feed, &place, now);
        Ok(())
    }

    /// Unpacks what archives are to hold ready, and begins another stretch where one is delivered.
    fn fill_stretches(&mut self, now: Moment) -> bool {
        let mut more = false;
        for id in self.files.archives.read.iter().copied().collect::<Vec<_>>() {
            match self.fill_stretch(id, now) {
                Ok(busy) => more |= busy,
                Err(error) => self.note_unpackable(id, &error, now),
            }
        }
        more
    }

    fn fill_stretch(&mut self, id: FileId, now: Moment) -> io::Result<bool> {
        let Some(feed) = self.feeds.get_mut(id) else {
            self.files.archives.read.remove(&id);
            return Ok(false);
        };
        let delivered = feed.read_to_its_end() && feed.coverage.is_settled();
        let position = feed.coverage.low().offset;
        let Some(file) = feed.file_mut() else { return Ok(false) };
        let Some(mut archive) = file.archive.take() else { return Ok(false) };
        let progress = archive.go_on(position, file.file(), delivered, &self.files.spills, SLICE);
        file.archive = Some(archive);
        match progress? {
            Progress::Waiting => return Ok(false),
            Progress::Working => {}
            Progress::Stretch(stretch) => {
                file.continue_in(stretch, position)?;
                feed.unread();
            }
        }
        self.look(id, now);
        Ok(true)
    }

    /// An archive can't be unpacked: it is damaged, or there is no room. What is known to be missing is counted.
    fn note_unpackable(&mut self, id: FileId, error: &io::Error, now: Moment) {
        let Some(feed) = self.feeds.get_mut(id) else { return };
        let message = format!("'{}' can't be unpacked: {error}", feed.name());
        if feed.fault.as_ref().is_none_or(|before| before.message != message) {
            tracing::warn!(error = message, "passing over a file");
        }
        feed.fault = Some(Box::new(Fault { at: now.wall, message, hint: None }));
        let Some(archive) = feed.file().and_then(|file| file.archive.as_deref()) else { return };
        if archive.is_over() {
            let (bytes, end) = (archive.shortfall(), archive.position());
            let source = feed.source.clone();
            feed.size = feed.size.min(end);
            self.files.archives.read.remove(&id);
            if bytes > 0 {
                self.books.account(&source).lose(Reason::Gap, Count { events: 0, bytes });
            }
        }
    }
}

//! Files of which nobody knows yet what they are: how long they are waited for, and what was decided in the end. Not the
//! deciding (`adopting`).

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::Engine;
use super::adopting::{COPY_PAUSE, Stranger};
use super::files::Unsettled;
use crate::logs::delivery::destination::Moment;
use crate::logs::source::identity::birth;

/// What looks like a copy in the making and has not changed for so long was left so: nobody waits for it any more.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl Engine {
    /// Whether nobody has been writing for a while to a file that may still be a copy in the making.
    pub(super) fn is_quiet(&mut self, stranger: &Stranger, metadata: &Metadata, now: Moment) -> io::Result<bool> {
        let path = &*stranger.path;
        let (size, modified) = (metadata.len(), metadata.modified()?);
        let same = |before: &&Unsettled| (before.size, before.modified) == (size, modified);
        let before = self.files.unsettled.get(path).filter(same);
        let (since, decided) = before.map_or((now.boot, false), |before| (before.since, before.decided));
        let waited = now.boot.saturating_sub(since);
        let (fresh, decided) = (stranger.fresh, decided || waited > LONGEST_WAIT);
        let (inode, born) = (metadata.ino(), birth(metadata));
        let unsettled = Unsettled { inode, born, size, modified, since, fresh, decided };
        self.files.unsettled.insert(path.to_owned(), unsettled);
        Ok(waited >= COPY_PAUSE)
    }

    /// What a file is, is known from here on, unless it changes.
    pub(super) fn decide(&mut self, stranger: &Stranger, metadata: &Metadata, now: Moment) -> io::Result<()> {
        let (size, modified) = (metadata.len(), metadata.modified()?);
        let (inode, born, fresh) = (metadata.ino(), birth(metadata), stranger.fresh);
        let decided = Unsettled { inode, born, size, modified, since: now.boot, fresh, decided: true };
        self.files.unsettled.insert(stranger.path.clone(), decided);
        Ok(())
    }

    /// Whether that was so, and nothing has changed since.
    pub(super) fn is_decided(&self, stranger: &Stranger, metadata: &Metadata) -> io::Result<bool> {
        let looks = (metadata.len(), metadata.modified()?);
        let before = self.files.unsettled.get(&stranger.path);
        Ok(before.is_some_and(|before| before.decided && (before.size, before.modified) == looks))
    }
}

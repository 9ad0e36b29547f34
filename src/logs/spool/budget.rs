//! How much the spool may hold: so many bytes in total, and never the last free room of its filesystem, which others need
//! more. Who writes below the spool's directory takes first what it will write, and gives back what it deleted. Not whose
//! bytes they are: a caller's share is the store's.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::statvfs;

/// What stands in the spool are log lines: nobody else's.
pub(super) const MODE: u32 = 0o700;

/// This part of the filesystem is left free: a twentieth, what ext4 keeps back for root by default, and for the same
/// reason: a disk that is quite full stops more than logs.
const FREE_SHARE: u64 = 20;

/// On a large disk a twentieth would be more than anybody needs to log in and clean up.
const MOST_FREE: u64 = 1 << 30;

/// There is no room in the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    /// All that the configuration allows is used.
    #[error("the spool holds all of its `spool_limit`, {limit} bytes; it empties as CloudWatch accepts events")]
    Limit {
        /// `spool_limit`, in bytes.
        limit: u64,
    },
    /// The filesystem is nearly full.
    #[error("the spool's filesystem has {free} bytes left, and {floor} of them are not the spool's to take; make room")]
    Floor {
        /// What is free, in bytes.
        free: u64,
        /// What has to stay free, in bytes.
        floor: u64,
    },
}

/// The spool's room. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    limit: AtomicU64,
    used: AtomicU64,
}

impl Budget {
    /// The budget of `directory`, made if it is not there. What stands below it is used already.
    ///
    /// # Errors
    /// When the directory can be neither made nor read.
    pub(crate) fn open(directory: &Path, limit: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(MODE).create(directory)?;
        let used = AtomicU64::new(size_of(directory)?);
        Ok(Self(Arc::new(Inner { directory: directory.to_owned(), limit: limit.into(), used })))
    }

    /// Takes `bytes`, before they are written.
    ///
    /// # Errors
    /// When there is no room for them; nothing is taken then.
    pub(crate) fn try_take(&self, bytes: u64) -> Result<(), Full> {
        self.leaves_room_for_others(bytes)?;
        let limit = self.limit();
        let take = |used: u64| used.checked_add(bytes).filter(|used| *used <= limit);
        match self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(()),
            Err(_) => Err(Full::Limit { limit }),
        }
    }

    /// Takes `bytes` whether there is room or not: they stand there already.
    pub(super) fn take_anyway(&self, bytes: u64) {
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// `bytes` that were taken are not used any more.
    pub(crate) fn give_back(&self, bytes: u64) {
        let give = |used: u64| Some(used.saturating_sub(bytes));
        // It always returns something, so it always succeeds.
        let _ = self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, give);
    }

    /// What is used, in bytes.
    pub(crate) fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// What may be used, in bytes.
    pub(crate) fn limit(&self) -> u64 {
        self.0.limit.load(Ordering::Relaxed)
    }

    /// From now on that much may be used; what is above it stays until it is given back.
    pub(crate) fn set_limit(&self, limit: u64) {
        self.0.limit.store(limit, Ordering::Relaxed);
    }

    /// A filesystem that does not say how full it is is not held against anybody: the write will tell.
    fn leaves_room_for_others(&self, bytes: u64) -> Result<(), Full> {
        let Ok(filesystem) = statvfs(&self.0.directory) else { return Ok(()) };
        let floor = (filesystem.f_blocks.saturating_mul(filesystem.f_frsize) / FREE_SHARE).min(MOST_FREE);
        let free = filesystem.f_bavail.saturating_mul(filesystem.f_frsize);
        if free < floor.saturating_add(bytes) { Err(Full::Floor { free, floor }) } else { Ok(()) }
    }
}

/// What a file takes of the disk, at most: one may begin with a hole as long as what it is the rest of.
fn length_of(metadata: &Metadata) -> u64 {
    metadata.len().min(metadata.blocks() * 512)
}

/// The bytes of all files below `directory`.
fn size_of(directory: &Path) -> io::Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        total += if metadata.is_dir() { size_of(&entry.path())? } else { length_of(&metadata) };
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_stands_in_the_directory_is_used_already() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("spool/deeper");
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join("a"), [0; 30]).unwrap();
        fs::write(directory.path().join("spool/b"), [0; 12]).unwrap();
        let budget = Budget::open(&directory.path().join("spool"), 100).unwrap();
        assert_eq!((budget.used(), budget.limit()), (42, 100));
        assert_eq!(budget.try_take(59), Err(Full::Limit { limit: 100 }));
        budget.try_take(58).unwrap();
        budget.clone().give_back(58);
        assert_eq!(budget.used(), 42);
    }

    #[test]
    fn the_last_free_room_of_the_filesystem_is_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let budget = Budget::open(directory.path(), u64::MAX).unwrap();
        let filesystem = statvfs(directory.path()).unwrap();
        let all = filesystem.f_bavail * filesystem.f_frsize;
        assert!(matches!(budget.try_take(all), Err(Full::Floor { floor, .. }) if floor > 0));
        assert_eq!(budget.used(), 0);
    }

    proptest! {
        /// The model: a sum.
        #[test]
        fn never_more_than_the_limit_is_taken(steps in prop::collection::vec((any::<bool>(), 0_u64..60), 0..50)) {
            let directory = tempfile::tempdir().unwrap();
            let budget = Budget::open(directory.path(), 100).unwrap();
            let mut taken = Vec::new();
            for (take, bytes) in steps {
                let sum: u64 = taken.iter().sum();
                if take {
                    prop_assert_eq!(budget.try_take(bytes).is_ok(), sum + bytes <= 100);
                    if sum + bytes <= 100 {
                        taken.push(bytes);
                    }
                } else if let Some(bytes) = taken.pop() {
                    budget.give_back(bytes);
                }
                prop_assert_eq!(budget.used(), taken.iter().sum::<u64>());
            }
        }
    }
}

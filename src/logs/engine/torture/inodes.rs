//! Inodes that a disk uses again: a file that is deleted, and that nobody has open, may come back as another one. By a
//! seed, where a real disk would ask what all other programs do. Not what is in the files.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use tempfile::TempDir;

use crate::logs::disk::faults::stamp;

/// The inodes that are free.
#[derive(Debug)]
pub(super) struct Inodes {
    /// Where they wait under a name, so that the file system gives them to nobody.
    parked: TempDir,
    free: VecDeque<PathBuf>,
    count: usize,
    random: Rng,
}

impl Inodes {
    pub(super) fn new(parked: TempDir, random: Rng) -> Self {
        Self { parked, free: VecDeque::new(), count: 0, random }
    }

    /// A new file at `path`, for appending, born now.
    pub(super) fn create(&mut self, path: &Path) -> File {
        if self.random.bool()
            && let Some(free) = self.free.pop_front()
        {
            fs::rename(free, path).expect("on one file system");
        }
        let file = OpenOptions::new().create(true).append(true).open(path).expect("there is room");
        file.set_len(0).expect("a file of ours");
        stamp(&file, true);
        file
    }

    /// Deletes the file at `path`.
    pub(super) fn delete(&mut self, path: &Path) {
        if is_open(path) {
            return fs::remove_file(path).expect("a file of ours");
        }
        let free = self.parked.path().join(self.count.to_string());
        self.count += 1;
        fs::rename(path, &free).expect("on one file system");
        self.free.push_back(free);
    }
}

/// Whether this process has it open: then its inode is in use until that is closed.
fn is_open(path: &Path) -> bool {
    let wanted = fs::metadata(path).expect("a file of ours");
    let open = fs::read_dir("/proc/self/fd").expect("Linux").flatten();
    open.filter_map(|entry| fs::metadata(entry.path()).ok())
        .any(|open| (open.dev(), open.ino()) == (wanted.dev(), wanted.ino()))
}

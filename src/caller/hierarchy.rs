//! Which cgroup a number stands for: the kernel calls them by the inode of their directory, and never twice by the same.
//! What was found is remembered, also that nothing was. Not what a cgroup's name means.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::statfs;

/// Where the unified hierarchy is: alone, or beside the older ones.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// `CGROUP2_SUPER_MAGIC` (linux/magic.h).
const CGROUP2: u64 = 0x6367_7270;

/// So many numbers are remembered: more than a busy host has groups that call. A path is some 100 bytes.
const MOST: usize = 1024;

/// No deeper than this: systemd and engines go some eight levels down.
const DEEPEST: usize = 32;

/// Whose number it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// The one at this path.
    At(String),
    /// The uppermost, in which everybody is where systemd uses another hierarchy, or there is none at all: it tells
    /// nothing.
    Uppermost,
    /// One that is not there any more.
    Gone,
}

/// The hierarchy.
#[derive(Debug)]
pub(super) struct Hierarchy {
    root: Option<PathBuf>,
    known: HashMap<u64, Group>,
}

impl Hierarchy {
    /// The system's.
    pub(super) fn of_system() -> Self {
        let is_unified = |path: &&str| statfs(*path).is_ok_and(|found| u64::try_from(found.f_type) == Ok(CGROUP2));
        Self::at(MOUNTS.iter().find(|path| is_unified(path)).map(PathBuf::from))
    }

    fn at(root: Option<PathBuf>) -> Self {
        Self { root, known: HashMap::new() }
    }

    /// The group with that number.
    pub(super) fn find(&mut self, id: u64) -> Group {
        let Some(root) = &self.root else { return Group::Uppermost };
        if let Some(known) = self.known.get(&id) {
            return known.clone();
        }
        let found = if inode(root) == Some(id) {
            Group::Uppermost
        } else {
            search(root, id, DEEPEST).and_then(|path| path_below(root, &path)).map_or(Group::Gone, Group::At)
        };
        if self.known.len() >= MOST {
            self.known.clear();
        }
        self.known.insert(id, found.clone());
        found
    }
}

fn path_below(root: &Path, path: &Path) -> Option<String> {
    // A name that is no text is none that systemd gave.
    path.strip_prefix(root).ok()?.to_str().map(|below| format!("/{below}"))
}

fn inode(path: &Path) -> Option<u64> {
    std::fs::symlink_metadata(path).ok().map(|found| found.ino())
}

fn search(directory: &Path, id: u64, depth: usize) -> Option<PathBuf> {
    let groups = || {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
    };
    // Level by level, since most who call are near the top.
    let here = groups().find(|entry| inode(&entry.path()) == Some(id)).map(|entry| entry.path());
    here.or_else(|| groups().filter(|_| depth > 0).find_map(|entry| search(&entry.path(), id, depth - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_number_and_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("system.slice/web.service/sub");
        std::fs::create_dir_all(&path).unwrap();
        let mut hierarchy = Hierarchy::at(Some(directory.path().to_owned()));
        let id = inode(path.parent().unwrap()).unwrap();
        assert_eq!(hierarchy.find(id), Group::At("/system.slice/web.service".to_owned()));
        assert_eq!(hierarchy.find(inode(&path).unwrap()), Group::At("/system.slice/web.service/sub".to_owned()));
        std::fs::remove_dir_all(directory.path().join("system.slice")).unwrap();
        assert_eq!(hierarchy.find(id), Group::At("/system.slice/web.service".to_owned()));
        assert_eq!(hierarchy.find(inode(directory.path()).unwrap()), Group::Uppermost);
        assert_eq!(hierarchy.find(u64::MAX), Group::Gone);
        assert_eq!(Hierarchy::at(None).find(1), Group::Uppermost);
    }
}

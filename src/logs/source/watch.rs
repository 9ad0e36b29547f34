//! What the kernel tells of changes (inotify): one watch a directory, never one a file. Only a hint to look: a rescan
//! finds what it misses (a queue that overflowed, a file system that does not tell).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask, Watches};

use super::filesystem::is_silent;

/// Room for the events of one read: about 60 of them, with names.
pub(crate) const EVENT_BUFFER: usize = 4096;

/// What changes which files there are.
fn tree_changes() -> WatchMask {
    WatchMask::CREATE
        | WatchMask::ATTRIB
        | WatchMask::MOVED_TO
        | WatchMask::MOVED_FROM
        | WatchMask::DELETE
        | WatchMask::DELETE_SELF
}

/// A change, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// This file may have grown.
    Grew(PathBuf),
    /// This came or went, in a directory that holds files we follow or not: perhaps it is time to look around.
    Tree {
        /// What.
        path: PathBuf,
        /// Whether files are followed beside it.
        beside_files: bool,
    },
    /// This file, or directory, may be somebody else's now, or have other rights.
    Rights(PathBuf),
}

/// What the kernel says of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Content.
    Content,
    /// Rights, owner, times or the number of names.
    Attributes,
    /// Which files there are.
    Tree,
}

impl Kind {
    /// What a mask says.
    pub(crate) fn of(mask: EventMask) -> Self {
        match mask {
            mask if mask.contains(EventMask::MODIFY) => Self::Content,
            mask if mask.contains(EventMask::ATTRIB) => Self::Attributes,
            _ => Self::Tree,
        }
    }
}

/// An event before its directory is known.
#[derive(Clone, Debug)]
pub(crate) struct RawChange {
    /// Which watch.
    pub(crate) watch: WatchDescriptor,
    /// Which file in it.
    pub(crate) name: Option<OsString>,
    /// What changed.
    pub(crate) kind: Kind,
}

/// The watched directories.
#[derive(Debug)]
pub(crate) struct Watcher {
    watches: Watches,
    by_descriptor: HashMap<WatchDescriptor, PathBuf>,
    by_path: BTreeMap<PathBuf, (WatchDescriptor, bool)>,
    /// Directories whose file system tells of nothing, or that can't be watched.
    polled: BTreeSet<PathBuf>,
    /// The first directory that could not be watched, and why: those are only looked at from time to time.
    problem: Option<(PathBuf, io::ErrorKind, String)>,
}

impl Watcher {
    /// A watcher on `inotify`, whose events somebody else reads.
    pub(crate) fn new(inotify: &Inotify) -> Self {
        Self {
            watches: inotify.watches(),
            by_descriptor: HashMap::new(),
            by_path: BTreeMap::new(),
            polled: BTreeSet::new(),
            problem: None,
        }
    }

    /// Watches exactly `directories`; those marked `true` for growing files, too.
    pub(crate) fn watch(&mut self, directories: &BTreeMap<PathBuf, bool>) {
        let gone: Vec<PathBuf> = self.by_path.keys().filter(|path| !directories.contains_key(*path)).cloned().collect();
        for path in gone {
            if let Some((descriptor, _)) = self.by_path.remove(&path) {
                self.by_descriptor.remove(&descriptor);
                // The directory may be gone, and its watch with it.
                let _ = self.watches.remove(descriptor);
            }
        }
        self.polled.retain(|path| directories.contains_key(path));
        for (path, files) in directories {
            if self.by_path.get(path).is_none_or(|(_, watched)| watched != files) {
                self.add(path, *files);
            }
        }
    }

    /// Whether files in `directory` have to be looked at from time to time.
    pub(crate) fn polls(&self, directory: &Path) -> bool {
        self.polled.contains(directory)
    }

    /// Whether there are such directories.
    pub(crate) fn polls_some(&self) -> bool {
        !self.polled.is_empty()
    }

    fn add(&mut self, path: &Path, files: bool) {
        if is_silent(path) {
            self.polled.insert(path.to_owned());
        }
        let mask = if files { tree_changes() | WatchMask::MODIFY } else { tree_changes() };
        match self.watches.add(path, mask | WatchMask::ONLYDIR) {
            Ok(descriptor) => {
                self.by_descriptor.insert(descriptor.clone(), path.to_owned());
                self.by_path.insert(path.to_owned(), (descriptor, files));
            }
            Err(error) => {
                self.polled.insert(path.to_owned());
                self.problem.get_or_insert_with(|| (path.to_owned(), error.kind(), error.to_string()));
            }
        }
    }

    /// What a raw event means; `None` when nobody watches there any more.
    pub(crate) fn resolve(&mut self, raw: &RawChange) -> Option<Change> {
        let directory = self.by_descriptor.get(&raw.watch)?;
        match &raw.name {
            Some(name) => Some(match raw.kind {
                Kind::Content => Change::Grew(directory.join(name)),
                Kind::Attributes => Change::Rights(directory.join(name)),
                Kind::Tree => {
                    let beside_files = self.by_path.get(directory).is_none_or(|(_, files)| *files);
                    Change::Tree { path: directory.join(name), beside_files }
                }
            }),
            None if raw.kind == Kind::Attributes => Some(Change::Rights(directory.clone())),
            // The directory itself is gone: forget the watch, so that one of the same name is watched anew.
            None => {
                let path = directory.clone();
                self.by_path.remove(&path);
                self.by_descriptor.remove(&raw.watch);
                Some(Change::Tree { path, beside_files: true })
            }
        }
    }

    /// Why a directory is only looked at from time to time, if one is.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.as_ref().map(|(path, _, reason)| format!("'{}' can't be watched: {reason}", path.display()))
    }
}

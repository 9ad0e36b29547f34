//! What the kernel tells of changes (inotify): a watch or two a directory, never one a file. Only a hint to look: a rescan
//! finds what it misses (a queue that overflowed, a file system that does not tell).
//!
//! Two queues: a busy file tells of itself at every line and is not listened to all the time; that files come and go is
//! rare, and heard at once, since a rotation may take away soon what it has just brought.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask, Watches};

use super::filesystem::is_silent;

/// Room for the events of one read: about 60 of them, with names.
pub(crate) const EVENT_BUFFER: usize = 4096;

/// What the kernel tells, in two queues.
#[derive(Debug)]
pub(crate) struct Ears {
    /// Which files there are.
    pub(crate) tree: Inotify,
    /// What is written to them.
    pub(crate) content: Inotify,
}

impl Ears {
    /// Two queues without watches.
    ///
    /// # Errors
    /// When the kernel has none left.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { tree: Inotify::init()?, content: Inotify::init()? })
    }

    /// All that was told by now, for a test that has no loop: what came and went first.
    #[cfg(test)]
    pub(crate) fn told(&mut self) -> Vec<RawChange> {
        let mut told = Vec::new();
        for inotify in [&mut self.tree, &mut self.content] {
            let mut buffer = [0; EVENT_BUFFER];
            let events = inotify.read_events(&mut buffer).into_iter().flatten();
            told.extend(events.filter_map(|event| RawChange::of(event.wd, event.name, event.mask)));
        }
        told
    }
}

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
        /// Whether it is a file that was just made.
        born: bool,
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
    /// A file was made.
    Birth,
    /// Which files there are.
    Tree,
}

impl Kind {
    /// What a mask says.
    fn of(mask: EventMask) -> Self {
        match mask {
            mask if mask.contains(EventMask::MODIFY) => Self::Content,
            mask if mask.contains(EventMask::ATTRIB) => Self::Attributes,
            mask if mask.contains(EventMask::CREATE) && !mask.contains(EventMask::ISDIR) => Self::Birth,
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

impl RawChange {
    /// What an event of the kernel says, if that matters.
    pub(crate) fn of(watch: WatchDescriptor, name: Option<&OsStr>, mask: EventMask) -> Option<Self> {
        let name = name.map(OsStr::to_owned);
        (!mask.contains(EventMask::IGNORED)).then(|| Self { watch, name, kind: Kind::of(mask) })
    }
}

/// How a directory is watched.
#[derive(Debug)]
struct Watched {
    tree: WatchDescriptor,
    /// Where files in it are followed.
    content: Option<WatchDescriptor>,
}

/// The watched directories.
#[derive(Debug)]
pub(crate) struct Watcher {
    tree: Watches,
    content: Watches,
    by_descriptor: HashMap<WatchDescriptor, PathBuf>,
    by_path: BTreeMap<PathBuf, Watched>,
    /// Directories whose file system tells of nothing, or that can't be watched.
    polled: BTreeSet<PathBuf>,
    /// The first directory that could not be watched, and why: those are only looked at from time to time.
    problem: Option<(PathBuf, io::ErrorKind, String)>,
}

impl Watcher {
    /// A watcher whose events somebody else reads.
    pub(crate) fn new(ears: &Ears) -> Self {
        Self {
            tree: ears.tree.watches(),
            content: ears.content.watches(),
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
            self.forget(&path);
        }
        self.polled.retain(|path| directories.contains_key(path));
        for (path, files) in directories {
            if self.by_path.get(path).is_none_or(|watched| watched.content.is_some() != *files) {
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
        match self.try_to_watch(path, files) {
            Ok(watched) => {
                if !files {
                    self.stop_listening_in(path);
                }
                for descriptor in [&watched.tree].into_iter().chain(&watched.content) {
                    self.by_descriptor.insert(descriptor.clone(), path.to_owned());
                }
                self.by_path.insert(path.to_owned(), watched);
            }
            Err(error) => {
                self.polled.insert(path.to_owned());
                self.problem.get_or_insert_with(|| (path.to_owned(), error.kind(), error.to_string()));
            }
        }
    }

    fn try_to_watch(&mut self, path: &Path, files: bool) -> io::Result<Watched> {
        let tree = self.tree.add(path, tree_changes() | WatchMask::ONLYDIR)?;
        let content = if files { Some(self.content.add(path, WatchMask::MODIFY | WatchMask::ONLYDIR)?) } else { None };
        Ok(Watched { tree, content })
    }

    fn forget(&mut self, path: &Path) {
        self.stop_listening_in(path);
        let Some(Watched { tree, .. }) = self.by_path.remove(path) else { return };
        self.by_descriptor.remove(&tree);
        // The directory may be gone, and its watches with it.
        let _ = self.tree.remove(tree);
    }

    /// No file in the directory is followed any more.
    fn stop_listening_in(&mut self, path: &Path) {
        let Some(content) = self.by_path.get_mut(path).and_then(|watched| watched.content.take()) else { return };
        self.by_descriptor.remove(&content);
        let _ = self.content.remove(content);
    }

    /// What a raw event means; `None` when nobody watches there any more.
    pub(crate) fn resolve(&mut self, raw: &RawChange) -> Option<Change> {
        let directory = self.by_descriptor.get(&raw.watch)?;
        match &raw.name {
            Some(name) => Some(match raw.kind {
                Kind::Content => Change::Grew(directory.join(name)),
                Kind::Attributes => Change::Rights(directory.join(name)),
                Kind::Birth | Kind::Tree => {
                    let beside_files = self.by_path.get(directory).is_none_or(|watched| watched.content.is_some());
                    Change::Tree { born: raw.kind == Kind::Birth, path: directory.join(name), beside_files }
                }
            }),
            None if raw.kind == Kind::Attributes => Some(Change::Rights(directory.clone())),
            // The directory itself is gone: forget the watch, so that one of the same name is watched anew.
            None => {
                let path = directory.clone();
                self.forget(&path);
                Some(Change::Tree { born: false, path, beside_files: true })
            }
        }
    }

    /// Why a directory is only looked at from time to time, if one is.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.as_ref().map(|(path, _, reason)| format!("'{}' can't be watched: {reason}", path.display()))
    }
}

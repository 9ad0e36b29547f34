//! Which files the configuration means now: its glob patterns, walked component by component, so that only
//! directories that can hold a match are read, a slice at a time. Not the opening of files.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, DirEntry, FileType, ReadDir};
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

use globset::{Glob, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};

use super::open::may_follow;
use super::rotated::{Rotated, shortened, without_date};
use crate::logs::settings::FileSettings;

/// More files than this are not followed for one table: bookkeeping would no longer be small. Said in a warning.
pub(crate) const MOST_FILES: usize = 20_000;

/// A directory with more entries than this makes looking around slow, a tenth of a second each time. Said in a warning.
pub(crate) const CROWDED: u64 = 100_000;

/// How deep `**` goes: deeper is a loop of bind mounts, not a log directory.
const DEEPEST: usize = 32;

/// A pattern that is not a glob.
#[derive(Debug, thiserror::Error)]
#[error("'{pattern}' is not a pattern: {reason}")]
pub(crate) struct PatternError {
    /// The pattern as configured.
    pub(crate) pattern: String,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// One component of a pattern.
#[derive(Clone, Debug)]
enum Step {
    Literal(String),
    Wild(GlobMatcher),
    AnyDepth,
}

/// Knows the files of one `[[logs.file]]` table.
#[derive(Debug)]
pub(crate) struct Finder {
    patterns: Vec<Vec<Step>>,
    included: GlobSet,
    excluded_paths: GlobSet,
    excluded_names: GlobSet,
    /// Directories of which everything is excluded: they are not even entered.
    excluded_trees: GlobSet,
}

/// What a look around found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The files, with the index of the table that named them first.
    pub(crate) files: BTreeMap<PathBuf, usize>,
    /// Files that no pattern names and that may be rotated ones.
    pub(crate) rotated: BTreeMap<PathBuf, Rotated>,
    /// Directories worth watching; `true` for those that hold files, not only directories on the way to them.
    pub(crate) directories: BTreeMap<PathBuf, bool>,
    /// Directories that could not be read, and why.
    pub(crate) unreadable: Vec<(PathBuf, String)>,
    /// The tables for which there were more files than are followed.
    pub(crate) full: BTreeSet<usize>,
    /// How many files each table has.
    counts: BTreeMap<usize, usize>,
    /// A directory with very many entries, if there is one.
    pub(crate) crowded: Option<PathBuf>,
    /// How many entries were looked at: what the look cost.
    pub(crate) entries: u64,
}

impl Finder {
    /// A finder for `settings`.
    ///
    /// # Errors
    /// When a pattern is not a glob.
    pub(crate) fn new(settings: &FileSettings) -> Result<Self, PatternError> {
        let (names, paths): (Vec<&str>, Vec<&str>) =
            settings.exclude.iter().map(String::as_str).partition(|pattern| !pattern.contains('/'));
        let trees: Vec<&str> = paths.iter().filter_map(|pattern| whole_tree(pattern)).collect();
        Ok(Self {
            patterns: settings.include.iter().map(|pattern| steps(pattern)).collect::<Result<_, _>>()?,
            included: glob_set(settings.include.iter().map(String::as_str), "include")?,
            excluded_paths: glob_set(paths.into_iter(), "exclude")?,
            excluded_names: glob_set(names.into_iter(), "exclude")?,
            excluded_trees: glob_set(trees.into_iter(), "exclude")?,
        })
    }

    /// Whether the patterns mean `path`, were it there.
    pub(crate) fn matches(&self, path: &Path) -> bool {
        self.included.is_match(path) && !self.excludes(path)
    }

    /// Whether the patterns mean `path`, or it may be a rotated file of one that they mean.
    pub(crate) fn means(&self, path: &Path) -> bool {
        self.matches(path) || !self.bases_of(path).is_empty() || self.undated(path).is_some()
    }

    /// Whether `path` is one that a pattern means, or stands on the way to such.
    pub(crate) fn leads_over(&self, path: &Path) -> bool {
        let names: Vec<&OsStr> = path.iter().skip(1).collect();
        self.patterns.iter().any(|steps| lead_over(steps, &names))
    }

    /// Whether a pattern without wildcards names `path`: somebody means this very file.
    pub(crate) fn names(&self, path: &Path) -> bool {
        self.patterns.iter().any(|pattern| {
            let mut components = path.components().skip(1);
            let same = |step: &Step| matches!((step, components.next()), (Step::Literal(name), Some(component)) if component.as_os_str() == name.as_str());
            pattern.iter().all(same) && components.next().is_none()
        })
    }

    /// The paths, meant by the patterns, of which `path` is one with a suffix: `app.log` for `app.log.1.gz`.
    pub(crate) fn bases_of(&self, path: &Path) -> Vec<PathBuf> {
        let Some(name) = path.file_name().and_then(OsStr::to_str).filter(|_| !self.excludes(path)) else {
            return Vec::new();
        };
        shortened(name).map(|base| path.with_file_name(base)).filter(|base| self.matches(base)).collect()
    }

    /// The path, meant by the patterns, of which `path` differs by a date before the extension, and perhaps by being
    /// compressed: `app.log` for `app-20261122.log.gz`.
    pub(crate) fn undated(&self, path: &Path) -> Option<PathBuf> {
        let name = path.file_name().and_then(OsStr::to_str).filter(|_| !self.excludes(path))?;
        let name = without_date(name.strip_suffix(".gz").unwrap_or(name))?;
        Some(path.with_file_name(name)).filter(|path| self.matches(path))
    }

    fn excludes(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default();
        self.excluded_names.is_match(Path::new(name)) || self.excluded_paths.is_match(path)
    }
}

/// A look around that can be interrupted: where it is, and what it found so far.
#[derive(Debug)]
pub(crate) struct Walk {
    /// Directories on the way, the one that is read now last. At most as deep as the patterns and [`DEEPEST`] go.
    frames: Vec<Frame>,
    found: Found,
}

/// A directory that is being read for one step of a pattern.
#[derive(Debug)]
struct Frame {
    table: usize,
    pattern: usize,
    step: usize,
    depth: usize,
    directory: PathBuf,
    reading: Reading,
    seen: u64,
}

/// How far a directory was read.
#[derive(Debug)]
enum Reading {
    Fresh,
    Open(ReadDir),
    Over,
}

impl Walk {
    /// A look around for `finders`; an index into them is a table.
    pub(crate) fn new(finders: &[Finder]) -> Self {
        let mut frames = Vec::new();
        for (table, finder) in finders.iter().enumerate() {
            for pattern in 0..finder.patterns.len() {
                frames.push(Frame::new(table, pattern, 0, 0, PathBuf::from("/")));
            }
        }
        // The first table's comes first: it is the one that a file belongs to.
        frames.reverse();
        Self { frames, found: Found::default() }
    }

    /// Looks at `budget` entries more; what was found when that was all. Files with a `wanted` inode count as rotated,
    /// whatever their name.
    pub(crate) fn advance(&mut self, finders: &[Finder], wanted: &BTreeSet<u64>, budget: u64) -> Option<Found> {
        let until = self.found.entries + budget;
        while let Some(mut frame) = self.frames.pop() {
            // The others have their files all the same.
            if self.found.full.contains(&frame.table) {
                continue;
            }
            let deeper = frame.advance(finders, wanted, &mut self.found, until);
            // Where it leads comes first, so that never more than one path of directories is open.
            self.frames.extend((!matches!(frame.reading, Reading::Over)).then_some(frame));
            self.frames.extend(deeper);
            if self.found.entries >= until && !self.frames.is_empty() {
                return None;
            }
        }
        Some(std::mem::take(&mut self.found))
    }
}

impl Frame {
    fn new(table: usize, pattern: usize, step: usize, depth: usize, directory: PathBuf) -> Self {
        Self { table, pattern, step, depth, directory, reading: Reading::Fresh, seen: 0 }
    }

    fn steps<'f>(&self, finders: &'f [Finder]) -> &'f [Step] {
        &finders[self.table].patterns[self.pattern][self.step..]
    }

    /// Reads on until it leads deeper, is over, or `until` entries were seen; returns where it leads.
    fn advance(&mut self, finders: &[Finder], wanted: &BTreeSet<u64>, found: &mut Found, until: u64) -> Option<Self> {
        let Some((step, rest)) = self.steps(finders).split_first() else {
            self.reading = Reading::Over;
            return None;
        };
        let last = rest.is_empty();
        if let Reading::Fresh = self.reading {
            if let Step::Literal(name) = step {
                self.notice(found, last);
                let path = self.directory.join(name);
                if !last {
                    self.reading = Reading::Over;
                    return self.enter(finders, path, 1, None);
                }
                self.take_file(finders, path, None, found);
            }
            self.open(found);
            if let Step::AnyDepth = step {
                return Some(Self::new(self.table, self.pattern, self.step + 1, self.depth, self.directory.clone()));
            }
        }
        while found.entries < until && !found.full.contains(&self.table) {
            let Reading::Open(entries) = &mut self.reading else { return None };
            let Some(entry) = entries.next() else {
                self.reading = Reading::Over;
                return None;
            };
            found.entries += 1;
            self.count(found);
            let deeper = entry.ok().and_then(|entry| self.take(finders, step, last, &entry, wanted, found));
            if deeper.is_some() {
                return deeper;
            }
        }
        None
    }

    /// One entry: a file, a rotated one, a directory to go on in, or nothing of interest.
    fn take(
        &self,
        finders: &[Finder],
        step: &Step,
        last: bool,
        entry: &DirEntry,
        wanted: &BTreeSet<u64>,
        found: &mut Found,
    ) -> Option<Self> {
        let kind = entry.file_type().ok()?;
        let matches = match step {
            Step::AnyDepth => return kind.is_dir().then(|| self.enter(finders, entry.path(), 0, Some(kind)))?,
            Step::Wild(matcher) => matcher.is_match(Path::new(&entry.file_name())),
            // It was taken by its name, and only its neighbours are looked at.
            Step::Literal(_) => false,
        };
        if !last {
            return matches.then(|| self.enter(finders, entry.path(), 1, Some(kind)))?;
        }
        if matches {
            self.take_file(finders, entry.path(), Some(kind), found);
            self.notice(found, true);
        } else if kind.is_file() {
            self.take_rotated(finders, entry, wanted, found);
        }
        None
    }

    fn count(&mut self, found: &mut Found) {
        self.seen += 1;
        if self.seen == CROWDED {
            found.crowded.get_or_insert_with(|| self.directory.clone());
        }
    }

    /// Begins to read the directory, if that can be done.
    fn open(&mut self, found: &mut Found) {
        self.reading = match fs::read_dir(&self.directory) {
            Ok(entries) => {
                self.notice(found, false);
                Reading::Open(entries)
            }
            Err(error) => {
                found.unreadable.push((self.directory.clone(), error.to_string()));
                Reading::Over
            }
        };
    }

    /// The directory is worth watching.
    fn notice(&self, found: &mut Found, files: bool) {
        match found.directories.get_mut(&self.directory) {
            Some(known) => *known |= files,
            None => drop(found.directories.insert(self.directory.clone(), files)),
        }
    }

    /// The directory at `path`, if it may be entered, for the step `ahead` of this one.
    fn enter(&self, finders: &[Finder], path: PathBuf, ahead: usize, kind: Option<FileType>) -> Option<Self> {
        let is_directory = match kind {
            Some(kind) if !kind.is_symlink() => kind.is_dir(),
            _ => path.is_dir() && may_follow(&path),
        };
        let enters = is_directory && self.depth < DEEPEST && !finders[self.table].excluded_trees.is_match(&path);
        enters.then(|| Self::new(self.table, self.pattern, self.step + ahead, self.depth + 1, path))
    }

    /// A name that the pattern means.
    fn take_file(&self, finders: &[Finder], path: PathBuf, kind: Option<FileType>, found: &mut Found) {
        let is_file = match kind {
            Some(kind) if !kind.is_symlink() => !kind.is_dir(),
            _ => !path.is_dir() && path.symlink_metadata().is_ok(),
        };
        if !is_file || finders[self.table].excludes(&path) {
            return;
        }
        if found.files.contains_key(&path) {
            return;
        }
        let count = found.counts.entry(self.table).or_default();
        if *count == MOST_FILES {
            found.full.insert(self.table);
            return;
        }
        *count += 1;
        found.rotated.remove(&path);
        found.files.insert(path, self.table);
    }

    /// A name beside those that the pattern means: a rotated one's, by its name or its inode.
    fn take_rotated(&self, finders: &[Finder], entry: &DirEntry, wanted: &BTreeSet<u64>, found: &mut Found) {
        let path = entry.path();
        if found.files.contains_key(&path) || found.rotated.len() >= MOST_FILES {
            return;
        }
        let base = finders[self.table].bases_of(&path).into_iter().next();
        let undated = finders[self.table].undated(&path);
        if base.is_some() || undated.is_some() || wanted.contains(&entry.ino()) {
            found.rotated.entry(path).or_insert(Rotated { base, undated, table: self.table });
        }
    }
}

/// The directories that `pattern` excludes with all they hold, if it is of that kind.
fn whole_tree(pattern: &str) -> Option<&str> {
    let tree = pattern.strip_suffix("/**").or_else(|| pattern.strip_suffix("/**/*"))?;
    (!tree.is_empty()).then_some(tree)
}

fn lead_over(steps: &[Step], names: &[&OsStr]) -> bool {
    let Some((name, deeper)) = names.split_first() else { return true };
    match steps.split_first() {
        None => false,
        Some((Step::AnyDepth, _)) => true,
        Some((Step::Literal(wanted), rest)) => *name == wanted.as_str() && lead_over(rest, deeper),
        Some((Step::Wild(matcher), rest)) => matcher.is_match(Path::new(name)) && lead_over(rest, deeper),
    }
}

fn steps(pattern: &str) -> Result<Vec<Step>, PatternError> {
    let components = pattern.split('/').filter(|component| !component.is_empty());
    let step = |component: &str| match component {
        "**" => Ok(Step::AnyDepth),
        _ if component.contains(['*', '?', '[', '{', '\\']) => Ok(Step::Wild(glob(component)?.compile_matcher())),
        _ => Ok(Step::Literal(component.to_owned())),
    };
    components.map(step).collect()
}

fn glob_set<'p>(patterns: impl Iterator<Item = &'p str>, key: &str) -> Result<GlobSet, PatternError> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(glob(pattern)?);
    }
    set.build().map_err(|error| pattern_error(key, &error))
}

fn glob(pattern: &str) -> Result<Glob, PatternError> {
    let built = GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build();
    built.map_err(|error| pattern_error(pattern, &error))
}

fn pattern_error(pattern: &str, error: &globset::Error) -> PatternError {
    PatternError { pattern: pattern.to_owned(), reason: error.kind().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Target;
    use crate::template::Template;

    fn found(root: &Path, include: &[&str], exclude: &[&str]) -> Vec<String> {
        let settings = settings(root, include, exclude);
        let found = look(&settings, &BTreeSet::new());
        let relative = |path: &PathBuf| path.strip_prefix(root).expect("below").display().to_string();
        found.files.keys().map(relative).collect()
    }

    fn settings(root: &Path, include: &[&str], exclude: &[&str]) -> FileSettings {
        let template = Template::parse("x", &[]).expect("a name");
        let include = include.iter().map(|pattern| format!("{}/{pattern}", root.display())).collect();
        let exclude = exclude.iter().map(|&pattern| pattern.to_owned()).collect();
        FileSettings { exclude, ..FileSettings::new(include, Target::new(template.clone(), template)) }
    }

    fn look(settings: &FileSettings, wanted: &BTreeSet<u64>) -> Found {
        look_with(&[Finder::new(settings).expect("patterns")], wanted)
    }

    fn look_with(finders: &[Finder], wanted: &BTreeSet<u64>) -> Found {
        let mut walk = Walk::new(finders);
        // One entry at a time: interruption must not change what is found.
        loop {
            if let Some(found) = walk.advance(finders, wanted, 1) {
                return found;
            }
        }
    }

    #[test]
    fn a_table_with_too_many_files_takes_none_from_another() {
        let root = tempfile::tempdir().expect("a directory");
        for directory in ["crowd", "other"] {
            fs::create_dir(root.path().join(directory)).expect("makes");
        }
        for number in 0..=MOST_FILES {
            fs::File::create(root.path().join(format!("crowd/{number}.log"))).expect("makes");
        }
        fs::File::create(root.path().join("other/app.log")).expect("makes");
        let finder = |pattern| Finder::new(&settings(root.path(), &[pattern], &[])).expect("patterns");
        let found = look_with(&[finder("crowd/*.log"), finder("other/*.log")], &BTreeSet::new());
        assert_eq!((found.files.len(), found.full), (MOST_FILES + 1, [0].into()));
        assert_eq!(found.files.get(&root.path().join("other/app.log")), Some(&1));
    }

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        for path in ["a.log", "b.txt", "app/one.log", "app/two.debug.log", "app/deep/er/three.log"] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("has one")).expect("makes");
            fs::write(path, "x").expect("writes");
        }
        root
    }

    #[test]
    fn what_comes_and_goes_elsewhere_leads_to_no_file_that_is_meant() {
        let finder =
            Finder::new(&settings(Path::new("/srv"), &["app*/logs/*.log", "deep/**/x.log"], &[])).expect("patterns");
        for path in ["/srv", "/srv/app1", "/srv/app1/logs", "/srv/app1/logs/a.log", "/srv/deep/er/and/deeper"] {
            assert!(finder.leads_over(Path::new(path)), "{path}");
        }
        for path in ["/tmp", "/srv/other", "/srv/app1/cache", "/srv/app1/logs/a.log/b"] {
            assert!(!finder.leads_over(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn a_star_stays_in_its_directory() {
        assert_eq!(found(tree().path(), &["*.log"], &[]), ["a.log"]);
    }

    #[test]
    fn two_stars_go_to_any_depth() {
        let all = ["a.log", "app/deep/er/three.log", "app/one.log", "app/two.debug.log"];
        assert_eq!(found(tree().path(), &["**/*.log"], &[]), all);
    }

    #[test]
    fn a_literal_path_and_braces_match() {
        assert_eq!(found(tree().path(), &["app/one.log", "{a,b}.{log,txt}"], &[]), ["a.log", "app/one.log", "b.txt"]);
    }

    #[test]
    fn exclusion_is_by_name_without_a_slash_and_by_path_with_one() {
        let root = tree();
        assert_eq!(found(root.path(), &["app/*.log"], &["*.debug.log"]), ["app/one.log"]);
        assert_eq!(found(root.path(), &["**/*.log"], &["**/app/**"]), ["a.log"]);
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        assert_eq!(found(tree().path(), &["nowhere/*.log"], &[]), Vec::<String>::new());
    }

    #[test]
    fn a_pattern_that_is_no_glob_is_named() {
        let error = glob("[").expect_err("is no glob");
        assert!(error.to_string().contains("'['"), "{error}");
    }

    #[test]
    fn a_tree_that_is_excluded_whole_is_not_even_entered() {
        let root = tree();
        let settings = settings(root.path(), &["**/*.log"], &["**/app/**"]);
        let found = look(&settings, &BTreeSet::new());
        assert!(!found.directories.contains_key(&root.path().join("app")), "{:?}", found.directories);
    }

    #[test]
    fn a_rotated_file_is_one_whose_name_begins_with_one_that_is_meant() {
        let root = tempfile::tempdir().expect("a directory");
        for name in ["app.log", "app.log.1", "app.log.2.gz", "app.log-20261122", "app.logs", "other.txt", "b.log~"] {
            fs::write(root.path().join(name), "x").expect("writes");
        }
        for include in ["*.log", "app.log"] {
            let found = look(&settings(root.path(), &[include], &[]), &BTreeSet::new());
            let names: Vec<_> = found.rotated.keys().filter_map(|path| path.file_name()?.to_str()).collect();
            let all = ["app.log-20261122", "app.log.1", "app.log.2.gz", "b.log~"];
            assert_eq!(names, if include == "app.log" { &all[..3] } else { &all[..] });
            let base = found.rotated[&root.path().join("app.log.2.gz")].base.as_deref();
            assert_eq!(base, Some(root.path().join("app.log").as_path()));
        }
    }

    #[test]
    fn a_rotated_file_of_another_name_is_found_by_its_inode() {
        let root = tempfile::tempdir().expect("a directory");
        fs::write(root.path().join("old-app"), "x").expect("writes");
        let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(root.path().join("old-app")).expect("is there"));
        let settings = settings(root.path(), &["app.log"], &[]);
        assert!(look(&settings, &BTreeSet::new()).rotated.is_empty());
        let found = look(&settings, &BTreeSet::from([inode]));
        assert_eq!(found.rotated.keys().collect::<Vec<_>>(), [&root.path().join("old-app")]);
    }

    #[test]
    fn only_a_pattern_without_wildcards_names_a_file() {
        let finder = Finder::new(&settings(Path::new("/var/log"), &["app/*.log", "sys.log"], &[])).expect("patterns");
        assert!(finder.names(Path::new("/var/log/sys.log")));
        assert!(!finder.names(Path::new("/var/log/app/a.log")) && !finder.names(Path::new("/var/log")));
    }
}

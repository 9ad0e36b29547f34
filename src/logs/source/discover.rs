//! Which files the configuration means now: its glob patterns, walked component by component, so that only
//! directories that can hold a match are read. Not the opening of files.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use globset::{Glob, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};

use super::open::may_follow;
use crate::logs::settings::FileSettings;

/// More files than this are not followed: bookkeeping would no longer be small. Said in a warning.
pub(crate) const MOST_FILES: usize = 20_000;

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

/// Finds the files of one `[[logs.file]]` table.
#[derive(Debug)]
pub(crate) struct Finder {
    patterns: Vec<Vec<Step>>,
    included: GlobSet,
    excluded_paths: GlobSet,
    excluded_names: GlobSet,
}

/// What a look around found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The files, with the index of the table that named them first.
    pub(crate) files: BTreeMap<PathBuf, usize>,
    /// Directories worth watching; `true` for those that hold files, not only directories on the way to them.
    pub(crate) directories: BTreeMap<PathBuf, bool>,
    /// Directories that could not be read, and why.
    pub(crate) unreadable: Vec<(PathBuf, String)>,
    /// Whether there were more files than are followed.
    pub(crate) too_many: bool,
}

impl Finder {
    /// A finder for `settings`.
    ///
    /// # Errors
    /// When a pattern is not a glob.
    pub(crate) fn new(settings: &FileSettings) -> Result<Self, PatternError> {
        let mut included = GlobSetBuilder::new();
        for pattern in &settings.include {
            included.add(glob(pattern)?);
        }
        let mut excluded_paths = GlobSetBuilder::new();
        let mut excluded_names = GlobSetBuilder::new();
        for pattern in &settings.exclude {
            if pattern.contains('/') {
                excluded_paths.add(glob(pattern)?);
            } else {
                excluded_names.add(glob(pattern)?);
            }
        }
        Ok(Self {
            patterns: settings.include.iter().map(|pattern| steps(pattern)).collect::<Result<_, _>>()?,
            included: included.build().map_err(|error| pattern_error("include", &error))?,
            excluded_paths: excluded_paths.build().map_err(|error| pattern_error("exclude", &error))?,
            excluded_names: excluded_names.build().map_err(|error| pattern_error("exclude", &error))?,
        })
    }

    /// Whether the patterns mean `path`, were it there.
    pub(crate) fn matches(&self, path: &Path) -> bool {
        self.included.is_match(path) && !self.excludes(path)
    }

    /// Adds to `found` what is there now; `table` is this finder's index.
    pub(crate) fn look(&self, table: usize, found: &mut Found) {
        for pattern in &self.patterns {
            self.descend(Path::new("/"), pattern, table, 0, found);
        }
    }

    fn descend(&self, directory: &Path, steps: &[Step], table: usize, depth: usize, found: &mut Found) {
        let Some((step, rest)) = steps.split_first() else { return };
        if depth > DEEPEST || found.too_many {
            return;
        }
        match step {
            Step::Literal(name) => self.enter(&directory.join(name), directory, rest, table, depth, found),
            Step::Wild(matcher) => {
                for (name, path) in entries(directory, found) {
                    if matcher.is_match(Path::new(&name)) {
                        self.enter(&path, directory, rest, table, depth, found);
                    }
                }
            }
            Step::AnyDepth => {
                self.descend(directory, rest, table, depth, found);
                for (_, path) in entries(directory, found) {
                    if path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
                        self.descend(&path, steps, table, depth + 1, found);
                    }
                }
            }
        }
    }

    /// Goes on at `path`, an entry of `directory` that matched.
    fn enter(&self, path: &Path, directory: &Path, rest: &[Step], table: usize, depth: usize, found: &mut Found) {
        let last = rest.is_empty();
        *found.directories.entry(directory.to_owned()).or_default() |= last;
        if !last {
            if path.is_dir() && may_follow(path) {
                self.descend(path, rest, table, depth + 1, found);
            }
        } else if !path.is_dir() && path.symlink_metadata().is_ok() && !self.excludes(path) {
            found.too_many |= found.files.len() >= MOST_FILES;
            if !found.too_many {
                found.files.entry(path.to_owned()).or_insert(table);
            }
        }
    }

    fn excludes(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default();
        self.excluded_names.is_match(Path::new(name)) || self.excluded_paths.is_match(path)
    }
}

/// The entries of a directory; one that can't be read is noted.
fn entries(directory: &Path, found: &mut Found) -> Vec<(std::ffi::OsString, PathBuf)> {
    match fs::read_dir(directory) {
        Ok(entries) => {
            found.directories.entry(directory.to_owned()).or_default();
            entries.flatten().map(|entry| (entry.file_name(), entry.path())).collect()
        }
        Err(error) => {
            found.unreadable.push((directory.to_owned(), error.to_string()));
            Vec::new()
        }
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

fn glob(pattern: &str) -> Result<Glob, PatternError> {
    let built = GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build();
    built.map_err(|error| pattern_error(pattern, &error))
}

fn pattern_error(pattern: &str, error: &globset::Error) -> PatternError {
    PatternError { pattern: pattern.to_owned(), reason: error.kind().to_string() }
}

/// The files beside `path` whose name begins with its name: where a rotated one is looked for.
pub(crate) fn siblings(path: &Path) -> Vec<PathBuf> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(OsStr::to_str)) else {
        return Vec::new();
    };
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let beside = |entry: &fs::DirEntry| entry.file_name().to_str().is_some_and(|other| other.starts_with(name));
    entries.flatten().filter(beside).map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Target;
    use crate::template::Template;

    fn found(root: &Path, include: &[&str], exclude: &[&str]) -> Vec<String> {
        let template = Template::parse("x", &[]).expect("a name");
        let include = include.iter().map(|pattern| format!("{}/{pattern}", root.display())).collect();
        let exclude = exclude.iter().map(|&pattern| pattern.to_owned()).collect();
        let settings = FileSettings { exclude, ..FileSettings::new(include, Target::new(template.clone(), template)) };
        let mut found = Found::default();
        Finder::new(&settings).expect("patterns").look(0, &mut found);
        let relative = |path: &PathBuf| path.strip_prefix(root).expect("below").display().to_string();
        found.files.keys().map(relative).collect()
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
}

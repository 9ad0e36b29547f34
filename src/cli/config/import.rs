//! `config import`: the files are read, the configuration goes to stdout, and what became of the rest to stderr. Not the
//! translation.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{CONFIGURATION, complain, print, refuse};
use crate::config::import::{self, Imported};

/// No configuration is larger: a file that is was named by mistake.
const LARGEST: u64 = 16 << 20;

pub(super) fn run(paths: &[PathBuf]) -> io::Result<ExitCode> {
    let mut files = Vec::new();
    for path in paths {
        for path in files_at(path)? {
            files.push((path.display().to_string(), read(&path).map_err(|error| named(&path, &error))?));
        }
    }
    let imported = match import::import(&files) {
        Ok(imported) => imported,
        Err(error) => {
            complain(&format!("imds-agent: {error}"));
            return Ok(ExitCode::from(CONFIGURATION));
        }
    };
    let written = print(&imported.toml)?;
    complain(&summary(&imported));
    match import::check(&imported) {
        Ok(()) => Ok(written),
        Err(errors) => {
            complain("imds-agent: what was made still needs a hand before it can be used:");
            Ok(refuse(&errors))
        }
    }
}

/// The file, or those in the directory, by name, as the CloudWatch agent takes them.
fn files_at(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let paths = entries.map_err(|error| named(path, &error))?.into_iter().map(|entry| entry.path());
    let is_one = |path: &PathBuf| path.is_file() && path.extension().is_none_or(|extension| extension != "tmp");
    let mut files: Vec<PathBuf> = paths.filter(is_one).collect();
    files.sort();
    if files.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no file in {}", path.display())));
    }
    Ok(files)
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(io::Error::other("it is larger than 16 MiB, so it is no configuration"));
    }
    Ok(text)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("can't read {}: {error}", path.display()))
}

fn summary(imported: &Imported) -> String {
    let count = |is_taken| imported.notes.iter().filter(|note| note.is_taken == is_taken).count();
    let (left, different) = (count(false), count(true));
    let taken = imported.taken.len();
    let mut text =
        format!("imds-agent: settings taken over: {taken}; not taken over: {left}; different here: {different}");
    for note in &imported.notes {
        text.push_str("\n* ");
        text.push_str(&note.to_string());
    }
    text
}

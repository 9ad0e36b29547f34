//! What stood in the spool and can't be read as records, kept for a person to look at. Bounded: the oldest goes first.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::budget::{Budget, MODE};

/// The quarantine's name in the spool.
const NAME: &str = "quarantine";

/// So many pieces are kept. One is a segment at most; a failing disk damages several places in each.
const MOST: usize = 32;

/// What was damaged in a segment, and put away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// How many bytes.
    pub(crate) bytes: u64,
    /// Where they are now.
    pub(crate) kept: PathBuf,
    /// Where the segment goes on, if it does.
    pub(crate) next: Option<u64>,
}

/// Moves the whole file at `path` away, which is `bytes` long.
///
/// # Errors
/// When the disk says no.
pub(super) fn put_away(spool: &Path, path: &Path, bytes: u64, budget: &Budget) -> io::Result<Damage> {
    let name = path.file_name().unwrap_or_default();
    let kept = directory(spool)?.join(name);
    fs::rename(path, &kept)?;
    tracing::error!(kept = %kept.display(), "a file in the spool is no segment or has lost its header, it was put away");
    bound(spool, budget)?;
    Ok(Damage { bytes, kept, next: None })
}

/// Reads into `buffer` what stands at `from`; fewer bytes only at the end.
///
/// # Errors
/// When the disk says no.
pub(super) fn read_up_to(file: &File, buffer: &mut [u8], from: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read_at(&mut buffer[got..], from + got as u64)? {
            0 => break,
            count => got += count,
        }
    }
    Ok(got)
}

/// Keeps a copy of `damaged`, which stands at `from` in the segment at `path`. Synced. Returns where it is.
///
/// # Errors
/// When the disk says no.
pub(super) fn keep(spool: &Path, path: &Path, from: u64, damaged: &[u8], budget: &Budget) -> io::Result<PathBuf> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let kept = directory(spool)?.join(format!("{stem}-{from:010}.damaged"));
    // A kill may have come between this and the checkpoint: then it is there already.
    let before = fs::metadata(&kept).map_or(0, |metadata| metadata.len());
    let mut copy = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&kept)?;
    copy.write_all(damaged)?;
    copy.sync_all()?;
    budget.give_back(before);
    budget.take_anyway(damaged.len() as u64);
    tracing::error!(segment = %path.display(), from, bytes = damaged.len(), kept = %kept.display(), "a place in a segment of the spool is damaged; it was put away, everything else is delivered");
    bound(spool, budget)?;
    Ok(kept)
}

/// How much is kept, in bytes.
pub(super) fn size(spool: &Path) -> u64 {
    let entries = fs::read_dir(spool.join(NAME)).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

fn directory(spool: &Path) -> io::Result<PathBuf> {
    let directory = spool.join(NAME);
    DirBuilder::new().recursive(true).mode(MODE).create(&directory)?;
    File::open(spool)?.sync_all()?;
    Ok(directory)
}

/// Lets go of the oldest: names begin with the segment's number, which grows.
fn bound(spool: &Path, budget: &Budget) -> io::Result<()> {
    let entries: io::Result<Vec<_>> = fs::read_dir(spool.join(NAME))?.collect();
    let mut kept: Vec<PathBuf> = entries?.into_iter().map(|entry| entry.path()).collect();
    kept.sort();
    for path in kept.iter().rev().skip(MOST) {
        let length = fs::metadata(path)?.len();
        fs::remove_file(path)?;
        budget.give_back(length);
    }
    Ok(())
}

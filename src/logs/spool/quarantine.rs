//! What stood in the spool and can't be read as records, kept for a person to look at. Bounded: the oldest goes first.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::budget::{Budget, MODE};

/// The quarantine's name in the spool.
const NAME: &str = "quarantine";

/// So many pieces are kept. One is a segment at most, and enough to see what damages them.
const MOST: usize = 8;

/// Moves the whole file at `path` away.
///
/// # Errors
/// When the disk says no.
pub(super) fn put_away(spool: &Path, path: &Path, budget: &Budget) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default();
    let kept = directory(spool)?.join(name);
    fs::rename(path, &kept)?;
    tracing::error!(kept = %kept.display(), "a file in the spool is no segment or has lost its header, it was put away");
    bound(spool, budget)
}

/// Moves what stands from `from` on in the file at `path` away, and cuts the file off there. Synced before it is cut.
/// Returns how many bytes, and where they are now.
///
/// # Errors
/// When the disk says no.
pub(super) fn cut_off(spool: &Path, path: &Path, from: u64, budget: &Budget) -> io::Result<(u64, PathBuf)> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let kept = directory(spool)?.join(format!("{stem}-{from}.damaged"));
    let mut damaged = OpenOptions::new().read(true).write(true).open(path)?;
    damaged.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    damaged.read_to_end(&mut bytes)?;
    let mut copy = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&kept)?;
    copy.write_all(&bytes)?;
    copy.sync_all()?;
    damaged.set_len(from)?;
    tracing::error!(segment = %path.display(), from, bytes = bytes.len(), kept = %kept.display(), "a segment of the spool is damaged; what stood behind was put away, everything else is delivered");
    bound(spool, budget)?;
    Ok((bytes.len() as u64, kept))
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

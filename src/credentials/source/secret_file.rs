//! Reads a small file that holds a token, on a thread that may block. Not what the token is for.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// The text of a file of at most `longest` bytes.
pub(super) async fn read(path: PathBuf, longest: u64) -> io::Result<Zeroizing<String>> {
    let reading = tokio::task::spawn_blocking(move || {
        // NONBLOCK: opening a FIFO must not wait for its writer.
        let flags = (OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        // Room for all of it at once: a string that grows leaves copies of secrets behind.
        let mut text = Zeroizing::new(String::with_capacity(usize::try_from(longest).unwrap_or(0) + 1));
        file.take(longest + 1).read_to_string(&mut text)?;
        if text.len() as u64 > longest {
            return Err(io::Error::other(format!("it is longer than {longest} bytes")));
        }
        Ok(text)
    });
    reading.await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

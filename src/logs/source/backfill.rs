//! Where to begin in a file of which only the last part is to be read: at a line. Not how much that is.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// How far a line's beginning is looked for: as far as an event may be long. Beyond it a line is split anyway.
const FARTHEST: usize = 1 << 20;

/// How much is read at once while looking.
const BLOCK: usize = 64 * 1024;

/// Where the first line begins behind `offset`, or `offset` itself if that is too far.
///
/// # Errors
/// When the file can't be read.
pub(crate) fn next_line(file: &File, offset: u64) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    for at in (0..FARTHEST).step_by(BLOCK) {
        let at = offset + at as u64;
        let got = file.read_at(&mut block, at)?;
        if let Some(end) = memchr::memchr(b'\n', &block[..got]) {
            return Ok(at + end as u64 + 1);
        }
        if got == 0 {
            break;
        }
    }
    Ok(offset)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file_of(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(content).expect("writable");
        file
    }

    #[test]
    fn it_begins_behind_the_next_line_end() {
        let file = file_of(b"one\ntwo\nthree\n");
        assert_eq!(next_line(&file, 1).expect("readable"), 4);
        assert_eq!(next_line(&file, 4).expect("readable"), 8);
    }

    #[test]
    fn without_a_line_end_it_begins_where_it_is() {
        assert_eq!(next_line(&file_of(&vec![b'x'; 3 << 20]), 7).expect("readable"), 7);
        assert_eq!(next_line(&file_of(b"x"), 0).expect("readable"), 0);
    }
}

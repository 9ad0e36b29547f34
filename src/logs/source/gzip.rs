//! A log that a rotation compressed: unpacked as a stream, recognised by what it unpacks to. Not where that is kept
//! (`spill`), nor which file it is compared with (the survey's).

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::os::unix::fs::{FileExt, MetadataExt};

use flate2::bufread::GzDecoder;

use super::identity::{Fingerprint, HEAD, TAIL};

/// How a gzip file begins (RFC 1952): the two bytes of its mark and the only method there is, deflate.
const MARK: [u8; 3] = [0x1f, 0x8b, 8];

/// How much is unpacked at once: as much as is read of a plain file at once.
const BLOCK: usize = 128 * 1024;

/// Whether `file` begins as gzip's do.
///
/// # Errors
/// When it can't be read.
pub(crate) fn is_packed(file: &File) -> io::Result<bool> {
    let mut start = [0; MARK.len()];
    Ok(file.read_at(&mut start, 0)? == MARK.len() && start == MARK)
}

/// How far unpacking came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// As far as was asked for.
    Target,
    /// The end: all members are whole, nothing follows.
    End,
    /// The end of what is there: somebody is still writing it, or broke off.
    Unfinished,
}

/// A packed file that is being unpacked.
pub(crate) struct Unpacking {
    /// The packed file; what is read of it is read by a descriptor that shares its position.
    file: File,
    /// Of the member that is being unpacked; none when there is no further one.
    decoder: Option<GzDecoder<BufReader<File>>>,
    /// How many bytes it unpacked to so far.
    position: u64,
    /// The first of them, for recognition.
    head: Vec<u8>,
    /// The last of them, for recognition.
    tail: Vec<u8>,
    block: Vec<u8>,
}

impl std::fmt::Debug for Unpacking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacking").field("position", &self.position).finish_non_exhaustive()
    }
}

impl Unpacking {
    /// Begins at the beginning of `file`.
    ///
    /// # Errors
    /// When the file can't be read.
    pub(crate) fn begin(mut file: File) -> io::Result<Self> {
        io::Seek::rewind(&mut file)?;
        let decoder = Some(GzDecoder::new(BufReader::new(file.try_clone()?)));
        Ok(Self { file, decoder, position: 0, head: Vec::new(), tail: Vec::new(), block: vec![0; BLOCK] })
    }

    /// Whether `metadata` is of the file that is unpacked.
    ///
    /// # Errors
    /// When the file can't be examined.
    pub(crate) fn is_from(&self, metadata: &Metadata) -> io::Result<bool> {
        let own = self.file.metadata()?;
        Ok((own.dev(), own.ino()) == (metadata.dev(), metadata.ino()))
    }

    /// Unpacks at most `most` bytes more on the way to `position`, without keeping them, or begins anew if it is behind it;
    /// returns whether it stands there now.
    ///
    /// # Errors
    /// See [`Unpacking::advance`]; and when it ends before.
    pub(crate) fn approach(&mut self, position: u64, most: u64) -> io::Result<bool> {
        if self.position > position {
            *self = Self::begin(self.file.try_clone()?)?;
        }
        match self.advance(position.min(self.position + most), |_, _| Ok(()))? {
            Reached::Target => Ok(self.position == position),
            Reached::End | Reached::Unfinished => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    /// How many bytes it unpacked to so far.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The bytes before the position, as far as they matter.
    pub(crate) fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// Its first bytes, as far as they matter and are unpacked.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Whether what is unpacked so far, up to the fingerprint's position, is what that was taken of.
    pub(crate) fn is(&self, fingerprint: &Fingerprint) -> bool {
        fingerprint.is_of(&self.head, self.position, &self.tail)
    }

    /// Unpacks up to `target`, handing each piece and its offset to `take`.
    ///
    /// # Errors
    /// When the file can't be read, is no gzip, or is damaged; and when `take` fails.
    pub(crate) fn advance(
        &mut self,
        target: u64,
        mut take: impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<Reached> {
        while self.position < target {
            let Some(decoder) = &mut self.decoder else { return Ok(Reached::End) };
            let room = usize::try_from(target - self.position).unwrap_or(BLOCK).min(BLOCK);
            let got = match decoder.read(&mut self.block[..room]) {
                Ok(got) => got,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(Reached::Unfinished),
                Err(error) => return Err(error),
            };
            if got == 0 {
                self.next_member()?;
            } else {
                take(self.position, &self.block[..got])?;
                self.remember(got);
            }
        }
        Ok(Reached::Target)
    }

    /// Goes on behind a member's end. What follows there and is no member, padding say, is passed over as gunzip does.
    fn next_member(&mut self) -> io::Result<()> {
        let Some(decoder) = self.decoder.take() else { return Ok(()) };
        let mut rest = decoder.into_inner();
        let ahead = rest.fill_buf()?;
        if ahead.first() == MARK.first() {
            self.decoder = Some(GzDecoder::new(rest));
        }
        Ok(())
    }

    fn remember(&mut self, got: usize) {
        let fresh = &self.block[..got];
        let lacking = HEAD - self.head.len();
        self.head.extend_from_slice(&fresh[..lacking.min(got)]);
        if got >= TAIL {
            self.tail.clear();
            self.tail.extend_from_slice(&fresh[got - TAIL..]);
        } else {
            self.tail.extend_from_slice(fresh);
            let surplus = self.tail.len().saturating_sub(TAIL);
            self.tail.drain(..surplus);
        }
        self.position += got as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).expect("packs");
        encoder.finish().expect("packs")
    }

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("writable");
        file
    }

    fn content() -> Vec<u8> {
        (0..40_000).flat_map(|line| format!("line {line}\n").into_bytes()).collect()
    }

    fn unpack(file: File) -> io::Result<(Vec<u8>, Reached)> {
        let mut all = Vec::new();
        let mut unpacking = Unpacking::begin(file)?;
        let reached = unpacking.advance(u64::MAX, |at, piece| {
            assert_eq!(at, all.len() as u64);
            all.extend_from_slice(piece);
            Ok(())
        })?;
        Ok((all, reached))
    }

    #[test]
    fn what_was_packed_comes_out_members_after_each_other_and_padding_passed_over() {
        let content = content();
        let (first, second) = content.split_at(1000);
        let bytes = [packed(first), packed(second), vec![0; 512]].concat();
        assert_eq!(unpack(file_of(&bytes)).expect("unpacks"), (content, Reached::End));
    }

    #[test]
    fn a_file_that_gzip_still_writes_is_unfinished_not_damaged() {
        let bytes = packed(&content());
        for length in [1, 9, 12, bytes.len() / 2, bytes.len() - 1] {
            let (_, reached) = unpack(file_of(&bytes[..length])).expect("no damage");
            assert_eq!(reached, Reached::Unfinished, "{length}");
        }
    }

    #[test]
    fn a_damaged_file_is_an_error() {
        let mut bytes = packed(&content());
        let middle = bytes.len() / 2;
        bytes[middle..middle + 64].fill(0xff);
        assert!(unpack(file_of(&bytes)).is_err());
    }

    #[test]
    fn it_is_recognised_by_what_stands_before_the_position_wherever_that_is() {
        let content = content();
        let plain = file_of(&content);
        let metadata = plain.metadata().expect("metadata");
        for position in [0, 5, 1000, 1024, 1100, 200_000, content.len() as u64] {
            let fingerprint = Fingerprint::of(&plain, &metadata, position).expect("readable");
            let mut unpacking = Unpacking::begin(file_of(&packed(&content))).expect("begins");
            unpacking.advance(position.max(HEAD as u64), |_, _| Ok(())).expect("unpacks");
            assert!(unpacking.is(&fingerprint), "{position}");
            let mut other = content.clone();
            other[usize::try_from(position).expect("small").saturating_sub(1)] ^= 1;
            let mut unpacking = Unpacking::begin(file_of(&packed(&other))).expect("begins");
            unpacking.advance(position.max(HEAD as u64), |_, _| Ok(())).expect("unpacks");
            assert!(!unpacking.is(&fingerprint), "{position}");
        }
    }

    #[test]
    fn only_what_begins_as_gzip_does_is_packed() {
        assert!(is_packed(&file_of(&packed(b"x"))).expect("readable"));
        assert!(!is_packed(&file_of(b"one\n")).expect("readable"));
        assert!(!is_packed(&file_of(b"")).expect("readable"));
    }

    #[test]
    fn nothing_hostile_makes_unpacking_panic_or_never_end() {
        let small = packed(b"one\ntwo\n");
        let members = [packed(b"one\n"), packed(&[b'x'; 5000])].concat();
        crate::fuzz::hostile(&[&small, &members], |input| {
            let mut unpacking = Unpacking::begin(file_of(input)).expect("a file");
            // Deflate packs a thousandth at best: what goes on longer never ends.
            let most = (input.len() as u64 + 1) * 1100;
            if let Ok(reached) = unpacking.advance(most, |_, _| Ok(())) {
                assert_ne!(reached, Reached::Target);
            }
            assert!(unpacking.head().len() <= HEAD);
        });
    }
}

//! What a file that was found may be, or be a copy of: the files that a source has, had, or misses. Not what follows
//! from it.

use std::fs::{self, Metadata};
use std::io;

use super::Engine;
use crate::logs::batch::FileId;
use crate::logs::checkpoint::FileState;
use crate::logs::source::identity::Fingerprint;

/// A file that a stranger may be, or be a copy of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kin {
    pub(super) id: FileId,
    pub(super) fingerprint: Fingerprint,
    pub(super) size: u64,
    /// Whether its rest is looked for; else it is read already, or by a descriptor.
    pub(super) sought: bool,
    /// Whether something of it was not read. Of what was passed over as a copy of another nothing is missing; and that
    /// other one may be what is looked for.
    pub(super) lacks: bool,
}

impl Kin {
    /// The greater, the likelier it is: what is looked for, and of that what is not all read, and of that the one of which
    /// most is done.
    pub(super) fn likelihood(&self) -> (bool, bool, u64) {
        (self.sought, self.lacks, self.fingerprint.position())
    }
}

impl Engine {
    /// What a file beside `sources` may be, or be a copy of. The likeliest comes first.
    pub(super) fn kin_of(&self, sources: &[String]) -> Vec<Kin> {
        let mut kin = Vec::new();
        if sources.is_empty() {
            return kin;
        }
        for state in self.files.known.values().filter(|state| sources.contains(&state.source)) {
            let FileState { id, fingerprint, size, .. } = *state;
            kin.push(Kin { id, fingerprint, size, sought: true, lacks: state.coverage.missing(size) > 0 });
        }
        for (feed, file) in self.feeds.files().filter(|(feed, _)| sources.iter().any(|source| **source == *feed.source))
        {
            let adrift = file.file().is_none() && !file.is_active();
            let sought = adrift || file.is_cut();
            // Of an archive all is read, however much of it is unpacked by now.
            let archive = file.archive.as_ref().map(|archive| (archive.fingerprint(), u64::MAX));
            let (fingerprint, size) = archive.unwrap_or((file.fingerprint, feed.size));
            let lacks = feed.coverage.missing(feed.size) > 0;
            kin.push(Kin { id: feed.id, fingerprint, size, sought, lacks });
        }
        kin.extend(sources.iter().flat_map(|source| self.files.ended(source)).map(|ended| {
            let (id, fingerprint, size) = (ended.id, ended.fingerprint, ended.size);
            Kin { id, fingerprint, size, sought: false, lacks: false }
        }));
        kin.retain(|kin| kin.fingerprint.has_content());
        kin.sort_by_key(|kin| std::cmp::Reverse(kin.likelihood()));
        kin
    }
}

/// Whether a file that is being written may become a copy of one of `kin`: as far as it goes it is like one.
pub(super) fn may_become_copy(file: &fs::File, metadata: &Metadata, kin: &[Kin]) -> io::Result<bool> {
    for kin in kin {
        if kin.fingerprint.may_become(file, metadata.len())? {
            return Ok(true);
        }
    }
    Ok(false)
}

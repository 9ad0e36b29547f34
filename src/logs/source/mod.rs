//! Files as a source: finding them, opening them safely, recognising them again, noticing that they grew. Not the
//! decision what to read when (the engine's), nor what a record is (framing's).

pub(crate) mod archive;
pub(crate) mod backfill;
pub(crate) mod discover;
pub(crate) mod feed;
pub(crate) mod filesystem;
pub(crate) mod gzip;
pub(crate) mod identity;
pub(crate) mod journal;
pub(crate) mod letters;
pub(crate) mod open;
pub(crate) mod read;
pub(crate) mod rotated;
pub(crate) mod segment;
pub(crate) mod socket;
pub(crate) mod spill;
pub(crate) mod tailed;
pub(crate) mod watch;

//! The systemd journal as a source: what `journalctl` writes becomes records. Not which streams they go to, nor when
//! something is read: that is the engine's.

pub(crate) mod cursor;
pub(crate) mod export;

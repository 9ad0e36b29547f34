//! The systemd journal as a source: what `journalctl` writes becomes records. Not which streams they go to, nor when
//! something is read: that is the engine's.

pub(crate) mod child;
pub(crate) mod cursor;
pub(crate) mod export;
pub(crate) mod own;
pub(crate) mod query;
pub(crate) mod reader;
pub(crate) mod render;
pub(crate) mod selection;
pub(crate) mod tape;

//! What batches may take of memory, packed ones among them, and what is done when it is short. Not what a batch takes: it
//! knows that itself.

use super::Engine;
use crate::logs::Compression;
use crate::logs::delivery::destination::Moment;
use crate::logs::sink::LEAST_GAIN;

/// The smallest body worth a request.
pub(super) const LEAST_BODY: usize = 64 * 1024;

/// With less memory than this left nothing is read: a small body, what it grows by, and its bookkeeping.
pub(super) const LEAST_MEMORY: usize = 4 * LEAST_BODY;

impl Engine {
    fn memory_limit(&self) -> usize {
        usize::try_from(self.settings.memory_limit).unwrap_or(usize::MAX)
    }

    /// The memory of all batches, of what waits to become one, and of what was packed on its way.
    pub(super) fn buffers(&self) -> usize {
        self.streams.memory() + self.pool.memory() + self.journals_memory() + self.streams.packed_memory()
    }

    /// What may still be read into batches, which may be packed on their way.
    pub(super) fn free_memory(&self) -> usize {
        let batches = self.streams.memory();
        let batches = self.with_room_to_pack(batches).max(batches + self.streams.packed_memory());
        self.memory_limit().saturating_sub(batches + self.pool.memory() + self.journals_memory())
    }

    /// What batches of this size take when they are on their way, packed.
    pub(super) fn with_room_to_pack(&self, memory: usize) -> usize {
        match self.settings.compression {
            Compression::None => memory,
            Compression::Gzip => memory + memory / LEAST_GAIN,
        }
    }

    /// What may be taken for packed bodies beside what they are packed from: without, a body is sent as it is.
    pub(super) fn room_for_packing(&self) -> usize {
        match self.settings.compression {
            Compression::None => 0,
            Compression::Gzip => self.memory_limit().saturating_sub(self.buffers()),
        }
    }

    /// Whether streams that wait long should give back what they hold: what is left is for the others.
    pub(super) fn memory_is_short(&self) -> bool {
        self.free_memory() < self.memory_limit() / 2
    }

    /// Memory is short: what was read is sent now, so that it comes back.
    pub(super) fn relieve_memory(&mut self, free: usize, now: Moment) {
        if free < LEAST_MEMORY {
            self.streams.seal_all(now);
        }
    }
}

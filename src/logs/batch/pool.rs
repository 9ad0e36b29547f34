//! Bodies that come back: a busy stream writes its next batch into memory that it already has, instead of asking the
//! system for a megabyte and giving it back two hundred times a second. Not a cache: what nobody uses is let go.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// A smaller body is not worth keeping: the allocator serves it from what it has.
const WORTH_KEEPING: usize = 256 * 1024;

/// How many wait to be used again: one being filled and one that was just answered.
const MOST_KEPT: usize = 2;

/// Where bodies come from and go back to; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pool {
    /// An empty body with room for `capacity` bytes.
    pub(super) fn take(&self, capacity: usize) -> Vec<u8> {
        let kept = if capacity < WORTH_KEEPING { None } else { self.kept().pop() };
        let mut body = kept.unwrap_or_default();
        body.reserve_exact(capacity);
        body
    }

    /// A finished body, which comes back when the last clone of it is dropped.
    pub(super) fn lend(&self, body: Vec<u8>) -> Bytes {
        if body.capacity() < WORTH_KEEPING {
            return Bytes::from(body);
        }
        Bytes::from_owner(Lent { body, pool: self.clone() })
    }

    /// Lets go of what nobody uses.
    pub(crate) fn let_go(&self) {
        *self.kept() = Vec::new();
    }

    /// The memory of what nobody uses, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.kept().iter().map(Vec::capacity).sum()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body on its way.
struct Lent {
    body: Vec<u8>,
    pool: Pool,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut kept = self.pool.kept();
        if kept.len() < MOST_KEPT {
            self.body.clear();
            kept.push(std::mem::take(&mut self.body));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_comes_back_when_its_last_clone_is_gone_and_is_used_again() {
        let pool = Pool::default();
        let mut body = pool.take(WORTH_KEEPING);
        body.extend_from_slice(b"hello");
        let (place, bytes) = (body.as_ptr(), pool.lend(body));
        let clone = bytes.clone();
        drop(bytes);
        assert_eq!((pool.memory(), &clone[..]), (0, b"hello".as_slice()));
        drop(clone);
        assert!(pool.memory() >= WORTH_KEEPING);
        let again = pool.take(WORTH_KEEPING);
        assert_eq!((again.as_ptr(), again.len(), pool.memory()), (place, 0, 0));
    }

    #[test]
    fn what_nobody_uses_is_bounded_and_can_be_let_go() {
        let pool = Pool::default();
        let lent: Vec<Bytes> = (0..5).map(|_| pool.lend(pool.take(WORTH_KEEPING))).collect();
        drop(lent);
        assert_eq!(pool.kept().len(), MOST_KEPT);
        pool.let_go();
        assert_eq!(pool.memory(), 0);
    }
}

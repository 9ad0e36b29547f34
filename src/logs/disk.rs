//! Writing and syncing what must survive: the two calls that a full or failing disk breaks. Tests make them fail on
//! purpose, on their own thread. Not where anything is decided about a failure.

use std::fs::File;
use std::io::{self, Write as _};

/// Appends all of `bytes`. After an error some of them may stand in the file.
///
/// # Errors
/// As the disk says.
pub(crate) fn write(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    #[cfg(test)]
    faults::on_write(file, bytes)?;
    file.write_all(bytes)
}

/// Makes what was written durable. After an error it may never become so: write it anew, to another file.
///
/// # Errors
/// As the disk says.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    #[cfg(test)]
    faults::on_sync()?;
    file.sync_all()
}

/// What goes wrong on this thread's disk.
#[cfg(test)]
pub(crate) mod faults {
    use std::cell::RefCell;
    use std::fs::File;
    use std::io::{self, Write as _};

    /// The disk's condition.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Condition {
        /// The disk is full: a write leaves a part of its bytes, by this generator, and fails.
        pub(crate) full: Option<fastrand::Rng>,
        /// Nothing can be synced.
        pub(crate) unsyncable: bool,
    }

    thread_local! {
        static CONDITION: RefCell<Condition> = RefCell::default();
    }

    /// From now on this thread's disk is in this condition.
    pub(crate) fn set(condition: Condition) {
        CONDITION.set(condition);
    }

    pub(super) fn on_write(file: &mut File, bytes: &[u8]) -> io::Result<()> {
        CONDITION.with_borrow_mut(|condition| {
            let Some(random) = &mut condition.full else { return Ok(()) };
            file.write_all(&bytes[..random.usize(..=bytes.len())])?;
            Err(io::ErrorKind::StorageFull.into())
        })
    }

    pub(super) fn on_sync() -> io::Result<()> {
        CONDITION.with_borrow(|condition| if condition.unsyncable { Err(io::Error::other("EIO")) } else { Ok(()) })
    }
}

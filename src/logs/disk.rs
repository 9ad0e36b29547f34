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
    use std::collections::HashMap;
    use std::fs::{File, Metadata};
    use std::io::{self, Write as _};
    use std::os::unix::fs::MetadataExt;
    use std::time::{Duration, SystemTime};

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

    /// When the first file of a thread is born whose times are said: a time like any.
    const BEGINNING: Duration = Duration::from_hours(500_000);

    /// When files of this thread were born, and the time that was given last.
    #[derive(Debug, Default)]
    struct Births {
        of: HashMap<(u64, u64), SystemTime>,
        last: Option<SystemTime>,
    }

    thread_local! {
        static BIRTHS: RefCell<Births> = RefCell::default();
    }

    /// From here on the times of this thread's files are said.
    pub(crate) fn say_times() {
        BIRTHS.with_borrow_mut(Births::now);
    }

    /// `file` is born, or was changed, now: later than all that happened on this thread. The kernel's own times are those
    /// of its last tick, some milliseconds ago, and so are no order for what happens faster; what depends on it would be
    /// another thing each time.
    pub(crate) fn stamp(file: &File, is_new: bool) {
        let metadata = file.metadata().expect("a file of ours");
        let now = BIRTHS.with_borrow_mut(|births| {
            let now = births.now();
            if is_new {
                births.of.insert((metadata.dev(), metadata.ino()), now);
            }
            now
        });
        file.set_modified(now).expect("a file of ours");
    }

    /// When `metadata`'s file was born, if that was said.
    pub(crate) fn birth(metadata: &Metadata) -> Option<SystemTime> {
        BIRTHS.with_borrow(|births| births.of.get(&(metadata.dev(), metadata.ino())).copied())
    }

    /// The time by which files are born, if any was.
    pub(crate) fn file_time() -> Option<SystemTime> {
        BIRTHS.with_borrow_mut(|births| births.last.is_some().then(|| births.now()))
    }

    /// Times are the kernel's own again.
    pub(crate) fn forget_times() {
        BIRTHS.take();
    }

    impl Births {
        fn now(&mut self) -> SystemTime {
            let first = SystemTime::UNIX_EPOCH + BEGINNING;
            *self.last.insert(self.last.map_or(first, |last| last + Duration::from_micros(1)))
        }
    }

    pub(super) fn on_write(file: &mut File, bytes: &[u8]) -> io::Result<()> {
        if file_time().is_some() {
            stamp(file, false);
        }
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

//! Who writes the segments: one writer for all that is received, so that whoever waits for the disk shares one sync. It
//! blocks. Not who may write how much: that is the store's.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;

use super::segment::{self, Key};
use super::store::{Refused, Spool};
use crate::logs::disk;

/// A segment of this size is complete: a few of the largest batches, so that room comes back while the rest is still
/// delivered, and one damaged place costs little.
const COMPLETE: u64 = 4 << 20;

/// So many segments are open for writing at most, each a descriptor: the longest unused is completed for the next one.
const MOST_OPEN: usize = 64;

/// Records to be written together.
#[derive(Debug)]
pub(crate) struct Append {
    /// Whose they are.
    pub(crate) key: Arc<Key>,
    /// The records, encoded, all of them whole.
    pub(crate) records: Vec<u8>,
    /// Whether they count as written only once they are durable.
    pub(crate) durable: bool,
}

/// The writer.
#[derive(Debug)]
pub(crate) struct Writer {
    spool: Spool,
    open: HashMap<Arc<Key>, Open>,
    /// Counts appends, to know the longest unused.
    turn: u64,
}

/// A segment that is being written.
#[derive(Debug)]
struct Open {
    number: u64,
    file: File,
    length: u64,
    dirty: bool,
    used: u64,
}

impl Writer {
    /// Writes into `spool`; into new segments only.
    pub(crate) fn new(spool: Spool) -> Self {
        Self { spool, open: HashMap::new(), turn: 0 }
    }

    /// Writes each of `appends` whole or not at all, and syncs once for all that want to be durable.
    pub(crate) fn write(&mut self, appends: &[Append]) -> Vec<Result<(), Refused>> {
        let mut results: Vec<Result<(), Refused>> = appends.iter().map(|append| self.append(append)).collect();
        let wants_sync = |(append, result): (&Append, &Result<(), Refused>)| append.durable && result.is_ok();
        if appends.iter().zip(&results).any(wants_sync)
            && let Err(error) = self.sync()
        {
            for (append, result) in appends.iter().zip(&mut results) {
                if append.durable && result.is_ok() {
                    *result = Err(again(&error).into());
                }
            }
        }
        results
    }

    /// Makes all that was written durable.
    ///
    /// # Errors
    /// When something may never be: its segment is completed, and is delivered nevertheless if it can be read.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        let mut failure = None;
        let spool = &self.spool;
        self.open.retain(|_, open| {
            if !open.dirty {
                return true;
            }
            open.dirty = false;
            match disk::sync(&open.file) {
                Ok(()) => true,
                Err(error) => {
                    spool.written(open.number, open.length, true);
                    failure = Some(error);
                    false
                }
            }
        });
        failure.map_or(Ok(()), Err)
    }

    /// Whether there is something to sync.
    pub(crate) fn is_dirty(&self) -> bool {
        self.open.values().any(|open| open.dirty)
    }

    fn append(&mut self, append: &Append) -> Result<(), Refused> {
        self.turn += 1;
        let bytes = append.records.len() as u64;
        if let Some(open) = self.open.get(&append.key) {
            if self.spool.extend(open.number, bytes)? {
                return self.put(&append.key, &append.records, bytes);
            }
            // Completed from the other side: all of it was delivered.
            self.open.remove(&append.key);
        }
        self.make_room()?;
        let promised = self.begin(&append.key, bytes)?;
        self.put(&append.key, &append.records, promised)
    }

    /// A new segment; returns how many bytes were promised for it and `bytes` of records.
    fn begin(&mut self, key: &Arc<Key>, bytes: u64) -> Result<u64, Refused> {
        let header = segment::header(key);
        let promised = header.len() as u64 + bytes;
        let number = self.spool.begin(key, header.len() as u64, promised)?;
        match self.create(number, &header) {
            Ok(file) => {
                let open = Open { number, file, length: header.len() as u64, dirty: true, used: self.turn };
                self.open.insert(key.clone(), open);
                Ok(promised)
            }
            Err(error) => {
                self.spool.unwritten(number, promised, true);
                self.spool.forget(number);
                Err(error.into())
            }
        }
    }

    fn create(&self, number: u64, header: &[u8]) -> io::Result<File> {
        let path = self.spool.path_of(number);
        let mut file = OpenOptions::new().create_new(true).append(true).mode(0o600).open(path)?;
        disk::write(&mut file, header)?;
        // A file that is durable without its name is not to be found.
        disk::sync(&File::open(self.spool.directory())?)?;
        Ok(file)
    }

    /// Writes what `promised` was promised for.
    fn put(&mut self, key: &Arc<Key>, records: &[u8], promised: u64) -> Result<(), Refused> {
        let Some(open) = self.open.get_mut(key) else { return Ok(()) };
        open.used = self.turn;
        if let Err(error) = disk::write(&mut open.file, records) {
            // What was written of them is taken back, or else nothing is written behind it.
            let broken = open.file.set_len(open.length).is_err();
            self.spool.unwritten(open.number, promised, broken);
            if broken {
                self.open.remove(key);
            }
            return Err(error.into());
        }
        open.length += records.len() as u64;
        open.dirty = true;
        let complete = open.length >= COMPLETE || key.long_line.is_some();
        self.spool.written(open.number, open.length, complete);
        Ok(())
    }

    /// Completes the longest unused segment if as many are open as may be.
    fn make_room(&mut self) -> io::Result<()> {
        if self.open.len() < MOST_OPEN {
            return Ok(());
        }
        let Some(key) = self.open.iter().min_by_key(|(_, open)| open.used).map(|(key, _)| key.clone()) else {
            return Ok(());
        };
        if let Some(open) = self.open.remove(&key) {
            self.spool.written(open.number, open.length, true);
            if open.dirty {
                return disk::sync(&open.file);
            }
        }
        Ok(())
    }
}

/// The same error for another of those who waited for one sync.
fn again(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

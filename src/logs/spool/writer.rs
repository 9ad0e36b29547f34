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
    /// Whether nothing will follow them in their segment.
    pub(crate) last: bool,
}

/// The writer.
#[derive(Debug)]
pub(crate) struct Writer {
    spool: Spool,
    open: HashMap<Arc<Key>, Open>,
    /// Completed, and not durable yet.
    completed: Vec<File>,
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
        Self { spool, open: HashMap::new(), completed: Vec::new(), turn: 0 }
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
    /// When something may never be. Nothing more is written behind it; it is delivered nevertheless if it can be read.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        for file in self.completed.drain(..) {
            result = result.and(disk::sync(&file));
        }
        let spool = &self.spool;
        self.open.retain(|_, open| {
            if !std::mem::take(&mut open.dirty) {
                return true;
            }
            let synced = disk::sync(&open.file);
            let is_well = synced.is_ok();
            if !is_well {
                spool.written(open.number, open.length, true);
            }
            result = std::mem::replace(&mut result, Ok(())).and(synced);
            is_well
        });
        result
    }

    /// Whether there is something to sync.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.completed.is_empty() || self.open.values().any(|open| open.dirty)
    }

    fn append(&mut self, append: &Append) -> Result<(), Refused> {
        self.turn += 1;
        let bytes = append.records.len() as u64;
        if let Some(open) = self.open.get(&append.key) {
            if self.spool.extend(open.number, bytes)? {
                return self.put(append);
            }
            // Completed from the other side: all of it was delivered.
            self.close(&append.key);
        }
        self.make_room();
        self.begin(&append.key, bytes)?;
        self.put(append)
    }

    /// A new segment, with `bytes` of records promised for it.
    fn begin(&mut self, key: &Arc<Key>, bytes: u64) -> Result<(), Refused> {
        let header = segment::header(key);
        let length = header.len() as u64;
        let number = self.spool.begin(key, length, bytes)?;
        match self.create(number, &header) {
            Ok(file) => {
                self.open.insert(key.clone(), Open { number, file, length, dirty: true, used: self.turn });
                Ok(())
            }
            Err(error) => {
                self.spool.unwritten(number, bytes, true);
                // What there is of it is no segment.
                self.spool.remove(number)?;
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

    /// Writes what room was promised for.
    fn put(&mut self, append: &Append) -> Result<(), Refused> {
        let Some(open) = self.open.get_mut(&append.key) else { return Ok(()) };
        let bytes = append.records.len() as u64;
        open.used = self.turn;
        if let Err(error) = disk::write(&mut open.file, &append.records) {
            // What was written of them is taken back, or else nothing is written behind it.
            let broken = open.file.set_len(open.length).is_err();
            self.spool.unwritten(open.number, bytes, broken);
            if broken {
                self.close(&append.key);
            }
            return Err(error.into());
        }
        open.length += bytes;
        open.dirty = true;
        let complete = append.last || open.length >= COMPLETE;
        self.spool.written(open.number, open.length, complete);
        if complete {
            self.close(&append.key);
        }
        Ok(())
    }

    /// Lets go of a completed segment, once it is synced.
    fn close(&mut self, key: &Key) {
        if let Some(open) = self.open.remove(key).filter(|open| open.dirty) {
            self.completed.push(open.file);
        }
    }

    /// Completes the longest unused segment if as many are open as may be.
    fn make_room(&mut self) {
        if self.open.len() < MOST_OPEN {
            return;
        }
        let unused = self.open.iter().min_by_key(|(_, open)| open.used);
        if let Some((key, number, length)) = unused.map(|(key, open)| (key.clone(), open.number, open.length)) {
            self.spool.written(number, length, true);
            self.close(&key);
        }
    }
}

/// The same error for another of those who waited for one sync.
fn again(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

//! The accounts and the checkpoint they are kept in. Not the files: those are the survey's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use jiff::civil::Date;

use super::budgets::Budgets;
use super::feeds::Feeds;
use super::files::Files;
use super::journal::Journals;
use super::spooled::Spooled;
use crate::logs::batch::FileId;
use crate::logs::checkpoint::{Checkpoint, FileState, JournalState, LettersState, Record, SegmentState, State};
use crate::logs::dead_letters::DeadLetters;
use crate::logs::ledger::Account;

/// What the checkpoint knew of files when it was opened.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The files, by id.
    pub(super) files: BTreeMap<FileId, FileState>,
    last_id: Option<FileId>,
    /// The journals' tables, by id.
    pub(super) journals: BTreeMap<FileId, JournalState>,
    /// The segments of the spool, by number.
    pub(super) segments: BTreeMap<u64, SegmentState>,
    /// What tables with a budget had spent, and when, by their keys.
    pub(super) budgets: BTreeMap<String, (Date, u64)>,
    /// Whether nothing at all was known: a new instance, or the first start on this one.
    pub(super) is_new: bool,
    /// When the checkpoint was written last: files born since then appeared later.
    pub(super) written_at: Option<SystemTime>,
    /// When files were last looked for, in nanoseconds since the epoch.
    pub(super) looked_at: Option<u64>,
}

impl Known {
    /// The highest id there is.
    pub(super) fn last_id(&self) -> Option<FileId> {
        self.last_id
    }
}

/// Accounts and checkpoint.
#[derive(Debug)]
pub(super) struct Books {
    checkpoint: Checkpoint,
    /// Boxed, since a map has room for half as many again as it holds.
    accounts: BTreeMap<Arc<str>, Box<Account>>,
    /// How many sources one of them sums up.
    summed: u64,
    pub(super) budgets: Budgets,
    pub(super) instance: Option<String>,
    pub(super) dead_letters: DeadLetters,
    /// How many dead letters the checkpoint says were rolled off.
    rolled_off_written: u64,
    /// Lines of the checkpoint that could not be read.
    pub(super) torn: usize,
    /// When files were last looked for, in nanoseconds since the epoch, and whether the checkpoint says so.
    looked_at: Option<u64>,
    looked_is_written: bool,
    dirty: bool,
    /// Sources whose accounts may have changed since [`Books::take_touched`].
    touched: BTreeSet<Arc<str>>,
    /// Sources with gaps that are not said yet.
    unsaid: BTreeSet<Arc<str>>,
    /// Files of dead letters that the checkpoint knows and that were not found yet.
    letters: BTreeMap<FileId, LettersState>,
}

impl Books {
    pub(super) fn open(state_dir: &Path) -> io::Result<(Self, Known)> {
        let written_at = Checkpoint::written_at(state_dir);
        let opened = Checkpoint::open(state_dir)?;
        let State { instance, files, letters, segments, journals, sources, summed, looked_at, budgets, rolled_off } =
            opened.state;
        let feeds = journals.values().flat_map(|journal| &journal.feeds).map(|feed| feed.id);
        let ids = files.keys().chain(letters.keys()).chain(journals.keys()).copied();
        let last_id = ids.chain(segments.values().map(|segment| segment.id)).chain(feeds).max();
        let is_new = files.is_empty() && journals.is_empty() && sources.is_empty();
        let accounts: BTreeMap<Arc<str>, _> =
            sources.into_iter().map(|(name, account)| (name.into(), Box::new(account.revived()))).collect();
        let books = Self {
            checkpoint: opened.checkpoint,
            budgets: Budgets::default(),
            instance,
            dead_letters: DeadLetters::in_directory(state_dir, rolled_off),
            torn: opened.torn,
            rolled_off_written: rolled_off,
            looked_at,
            looked_is_written: true,
            dirty: false,
            touched: accounts.keys().cloned().collect(),
            unsaid: BTreeSet::new(),
            letters,
            accounts,
            summed,
        };
        let segments = segments.into_values().map(|segment| (segment.number, segment)).collect();
        Ok((books, Known { files, last_id, journals, segments, budgets, is_new, written_at, looked_at }))
    }

    /// The account of a source; opened when there is none.
    pub(super) fn account(&mut self, source: &Arc<str>) -> &mut Account {
        self.touched.insert(source.clone());
        self.accounts.entry(source.clone()).or_default()
    }

    /// All accounts.
    pub(super) fn accounts(&self) -> &BTreeMap<Arc<str>, Box<Account>> {
        &self.accounts
    }

    /// How many sources are summed up in one account.
    pub(super) fn summed(&self) -> u64 {
        self.summed
    }

    /// Sums up these accounts in one, and forgets them.
    pub(super) fn sum_up(&mut self, sources: &[Arc<str>], sum: &Arc<str>) -> io::Result<()> {
        let gone: Vec<Account> =
            sources.iter().filter_map(|source| self.accounts.remove(source).map(|account| *account)).collect();
        self.summed += gone.len() as u64;
        let account = self.accounts.entry(sum.clone()).or_default();
        for other in &gone {
            account.add(other);
        }
        let account = account.clone();
        let gone = sources.iter().map(ToString::to_string).collect();
        // One line: no kill comes between them.
        self.append(&[
            Record::SummedUp { gone, summed: self.summed },
            Record::Source { name: sum.to_string(), account: *account },
        ])
    }

    /// Writes down where feeds and their sources' accounts stand.
    pub(super) fn write(&mut self, feeds: Vec<(Arc<str>, Record)>) -> io::Result<()> {
        let mut records = Vec::with_capacity(feeds.len() * 2);
        for (source, feed) in feeds {
            if let Some(account) = self.accounts.get(&source) {
                records.push(Record::Source { name: source.to_string(), account: Account::clone(account) });
            }
            records.push(feed);
        }
        if !std::mem::replace(&mut self.looked_is_written, true) {
            records.extend(self.looked_at.map(Record::Looked));
        }
        records.extend(self.budgets.take_changed());
        records.extend(self.rolled_off());
        self.append(&records)
    }

    /// How many dead letters were rolled off, if the checkpoint does not know.
    fn rolled_off(&mut self) -> Option<Record> {
        let rolled_off = self.dead_letters.rolled_off();
        let before = std::mem::replace(&mut self.rolled_off_written, rolled_off);
        (before != rolled_off).then_some(Record::RolledOff(rolled_off))
    }

    /// What the checkpoint knows of a file of dead letters that is not followed yet.
    pub(super) fn letters_at(&self, path: &Path) -> Option<&LettersState> {
        self.letters.values().find(|letters| letters.path == path)
    }

    /// A file of dead letters is followed from now on: what is known of it is known by its feed.
    pub(super) fn letters_are_followed(&mut self, id: FileId) {
        self.letters.remove(&id);
    }

    /// Sources whose accounts may have changed since this was asked last.
    pub(super) fn take_touched(&mut self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.touched)
    }

    /// Keeps in mind whether a source has gaps to be said.
    pub(super) fn note_unsaid(&mut self, source: &Arc<str>) {
        if self.accounts.get(source).is_some_and(|account| !account.gaps.is_empty()) {
            self.unsaid.insert(source.clone());
        } else {
            self.unsaid.remove(source);
        }
    }

    /// The accounts with gaps to be said.
    pub(super) fn unsaid(&self) -> impl Iterator<Item = (&Arc<str>, &Account)> {
        let unsaid = self.unsaid.iter().filter_map(|source| self.accounts.get_key_value(source));
        unsaid.map(|(source, account)| (source, &**account))
    }

    /// Changes an account in what it has to say only.
    pub(super) fn unsaid_of(&mut self, source: &Arc<str>) -> Option<&mut Account> {
        self.accounts.get_mut(source).map(Box::as_mut)
    }

    /// Writes down where these accounts stand.
    pub(super) fn write_accounts(&mut self, sources: &BTreeSet<Arc<str>>) -> io::Result<()> {
        let accounts = sources.iter().filter_map(|source| self.accounts.get_key_value(source));
        let records: Vec<Record> = accounts
            .map(|(name, account)| Record::Source { name: name.to_string(), account: Account::clone(account) })
            .collect();
        self.append(&records)
    }

    /// Files born before `since` were seen: written with what is written next.
    pub(super) fn looked(&mut self, since: SystemTime) {
        let since = since.duration_since(SystemTime::UNIX_EPOCH).ok();
        self.looked_at = since.and_then(|since| u64::try_from(since.as_nanos()).ok());
        self.looked_is_written = false;
    }

    /// Writes down what concerns no account.
    pub(super) fn write_record(&mut self, record: Record) -> io::Result<()> {
        self.append(&[record])
    }

    /// Writes down where an account stands.
    pub(super) fn write_account(&mut self, source: &Arc<str>) -> io::Result<()> {
        self.write_accounts(&BTreeSet::from([source.clone()]))
    }

    /// Writes down that a file is of no interest any more.
    pub(super) fn forget(&mut self, id: FileId) -> io::Result<()> {
        self.append(&[Record::Forget(id)])
    }

    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        self.dirty = true;
        self.checkpoint.append(records)
    }

    /// Whose state this is, from now on.
    pub(super) fn belongs_to(&mut self, instance: &str) -> io::Result<()> {
        self.instance = Some(instance.to_owned());
        self.append(&[Record::Instance(instance.to_owned())])
    }

    /// This state is another instance's: begins anew, and keeps the old file. Returns where.
    pub(super) fn set_aside(&mut self) -> io::Result<PathBuf> {
        let owner = self.instance.take().unwrap_or_default();
        let aside = self.checkpoint.set_aside(&owner)?;
        self.rolled_off_written = 0;
        self.accounts.clear();
        self.summed = 0;
        self.unsaid.clear();
        self.letters.clear();
        Ok(aside)
    }

    /// Whether there is something to sync or to repair.
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Whether the checkpoint holds everything it was to hold.
    pub(super) fn stands(&self) -> bool {
        !self.checkpoint.wants_compaction()
    }

    /// Whether the checkpoint says when files were looked for.
    #[cfg(test)]
    pub(super) fn has_looked(&self) -> bool {
        self.looked_at.is_some() && self.looked_is_written
    }

    /// Compacts the checkpoint when that is worth it, or when a write of it broke off.
    pub(super) fn maintain(
        &mut self,
        files: &Files,
        spooled: &Spooled,
        journals: &Journals,
        feeds: &mut Feeds,
    ) -> io::Result<()> {
        if !self.checkpoint.wants_compaction() {
            return Ok(());
        }
        let accounts = self.accounts.iter();
        let accounts =
            accounts.map(|(name, account)| Record::Source { name: name.to_string(), account: Account::clone(account) });
        let ours = self.instance.clone().map(Record::Instance).into_iter().chain(self.looked_at.map(Record::Looked));
        let letters = self.letters.values().cloned().map(Record::Letters);
        let known = files.states().map(Record::File).chain(letters);
        let sums = [(self.summed > 0).then(|| Record::SummedUp { gone: Vec::new(), summed: self.summed })];
        let rolled_off = Some(self.dead_letters.rolled_off()).filter(|letters| *letters > 0).map(Record::RolledOff);
        let ours = ours.chain(sums.into_iter().chain([rolled_off]).flatten());
        let segments = spooled.known.values().cloned().map(Record::Segment);
        let journals = journals.states(feeds);
        // What is read now comes last: it is newer than what was known of it, and the last record counts.
        let records = ours.chain(accounts).chain(known).chain(segments).chain(journals).chain(feeds.states());
        self.checkpoint.compact(records.chain(self.budgets.states()))
    }

    /// A handle of the checkpoint to sync with, if it was written since the last one.
    pub(super) fn take_sync(&mut self) -> Option<File> {
        if !self.checkpoint.wants_compaction() {
            self.dirty = false;
        }
        self.checkpoint.take_sync()
    }
}

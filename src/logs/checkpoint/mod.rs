//! What must survive: how far each file is delivered, and each source's account. An append-only file of CRC'd lines,
//! written at every acknowledgement (SIGKILL then repeats only what was in flight), synced each second by the shipper
//! (power loss repeats little more), compacted by rename. Not the events: the source is the buffer.
//!
//! Invariants: a line counts only with its CRC, so a torn write loses that line and nothing else; what belongs together
//! (a position and its account) stands in one line; the last record of a file or source wins; a compacted file is synced before it takes the old one's name.

mod record;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::civil::Date;

use super::batch::FileId;
use super::disk;
use super::ledger::Account;
pub(crate) use record::{FileState, JournalState, LettersState, Record, SegmentState};

/// The file's name in the state directory.
const FILE_NAME: &str = "checkpoint";

/// Below this a file is not worth compacting: it is read in a few milliseconds.
const SMALLEST_COMPACTION: u64 = 4 << 20;

/// How much of a file that is written anew is made at once: it does not stand in memory as a whole.
const BLOCK: usize = 64 * 1024;

/// A file this many times its compacted size is compacted.
const SLACK: u64 = 4;

/// Everything the checkpoint holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Whose state this is.
    pub(crate) instance: Option<String>,
    /// The files, by id.
    pub(crate) files: BTreeMap<FileId, FileState>,
    /// The files of dead letters that are sent again, by id.
    pub(crate) letters: BTreeMap<FileId, LettersState>,
    /// The journals, by id.
    pub(crate) journals: BTreeMap<FileId, JournalState>,
    /// The segments of the spool, by id.
    pub(crate) segments: BTreeMap<FileId, SegmentState>,
    /// The accounts, by source.
    pub(crate) sources: BTreeMap<String, Account>,
    /// How many sources are summed up in one of them.
    pub(crate) summed: u64,
    /// When files were last looked for, in nanoseconds since the epoch.
    pub(crate) looked_at: Option<u64>,
    /// How many dead letters were rolled off.
    pub(crate) rolled_off: u64,
    /// What tables with a budget have spent on which day, by their keys.
    pub(crate) budgets: BTreeMap<String, (Date, u64)>,
}

impl State {
    /// Takes a record in; a later one replaces an earlier one.
    pub(crate) fn apply(&mut self, record: Record) {
        match record {
            Record::Instance(id) => self.instance = Some(id),
            Record::File(file) => {
                self.files.insert(file.id, file);
            }
            Record::Journal(journal) => {
                self.journals.insert(journal.id, journal);
            }
            Record::Segment(segment) => {
                self.segments.insert(segment.id, segment);
            }
            Record::Source { name, account } => {
                self.sources.insert(name, account);
            }
            Record::SummedUp { gone, summed } => {
                self.sources.retain(|source, _| !gone.contains(source));
                self.summed = summed;
            }
            Record::Letters(letters) => {
                self.letters.insert(letters.id, letters);
            }
            Record::Forget(id) => {
                self.letters.remove(&id);
                self.files.remove(&id);
                self.segments.remove(&id);
            }
            Record::Looked(at) => self.looked_at = Some(at),
            Record::RolledOff(letters) => self.rolled_off = letters,
            Record::Budget { table, day, spent } => {
                self.budgets.insert(table, (day, spent));
            }
        }
    }

    fn records(&self) -> impl Iterator<Item = Record> {
        let instance = self.instance.clone().map(Record::Instance);
        let files = self.files.values().cloned().map(Record::File);
        let letters = self.letters.values().cloned().map(Record::Letters);
        let journals = self.journals.values().cloned().map(Record::Journal);
        let segments = self.segments.values().cloned().map(Record::Segment);
        let sources = self.sources.iter();
        let sources = sources.map(|(name, account)| Record::Source { name: name.clone(), account: account.clone() });
        let budgets = self.budgets.iter();
        let budgets =
            budgets.map(|(table, (day, spent))| Record::Budget { table: table.clone(), day: *day, spent: *spent });
        let looked_at = self.looked_at.map(Record::Looked);
        let summed = (self.summed > 0).then(|| Record::SummedUp { gone: Vec::new(), summed: self.summed });
        let rolled_off = (self.rolled_off > 0).then_some(Record::RolledOff(self.rolled_off));
        let feeds = files.chain(letters).chain(segments).chain(journals);
        instance.into_iter().chain(feeds).chain(sources).chain(summed).chain(budgets).chain(looked_at).chain(rolled_off)
    }
}

/// What opening found.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The file, ready to be appended to.
    pub(crate) checkpoint: Checkpoint,
    /// What it held.
    pub(crate) state: State,
    /// Lines that were torn or foreign, and were passed over.
    pub(crate) torn: usize,
}

/// The open file.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    path: PathBuf,
    file: File,
    length: u64,
    compacted_length: u64,
    /// Whether a write broke off: nothing more is written until all is written anew. An account is shared by files, so
    /// one without the position that was lost would be counted twice.
    broken: bool,
    dirty: bool,
}

impl Checkpoint {
    /// Opens, or makes, the checkpoint in `directory`.
    ///
    /// # Errors
    /// When it can be neither read nor made.
    pub(crate) fn open(directory: &Path) -> io::Result<Opened> {
        let path = directory.join(FILE_NAME);
        let (state, torn) = match fs::read(&path) {
            Ok(content) => parse(&content),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (State::default(), 0),
            Err(error) => return Err(error),
        };
        let written_at = Self::written_at(directory);
        let checkpoint = match Self::rewrite(path.clone(), state.records()) {
            Ok(checkpoint) => checkpoint,
            Err(error) => Self::to_be_written_anew(path).map_err(|_| error)?,
        };
        if let Some(time) = written_at {
            // Opening is not writing: what was born between the last write and now still "appeared later" if we are
            // killed before it is seen.
            checkpoint.file.set_modified(time)?;
        }
        Ok(Opened { checkpoint, state, torn })
    }

    /// The file as it is, where there is no room for another one, say: what it holds counts, and it is written as soon as
    /// it can be. Logs are wanted most where a disk is full.
    fn to_be_written_anew(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).open(&path)?;
        let length = file.metadata()?.len();
        Ok(Self { path, file, length, compacted_length: length, broken: true, dirty: false })
    }

    /// When the checkpoint in `directory` was written last.
    pub(crate) fn written_at(directory: &Path) -> Option<SystemTime> {
        fs::metadata(directory.join(FILE_NAME)).and_then(|metadata| metadata.modified()).ok()
    }

    /// Moves the checkpoint aside, for a person to look at: it is another instance's. Returns the new name.
    ///
    /// # Errors
    /// When it can't be renamed, or a new one can't be made.
    pub(crate) fn set_aside(&mut self, owner: &str) -> io::Result<PathBuf> {
        let owner: String = owner.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let aside = self.path.with_file_name(format!("{FILE_NAME}.of-{owner}"));
        fs::rename(&self.path, &aside)?;
        *self = Self::rewrite(self.path.clone(), std::iter::empty())?;
        Ok(aside)
    }

    /// Appends `records` in one write and as one line.
    ///
    /// # Errors
    /// When the disk is full, say; what was written of them is passed over when the file is read, and nothing more is
    /// written before [`Checkpoint::compact`] writes all.
    pub(crate) fn append(&mut self, records: &[Record]) -> io::Result<()> {
        if self.broken {
            return Ok(());
        }
        let mut lines = Vec::with_capacity(256 * records.len());
        record::write(&mut lines, records);
        if let Err(error) = disk::write(&mut self.file, &lines) {
            self.broken = true;
            return Err(error);
        }
        self.dirty = true;
        self.length += lines.len() as u64;
        Ok(())
    }

    /// Whether [`Checkpoint::compact`] would be worth its price.
    pub(crate) fn wants_compaction(&self) -> bool {
        self.broken || self.length > SMALLEST_COMPACTION.max(self.compacted_length * SLACK)
    }

    /// Writes the file anew with `records` only.
    ///
    /// # Errors
    /// When that fails; the old file is then still in place.
    pub(crate) fn compact(&mut self, records: impl Iterator<Item = Record>) -> io::Result<()> {
        *self = Self::rewrite(self.path.clone(), records)?;
        Ok(())
    }

    /// A handle to sync with, outside of the shipper's way, if there is anything to sync.
    pub(crate) fn take_sync(&mut self) -> Option<File> {
        if !std::mem::take(&mut self.dirty) {
            return None;
        }
        self.file.try_clone().ok()
    }

    fn rewrite(path: PathBuf, records: impl Iterator<Item = Record>) -> io::Result<Self> {
        let fresh = path.with_extension("new");
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(&fresh)?;
        let (mut lines, mut length) = (Vec::new(), 0);
        for record in records {
            record::write(&mut lines, &[record]);
            if lines.len() >= BLOCK {
                disk::write(&mut file, &lines)?;
                length += lines.len() as u64;
                lines.clear();
            }
        }
        disk::write(&mut file, &lines)?;
        length += lines.len() as u64;
        disk::sync(&file)?;
        fs::rename(&fresh, &path)?;
        sync_directory(&path)?;
        Ok(Self { path, file, length, compacted_length: length, broken: false, dirty: false })
    }
}

/// Makes a rename durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

fn parse(content: &[u8]) -> (State, usize) {
    let mut state = State::default();
    let mut torn = 0;
    for line in content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match record::read(line) {
            Some(records) => records.into_iter().for_each(|record| state.apply(record)),
            None => torn += 1,
        }
    }
    (state, torn)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::logs::coverage::Coverage;
    use crate::logs::source::identity::Fingerprint;

    fn file_record(id: FileId, offset: u64) -> Record {
        Record::File(FileState {
            id,
            path: format!("/var/log/{id}"),
            source: format!("/var/log/{id}"),
            fingerprint: Fingerprint::default(),
            coverage: Coverage::from(offset),
            size: offset,
            spilled: false,
            finished: false,
        })
    }

    fn offset(state: &State, id: FileId) -> Option<u64> {
        state.files.get(&id).map(|file| file.coverage.low().offset)
    }

    #[test]
    fn what_was_appended_is_there_after_a_restart_and_the_last_record_wins() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut opened = Checkpoint::open(directory.path()).expect("opens");
        opened.checkpoint.append(&[file_record(1, 10), file_record(2, 5)]).expect("appends");
        opened.checkpoint.append(&[file_record(1, 20), Record::Forget(2)]).expect("appends");
        let again = Checkpoint::open(directory.path()).expect("opens");
        assert_eq!((offset(&again.state, 1), offset(&again.state, 2)), (Some(20), None));
    }

    #[test]
    fn a_torn_line_is_passed_over_and_what_follows_counts() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut opened = Checkpoint::open(directory.path()).expect("opens");
        opened.checkpoint.append(&[file_record(1, 10)]).expect("appends");
        let path = directory.path().join(FILE_NAME);
        let mut content = fs::read(&path).expect("readable");
        content.extend_from_slice(b"00000000 {\"file\":{\"id\":1,\n");
        let mut good = Vec::new();
        record::write(&mut good, &[file_record(3, 7)]);
        content.extend_from_slice(&good);
        content.extend_from_slice(&good[..20]);
        fs::write(&path, content).expect("writable");
        let again = Checkpoint::open(directory.path()).expect("opens");
        assert_eq!((offset(&again.state, 1), offset(&again.state, 3), again.torn), (Some(10), Some(7), 2));
    }

    #[test]
    fn where_the_disk_is_full_what_is_known_counts_and_is_written_once_there_is_room() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut opened = Checkpoint::open(directory.path()).expect("opens");
        opened.checkpoint.append(&[file_record(1, 10)]).expect("appends");
        disk::faults::set(disk::faults::Condition { full: Some(fastrand::Rng::with_seed(1)), unsyncable: false });
        let mut opened = Checkpoint::open(directory.path()).expect("opens");
        assert_eq!(offset(&opened.state, 1), Some(10));
        assert!(opened.checkpoint.wants_compaction());
        disk::faults::set(disk::faults::Condition::default());
        opened.state.apply(file_record(1, 20));
        opened.checkpoint.compact(opened.state.records()).expect("there is room");
        assert_eq!(offset(&Checkpoint::open(directory.path()).expect("opens").state, 1), Some(20));
    }

    #[test]
    fn another_instances_state_is_set_aside_and_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut opened = Checkpoint::open(directory.path()).expect("opens");
        opened.checkpoint.append(&[Record::Instance("i-old".into()), file_record(1, 10)]).expect("appends");
        let aside = opened.checkpoint.set_aside("i-old").expect("renames");
        assert!(aside.ends_with("checkpoint.of-i-old") && aside.exists());
        assert_eq!(Checkpoint::open(directory.path()).expect("opens").state, State::default());
    }

    #[test]
    fn nothing_hostile_makes_a_checkpoint_panic_or_count_without_its_checksum() {
        let mut whole = Vec::new();
        let account = Account::default();
        for records in
            [vec![file_record(1, 10), Record::Instance("i-1".into())], vec![Record::Forget(1), Record::Looked(7)]]
        {
            record::write(&mut whole, &records);
        }
        record::write(&mut whole, &[Record::Source { name: "/var/log/x".into(), account }]);
        let lines: Vec<&[u8]> = whole.split(|byte| *byte == b'\n').collect();
        crate::fuzz::hostile(&[&whole], |content| {
            // In hexadecimal a letter is as good as its capital.
            let is_whole = |line: &&[u8]| {
                line.is_empty()
                    || lines.iter().any(|whole| whole.get(8..) == line.get(8..) && whole.eq_ignore_ascii_case(line))
            };
            let broken = content.split(|byte| *byte == b'\n').filter(|line| !is_whole(line)).count();
            assert_eq!(parse(content).1, broken);
        });
        // As hostile, and its checksum is right.
        crate::fuzz::hostile(&[&whole[9..]], |json| {
            let line = [format!("{:08x} ", crc32fast::hash(json)).as_bytes(), json].concat();
            drop(parse(&line));
        });
    }

    fn any_record() -> impl Strategy<Value = Record> {
        let (id, number) = (1..5_u64, 0..1000_u64);
        prop_oneof![
            4 => (id.clone(), number.clone()).prop_map(|(id, offset)| file_record(id, offset)),
            2 => (id.clone(), number.clone()).prop_map(|(id, offset)| {
                Record::Segment(SegmentState { id: id + 10, number: id, coverage: Coverage::from(offset) })
            }),
            2 => (id.clone(), number.clone()).prop_map(|(id, offset)| {
                let path = format!("/letters/{id}").into();
                Record::Letters(LettersState { id: id + 20, path, coverage: Coverage::from(offset) })
            }),
            4 => (0..3, number.clone()).prop_map(|(source, bytes)| {
                let mut account = Account::default();
                account.read(crate::logs::ledger::Count { events: 1, bytes });
                Record::Source { name: format!("source {source}"), account: account.revived() }
            }),
            2 => (1..30_u64).prop_map(Record::Forget),
            1 => number.clone().prop_map(Record::Looked),
            1 => number.clone().prop_map(|number| Record::Instance(format!("i-{number}"))),
            1 => (0..2, number).prop_map(|(table, spent)| {
                Record::Budget { table: format!("table {table}"), day: Date::constant(2026, 11, 22), spent }
            }),
        ]
    }

    fn reopened(directory: &Path) -> Opened {
        Checkpoint::open(directory).expect("opens")
    }

    proptest! {
        /// The model: a map. Cut the file anywhere: what is read is what some prefix of the appends made.
        #[test]
        fn a_file_cut_anywhere_is_some_earlier_state(appends in prop::collection::vec((0_u64..4, 0_u64..1000), 1..40), cut in any::<prop::sample::Index>()) {
            let mut content = Vec::new();
            let mut states = vec![State::default()];
            for (id, offset) in appends {
                let record = file_record(id, offset);
                record::write(&mut content, std::slice::from_ref(&record));
                let mut next = states.last().cloned().unwrap_or_default();
                next.apply(record);
                states.push(next);
            }
            let (state, torn) = parse(&content[..cut.index(content.len())]);
            prop_assert!(states.contains(&state));
            prop_assert!(torn <= 1);
        }
    }

    proptest! {
        // Each case writes files, and syncs them.
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The model: the state that the appends make which were not refused. The first one that is may stand there, as a
        /// whole or not at all; what comes behind it does not, until the file is compacted. The disk fills up, syncing
        /// fails, and the process ends at any time.
        #[test]
        fn what_was_written_is_there_whatever_the_disk_does(
            steps in prop::collection::vec((0_u8..12, prop::collection::vec(any_record(), 1..4), any::<u64>()), 1..40),
        ) {
            use crate::logs::disk::faults::{self, Condition};
            let directory = tempfile::tempdir().expect("a directory");
            let mut checkpoint = reopened(directory.path()).checkpoint;
            // What the engine knows, what the file has, and what it may have.
            let (mut known, mut kept, mut refused) = (State::default(), State::default(), None);
            for (action, records, seed) in steps {
                match action {
                    0..6 => {
                        let stood = !checkpoint.broken;
                        records.iter().cloned().for_each(|record| known.apply(record));
                        match checkpoint.append(&records) {
                            Ok(()) if stood => kept = known.clone(),
                            Ok(()) => {}
                            Err(_) => refused = Some(known.clone()),
                        }
                    }
                    6 | 7 => if checkpoint.compact(known.records()).is_ok() {
                        (kept, refused) = (known.clone(), None);
                    },
                    8 => faults::set(Condition { full: Some(fastrand::Rng::with_seed(seed)), unsyncable: false }),
                    9 => faults::set(Condition { full: None, unsyncable: true }),
                    10 => faults::set(Condition::default()),
                    _ => {
                        faults::set(Condition::default());
                        let opened = reopened(directory.path());
                        let state = opened.state;
                        prop_assert!(state == kept || Some(&state) == refused.as_ref(), "{state:?}, not {kept:?}");
                        (checkpoint, known, kept, refused) = (opened.checkpoint, state.clone(), state, None);
                    }
                }
            }
            faults::set(Condition::default());
            let state = reopened(directory.path()).state;
            prop_assert!(state == kept || Some(&state) == refused.as_ref(), "{state:?}, not {kept:?}");
            prop_assert_eq!(reopened(directory.path()).torn, 0, "opening writes anew what it could read");
        }
    }
}

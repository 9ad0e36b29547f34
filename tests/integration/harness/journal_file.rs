//! A journal file as systemd writes one (`systemd.io/JOURNAL_FILE_FORMAT`), as far as journalctl needs it to read all
//! entries in order: for machines on which no journald runs. Without indexes, so nothing can be looked up in it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The header's fields that every version knows.
const HEADER: u64 = 208;

/// The one array of entries, behind the header, and how many find room there.
const ARRAY: u64 = HEADER;
const MOST: u64 = 1000;

/// What stands before an array's items, and before an object's content.
const ARRAY_HEAD: u64 = 24;
const OBJECT_HEAD: u64 = 16;

const DATA: u8 = 1;
const ENTRY: u8 = 3;
const ENTRY_ARRAY: u8 = 6;

/// A journal file that grows.
pub(crate) struct JournalFile {
    file: File,
    end: u64,
    entries: u64,
    first: u64,
}

impl JournalFile {
    pub(crate) fn create(path: &Path) -> Self {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path).expect("it can be made");
        let mut journal = Self { file, end: ARRAY, entries: 0, first: 0 };
        journal.object(ENTRY_ARRAY, &vec![0; usize::try_from(8 + MOST * 8).expect("small")]);
        journal.write_header(0);
        journal
    }

    /// Adds an entry; returns its time in milliseconds since the epoch.
    pub(crate) fn append(&mut self, fields: &[(&str, &str)]) -> i64 {
        assert!(self.entries < MOST, "the array is full");
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let now = u64::try_from(since.as_micros()).expect("a time");
        let number = self.entries + 1;
        // Each value is a data object of one entry, which comes behind them.
        let sizes = fields.iter().map(|(name, value)| (64 + name.len() + 1 + value.len()).next_multiple_of(8) as u64);
        let entry = self.end + sizes.sum::<u64>();
        let mut items = Vec::new();
        for (at, (name, value)) in fields.iter().enumerate() {
            let hash = number << 16 | at as u64;
            let mut data: Vec<u8> = [hash, 0, 0, entry, 0, 1].iter().flat_map(|word| word.to_le_bytes()).collect();
            data.extend_from_slice(format!("{name}={value}").as_bytes());
            let offset = self.object(DATA, &data);
            items.extend_from_slice(&offset.to_le_bytes());
            items.extend_from_slice(&hash.to_le_bytes());
        }
        let mut content: Vec<u8> = [number, now, number].iter().flat_map(|word| word.to_le_bytes()).collect();
        content.extend_from_slice(&[0xb0; 16]);
        content.extend_from_slice(&number.to_le_bytes());
        content.extend_from_slice(&items);
        assert_eq!(self.object(ENTRY, &content), entry);
        self.write(ARRAY + ARRAY_HEAD + self.entries * 8, &entry.to_le_bytes());
        self.entries = number;
        self.first = if number == 1 { now } else { self.first };
        self.write_header(now);
        i64::try_from(now / 1000).expect("a time")
    }

    /// An object at the end; returns where it stands.
    fn object(&mut self, kind: u8, content: &[u8]) -> u64 {
        let offset = self.end;
        let size = OBJECT_HEAD + content.len() as u64;
        let mut object = vec![kind, 0, 0, 0, 0, 0, 0, 0];
        object.extend_from_slice(&size.to_le_bytes());
        object.extend_from_slice(content);
        object.resize(object.len().next_multiple_of(8), 0);
        self.write(offset, &object);
        self.end += object.len() as u64;
        offset
    }

    fn write_header(&mut self, last: u64) {
        let mut header = b"LPKSHHRH".to_vec();
        // No flags; online.
        header.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        // The file, the machine, the boot, the series of numbers.
        for id in [0xf1_u8, 0x3a, 0xb0, 0x5e] {
            header.extend_from_slice(&[id; 16]);
        }
        let arena = self.end - HEADER;
        let (entries, first) = (self.entries, self.first);
        let numbers = [
            HEADER,
            arena,
            0,
            0,
            0,
            0,
            ARRAY,
            1 + entries,
            entries,
            entries,
            entries.min(1),
            ARRAY,
            first,
            last,
            entries,
        ];
        header.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        assert_eq!(header.len() as u64, HEADER);
        self.write(0, &header);
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, at).expect("the journal can be written");
    }
}

//! A journal file with as many entries as are asked for, laid out as systemd's "Journal File Format" has it, so that the
//! journalctl of this machine reads it. Not journald: there is no index, for who reads all entries in order looks at none.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::daemon::{LINE, line};

/// The header as it was before indices got their own statistics: every reader takes that.
const HEADER: usize = 240;

/// The kinds of objects that are written.
const DATA: u8 = 1;
const ENTRY: u8 = 3;
const ENTRY_ARRAY: u8 = 6;

/// Machine, boot, file and sequence: four different ones, and none of them zero.
const IDS: [[u8; 16]; 4] = [[0x11; 16], [0x22; 16], [0x33; 16], [0x44; 16]];

/// Between two entries.
const MICROSECONDS_EACH: u64 = 1_000;

/// What all entries of a service's output have in common; journald keeps such fields once, too.
const COMMON: [&str; 16] = [
    "PRIORITY=6",
    "SYSLOG_FACILITY=3",
    "SYSLOG_IDENTIFIER=app",
    "_BOOT_ID=22222222222222222222222222222222",
    "_CAP_EFFECTIVE=0",
    "_CMDLINE=/usr/bin/app --serve",
    "_COMM=app",
    "_EXE=/usr/bin/app",
    "_GID=1001",
    "_HOSTNAME=ip-10-0-0-17",
    "_MACHINE_ID=11111111111111111111111111111111",
    "_PID=4711",
    "_SYSTEMD_CGROUP=/system.slice/app.service",
    "_SYSTEMD_UNIT=app.service",
    "_TRANSPORT=stdout",
    "_UID=1001",
];

/// Writes a journal of `count` numbered lines, the last of them logged at `now` (microseconds since 1970).
pub(crate) fn write(path: &Path, count: usize, now: u64) {
    let file = BufWriter::new(File::create(path).expect("there is room for a journal"));
    let mut journal = Journal { file, position: HEADER as u64, last: 0, objects: 0 };
    // Its place is taken; what it says is known at the end.
    journal.put(&[0; HEADER]);
    let common = COMMON.map(|field| journal.data(field.as_bytes()));
    let first = now - MICROSECONDS_EACH * count as u64;
    let entries: Vec<u64> = (0..count).map(|number| journal.entry(number, first, &common)).collect();
    let array = journal.object(ENTRY_ARRAY, &[&0_u64.to_le_bytes(), &words(&entries)]);
    let header = journal.header(array, count as u64, first);
    let file = journal.file.into_inner().expect("there is room for a journal");
    file.write_all_at(&header, 0).expect("there is room for a journal");
}

struct Journal {
    file: BufWriter<File>,
    /// Where the next object comes.
    position: u64,
    /// Where the last one stands.
    last: u64,
    objects: u64,
}

impl Journal {
    fn put(&mut self, bytes: &[u8]) {
        self.file.write_all(bytes).expect("there is room for a journal");
    }

    /// Writes an object; returns where it stands.
    fn object(&mut self, kind: u8, parts: &[&[u8]]) -> u64 {
        let size = 16 + parts.iter().map(|part| part.len() as u64).sum::<u64>();
        self.put(&[kind, 0, 0, 0, 0, 0, 0, 0]);
        self.put(&size.to_le_bytes());
        for part in parts {
            self.put(part);
        }
        // Each begins at a multiple of eight.
        let padded = size.next_multiple_of(8);
        self.put(&[0; 8][..usize::try_from(padded - size).expect("less than eight")]);
        (self.last, self.position) = (self.position, self.position + padded);
        self.objects += 1;
        self.last
    }

    /// A field and its value.
    fn data(&mut self, field: &[u8]) -> u64 {
        // Hash, next of the same hash, next of the same field; the first entry that has it, further ones, how many. A
        // value that no entry has is refused, so one is named, but nobody goes there.
        self.object(DATA, &[&words(&[0, 0, 0, HEADER as u64, 0, 1]), field])
    }

    fn entry(&mut self, number: usize, first: u64, common: &[u64]) -> u64 {
        let time = first + MICROSECONDS_EACH * number as u64;
        let message = [b"MESSAGE=", &line(number, LINE)[..LINE - 1]].concat();
        let own = [self.data(&message), self.data(format!("_SOURCE_REALTIME_TIMESTAMP={time}").as_bytes())];
        let items: Vec<u64> = own.iter().chain(common).flat_map(|data| [*data, 0]).collect();
        let sequence = number as u64 + 1;
        // Sequence, time, time since boot, boot; a hash over all fields, which tells entries of one moment apart.
        let head = words(&[sequence, time, MICROSECONDS_EACH * sequence]);
        self.object(ENTRY, &[&head, &IDS[1], &sequence.to_le_bytes(), &words(&items)])
    }

    /// What stands at the beginning.
    fn header(&self, array: u64, entries: u64, first: u64) -> Vec<u8> {
        let [machine, boot, file, sequence] = IDS;
        let last = first + MICROSECONDS_EACH * (entries - 1);
        let numbers = [
            HEADER as u64,
            self.position - HEADER as u64,
            0, // No index of values: where, how large,
            0,
            0, // nor one of fields.
            0,
            self.last,
            self.objects,
            entries,
            entries, // The last entry's number, and the first one's.
            1,
            array,
            first,
            last,
            MICROSECONDS_EACH * entries,
            0, // How many values, fields, seals and arrays: for who writes.
            0,
            0,
            1,
        ];
        // No flags, and nobody is writing.
        [&b"LPKSHHRH"[..], &[0; 16], &file, &machine, &boot, &sequence, &words(&numbers)].concat()
    }
}

fn words(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

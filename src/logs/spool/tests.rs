//! The spool against a model: whatever is written, delivered, damaged and restarted, what counts is there, in order, and
//! the room adds up.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::logs::framing::recorded::{encode, next_recorded};

fn key(uid: u32) -> Arc<Key> {
    let text = |text: &str| text.to_owned();
    Arc::new(Key {
        source: text("/run/app.sock"),
        uid,
        log_group: text("/g"),
        log_stream: text("s"),
        named_stream: None,
        long_line: None,
        as_they_came: true,
    })
}

fn append(uid: u32, texts: &[&str], durable: bool) -> Append {
    let mut records = Vec::new();
    for text in texts {
        encode(&mut records, None, text.as_bytes());
    }
    Append { key: key(uid), records, durable, last: false }
}

/// The texts of the records in segment `listed`, and where the first one that is none stands.
fn texts(spool: &Spool, listed: &Listed) -> (Vec<String>, u64) {
    use std::os::unix::fs::FileExt as _;
    let mut bytes = vec![0; usize::try_from(listed.length - listed.begin).unwrap()];
    let file = spool.read(listed.number).unwrap();
    let got = file.read_at(&mut bytes, listed.begin).unwrap();
    bytes.truncate(got);
    let (mut found, mut at) = (Vec::new(), 0);
    while let Ok(Some(record)) = next_recorded(&bytes[at..]) {
        found.push(String::from_utf8(record.text.to_vec()).unwrap());
        at += record.length;
    }
    (found, listed.begin + at as u64)
}

fn all_texts(spool: &Spool, uid: u32) -> Vec<String> {
    let segments = spool.segments();
    segments.iter().filter(|listed| listed.key.uid == uid).flat_map(|listed| texts(spool, listed).0).collect()
}

fn disk_use(directory: &Path) -> u64 {
    Budget::open(&directory.join("spool"), 0).unwrap().used()
}

#[test]
fn what_was_written_is_there_after_a_restart_and_nothing_is_added_to_it() {
    let directory = tempfile::tempdir().unwrap();
    for round in ["one", "two"] {
        let spool = Spool::open(directory.path(), 1 << 20).unwrap();
        let results = Writer::new(spool.clone()).write(&[append(1, &[round], true), append(2, &["other"], false)]);
        assert!(results.iter().all(Result::is_ok));
        assert_eq!(spool.budget().used(), disk_use(directory.path()));
    }
    let spool = Spool::open(directory.path(), 1 << 20).unwrap();
    assert_eq!(all_texts(&spool, 1), ["one", "two"]);
    assert_eq!(spool.segments().len(), 4);
    assert!(spool.segments().iter().all(|listed| listed.sealed));
}

#[test]
fn a_caller_gets_half_of_what_the_others_leave() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path(), 64 << 10).unwrap();
    let mut writer = Writer::new(spool.clone());
    let line = "x".repeat(1000);
    let mut held = BTreeMap::new();
    for uid in 1..4 {
        let full = loop {
            match writer.write(&[append(uid, &[&line], false)]).remove(0) {
                Ok(()) => *held.entry(uid).or_insert(0) += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(full, Refused::Share { .. }), "{full}");
    }
    assert_eq!(held.values().copied().collect::<Vec<_>>(), [32, 16, 8]);
    assert!(spool.budget().used() <= 64 << 10);
}

#[test]
fn what_was_delivered_makes_room() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path(), 8 << 10).unwrap();
    let mut writer = Writer::new(spool.clone());
    let line = "x".repeat(3000);
    assert!(writer.write(&[append(1, &[&line], false)])[0].is_ok());
    assert!(writer.write(&[append(1, &[&line], false)])[0].is_err());
    let listed = spool.segments().remove(0);
    assert!(spool.seal_at(listed.number, listed.length));
    spool.remove(listed.number).unwrap();
    assert_eq!((spool.budget().used(), disk_use(directory.path())), (0, 0));
    assert!(writer.write(&[append(1, &[&line], false)])[0].is_ok());
}

#[test]
fn a_segment_to_which_something_was_added_is_not_sealed() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path(), 1 << 20).unwrap();
    let mut writer = Writer::new(spool.clone());
    writer.write(&[append(1, &["a"], false)]);
    let seen = spool.segments().remove(0);
    writer.write(&[append(1, &["b"], false)]);
    assert!(!spool.seal_at(seen.number, seen.length));
    writer.write(&[append(1, &["c"], false)]);
    assert_eq!(all_texts(&spool, 1), ["a", "b", "c"]);
    assert_eq!(spool.segments().len(), 1);
}

#[test]
fn a_segment_is_completed_at_its_size_and_the_next_one_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path(), 64 << 20).unwrap();
    let mut writer = Writer::new(spool.clone());
    let line = "x".repeat(1_000_000);
    for _ in 0..6 {
        assert!(writer.write(&[append(1, &[&line], true)])[0].is_ok());
    }
    let sealed: Vec<bool> = spool.segments().iter().map(|listed| listed.sealed).collect();
    assert_eq!(sealed, [true, false]);
    assert!(!writer.is_dirty());
}

#[test]
fn many_streams_do_not_take_many_descriptors() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path(), 64 << 20).unwrap();
    let mut writer = Writer::new(spool.clone());
    for uid in 0..100 {
        writer.write(&[append(uid, &["x"], false)]);
    }
    assert_eq!(spool.segments().iter().filter(|listed| !listed.sealed).count(), 64);
}

#[test]
fn what_has_lost_its_header_is_put_away_and_the_rest_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path(), 1 << 20).unwrap();
    Writer::new(spool).write(&[append(1, &["one"], true), append(2, &["two"], true)]);
    let spool_directory = directory.path().join("spool");
    let mut paths: Vec<_> = fs::read_dir(&spool_directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    fs::write(&paths[0], b"").unwrap();
    let spool = Spool::open(directory.path(), 1 << 20).unwrap();
    assert_eq!((all_texts(&spool, 1).len(), all_texts(&spool, 2)), (0, vec!["two".to_owned()]));
    assert!(spool_directory.join("quarantine").join(paths[0].file_name().unwrap()).exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The model: the texts of each caller that were written and not delivered. A restart at any time changes nothing; what
    /// is damaged costs the record that stands there, and that is put away.
    #[test]
    fn what_counts_is_there_in_order_and_the_room_adds_up(
        steps in prop::collection::vec((0_u8..10, 0_u32..3, any::<prop::sample::Index>()), 1..60)
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(directory.path(), 1 << 20).unwrap();
        let mut writer = Writer::new(spool.clone());
        let mut model: BTreeMap<u64, (u32, Vec<String>)> = BTreeMap::new();
        let mut damaged = BTreeSet::new();
        for (turn, (action, uid, which)) in steps.into_iter().enumerate() {
            let segments = spool.segments();
            match action {
                0..=5 => {
                    let text = format!("{turn}-{}", "x".repeat(which.index(50)));
                    prop_assert!(writer.write(&[append(uid, &[&text], action == 0)])[0].is_ok());
                    let of_caller = |listed: &&Listed| listed.key.uid == uid && !listed.sealed;
                    let number = spool.segments().iter().find(of_caller).unwrap().number;
                    model.entry(number).or_insert((uid, Vec::new())).1.push(text);
                }
                6 | 7 if !segments.is_empty() => {
                    let listed = which.get(&segments);
                    prop_assert!(spool.seal_at(listed.number, listed.length));
                    spool.remove(listed.number).unwrap();
                    model.remove(&listed.number);
                }
                8 if !segments.is_empty() => {
                    let listed = which.get(&segments);
                    prop_assert!(spool.seal_at(listed.number, listed.length));
                    let path = spool.path_of(listed.number);
                    let mut content = fs::read(&path).unwrap();
                    let begin = usize::try_from(listed.begin).unwrap();
                    // Once is enough: this test's reader goes no further than that.
                    if content.len() > begin && damaged.insert(listed.number) {
                        let at = begin + which.index(content.len() - begin);
                        content[at] ^= 0x40;
                        fs::write(&path, content).unwrap();
                        let (left, end) = texts(&spool, listed);
                        let damage = spool.quarantine(listed.number, end, None).unwrap();
                        let (_, lines) = model.get_mut(&listed.number).unwrap();
                        lines.remove(left.len());
                        match damage.next {
                            None => prop_assert_eq!(left.len(), lines.len()),
                            Some(next) => {
                                let behind = Listed { begin: next, ..listed.clone() };
                                prop_assert_eq!(&texts(&spool, &behind).0, &lines[left.len()..]);
                                lines.truncate(left.len());
                            }
                        }
                    }
                }
                _ => {
                    spool = Spool::open(directory.path(), 1 << 20).unwrap();
                    writer = Writer::new(spool.clone());
                }
            }
            for uid in 0..3 {
                let of_caller = model.values().filter(|(of, _)| *of == uid);
                let expected: Vec<String> = of_caller.flat_map(|(_, texts)| texts.clone()).collect();
                prop_assert_eq!(all_texts(&spool, uid), expected);
            }
            prop_assert_eq!(spool.budget().used(), disk_use(directory.path()));
        }
    }
}

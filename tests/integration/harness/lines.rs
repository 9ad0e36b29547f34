//! Numbered lines: written to files, and looked for where they should have arrived. Not how they get there.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

/// `count` lines that say which they are, from `first`, each of about `length` bytes.
pub(crate) fn numbered(first: usize, count: usize, length: usize) -> Vec<String> {
    (first..first + count)
        .map(|number| {
            let head = format!("line {number:08} level=info msg=\"order \\\"{number}\\\" paid\" padding=");
            let padding = length.saturating_sub(head.len());
            head + &"x".repeat(padding)
        })
        .collect()
}

/// Appends lines to a file in one write.
pub(crate) fn append(path: &Path, lines: &[String]) {
    let mut text = lines.join("\n");
    text.push('\n');
    open(path).write_all(text.as_bytes()).expect("a log can be appended to");
}

fn open(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).expect("a log can be opened for appending")
}

/// Compares without printing megabytes when they differ.
pub(crate) fn assert_same_lines(arrived: &[String], written: &[String]) {
    let count = arrived.len().min(written.len());
    if let Some(at) = (0..count).find(|&at| arrived[at] != written[at]) {
        panic!(
            "line {at} of {} differs: arrived\n  {:.200}\nwritten\n  {:.200}",
            written.len(),
            arrived[at],
            written[at]
        );
    }
    assert_eq!(
        arrived.len(),
        written.len(),
        "all that arrived is right, but not all arrived, or more than was written"
    );
}

/// What happened to lines on their way.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fates {
    pub(crate) lost: usize,
    /// Arrivals beyond the first.
    pub(crate) again: usize,
    /// Arrivals of what nobody wrote.
    pub(crate) strange: usize,
    /// First arrivals before an earlier line's first.
    pub(crate) out_of_order: usize,
}

/// Counts what happened to `written`, each line of which is different from all others.
pub(crate) fn fates(arrived: &[String], written: &[String]) -> Fates {
    let numbers: HashMap<&str, usize> = written.iter().enumerate().map(|(at, line)| (line.as_str(), at)).collect();
    let mut seen = vec![false; written.len()];
    let mut fates = Fates::default();
    let mut next = 0;
    for line in arrived {
        match numbers.get(line.as_str()) {
            None => fates.strange += 1,
            Some(&at) if seen[at] => fates.again += 1,
            Some(&at) => {
                seen[at] = true;
                fates.out_of_order += usize::from(at < next);
                next = next.max(at + 1);
            }
        }
    }
    fates.lost = seen.iter().filter(|seen| !**seen).count();
    fates
}

/// An application that logs while other things happen.
pub(crate) struct Writer {
    thread: JoinHandle<()>,
}

impl Writer {
    /// Writes `lines` to `path`, `burst` at a time with `pause` between.
    pub(crate) fn start(path: PathBuf, lines: Vec<String>, burst: usize, pause: Duration) -> Self {
        let thread = std::thread::spawn(move || {
            for burst in lines.chunks(burst) {
                append(&path, burst);
                std::thread::sleep(pause);
            }
        });
        Self { thread }
    }

    /// Whether there is more to come.
    pub(crate) fn is_writing(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Waits for its last line.
    pub(crate) fn finish(self) {
        self.thread.join().expect("the writer does not panic");
    }
}

#[test]
fn the_fates_of_lines_are_told_apart() {
    let written = numbered(0, 4, 0);
    let arrived = [&written[1], &written[0], &written[1], &"strange".to_owned()].map(Clone::clone);
    assert_eq!(fates(&arrived, &written), Fates { lost: 2, again: 1, strange: 1, out_of_order: 1 });
    assert_eq!(fates(&written, &written), Fates::default());
}

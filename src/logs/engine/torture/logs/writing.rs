//! What applications write into the logs: lines, the beginnings of some, and late ones. Not what is done to the files.

use std::io::Write;
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;

use super::{Content, Fate, Line, Logs};
use crate::logs::disk::faults::stamp;
use crate::logs::source::tailed::QUIET_BEFORE_LEAVING;

impl Logs {
    /// An application writes some lines, and perhaps the beginning of another.
    pub(in crate::logs::engine::torture) fn write(&mut self, log: usize, now: Timestamp, random: &mut Rng) {
        let content = self.active[log].unwrap_or_else(|| self.create(log));
        self.write_to(content, now, random);
        if random.u8(..8) == 0 {
            self.begin_line(content);
        }
    }

    fn write_to(&mut self, content: usize, now: Timestamp, random: &mut Rng) {
        let mut bytes = Vec::new();
        let count = if random.u8(..10) == 0 { random.usize(200..900) } else { random.usize(1..12) };
        for _ in 0..count {
            if random.u8(..30) == 0 && self.contents[content].partial.is_empty() && self.shape.has_empty_lines() {
                self.empty_lines += 1;
                bytes.extend(self.shape.bytes("\n"));
            }
            self.add_line(content, now, random, &mut bytes);
        }
        let place = &mut self.contents[content];
        place.size += bytes.len() as u64;
        append(place, &bytes);
    }

    /// Adds a line's end, or a whole line, to `bytes`.
    fn add_line(&mut self, content: usize, now: Timestamp, random: &mut Rng, bytes: &mut Vec<u8>) {
        let place = &mut self.contents[content];
        let begun = std::mem::take(&mut place.partial);
        let record = self.shape.record(self.lines.len(), &begun, now, random);
        let begun = self.shape.bytes(&begun).len() as u64;
        let first_byte = place.size + bytes.len() as u64 - begun;
        bytes.extend(self.shape.bytes(&record.written).split_off(usize::try_from(begun).expect("short")));
        bytes.extend(self.shape.bytes("\n"));
        let last_byte = place.size + bytes.len() as u64 - 1;
        self.lines.push(Line { record, content, first_byte, last_byte, excused: place.excused, awaited: false });
    }

    fn begin_line(&mut self, content: usize) {
        let place = &mut self.contents[content];
        if !place.partial.is_empty() {
            return;
        }
        let text = format!("begun {} ", self.lines.len());
        let bytes = self.shape.bytes(&text);
        append(place, &bytes);
        place.size += bytes.len() as u64;
        place.partial = text;
    }

    /// The last lines of files that left, which nobody finished, are lines of their own. At a place that the table names
    /// they are waited for.
    pub(in crate::logs::engine::torture) fn give_up_partials(&mut self) {
        for content in 0..self.contents.len() {
            let stays = self.shape.names_rotated && self.contents[content].fate == Fate::Named;
            if !stays && !self.active.contains(&Some(content)) {
                self.give_up_partial(content);
            }
        }
    }

    pub(super) fn give_up_partial(&mut self, content: usize) {
        let text = std::mem::take(&mut self.contents[content].partial);
        if !text.is_empty() {
            let Content { size, excused, .. } = self.contents[content];
            let first_byte = size - self.shape.bytes(&text).len() as u64;
            let record = self.shape.unfinished(&text);
            self.lines.push(Line { record, content, first_byte, last_byte: size - 1, excused, awaited: false });
        }
    }

    /// An application that was not told yet goes on writing to a renamed file.
    pub(in crate::logs::engine::torture) fn write_late(&mut self, boot: Duration, wall: Timestamp, random: &mut Rng) {
        let late = |content: &Content| {
            let recent = |left: Duration| boot.saturating_sub(left) + Duration::from_secs(1) < QUIET_BEFORE_LEAVING;
            content.fate == Fate::Named && !content.packed && content.enlisted && content.left_at.is_some_and(recent)
        };
        let candidates: Vec<usize> = (0..self.contents.len()).filter(|index| late(&self.contents[*index])).collect();
        if let Some(content) = random.choice(candidates) {
            self.write_to(content, wall, random);
        }
    }
}

fn append(content: &Content, bytes: &[u8]) {
    let mut writer = content.writer.as_ref().expect("it is written to");
    writer.write_all(bytes).expect("there is room");
    stamp(writer, false);
}

//! What the logs of one host are made of, drawn once: which files a table names, how its records are written, and what
//! is to become of each. Not where they stand.

use std::fmt::Write;

use fastrand::Rng;
use jiff::Timestamp;

use super::cloud::POISON;
use crate::logs::FileSettings;
use crate::logs::framing::{Encoding, Format, Multiline, Pattern, Redaction, Rule, TimeRule, Zone};

/// A record with this in it is not sent.
const NOISE: &str = "healthz";

/// What no event may hold, and what stands there instead.
const SECRET: &str = "secret=hunter2";
const REDACTED: &str = "secret=***";

/// Longer than a record waits for lines that belong to it, in the time of the torture's own clock: some seconds.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(3);

/// How records are written.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
pub(super) struct Shape {
    encoding: &'static str,
    multiline: bool,
    timed: bool,
    filtered: bool,
    redacted: bool,
    /// Whether the table's pattern names rotated files, too.
    pub(super) names_rotated: bool,
}

/// A record as it is written, and as it is to arrive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// What an application writes, without the last line end.
    pub(super) written: String,
    /// The event's text.
    pub(super) text: String,
    /// Its own time, in milliseconds.
    pub(super) at: Option<i64>,
    /// Whether it is held back.
    pub(super) is_noise: bool,
}

impl Shape {
    /// Plain lines half of the time, and otherwise all that a table may say about records.
    pub(super) fn draw(random: &mut Rng) -> Self {
        let plain = random.bool();
        let mut may = || !plain && random.bool();
        let (multiline, timed, filtered, redacted) = (may(), may(), may(), may());
        let encodings = ["utf-8", "utf-8", "utf-16le", "utf-16be", "windows-1252"];
        let encoding = if plain { "utf-8" } else { encodings[random.usize(..encodings.len())] };
        Self { encoding, multiline, timed, filtered, redacted, names_rotated: random.u8(..3) == 0 }
    }

    /// Makes a table say so.
    pub(super) fn apply(self, table: &mut FileSettings) {
        let pattern = |text| Pattern::parse(text).expect("a pattern");
        if self.names_rotated {
            table.include.iter_mut().for_each(|include| include.push('*'));
        }
        let framing = &mut table.framing;
        framing.encoding = Encoding::for_label(self.encoding).expect("a label");
        framing.multiline = self.multiline.then(|| Multiline {
            rule: Rule::Start(pattern("^(T[0-9]+ )?(line|begun) ")),
            timeout: PATIENCE,
            max_lines: 1000,
            max_bytes: crate::logs::framing::LONGEST_RECORD,
        });
        framing.timestamp = self.timed.then(|| TimeRule {
            pattern: pattern("^T([0-9]+) "),
            format: Format::EpochMillis,
            zone: Zone::default(),
        });
        framing.drop.extend(self.filtered.then(|| pattern(NOISE)));
        framing.redact.extend(
            self.redacted.then(|| Redaction { pattern: pattern("secret=[a-z0-9]+"), replace: REDACTED.to_owned() }),
        );
    }

    /// The record of this number; what `begun` says of it is written already.
    pub(super) fn record(self, number: usize, begun: &str, now: Timestamp, random: &mut Rng) -> Record {
        let at = (self.timed && begun.is_empty() && random.u8(..4) > 0).then(|| {
            let day = 24 * 3_600_000;
            let far = if random.u8(..20) == 0 { 3 * day } else { 20_000 };
            now.as_millisecond() - random.i64(0..far)
        });
        let padding = if random.u16(..2000) == 0 { 70_000 } else { random.usize(..200) };
        let poison = if random.u16(..400) == 0 { POISON } else { "" };
        let is_noise = self.filtered && random.u8(..6) == 0;
        let noise = if is_noise { NOISE } else { "" };
        let secret = if random.u8(..6) == 0 { SECRET } else { "" };
        let time = at.map_or(String::new(), |millis| format!("T{millis} "));
        let mut written = format!("{begun}{time}line {number} {poison}{noise} {secret} é {}", "x".repeat(padding));
        if self.multiline {
            for more in 0..random.usize(..4) {
                write!(written, "\n  at {more} of {number}").expect("text takes all");
            }
        }
        self.finished(written, at, is_noise)
    }

    /// A record that nobody finished.
    pub(super) fn unfinished(self, begun: &str) -> Record {
        self.finished(begun.to_owned(), None, false)
    }

    fn finished(self, written: String, at: Option<i64>, is_noise: bool) -> Record {
        let text = if self.redacted { written.replace(SECRET, REDACTED) } else { written.clone() };
        Record { written, text, at, is_noise }
    }

    /// Whether a line with nothing in it is a record of its own.
    pub(super) fn has_empty_lines(self) -> bool {
        !self.multiline
    }

    /// `text` as its bytes stand in a file.
    pub(super) fn bytes(self, text: &str) -> Vec<u8> {
        match self.encoding {
            "utf-16le" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            "utf-16be" => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            // All of it is in the first 256 characters of Unicode, and none where the encodings differ.
            "windows-1252" => text.chars().map(|char| u8::try_from(char).expect("Latin")).collect(),
            _ => text.as_bytes().to_vec(),
        }
    }
}

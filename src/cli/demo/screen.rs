//! What the demo shows: on a terminal a few lines that are redrawn, elsewhere a line now and then; at the end what the
//! emulator holds, and whether every line arrived.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::LOG_GROUP;
use super::proof::{Fate, Text};
use crate::emulator::Emulator;
use crate::status::{Report, count, duration, word};

/// Without a terminal to redraw on, a line is printed this often.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// The demo's display.
pub(super) struct Screen {
    redraws: bool,
    drawn_lines: usize,
    last: Option<(Instant, u64)>,
    rate: f64,
    printed_at: Option<Instant>,
}

impl Screen {
    /// Says what is about to happen.
    pub(super) fn new(url: &str, texts: &[Text], live: bool) -> Self {
        print(&format!(
            "imds-agent demo: IMDSv2, STS and CloudWatch Logs are emulated on {url};\nthe agent ships {} there.{}\n\n",
            match (texts, live) {
                (_, true) => "the log of an invented application".to_owned(),
                ([one], false) => one.path.display().to_string(),
                (several, false) => format!("{} files", several.len()),
            },
            if live { " Ctrl-C ends it." } else { "" }
        ));
        Self { redraws: stdout().is_terminal(), drawn_lines: 0, last: None, rate: 0.0, printed_at: None }
    }

    /// Shows what goes on now.
    pub(super) fn show(&mut self, report: &Report) {
        self.measure(report.logs.ledger.events.delivered);
        let lines = [token(report), credentials(report), self.events(report)];
        if self.redraws {
            let up = if self.drawn_lines > 0 { format!("\x1b[{}A", self.drawn_lines) } else { String::new() };
            let clear = "\x1b[2K  ";
            print(&format!("{up}{clear}{}\n", lines.join(&format!("\n{clear}"))));
            self.drawn_lines = lines.len();
        } else if self.printed_at.is_none_or(|at| at.elapsed() >= LINE_EVERY) {
            print(&format!("{}\n", lines.join(" · ")));
            self.printed_at = Some(Instant::now());
        }
    }

    fn measure(&mut self, delivered: u64) {
        let now = Instant::now();
        let Some((at, before)) = self.last else {
            self.last = Some((now, delivered));
            return;
        };
        let elapsed = now.duration_since(at).as_secs_f64();
        if elapsed >= 0.1 {
            #[expect(clippy::cast_precision_loss, reason = "a rate for the eye")]
            let rate = delivered.saturating_sub(before) as f64 / elapsed;
            self.rate = rate;
            self.last = Some((now, delivered));
        }
    }

    fn events(&self, report: &Report) -> String {
        let events = &report.logs.ledger.events;
        let dropped: u64 = events.dropped.values().sum();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for the eye")]
        let rate = count(self.rate as u64);
        format!(
            "lines        {rate}/s   read {} = delivered {} + pending {} + dropped {}",
            count(events.read),
            count(events.delivered),
            count(events.pending),
            count(dropped)
        )
    }

    /// Says what the emulator holds, and whether every line arrived; `false` when one did not.
    pub(super) fn conclude(emulator: &Emulator, texts: &[Text], report: &Report) -> bool {
        let mut text = String::from("\nThe emulator holds\n");
        let mut all = true;
        for file in texts {
            let name = file.path.to_string_lossy();
            let source = report.logs.sources.iter().find(|source| source.name == name);
            let stream = source.and_then(|source| source.log_stream.clone()).unwrap_or_default();
            let delivered = source.map_or(0, |source| source.position);
            match file.fate(emulator, &stream, delivered) {
                Ok(fate) => {
                    let _ = writeln!(text, "  {LOG_GROUP} {stream}: {} events", count(fate.events));
                    let _ = writeln!(text, "    {}", verdict(&fate));
                    all &= fate.written == fate.arrived && file.complete_bytes.is_none_or(|end| delivered >= end);
                }
                Err(error) => {
                    let _ = writeln!(text, "  '{name}' can't be read again: {error}");
                    all = false;
                }
            }
        }
        let conclusion = if all { "every line arrived, once and in order" } else { "not every line arrived" };
        let _ = writeln!(text, "{conclusion}");
        print(&text);
        all
    }
}

fn verdict(fate: &Fate) -> String {
    let empty = match fate.empty {
        0 => String::new(),
        empty => format!(" ({} empty lines are not sent: CloudWatch takes no empty message)", count(empty)),
    };
    let (written, arrived) = (count(fate.written.lines), count(fate.arrived.lines));
    if fate.written == fate.arrived {
        format!("{arrived} of {written} lines, in order{empty}")
    } else {
        format!("{arrived} of {written} lines, or not in order{empty}")
    }
}

fn token(report: &Report) -> String {
    let left =
        report.imds.token_expires_at.map_or_else(|| "none yet".to_owned(), |at| format!("valid for {}", until(at)));
    format!("token        IMDS{}, {left}", report.imds.version)
}

fn credentials(report: &Report) -> String {
    let Some(base) = report.credentials.first() else { return "credentials  none".to_owned() };
    let mut text = format!("credentials  {} {}", base.role, word(&base.state));
    if let Some(at) = base.expiration {
        let _ = write!(text, ", expire in {}", until(at));
    }
    if let Some(at) = base.next_refresh {
        let _ = write!(text, ", refresh in {}", until(at));
    }
    text
}

fn until(at: Timestamp) -> String {
    duration(at.duration_since(Timestamp::now()).max(SignedDuration::ZERO))
}

/// To stdout; one that is closed has nobody to be told.
fn print(text: &str) {
    let mut stdout = stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

//! What the demo shows while it runs: on a terminal a few lines that are redrawn, elsewhere a line now and then. Not what
//! it says at the end.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::journal::Beginning;
use super::proof::Text;
use crate::logs::Tally;
use crate::status::{Report, count, duration, word};

/// Without a terminal to redraw on, a line is printed this often.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// What a rate is of: a little more than a busy stream waits between two batches.
const RATE_OVER: Duration = Duration::from_secs(6);

/// The kinds of sources as the report has them, and what the demo calls them.
const KINDS: [(&str, &str); 3] = [("file", "files"), ("journal", "journal"), ("socket", "stdin")];

/// What is shipped.
pub(super) struct Cast {
    pub(super) texts: Vec<Text>,
    /// Whether the only text is the log of the invented application.
    pub(super) is_live: bool,
    pub(super) stdin: bool,
    /// The journal, or why it is left out; `None` when nobody asked for it.
    pub(super) journal: Option<Result<Beginning, String>>,
}

/// The demo's display.
pub(super) struct Screen {
    kinds: Vec<(&'static str, &'static str)>,
    is_terminal: bool,
    drawn_lines: usize,
    /// How much was delivered when, within [`RATE_OVER`].
    delivered: VecDeque<(Instant, u64)>,
    printed_at: Option<Instant>,
}

impl Screen {
    /// Says what is about to happen.
    pub(super) fn new(url: &str, cast: &Cast) -> Self {
        let is_terminal = stdout().is_terminal();
        print(&format!(
            "imds-agent demo: IMDSv2, STS and CloudWatch Logs are emulated on {url};\nthe agent ships {} there.{}\n{}\n",
            cast.words(),
            match (cast.is_live, is_terminal) {
                (true, true) => " Ctrl-C ends it.",
                (true, false) => " It ends after half a minute, or at Ctrl-C.",
                (false, _) => "",
            },
            match &cast.journal {
                Some(Err(reason)) => format!("The journal is left out: {reason}\n"),
                _ => String::new(),
            }
        ));
        let delivered = VecDeque::new();
        Self { kinds: cast.kinds(), is_terminal, drawn_lines: 0, delivered, printed_at: None }
    }

    /// Whether somebody is likely to look at it.
    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Shows what goes on now.
    pub(super) fn show(&mut self, report: &Report) {
        self.measure(report.logs.ledger.events.delivered);
        let mut lines = vec![token(report), credentials(report), self.events(report)];
        // Of one kind alone that is said already.
        lines.extend((self.kinds.len() > 1).then(|| self.delivered(report)));
        if self.is_terminal {
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
        self.delivered.push_back((now, delivered));
        while self.delivered.front().is_some_and(|(at, _)| now.duration_since(*at) > RATE_OVER) {
            self.delivered.pop_front();
        }
    }

    /// Lines a second.
    fn rate(&self) -> u64 {
        let (Some((begun, before)), Some((ended, after))) = (self.delivered.front(), self.delivered.back()) else {
            return 0;
        };
        let millis = u64::try_from(ended.duration_since(*begun).as_millis()).unwrap_or(u64::MAX);
        (after.saturating_sub(*before) * 1000).checked_div(millis).unwrap_or_default()
    }

    fn events(&self, report: &Report) -> String {
        let events = &report.logs.ledger.events;
        let dropped: u64 = events.dropped.values().sum();
        format!(
            "lines        {}/s   read {} = delivered {} + pending {} + dropped {}",
            count(self.rate()),
            count(events.read),
            count(events.delivered),
            count(events.pending),
            count(dropped)
        )
    }

    fn delivered(&self, report: &Report) -> String {
        let of_kind = |(kind, name): &(&str, &str)| format!("{name} {}", count(tally(report, kind).delivered));
        let each: Vec<String> = self.kinds.iter().map(of_kind).collect();
        format!("delivered    {}", each.join(" · "))
    }
}

impl Cast {
    fn kinds(&self) -> Vec<(&'static str, &'static str)> {
        let there = [!self.texts.is_empty(), matches!(self.journal, Some(Ok(_))), self.stdin];
        KINDS.into_iter().zip(there).filter_map(|(kind, there)| there.then_some(kind)).collect()
    }

    /// All of it, in a sentence.
    fn words(&self) -> String {
        let texts = match (&self.texts[..], self.is_live) {
            (_, true) => Some("the log of an invented application".to_owned()),
            ([], false) => None,
            ([one], false) => Some(one.path.display().to_string()),
            (several, false) => Some(format!("{} files", several.len())),
        };
        let journal = matches!(self.journal, Some(Ok(_))).then(|| "the machine's journal".to_owned());
        let stdin = self.stdin.then(|| "stdin".to_owned());
        let all: Vec<String> = [texts, journal, stdin].into_iter().flatten().collect();
        match all.split_last() {
            Some((last, before @ [_, ..])) => format!("{} and {last}", before.join(", ")),
            _ => all.concat(),
        }
    }
}

/// The events of all sources of one kind.
pub(super) fn tally(report: &Report, kind: &str) -> Tally {
    let mut sum = Tally::default();
    for source in report.logs.sources.iter().filter(|source| source.kind == kind) {
        let events = &source.ledger.events;
        sum.read += events.read;
        sum.delivered += events.delivered;
        sum.pending += events.pending;
        for (reason, dropped) in &events.dropped {
            *sum.dropped.entry(reason.clone()).or_default() += dropped;
        }
    }
    sum
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
pub(super) fn print(text: &str) {
    let mut stdout = stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

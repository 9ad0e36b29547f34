//! The screen of `imds-agent status`: short, aligned, 80 columns, what is wrong first. Not the facts, and not whether
//! there is a terminal: the caller knows that.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use super::headline::{Condition, count, word};
use super::words::{bytes, duration, escape, percent, shortened, wrap};
use super::{Instance, Report};
use crate::credentials;
use crate::fault::Fault;
use crate::logs::{DestinationSnapshot, DestinationState, Ledger, SourceSnapshot, SourceState};

/// The width of a terminal that nobody widened.
const WIDTH: usize = 80;

/// The label's column; the longest label, `credentials`, and two spaces.
const LABEL: usize = 13;

/// The name's column in the tables: what 80 columns leave beside the others.
const NAME: usize = 42;

/// Rows of a table before "and N more": a screen's worth, the troubled ones first.
const ROWS: usize = 12;

/// How the screen is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Whether ANSI colours are understood and wanted.
    pub colour: bool,
}

#[derive(Clone, Copy)]
enum Paint {
    Good,
    Doubtful,
    Bad,
    Quiet,
}

/// Draws `report`.
#[must_use]
pub fn render(report: &Report, style: Style) -> String {
    let mut screen = Screen { text: String::new(), style, now: now(report) };
    screen.head(report);
    screen.base(report);
    screen.logs(report);
    screen.warnings(report);
    screen.text
}

/// The daemon's own idea of now, which is corrected for skew.
fn now(report: &Report) -> Timestamp {
    let uptime = SignedDuration::from_secs(i64::try_from(report.uptime_seconds).unwrap_or(i64::MAX));
    report.started_at.checked_add(uptime).unwrap_or(report.started_at)
}

struct Screen {
    text: String,
    style: Style,
    now: Timestamp,
}

impl Screen {
    fn head(&mut self, report: &Report) {
        let condition = Condition::of(report);
        let paint = match condition {
            Condition::Healthy => Paint::Good,
            Condition::Starting => Paint::Quiet,
            Condition::Degraded(_) => Paint::Bad,
        };
        let up = duration(SignedDuration::from_secs(i64::try_from(report.uptime_seconds).unwrap_or(i64::MAX)));
        let state = self.paint(&condition.to_string(), paint);
        self.line(&format!("imds-agent {}, pid {}, up {up}", escape(&report.version), report.pid));
        self.line(&state);
        self.line("");
    }

    fn base(&mut self, report: &Report) {
        self.row("instance", &instance(&report.instance));
        let imds = &report.imds;
        let state = self.paint(&word(&imds.state), imds_paint(imds.state));
        self.row(
            "imds",
            &format!(
                "{state}, {} {}, {} requests, {} failed",
                escape(&imds.endpoint),
                escape(&imds.version),
                count(imds.requests),
                count(imds.failures)
            ),
        );
        self.fault(imds.last_error.as_ref());
        self.roles(&report.credentials);
        let memory = &report.memory;
        self.row(
            "memory",
            &format!(
                "{}, buffers {} of {}",
                bytes(memory.rss_bytes),
                bytes(memory.buffers_bytes),
                bytes(memory.limit_bytes)
            ),
        );
        let mut config = report.config.path.as_deref().map_or("none, all is default".to_owned(), escape);
        if let Some(accepted_at) = report.config.last_good {
            let ago = duration(self.now.duration_since(accepted_at).max(SignedDuration::ZERO));
            let _ = write!(config, ", as it was accepted {ago} ago");
        }
        self.row("config", &config);
        if let Some(error) = &report.config.error {
            self.wrapped(&format!("! {}", escape(error)), Paint::Bad);
        }
    }

    /// The base first, then the roles, those in trouble before the others.
    fn roles(&mut self, credentials: &[credentials::Snapshot]) {
        let Some((base, roles)) = credentials.split_first() else { return };
        self.credentials(base, true);
        let mut roles: Vec<_> = roles.iter().collect();
        roles.sort_by_key(|role| role.last_error.is_none());
        for role in roles.iter().take(ROWS) {
            self.credentials(role, false);
        }
        self.more(roles.len());
    }

    fn credentials(&mut self, role: &credentials::Snapshot, is_base: bool) {
        use credentials::State::{Absent, Expired, Fresh, Refreshing, Stale};
        let paint = match role.state {
            Fresh | Refreshing => Paint::Good,
            Stale => Paint::Doubtful,
            Absent | Expired => Paint::Bad,
        };
        let mut text = self.paint(&word(&role.state), paint);
        let name = if role.role.is_empty() { "no role yet" } else { &role.role };
        let _ = write!(text, ", {}", escape(name));
        if let Some(expiration) = role.expiration {
            let _ = match expiration.duration_since(self.now) {
                left if left.is_positive() => write!(text, ", expire in {}", duration(left)),
                past => write!(text, ", expired {} ago", duration(-past)),
            };
        }
        if let Some(next) = role.next_refresh.filter(|_| is_base) {
            let left = next.duration_since(self.now).max(SignedDuration::ZERO);
            let _ = write!(text, ", refresh in {}", duration(left));
        }
        if !is_base {
            let _ = write!(text, ", {} served, {} refused", count(role.served), count(role.denied));
        }
        self.row(if is_base { "credentials" } else { "role" }, &text);
        if let Some(arn) = role.arn.as_ref().filter(|_| is_base) {
            let arn = self.paint(&escape(arn), Paint::Quiet);
            self.row("", &arn);
        }
        self.fault(role.last_error.as_ref());
    }

    fn logs(&mut self, report: &Report) {
        let logs = &report.logs;
        self.row("logs", &ledger(&logs.ledger));
        let dropped = &logs.ledger.events.dropped;
        if !dropped.is_empty() {
            let reasons: Vec<_> = dropped.iter().map(|(why, n)| format!("{} {}", count(*n), escape(why))).collect();
            self.row("", &format!("dropped: {}", reasons.join(", ")));
        }
        let letters = &logs.dead_letters;
        if letters.events + letters.rolled_off > 0 {
            let (kept, gone) = (count(letters.events), count(letters.rolled_off));
            let gone = if letters.rolled_off == 0 { String::new() } else { format!(", {gone} rolled off") };
            self.row("", &format!("dead letters: {kept}{gone} (imds-agent logs dead-letters)"));
        }
        if !logs.sources.is_empty() {
            self.line("");
            let heading = format!("{:NAME$}  {:10} {:>12} {:>9}", "SOURCE", "STATE", "DONE", "LAG");
            self.heading(&heading);
            let mut sources: Vec<_> = logs.sources.iter().collect();
            sources.sort_by(|a, b| source_rank(a).cmp(&source_rank(b)).then(b.lag_seconds.total_cmp(&a.lag_seconds)));
            for source in sources.iter().take(ROWS) {
                self.source(source);
            }
            self.more(sources.len());
        }
        if !logs.destinations.is_empty() {
            self.line("");
            let heading = format!("{:NAME$}  {:14} {:>9} {:>8}", "DESTINATION", "STATE", "DELIVERED", "LAG");
            self.heading(&heading);
            let mut destinations: Vec<_> = logs.destinations.iter().collect();
            destinations.sort_by_key(|to| to.state == DestinationState::Running);
            for destination in destinations.iter().take(ROWS) {
                self.destination(destination);
            }
            self.more(destinations.len());
        }
    }

    fn source(&mut self, source: &SourceSnapshot) {
        let paint = match source.state {
            SourceState::Running => Paint::Good,
            SourceState::Waiting => Paint::Doubtful,
            SourceState::Failed => Paint::Bad,
            SourceState::Finished => Paint::Quiet,
        };
        let name = shortened(&escape(&source.name), NAME);
        let state = self.paint(&format!("{:10}", word(&source.state)), paint);
        let done = format!("{} {}", bytes(source.position), percent(source.position, source.size));
        let lag = duration(SignedDuration::try_from_secs_f64(source.lag_seconds).unwrap_or_default());
        self.line(&format!("{name:NAME$}  {state} {done:>12} {lag:>9}"));
        self.fault(source.last_error.as_deref());
    }

    fn destination(&mut self, to: &DestinationSnapshot) {
        let paint = match to.state {
            DestinationState::Running => Paint::Good,
            DestinationState::Throttled | DestinationState::BackingOff => Paint::Doubtful,
            DestinationState::Denied | DestinationState::Unreachable | DestinationState::NoCredentials => Paint::Bad,
        };
        let name = shortened(&escape(&format!("{} {}", to.log_group, to.log_stream)), NAME);
        let state = self.paint(&format!("{:14}", word(&to.state)), paint);
        let lag = duration(SignedDuration::try_from_secs_f64(to.lag_seconds).unwrap_or_default());
        self.line(&format!("{name:NAME$}  {state} {:>9} {lag:>8}", count(to.ledger.events.delivered)));
        self.undelivered(to);
        self.fault(to.last_error.as_deref());
    }

    /// What of a destination's is on its way or was given up, if anything is.
    fn undelivered(&mut self, to: &DestinationSnapshot) {
        let events = &to.ledger.events;
        let dropped: u64 = events.dropped.values().sum();
        if events.pending + dropped == 0 {
            return;
        }
        let parts =
            [(events.pending, "pending"), (dropped, "dropped"), (to.in_flight, "in flight"), (to.retries, "retries")];
        let parts = parts.iter().filter(|(number, _)| *number > 0);
        let parts: Vec<_> = parts.map(|(number, what)| format!("{} {what}", count(*number))).collect();
        self.line(&format!("  {}", parts.join(", ")));
    }

    fn warnings(&mut self, report: &Report) {
        if report.warnings.is_empty() {
            return;
        }
        self.line("");
        self.heading("WARNINGS");
        for warning in &report.warnings {
            self.wrapped(&format!("! {}", escape(&warning.message)), Paint::Doubtful);
            self.hint(warning.hint.as_deref());
        }
    }

    fn fault(&mut self, fault: Option<&Fault>) {
        if let Some(fault) = fault {
            let ago = duration(self.now.duration_since(fault.at).max(SignedDuration::ZERO));
            self.wrapped(&format!("! {} ({ago} ago)", escape(&fault.message)), Paint::Bad);
            self.hint(fault.hint.as_deref());
        }
    }

    /// A sentence, broken between words; its continuation lines up with its first word.
    fn wrapped(&mut self, text: &str, paint: Paint) {
        for (index, line) in wrap(text, WIDTH - 4).iter().enumerate() {
            let line = self.paint(line, paint);
            self.line(&format!("{}{line}", if index == 0 { "  " } else { "    " }));
        }
    }

    fn hint(&mut self, hint: Option<&str>) {
        // Not wrapped: it may be a command, or a policy statement of several lines, to be copied as it stands.
        for (index, line) in hint.unwrap_or_default().lines().enumerate() {
            let mark = if index == 0 { "→" } else { " " };
            self.line(&format!("  {mark} {}", escape(line)));
        }
    }

    fn more(&mut self, rows: usize) {
        if rows > ROWS {
            let text = format!("and {} more (imds-agent status --json lists all)", rows - ROWS);
            let text = self.paint(&text, Paint::Quiet);
            self.line(&text);
        }
    }

    fn heading(&mut self, text: &str) {
        let text = self.paint(text, Paint::Quiet);
        self.line(&text);
    }

    fn row(&mut self, label: &str, text: &str) {
        self.line(&format!("{label:LABEL$}{text}"));
    }

    fn line(&mut self, text: &str) {
        self.text.push_str(text.trim_end());
        self.text.push('\n');
    }

    fn paint(&self, text: &str, paint: Paint) -> String {
        let code = match paint {
            Paint::Good => "32",
            Paint::Doubtful => "33",
            Paint::Bad => "31",
            Paint::Quiet => "2",
        };
        if self.style.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

fn instance(instance: &Instance) -> String {
    let known: Vec<String> = [
        &instance.instance_id,
        &instance.instance_type,
        // The zone names the region.
        if instance.availability_zone.is_some() { &instance.availability_zone } else { &instance.region },
        &instance.account_id,
    ]
    .into_iter()
    .filter_map(|value| value.as_deref().map(escape))
    .collect();
    if known.is_empty() { "not known yet".to_owned() } else { known.join("  ") }
}

fn imds_paint(state: crate::imds::State) -> Paint {
    use crate::imds::State::{Running, Starting, Throttled};
    match state {
        Running => Paint::Good,
        Starting => Paint::Quiet,
        Throttled => Paint::Doubtful,
        _ => Paint::Bad,
    }
}

/// The ledger's equation.
fn ledger(ledger: &Ledger) -> String {
    let events = &ledger.events;
    let mut text = format!(
        "{} read = {} delivered + {} pending",
        count(events.read),
        count(events.delivered),
        count(events.pending)
    );
    let _ = write!(text, " + {} dropped", count(events.dropped.values().sum()));
    text
}

/// Troubled sources first.
fn source_rank(source: &SourceSnapshot) -> u8 {
    match source.state {
        SourceState::Failed => 0,
        SourceState::Waiting => 1,
        SourceState::Running => 2,
        SourceState::Finished => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{at, sample};
    use super::*;

    const PLAIN: Style = Style { colour: false };

    #[test]
    fn the_screen_shows_what_a_person_needs() {
        assert_eq!(render(&sample(), PLAIN), include_str!("golden.txt"));
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let painted = render(&sample(), Style { colour: true });
        assert!(painted.contains("\u{1b}[31m"));
        let mut bare = painted;
        for code in ["0", "2", "31", "32", "33"] {
            bare = bare.replace(&format!("\u{1b}[{code}m"), "");
        }
        assert_eq!(bare, render(&sample(), PLAIN));
    }

    #[test]
    fn a_name_cannot_play_tricks_on_the_terminal() {
        let mut report = sample();
        report.logs.sources[0].name = "/var/log/\u{1b}]0;gone\u{7}\nx\u{202e}y".into();
        let screen = render(&report, PLAIN);
        assert!(screen.contains(r"/var/log/\u{1b}]0;gone\u{7}\nx\u{202e}y"), "{screen}");
        assert!(!screen.chars().any(|c| c.is_control() && c != '\n'));
    }

    #[test]
    fn a_thousand_sources_fit_on_a_screen_with_the_failed_one_on_it() {
        let mut report = sample();
        let failed = report.logs.sources.pop().unwrap();
        report.logs.sources = vec![report.logs.sources[0].clone(); 999];
        report.logs.sources.push(failed);
        let screen = render(&report, PLAIN);
        assert!(screen.lines().count() <= 40);
        assert!(screen.contains("/var/log/secret.log ") && screen.contains("and 988 more"), "{screen}");
    }

    #[test]
    fn a_daemon_that_knows_nothing_yet_is_drawn_too() {
        let mut report = sample();
        report.instance = Instance::default();
        report.imds = crate::imds::Snapshot::default();
        report.credentials = vec![credentials::Snapshot::default()];
        report.logs = super::super::Logs::default();
        let screen = render(&report, PLAIN);
        assert!(screen.contains("not known yet") && screen.contains("no role yet"), "{screen}");
    }

    #[test]
    fn each_role_has_its_line_and_a_denial_its_cure() {
        let mut report = sample();
        let fresh = credentials::Snapshot { role: "app".to_owned(), denied: 3, ..report.credentials[0].clone() };
        let denied = credentials::Snapshot {
            role: "web".to_owned(),
            last_error: report.logs.destinations[0].last_error.as_deref().cloned(),
            ..credentials::Snapshot::default()
        };
        report.credentials.extend([fresh, denied]);
        let screen = render(&report, PLAIN);
        let role = "role         fresh, app, expire in 5 h 12 min, 1,234 served, 3 refused\n";
        let (before, _) = screen.split_once(role).expect(&screen);
        assert!(before.contains("role         absent, web, 0 served, 0 refused\n  ! logs:PutLogEvents"), "{screen}");
        assert!(before.contains("\n  → allow"), "{screen}");
        report.credentials = vec![report.credentials[1].clone(); 101];
        assert!(render(&report, PLAIN).contains("and 88 more"));
    }

    #[test]
    fn credentials_past_their_end_say_since_when() {
        let mut report = sample();
        report.credentials[0].expiration = Some(at("2026-11-22T11:50:00Z"));
        assert!(render(&report, PLAIN).contains("expired 10 min ago"));
    }
}

//! The screen of `imds-agent status`: short, aligned, in the terminal's width, what is wrong first. Not the facts, and
//! not whether there is a terminal: the caller knows that.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use super::headline::{Condition, count, word};
use super::screen::{Name, Paint, Screen, Style};
use super::words::{bytes, duration, escape, percent};
use super::{Instance, Report};
use crate::credentials;
use crate::logs::{DestinationSnapshot, DestinationState, Ledger, SourceSnapshot, SourceState};

/// Rows of a table before "and N more": a screen's worth, the troubled ones first.
const ROWS: usize = 12;

/// Columns of the tables: the longest state of a source and of a destination, `1023.9 GiB 100 %`, a number of nine
/// digits, and `23 h 59 min`.
const SOURCE_STATE: usize = 10;
const DESTINATION_STATE: usize = 14;
const DONE: usize = 16;
const DELIVERED: usize = 12;
const LAG: usize = 11;

/// Draws `report`.
#[must_use]
pub fn render(report: &Report, style: Style) -> String {
    let mut screen = Screen::new(style, now(report));
    screen.head(report);
    screen.base(report);
    screen.logs(report);
    screen.warnings(report);
    screen.finish()
}

/// The daemon's own idea of now, which is corrected for skew.
pub(super) fn now(report: &Report) -> Timestamp {
    report.started_at.checked_add(uptime(report)).unwrap_or(report.started_at)
}

pub(super) fn uptime(report: &Report) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(report.uptime_seconds).unwrap_or(i64::MAX))
}

impl Screen {
    fn head(&mut self, report: &Report) {
        let condition = Condition::of(report);
        let up = duration(uptime(report));
        self.sentence(&format!("imds-agent {}, pid {}, up {up}", escape(&report.version), report.pid), Paint::None);
        self.sentence(&condition.to_string(), paint_of(&condition));
        self.line("");
    }

    fn base(&mut self, report: &Report) {
        self.row("instance", "", Paint::None, &instance(&report.instance));
        let imds = &report.imds;
        let rest = format!(
            ", {} {}, {} requests, {} failed",
            escape(&imds.endpoint),
            escape(&imds.version),
            count(imds.requests),
            count(imds.failures)
        );
        self.row("imds", &word(&imds.state), imds_paint(imds.state), &rest);
        self.fault(imds.last_error.as_ref());
        self.roles(&report.credentials);
        let memory = &report.memory;
        let rest = format!(
            "{}, buffers {} of {}",
            bytes(memory.rss_bytes),
            bytes(memory.buffers_bytes),
            bytes(memory.limit_bytes)
        );
        self.row("memory", "", Paint::None, &rest);
        let mut config = report.config.path.as_deref().map_or("none, all is default".to_owned(), escape);
        if let Some(accepted_at) = report.config.last_good {
            let ago = duration(self.now.duration_since(accepted_at).max(SignedDuration::ZERO));
            let _ = write!(config, ", as it was accepted {ago} ago");
        }
        self.row("config", "", Paint::None, &config);
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
        let mut text =
            format!(", {}", if role.role.is_empty() { "no role yet".to_owned() } else { escape(&role.role) });
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
        let label = if is_base { "credentials" } else { "role" };
        self.row(label, &word(&role.state), role_paint(role.state), &text);
        if let Some(arn) = role.arn.as_ref().filter(|_| is_base) {
            self.row("", &escape(arn), Paint::Quiet, "");
        }
        self.fault(role.last_error.as_ref());
    }

    fn logs(&mut self, report: &Report) {
        let logs = &report.logs;
        self.row("logs", "", Paint::None, &ledger(&logs.ledger));
        let dropped = &logs.ledger.events.dropped;
        if !dropped.is_empty() {
            let reasons: Vec<_> = dropped.iter().map(|(why, n)| format!("{} {}", count(*n), escape(why))).collect();
            self.row("", "", Paint::None, &format!("dropped: {}", reasons.join(", ")));
        }
        let letters = &logs.dead_letters;
        if letters.events + letters.rolled_off > 0 {
            let (kept, gone) = (count(letters.events), count(letters.rolled_off));
            let gone = if letters.rolled_off == 0 { String::new() } else { format!(", {gone} rolled off") };
            self.row("", "", Paint::None, &format!("dead letters: {kept}{gone} (imds-agent logs dead-letters)"));
        }
        if !logs.sources.is_empty() {
            self.line("");
            self.table_heading("SOURCE", SOURCE_STATE, &[("DONE", DONE), ("LAG", LAG)]);
            let mut sources: Vec<_> = logs.sources.iter().collect();
            sources.sort_by(|a, b| source_rank(a).cmp(&source_rank(b)).then(b.lag_seconds.total_cmp(&a.lag_seconds)));
            for source in sources.iter().take(ROWS) {
                self.source(source);
            }
            self.more(sources.len());
        }
        if !logs.destinations.is_empty() {
            self.line("");
            self.table_heading("DESTINATION", DESTINATION_STATE, &[("DELIVERED", DELIVERED), ("LAG", LAG)]);
            let mut destinations: Vec<_> = logs.destinations.iter().collect();
            destinations.sort_by_key(|to| to.state == DestinationState::Running);
            for destination in destinations.iter().take(ROWS) {
                self.destination(destination);
            }
            self.more(destinations.len());
        }
    }

    fn source(&mut self, source: &SourceSnapshot) {
        let done = format!("{} {}", bytes(source.position), percent(source.position, source.size));
        let cells = [(done, DONE), (lag(source.lag_seconds), LAG)];
        let state = word(&source.state);
        self.table_row(Name::One(&source.name), (&state, SOURCE_STATE), source_paint(source.state), &cells);
        self.fault(source.last_error.as_deref());
    }

    fn destination(&mut self, to: &DestinationSnapshot) {
        let cells = [(count(to.ledger.events.delivered), DELIVERED), (lag(to.lag_seconds), LAG)];
        let (name, state) = (Name::Two(&to.log_group, &to.log_stream), word(&to.state));
        self.table_row(name, (&state, DESTINATION_STATE), destination_paint(to.state), &cells);
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
        let retries = if to.retries == 1 { "retry" } else { "retries" };
        let parts =
            [(events.pending, "pending"), (dropped, "dropped"), (to.in_flight, "in flight"), (to.retries, retries)];
        let parts = parts.iter().filter(|(number, _)| *number > 0);
        let parts: Vec<_> = parts.map(|(number, what)| format!("{} {what}", count(*number))).collect();
        self.wrapped(&parts.join(", "), Paint::None);
    }

    fn warnings(&mut self, report: &Report) {
        if report.warnings.is_empty() {
            return;
        }
        self.line("");
        self.heading("WARNINGS");
        for warning in report.warnings.iter().take(ROWS) {
            self.wrapped(&format!("! {}", escape(&warning.message)), Paint::Doubtful);
            self.hint(warning.hint.as_deref());
        }
        self.more(report.warnings.len());
    }

    fn more(&mut self, rows: usize) {
        if rows > ROWS {
            let text = format!("and {} more (imds-agent status --json lists all)", rows - ROWS);
            self.sentence(&text, Paint::Quiet);
        }
    }
}

pub(super) fn paint_of(condition: &Condition) -> Paint {
    match condition {
        Condition::Healthy => Paint::Good,
        Condition::Warned(_) => Paint::Doubtful,
        Condition::Starting => Paint::Quiet,
        Condition::Degraded(_) => Paint::Bad,
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

pub(super) fn imds_paint(state: crate::imds::State) -> Paint {
    use crate::imds::State::{Running, Starting, Throttled};
    match state {
        Running => Paint::Good,
        Starting => Paint::Quiet,
        Throttled => Paint::Doubtful,
        _ => Paint::Bad,
    }
}

pub(super) fn role_paint(state: credentials::State) -> Paint {
    use credentials::State::{Absent, Expired, Fresh, Refreshing, Stale};
    match state {
        Fresh | Refreshing => Paint::Good,
        Stale => Paint::Doubtful,
        Absent | Expired => Paint::Bad,
    }
}

pub(super) fn source_paint(state: SourceState) -> Paint {
    match state {
        SourceState::Running => Paint::Good,
        SourceState::Waiting => Paint::Doubtful,
        SourceState::Failed => Paint::Bad,
        SourceState::Finished => Paint::Quiet,
    }
}

pub(super) fn destination_paint(state: DestinationState) -> Paint {
    match state {
        DestinationState::Running => Paint::Good,
        DestinationState::Throttled | DestinationState::BackingOff => Paint::Doubtful,
        DestinationState::Denied | DestinationState::Unreachable | DestinationState::NoCredentials => Paint::Bad,
    }
}

fn lag(seconds: f64) -> String {
    duration(SignedDuration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// The ledger's equation.
pub(super) fn ledger(ledger: &Ledger) -> String {
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
    use super::super::words::columns;
    use super::*;

    const PLAIN: Style = Style { colour: false, unicode: true, columns: 80 };

    #[test]
    fn the_screen_shows_what_a_person_needs() {
        assert_eq!(render(&sample(), PLAIN), include_str!("golden.txt"));
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let painted = render(&sample(), Style { colour: true, ..PLAIN });
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

    /// The sample, with names that are long, wide and hostile.
    fn hostile() -> Report {
        let mut report = sample();
        report.logs.sources[0].name =
            "/var/log/日本語/\u{1b}[2J/a-rather-long-name-that-goes-on-and-on-for-a-while.log".into();
        report.logs.destinations[0].log_group = "/aws/ec2/größe".into();
        report
    }

    /// Lines that are broken nowhere: those that are to be copied, and those with a word as long.
    fn may_be_long(line: &str, width: usize) -> bool {
        line.starts_with("  →") || line.trim_start().split(' ').any(|word| columns(word) + 4 > width)
    }

    #[test]
    fn the_screen_keeps_to_the_width_of_its_terminal() {
        for width in [20, 33, 63, 64, 80, 100, 132] {
            let screen = render(&hostile(), Style { columns: width, ..PLAIN });
            for line in screen.lines().filter(|line| !may_be_long(line, width)) {
                assert!(columns(line) <= width, "{width}: {line}\n{screen}");
            }
        }
    }

    #[test]
    fn a_table_is_aligned_whatever_the_names_are_written_in() {
        let screen = render(&hostile(), PLAIN);
        let ends: Vec<usize> = screen.lines().filter(|line| line.ends_with("0 s")).map(columns).collect();
        assert_eq!(ends, [80, 80], "{screen}");
    }

    #[test]
    fn where_the_locale_has_no_unicode_all_is_ascii() {
        for colour in [false, true] {
            let screen = render(&hostile(), Style { unicode: false, colour, ..PLAIN });
            assert!(screen.is_ascii() && screen.contains("  -> setfacl"), "{screen}");
            assert_eq!(screen.contains("\u{1b}[31m"), colour, "{screen}");
        }
    }

    #[test]
    fn a_cure_that_many_share_is_said_once() {
        let mut report = sample();
        report.logs.destinations = vec![report.logs.destinations[0].clone(); 12];
        let screen = render(&report, PLAIN);
        assert_eq!(screen.matches("→ allow logs:PutLogEvents").count(), 1, "{screen}");
        assert_eq!(screen.matches("→ as above").count(), 11, "{screen}");
    }
}

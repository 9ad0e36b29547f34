//! How the daemon is, all in all: the one judgement behind systemd's `STATUS=`, the top of the screen and `/health`. Not
//! the details.

use serde::Serialize;

use super::Report;
use crate::fault::Fault;
use crate::logs::{DestinationState, SourceState};
use crate::{credentials, imds};

/// Warnings of things that do not work until somebody does something, and what the headline calls them. The others are
/// of things that were lost once, that mend themselves, or that work all the same: they are counted.
const DEGRADING: [(&str, &str); 11] = [
    ("aws_client", "no AWS client"),
    ("checkpoint_unreadable", "nothing is shipped"),
    ("credentials_file", "no credentials file"),
    ("door_closed", "a door is closed"),
    ("region_unknown", "region unknown"),
    ("spool_full", "the spool is full"),
    ("spool_unreadable", "the spool can't be read"),
    ("spool_unwritable", "the spool can't be written"),
    ("task_stuck", "a task is stuck"),
    ("too_many_files", "too many files"),
    ("unreadable_directory", "a directory can't be read"),
];

/// Something that does not work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What, in a few words: `2 destinations denied`.
    pub problem: String,
    /// Why, of the first of them.
    pub message: Option<String>,
    /// What cures it.
    pub hint: Option<String>,
}

impl Problem {
    fn new(problem: String, fault: Option<&Fault>) -> Self {
        let message = fault.map(|fault| fault.message.clone());
        Self { problem, message, hint: fault.and_then(|fault| fault.hint.clone()) }
    }
}

/// All that does not work, the most fundamental first.
#[must_use]
pub fn problems(report: &Report) -> Vec<Problem> {
    let firsts = [configuration(report), imds(report), credentials(report)];
    firsts.into_iter().flatten().chain(sources(report)).chain(destinations(report)).chain(warnings(report)).collect()
}

/// How the daemon is, all in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// IMDS was not heard or credentials were not had yet, and nothing has failed.
    Starting,
    /// All is as it should be.
    Healthy,
    /// All works, and this many warnings are to be read.
    Warned(usize),
    /// It runs, and these things do not work.
    Degraded(Vec<String>),
}

impl Condition {
    /// What `report` amounts to.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        let problems: Vec<String> = problems(report).into_iter().map(|problem| problem.problem).collect();
        if !problems.is_empty() {
            Self::Degraded(problems)
        } else if report.imds.state == imds::State::Starting
            || report.credentials.iter().any(|role| role.key_id_suffix.is_none())
        {
            Self::Starting
        } else {
            match report.warnings.len() {
                0 => Self::Healthy,
                warnings => Self::Warned(warnings),
            }
        }
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Healthy => f.write_str("healthy"),
            Self::Warned(1) => f.write_str("healthy, 1 warning"),
            Self::Warned(warnings) => write!(f, "healthy, {warnings} warnings"),
            Self::Degraded(problems) => write!(f, "degraded: {}", problems.join(", ")),
        }
    }
}

/// Condition, instance and ledger on one line.
#[must_use]
pub fn headline(report: &Report) -> String {
    let events = &report.logs.ledger.events;
    let mut parts = vec![Condition::of(report).to_string()];
    parts.extend(report.instance.instance_id.clone());
    parts.push(format!(
        "{} delivered, {} pending, {} dropped",
        count(events.delivered),
        count(events.pending),
        count(events.dropped.values().sum())
    ));
    parts.join("; ")
}

fn configuration(report: &Report) -> Option<Problem> {
    let error = report.config.error.as_ref()?;
    let warning = report.warnings.iter().find(|warning| warning.code == "config_not_in_use");
    let hint = warning.and_then(|warning| warning.hint.clone());
    Some(Problem { problem: "the configuration file is not in use".to_owned(), message: Some(error.clone()), hint })
}

fn imds(report: &Report) -> Option<Problem> {
    use imds::State::{Running, Starting};
    let is_well = matches!(report.imds.state, Running | Starting);
    (!is_well).then(|| Problem::new(format!("IMDS {}", word(&report.imds.state)), report.imds.last_error.as_ref()))
}

fn credentials(report: &Report) -> Option<Problem> {
    use credentials::State::{Expired, Stale};
    let is_bad = |role: &&credentials::Snapshot| {
        matches!(role.state, Stale | Expired) || (role.key_id_suffix.is_none() && role.last_error.is_some())
    };
    let mut bad = report.credentials.iter().filter(is_bad);
    let first = bad.next()?;
    // Without base credentials no role has any, which need not be said of each.
    let is_base = report.credentials.first().is_some_and(|base| std::ptr::eq(base, first));
    let what = if is_base { "credentials".to_owned() } else { format!("role {}", first.role) };
    let others = if is_base { 0 } else { bad.count() };
    let others = if others == 0 { String::new() } else { format!(" and {others} more") };
    Some(Problem::new(format!("{what}{others} {}", word(&first.state)), first.last_error.as_ref()))
}

fn sources(report: &Report) -> impl Iterator<Item = Problem> {
    let states = [SourceState::Failed, SourceState::Waiting];
    states.into_iter().filter_map(|state| {
        let of_state = report.logs.sources.iter().filter(|source| source.state == state);
        counted(of_state.map(|source| source.last_error.as_deref()), "source", &word(&state))
    })
}

fn destinations(report: &Report) -> impl Iterator<Item = Problem> {
    use DestinationState::{BackingOff, Denied, NoCredentials, Throttled, Unreachable};
    [Denied, Unreachable, NoCredentials, Throttled, BackingOff].into_iter().filter_map(|state| {
        let of_state = report.logs.destinations.iter().filter(|to| to.state == state);
        counted(of_state.map(|to| to.last_error.as_deref()), "destination", &word(&state))
    })
}

/// Each kind of warning that degrades, with the first of it.
fn warnings(report: &Report) -> impl Iterator<Item = Problem> {
    // Before IMDS was heard the region is not known, which is how it starts.
    let is_starting = report.imds.state == imds::State::Starting;
    DEGRADING.into_iter().filter(move |(code, _)| !(is_starting && *code == "region_unknown")).filter_map(
        |(code, words)| {
            let warning = report.warnings.iter().find(|warning| warning.code == code)?;
            Some(Problem {
                problem: words.to_owned(),
                message: Some(warning.message.clone()),
                hint: warning.hint.clone(),
            })
        },
    )
}

fn counted<'r>(mut faults: impl Iterator<Item = Option<&'r Fault>>, thing: &str, state: &str) -> Option<Problem> {
    let first = faults.next()?;
    let what = match 1 + faults.count() {
        1 => format!("1 {thing} {state}"),
        n => format!("{n} {thing}s {state}"),
    };
    Some(Problem::new(what, first))
}

/// A state's word as a person reads it; the same as in the JSON.
#[must_use]
pub fn word(state: &impl Serialize) -> String {
    match serde_json::to_value(state) {
        Ok(serde_json::Value::String(word)) => word.replace('_', " "),
        _ => "unknown".to_owned(),
    }
}

/// `1234567` as `1,234,567`.
#[must_use]
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::sample;
    use super::*;

    fn healthy() -> Report {
        let mut report = sample();
        report.logs.sources.truncate(1);
        report.logs.destinations.clear();
        report.warnings.clear();
        report
    }

    #[test]
    fn a_warning_is_counted_and_one_of_what_does_not_work_degrades() {
        let mut report = healthy();
        report.warnings = sample().warnings;
        assert_eq!(Condition::of(&report).to_string(), "healthy, 1 warning");
        let of = |code: &str| crate::fault::Warning { code: code.to_owned(), message: String::new(), hint: None };
        report.warnings.extend([of("too_many_files"), of("region_unknown")]);
        assert_eq!(Condition::of(&report).to_string(), "degraded: region unknown, too many files");
        report.imds.state = imds::State::Starting;
        assert_eq!(Condition::of(&report).to_string(), "degraded: too many files");
    }

    #[test]
    fn every_warning_that_degrades_is_one_that_we_give() {
        let house = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut open = vec![house];
        let mut text = String::new();
        while let Some(path) = open.pop() {
            if path.is_dir() {
                open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else if !path.ends_with("status/headline.rs") {
                text.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
        for (code, _) in DEGRADING {
            assert!(text.contains(&format!("\"{code}\"")), "nothing warns of {code}");
        }
    }

    #[test]
    fn a_daemon_with_nothing_wrong_is_healthy() {
        let expected = "healthy; i-0123456789abcdef0; 999,880 delivered, 100 pending, 20 dropped";
        assert_eq!(headline(&healthy()), expected);
    }

    #[test]
    fn all_that_is_wrong_is_named() {
        let mut report = sample();
        report.imds.state = imds::State::NotImds;
        report.credentials[0].state = credentials::State::Stale;
        let expected = "degraded: IMDS not imds, credentials stale, 1 source failed, 1 destination denied";
        assert_eq!(Condition::of(&report).to_string(), expected);
    }

    #[test]
    fn a_role_in_trouble_is_named_unless_the_base_is() {
        let mut report = healthy();
        let denied = credentials::Snapshot {
            role: "app".to_owned(),
            last_error: sample().logs.sources[1].last_error.as_deref().cloned(),
            ..credentials::Snapshot::default()
        };
        report.credentials.extend([denied.clone(), credentials::Snapshot { role: "web".to_owned(), ..denied }]);
        let degraded = |what: &str| Condition::Degraded(vec![what.to_owned()]);
        assert_eq!(Condition::of(&report), degraded("role app and 1 more absent"));
        report.credentials[0].state = credentials::State::Expired;
        assert_eq!(Condition::of(&report), degraded("credentials expired"));
    }

    #[test]
    fn before_imds_was_heard_it_is_starting_and_with_an_error_it_is_degraded() {
        let mut report = healthy();
        report.credentials[0] = credentials::Snapshot::default();
        report.imds = imds::Snapshot::default();
        assert_eq!(Condition::of(&report), Condition::Starting);
        report.credentials[0].last_error = sample().logs.sources[1].last_error.as_deref().cloned();
        assert_eq!(Condition::of(&report), Condition::Degraded(vec!["credentials absent".to_owned()]));
    }

    #[test]
    fn large_numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1_000, 12_345_678].map(count), ["0", "999", "1,000", "12,345,678"]);
    }
}

//! The course of a visit: a check begins as soon as those it needs are over, side by side with all others; one that has
//! no point is skipped, one that hangs or panics is told and the rest goes on. Not what is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::check::{Check, Found, Host};
use super::diagnosis::Checked;
use super::facts::Facts;
use super::{Diagnosis, Finding, Ground, Outcome};
use crate::doctor::CHECKS;

/// The longest that one check takes. A whole visit is over within 10 s: the longest chain of checks that all hang until
/// they are cut off is two long, since what needs one that was cut off is skipped.
const LONGEST: Duration = Duration::from_secs(4);

/// What a person who waits is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Checks that are over.
    pub done: usize,
    /// All checks of this visit.
    pub all: usize,
    /// Those under way.
    pub under_way: Vec<&'static str>,
}

/// `--only` named what is no check.
#[derive(Debug, thiserror::Error)]
#[error("there is no check called {name}; there are: {}", known.join(", "))]
pub struct UnknownCheck {
    /// What was named.
    pub name: String,
    /// The checks there are.
    pub known: Vec<&'static str>,
}

/// Makes the checks called `only` and those they need, or all if none is named; tells `progress` how far it is.
///
/// # Errors
/// When a name is no check's.
pub async fn visit(ground: Ground, only: &[String], progress: impl FnMut(&Step)) -> Result<Diagnosis, UnknownCheck> {
    Ok(Course::new(CHECKS, only)?.run(ground, progress).await)
}

/// A visit under way.
struct Course<'a> {
    checks: Vec<&'a Check>,
    /// Those whose findings are shown whatever they are.
    asked_for: BTreeSet<&'static str>,
    /// Whether what needs the check has a point, for each that is over.
    over: BTreeMap<&'static str, bool>,
    under_way: BTreeSet<&'static str>,
    findings: BTreeMap<&'static str, Vec<Finding>>,
}

impl<'a> Course<'a> {
    fn new(checks: &'a [Check], only: &[String]) -> Result<Self, UnknownCheck> {
        let known = || checks.iter().map(|check| check.name).collect();
        let find = |name: &str| checks.iter().find(|check| check.name == name);
        let mut asked_for = BTreeSet::new();
        for name in only {
            let check = find(name).ok_or_else(|| UnknownCheck { name: name.clone(), known: known() })?;
            asked_for.insert(check.name);
        }
        if only.is_empty() {
            asked_for.extend(checks.iter().map(|check| check.name));
        }
        let mut wanted = asked_for.clone();
        // What stands below needs only what stands above.
        for check in checks.iter().rev().filter(|check| asked_for.contains(check.name) || !only.is_empty()) {
            if wanted.contains(check.name) {
                wanted.extend(check.needs.iter().chain(check.after));
            }
        }
        let checks = checks.iter().filter(|check| wanted.contains(check.name)).collect();
        let (over, under_way, findings) = Default::default();
        Ok(Self { checks, asked_for, over, under_way, findings })
    }

    async fn run(mut self, ground: Ground, mut progress: impl FnMut(&Step)) -> Diagnosis {
        let begun = Instant::now();
        let host = Arc::new(Host { ground, facts: Facts::default() });
        let mut looks = JoinSet::new();
        let mut names = BTreeMap::new();
        loop {
            for check in self.ready() {
                let look = timeout(LONGEST, (check.look)(host.clone()));
                self.under_way.insert(check.name);
                names.insert(looks.spawn(look).id(), check.name);
            }
            progress(&self.step());
            match looks.join_next_with_id().await {
                Some(Ok((id, look))) => self.end(names[&id], look.unwrap_or_else(|_| took_too_long())),
                Some(Err(error)) => self.end(names[&error.id()], panicked()),
                None => break,
            }
        }
        self.diagnosis(begun.elapsed())
    }

    /// The checks that can begin now; what has no point is over at once.
    fn ready(&mut self) -> Vec<&'a Check> {
        let mut ready = Vec::new();
        for check in self.checks.clone() {
            let is_new = !self.over.contains_key(check.name) && !self.under_way.contains(check.name);
            let is_over = |name: &&'static str| self.over.contains_key(name);
            if !is_new || !check.needs.iter().chain(check.after).all(|name| is_over(&name)) {
                continue;
            }
            match check.needs.iter().find(|name| !self.over[*name]) {
                Some(stopper) => self.skip(check.name, stopper),
                None => ready.push(check),
            }
        }
        ready
    }

    fn skip(&mut self, name: &'static str, stopper: &str) {
        let finding = Finding::skipped(format!("not looked at: it has no point before {stopper} is well"));
        self.end(name, Found::stop(finding));
    }

    fn end(&mut self, name: &'static str, found: Found) {
        self.under_way.remove(name);
        self.over.insert(name, found.goes_on);
        self.findings.insert(name, found.findings);
    }

    fn step(&self) -> Step {
        Step { done: self.over.len(), all: self.checks.len(), under_way: self.under_way.iter().copied().collect() }
    }

    /// What was asked for, and of what that needed what explains it.
    fn diagnosis(mut self, took: Duration) -> Diagnosis {
        let mut all = Vec::new();
        for check in &self.checks {
            let findings = self.findings.remove(check.name).unwrap_or_default();
            let explains = |outcome: Outcome| outcome > Outcome::Note || self.over.get(check.name) == Some(&false);
            let is_shown = |finding: &Finding| self.asked_for.contains(check.name) || explains(finding.outcome);
            all.extend(findings.into_iter().filter(is_shown).map(|finding| Checked {
                check: check.name.to_owned(),
                title: check.title.to_owned(),
                finding,
            }));
        }
        Diagnosis::new(all, took)
    }
}

fn took_too_long() -> Found {
    Found::stop(Finding::unseen(format!("it took longer than {} s and was given up", LONGEST.as_secs())))
}

fn panicked() -> Found {
    let finding = Finding::unseen("the check itself failed: this is a bug in imds-agent");
    Found::stop(finding.cure("report it with what stands above this on stderr"))
}

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
        for check in checks.iter().rev() {
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
            let is_over = |name: &&str| self.over.contains_key(*name);
            if !is_new || !check.needs.iter().chain(check.after).all(is_over) {
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

#[cfg(test)]
mod tests {
    use super::super::check::look;
    use super::*;
    use crate::clock::Clock;

    fn ground() -> Ground {
        Ground {
            config_path: None,
            config: Ok(crate::config::Loaded {
                config: crate::config::Config::default(),
                files: Vec::new(),
                attachments: Vec::new(),
            }),
            imds: crate::imds::Environment::switched_off(),
            credentials: crate::credentials::Environment::default(),
            aws: crate::aws::Environment::default(),
            region: None,
            state_dir: "/nowhere".into(),
            runtime_dir: "/nowhere".into(),
            clock: Clock::system(),
            since: Duration::from_hours(1),
            of_service: Vec::new(),
        }
    }

    const fn check(
        name: &'static str,
        needs: &'static [&'static str],
        look: fn(Arc<Host>) -> crate::doctor::visit::check::Looking,
    ) -> Check {
        Check { name, title: "it is well", needs, after: &[], look }
    }

    const WELL: fn(Arc<Host>) -> crate::doctor::visit::check::Looking = |_| look(async { Finding::ok("well").into() });

    async fn run(checks: &[Check], only: &[&str]) -> (Vec<(String, Outcome)>, Vec<Step>) {
        let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
        let mut steps = Vec::new();
        let course = Course::new(checks, &only).expect("known checks");
        let diagnosis = course.run(ground(), |step| steps.push(step.clone())).await;
        let found = diagnosis.findings.into_iter().map(|checked| (checked.check, checked.finding.outcome)).collect();
        (found, steps)
    }

    fn names(found: &[(String, Outcome)]) -> Vec<(&str, Outcome)> {
        found.iter().map(|(name, outcome)| (name.as_str(), *outcome)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn findings_come_in_the_order_of_the_checks_whichever_is_over_first() {
        const SLOW: Check = check("slow", &[], |_| {
            look(async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Finding::note("slow").into()
            })
        });
        let (found, steps) = run(&[SLOW, check("quick", &[], WELL)], &[]).await;
        assert_eq!(names(&found), [("slow", Outcome::Note), ("quick", Outcome::Ok)]);
        let progress: Vec<(usize, usize)> = steps.iter().map(|step| (step.done, step.all)).collect();
        assert_eq!(progress, [(0, 2), (1, 2), (2, 2)]);
        assert_eq!(steps[0].under_way, ["quick", "slow"], "side by side");
    }

    #[tokio::test(start_paused = true)]
    async fn what_needs_a_check_that_found_a_fault_is_skipped_and_so_is_what_needs_that() {
        const BROKEN: Check = check("broken", &[], |_| look(async { Finding::fault("broken").into() }));
        let checks = [BROKEN, check("second", &["broken"], WELL), check("third", &["second"], WELL)];
        let (found, _) = run(&checks, &[]).await;
        let expected = [("broken", Outcome::Fault), ("second", Outcome::Skipped), ("third", Outcome::Skipped)];
        assert_eq!(names(&found), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_warning_stops_nothing_and_a_note_may() {
        const WARNS: Check = check("warns", &[], |_| look(async { Finding::warning("hm").into() }));
        const STOPS: Check = check("stops", &[], |_| look(async { Found::stop(Finding::note("none here")) }));
        let checks = [WARNS, STOPS, check("one", &["warns"], WELL), check("two", &["stops"], WELL)];
        let (found, _) = run(&checks, &["one", "two"]).await;
        let expected =
            [("warns", Outcome::Warning), ("stops", Outcome::Note), ("one", Outcome::Ok), ("two", Outcome::Skipped)];
        assert_eq!(names(&found), expected, "what explains the rest is shown too");
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_was_asked_for_is_shown_and_what_it_needs_is_made() {
        let checks = [check("base", &[], WELL), check("other", &[], WELL), check("top", &["base"], WELL)];
        let (found, steps) = run(&checks, &["top"]).await;
        assert_eq!((names(&found), steps[0].all), (vec![("top", Outcome::Ok)], 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_is_given_up_and_the_rest_goes_on() {
        const HANGS: Check = check("hangs", &[], |_| look(std::future::pending()));
        let begun = Instant::now();
        let (found, _) = run(&[HANGS, check("needs-it", &["hangs"], WELL), check("well", &[], WELL)], &[]).await;
        let expected = [("hangs", Outcome::Unseen), ("needs-it", Outcome::Skipped), ("well", Outcome::Ok)];
        assert_eq!(names(&found), expected);
        assert_eq!(begun.elapsed(), LONGEST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_panics_is_told_and_the_rest_goes_on() {
        const PANICS: Check = check("panics", &[], |_| look(async { panic!("a bug, in a test") }));
        let (found, _) = run(&[PANICS, check("needs-it", &["panics"], WELL), check("well", &[], WELL)], &[]).await;
        let expected = [("panics", Outcome::Unseen), ("needs-it", Outcome::Skipped), ("well", Outcome::Ok)];
        assert_eq!(names(&found), expected);
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_those_there_are() {
        let checks = [check("one", &[], WELL), check("two", &[], WELL)];
        let error = Course::new(&checks, &["three".to_owned()]).err().expect("an error").to_string();
        assert_eq!(error, "there is no check called three; there are: one, two");
    }

    #[test]
    fn every_check_needs_only_what_stands_above_it() {
        for (index, check) in CHECKS.iter().enumerate() {
            let above: Vec<&str> = CHECKS[..index].iter().map(|check| check.name).collect();
            for needed in check.needs.iter().chain(check.after) {
                assert!(above.contains(needed), "{} needs {needed}, which does not stand above it", check.name);
            }
        }
    }

    #[test]
    fn no_two_checks_have_one_name() {
        let names: BTreeSet<&str> = CHECKS.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), CHECKS.len());
    }
}

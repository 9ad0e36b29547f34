//! Which log groups are to be compared with what was asked for, and when: once, after the first batch that a group that
//! existed before accepted; again a minute after a failure. Pure. Not the calls (`creation`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::logs::GroupSettings;
use crate::logs::sink::{Failure, Kind};

/// What only a person cures is tried again so often, as with a denied put.
const TRIED_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// Nothing is known to be there yet.
    NotYet,
    /// To be compared at this time, by the boot-time clock.
    Due(Duration),
    /// Being compared, or done.
    Done,
}

#[derive(Debug)]
struct Group {
    settings: GroupSettings,
    check: Check,
    /// What is wrong with it, and the cure.
    problem: Option<(String, String)>,
}

/// The groups that something goes to.
#[derive(Debug, Default)]
pub(super) struct Groups {
    all: BTreeMap<Arc<str>, Group>,
}

impl Groups {
    /// Something goes to `name`, which is to be like `settings`. Where tables differ, the one that came first counts.
    pub(super) fn want(&mut self, name: &Arc<str>, settings: &GroupSettings) {
        self.all.entry(name.clone()).or_insert_with(|| Group {
            settings: settings.clone(),
            check: Check::NotYet,
            problem: None,
        });
    }

    /// Another configuration wants these. One that is to be otherwise than before is compared again; where tables differ,
    /// the one that comes first counts.
    pub(super) fn change(&mut self, wanted: Vec<(Arc<str>, GroupSettings)>, now: Duration) {
        let mut seen = BTreeSet::new();
        for (name, settings) in wanted {
            if !seen.insert(name.clone()) {
                continue;
            }
            self.want(&name, &settings);
            let Some(group) = self.all.get_mut(&name).filter(|group| group.settings != settings) else { continue };
            group.check = match group.check {
                Check::NotYet => Check::NotYet,
                Check::Due(_) | Check::Done if settings.asks_for_something() => Check::Due(now),
                Check::Due(_) | Check::Done => Check::Done,
            };
            (group.settings, group.problem) = (settings, None);
        }
    }

    /// Everything goes to another account or region: nothing is known of the groups there.
    pub(super) fn begin_anew(&mut self) {
        for group in self.all.values_mut() {
            (group.check, group.problem) = (Check::NotYet, None);
        }
    }

    /// How a missing group is to be made.
    pub(super) fn settings(&self, name: &str) -> GroupSettings {
        self.all.get(name).map(|group| group.settings.clone()).unwrap_or_default()
    }

    /// The group took a batch: it exists.
    pub(super) fn exists(&mut self, name: &str, now: Duration) {
        if let Some(group) = self.all.get_mut(name)
            && group.check == Check::NotYet
        {
            group.check = if group.settings.asks_for_something() { Check::Due(now) } else { Check::Done };
        }
    }

    /// We made it: it is as it was asked for, but for the retention if that `failed`.
    pub(super) fn made(&mut self, name: &str, failed: Option<&Failure>, now: Duration) {
        if let Some(group) = self.all.get_mut(name) {
            group.check = Check::Done;
        }
        if let Some(failure) = failed {
            self.compared(name, Err(failure), now);
        }
    }

    /// A group was compared: what differs and can't be changed, or why that is not known.
    pub(super) fn compared(&mut self, name: &str, result: Result<Option<&str>, &Failure>, now: Duration) {
        let Some(group) = self.all.get_mut(name) else { return };
        group.problem = match result {
            Ok(None) => None,
            Ok(Some(difference)) => Some((
                format!("the log group '{name}' is not as the configuration says: {difference}"),
                "class and key are fixed when a group is made: change the configuration, or use another group"
                    .to_owned(),
            )),
            // Five retentions a second are all that an account may set: it is the next ones' turn, and nobody's fault.
            Err(failure) if failure.kind == Kind::Throttled => {
                group.check = Check::Due(now + TRIED_AGAIN_AFTER);
                return;
            }
            Err(failure) => {
                group.check = Check::Due(now + TRIED_AGAIN_AFTER);
                let hint = failure.hint.clone().unwrap_or_else(|| "it is tried again each minute".to_owned());
                Some((format!("the log group '{name}' could not be brought in line: {failure}"), hint))
            }
        };
    }

    /// The groups that are to be compared now.
    pub(super) fn take_due(&mut self, now: Duration) -> Vec<(Arc<str>, GroupSettings)> {
        let due = |group: &&mut Group| matches!(group.check, Check::Due(at) if at <= now);
        let mut taken = Vec::new();
        for (name, group) in &mut self.all {
            if let Some(group) = Some(group).filter(due) {
                group.check = Check::Done;
                taken.push((name.clone(), group.settings.clone()));
            }
        }
        taken
    }

    /// When the next one is due.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        let due = self.all.values().filter_map(|group| match group.check {
            Check::Due(at) => Some(at),
            Check::NotYet | Check::Done => None,
        });
        due.min()
    }

    /// What is wrong with the first of them, how many more there are, and the cure.
    pub(super) fn problem(&self) -> Option<(String, String)> {
        let mut problems = self.all.values().filter_map(|group| group.problem.as_ref());
        let (message, hint) = problems.next()?.clone();
        match problems.count() {
            0 => Some((message, hint)),
            more => Some((format!("{message} (and {more} more)"), hint)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    fn days(days: u16) -> GroupSettings {
        GroupSettings { retention_in_days: Some(days), ..GroupSettings::default() }
    }

    fn names(due: &[(Arc<str>, GroupSettings)]) -> Vec<&str> {
        due.iter().map(|(name, _)| &**name).collect()
    }

    #[test]
    fn a_group_is_compared_once_and_only_when_it_is_known_to_exist_and_something_was_asked_for() {
        let mut groups = Groups::default();
        groups.want(&"a".into(), &days(14));
        groups.want(&"b".into(), &GroupSettings::default());
        assert_eq!(names(&groups.take_due(NOW)), [""; 0]);
        groups.exists("a", NOW);
        groups.exists("b", NOW);
        assert_eq!(names(&groups.take_due(NOW)), ["a"]);
        groups.exists("a", NOW);
        assert_eq!((names(&groups.take_due(NOW)), groups.wake_at()), (Vec::new(), None));
    }

    #[test]
    fn one_that_we_made_is_not_compared_unless_its_retention_could_not_be_set() {
        let mut groups = Groups::default();
        groups.want(&"a".into(), &days(14));
        groups.made("a", None, NOW);
        groups.exists("a", NOW);
        assert_eq!(groups.wake_at(), None);
        let throttled = Failure { kind: Kind::Throttled, message: "rate".into(), hint: None, retry_after: None };
        groups.made("a", Some(&throttled), NOW);
        assert_eq!((groups.wake_at(), groups.problem()), (Some(NOW + TRIED_AGAIN_AFTER), None), "it passes by itself");
        let denied = Failure { kind: Kind::Denied, message: "denied".into(), hint: None, retry_after: None };
        groups.made("a", Some(&denied), NOW);
        assert_eq!(groups.wake_at(), Some(NOW + TRIED_AGAIN_AFTER));
        assert!(groups.problem().expect("said").0.contains("denied"));
        groups.compared("a", Ok(None), NOW);
        assert_eq!(groups.problem(), None);
    }
}

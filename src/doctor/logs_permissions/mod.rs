//! Whether CloudWatch Logs lets us do what the configuration asks for, group by group, by the names that policies see.
//! Every question is one whose answer changes nothing: an event for a stream that is not there, a stream or a group that
//! is there already, the retention that a group has. What can't be asked so is not asked, and that is said.

mod ask;
mod wanted;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

pub(super) use self::ask::{Asker, Shown};
pub(super) use self::wanted::{Groups, Wanted};
use super::refused::softened;
use super::region::partition;
use super::visit::{Check, Finding, Found, Host, look};
use super::{Outcome, names};
use crate::logs::DestinationSnapshot;

pub(super) const CHECK: Check = Check {
    name: "logs-permissions",
    title: "the role may do with CloudWatch Logs what the configuration asks for",
    needs: &["credentials", "logs-reach"],
    after: &["configuration", "daemon", "imds-identity", "sts-identity"],
    look: |host| look(check(host)),
};

/// Less than a check has, so that what is not done by then is told by name.
const PATIENCE: Duration = Duration::from_millis(3700);

/// So many groups are looked at: at five calls each that is well below the account's quotas, and a configuration that has
/// more of them gives the same rights to all.
const MOST_GROUPS: usize = 12;

async fn check(host: Arc<Host>) -> Found {
    let Some(asker) = asker(&host) else {
        return Finding::unseen("there is nothing to sign a request with").into();
    };
    let groups = groups(&host).await;
    if groups.known.is_empty() && groups.unknown.is_empty() {
        return Finding::ok("nothing is shipped").into();
    }
    let deadline = Instant::now() + PATIENCE;
    let mut looks = JoinSet::new();
    let more = groups.known.len().saturating_sub(MOST_GROUPS);
    for (index, wanted) in groups.known.into_iter().take(MOST_GROUPS).enumerate() {
        let running = running(&host, &wanted.group);
        let asker = asker.clone();
        looks.spawn(async move {
            let look = Look { asker: &asker, wanted: &wanted, running: &running };
            let late = || {
                vec![
                    Finding::unseen(format!("CloudWatch Logs was too slow to tell of {}", wanted.group))
                        .about(&wanted.group),
                ]
            };
            (index, timeout_at(deadline, look.findings()).await.unwrap_or_else(|_| late()))
        });
    }
    let mut findings = Vec::new();
    while let Some(Ok(looked)) = looks.join_next().await {
        findings.push(looked);
    }
    findings.sort_by_key(|(index, _)| *index);
    let mut findings: Vec<Finding> = findings.into_iter().flat_map(|(_, findings)| findings).collect();
    findings.extend(groups.unknown.into_iter().map(|(template, missing)| {
        let missing: Vec<String> = missing.iter().map(|name| format!("{{{name}}}")).collect();
        let missing = missing.join(", ");
        let summary = format!("the name of the log group {template} depends on {missing}: it can't be asked about now");
        Finding::note(summary).about(template)
    }));
    if more > 0 {
        findings.push(Finding::note(format!("another {more} log groups were not looked at")));
    }
    let denied = findings.iter().filter(|finding| finding.outcome == Outcome::Fault);
    let _ = host.facts.denied_groups.set(denied.filter_map(|finding| finding.subject.clone()).collect());
    Found::all(findings)
}

/// How to ask, if there is something to sign with.
pub(super) fn asker(host: &Host) -> Option<Asker> {
    let sdk = host.facts.sdk.get()?;
    let region = host.facts.region.get()?;
    let of_caller = host.facts.caller.get().and_then(|arn| arn.split(':').nth(4));
    let of_instance = host.facts.identity.get().map(|identity| identity.account_id.as_str());
    let account = of_caller.or(of_instance).filter(|account| !account.is_empty()).unwrap_or("*");
    let stem = format!("arn:{}:logs:{region}:{account}", partition(region));
    Some(Asker { client: aws_sdk_cloudwatchlogs::Client::new(sdk), stem })
}

/// The groups that the configuration writes to.
pub(super) async fn groups(host: &Host) -> Groups {
    let settings = host.config().logs;
    let templates = settings.targets().flat_map(|target| [&target.log_group, &target.log_stream]);
    let mut names = names::known(host, templates).await;
    // As the daemon does it: the day of the event, in UTC.
    names.insert("date", host.ground.clock.now().strftime("%Y-%m-%d").to_string());
    let running = host.facts.report.get().map(|report| report.logs.destinations.as_slice()).unwrap_or_default();
    Groups::of(&settings, &names, running)
}

/// What the daemon says of its streams in `group`.
pub(super) fn running(host: &Host, group: &str) -> Vec<DestinationSnapshot> {
    let all = host.facts.report.get().map(|report| report.logs.destinations.as_slice()).unwrap_or_default();
    all.iter().filter(|destination| &*destination.log_group == group).cloned().collect()
}

/// A look at one group.
struct Look<'a> {
    asker: &'a Asker,
    wanted: &'a Wanted,
    running: &'a [DestinationSnapshot],
}

/// What has been found out so far.
#[derive(Default)]
struct Seen {
    findings: Vec<Finding>,
    allowed: Vec<&'static str>,
    unasked: Vec<String>,
}

impl Seen {
    fn allows(&mut self, action: &'static str) {
        self.allowed.push(action);
    }
}

impl Look<'_> {
    async fn findings(&self) -> Vec<Finding> {
        let group = self.wanted.group.as_str();
        let mut seen = Seen::default();
        let put = self.asker.put(group, &self.wanted.missing_stream(fastrand::u64(..))).await;
        let exists = match &put {
            Shown::Allowed => Some(true),
            Shown::NoGroup => Some(false),
            Shown::Absent | Shown::Failed(_) => None,
        };
        match &put {
            Shown::Allowed | Shown::NoGroup | Shown::Absent => seen.allows("PutLogEvents"),
            Shown::Failed(failure) => {
                let what = format!("events can't be put into the log group {group}");
                seen.findings.push(self.asker.finding("PutLogEvents", group, failure, &what));
            }
        }
        let exists = self.retention(exists, &mut seen).await;
        let stream = self.stream(exists);
        let made = self.group(exists);
        let (stream, made) = tokio::join!(stream, made);
        for (action, shown, what) in [
            ("CreateLogStream", stream, format!("log streams can't be created in the log group {group}")),
            ("CreateLogGroup", made, format!("the log group {group} could not be created if it were not there")),
        ] {
            match shown {
                Ok(Shown::Allowed | Shown::NoGroup | Shown::Absent) => seen.allows(action),
                Ok(Shown::Failed(failure)) => {
                    let finding = self.asker.finding(action, group, &failure, &what);
                    // What is there need not be created.
                    let is_moot = action == "CreateLogGroup";
                    let moot = "nothing fails for now, since the group is there";
                    seen.findings.push(if is_moot { softened(finding, moot) } else { finding });
                }
                Err(why) => seen.unasked.push(format!("{action} was not tried: {why}")),
            }
        }
        self.summed(exists, seen)
    }

    /// Looks at the group, if the daemon would, and at whether its retention may be set; returns whether it exists.
    async fn retention(&self, exists: Option<bool>, seen: &mut Seen) -> Option<bool> {
        let (group, settings) = (self.wanted.group.as_str(), &self.wanted.settings);
        if !settings.asks_for_something() {
            return exists;
        }
        let found = match self.asker.describe(group).await {
            Ok(found) => {
                seen.allows("DescribeLogGroups");
                found
            }
            Err(failure) => {
                let what = format!("what the log group {group} is like can't be seen, so its retention is not set");
                seen.findings.push(self.asker.finding("DescribeLogGroups", group, &failure, &what));
                return exists;
            }
        };
        let Some(wanted) = settings.retention_in_days else { return Some(found.is_some()) };
        let current = found.as_ref().map(aws_sdk_cloudwatchlogs::types::LogGroup::retention_in_days);
        let days = match current {
            // A group that is not there has none to be changed.
            None => Some(wanted),
            Some(current) => current.and_then(|days| u16::try_from(days).ok()),
        };
        match days {
            Some(days) => match self.asker.set_retention(group, days).await {
                Shown::Allowed | Shown::NoGroup | Shown::Absent => seen.allows("PutRetentionPolicy"),
                Shown::Failed(failure) => {
                    let what = format!("the retention of the log group {group} can't be set to {wanted} days");
                    let finding = self.asker.finding("PutRetentionPolicy", group, &failure, &what);
                    let is_moot = found.is_some() && days == wanted;
                    let moot = "nothing fails for now, since that is the retention it has";
                    seen.findings.push(if is_moot { softened(finding, moot) } else { finding });
                }
            },
            None => seen.unasked.push(
                "PutRetentionPolicy was not tried: the group keeps events for ever, and trying would change that"
                    .to_owned(),
            ),
        }
        Some(found.is_some())
    }

    /// Whether streams may be created.
    async fn stream(&self, exists: Option<bool>) -> Result<Shown, &'static str> {
        let group = self.wanted.group.as_str();
        let ours = self.running.iter().find(|stream| stream.delivered_until.is_some());
        let stream = ours.map(|stream| stream.log_stream.to_string()).or_else(|| self.wanted.streams.first().cloned());
        let Some(stream) = stream else { return Err("streams are named by their sources, and none is there yet") };
        let is_safe = match exists {
            None => return Err("it is not known whether the group exists"),
            // Nothing can be created in what is not there.
            Some(false) => true,
            Some(true) => ours.is_some() || self.asker.has_stream(group, &stream).await == Some(true),
        };
        if is_safe { Ok(self.asker.create_stream(group, &stream).await) } else { Err("that might create the stream") }
    }

    /// Whether the group might be created.
    async fn group(&self, exists: Option<bool>) -> Result<Shown, &'static str> {
        match exists {
            Some(true) => Ok(self.asker.create_group(&self.wanted.group).await),
            Some(false) => Err("that would create the group"),
            None => Err("it is not known whether the group exists"),
        }
    }

    fn summed(&self, exists: Option<bool>, seen: Seen) -> Vec<Finding> {
        let Seen { mut findings, allowed, unasked } = seen;
        let has_fault = findings.iter().any(|finding| finding.outcome == Outcome::Fault);
        let evidence = |text: String| if unasked.is_empty() { text } else { format!("{text}; {}", unasked.join("; ")) };
        let allowed = evidence(format!("allowed: {}", allowed.join(", ")));
        let about = &self.wanted.group;
        if exists == Some(false) && !has_fault {
            let note = Finding::note(format!(
                "the log group {about} does not exist yet: the daemon creates it with the first line"
            ));
            findings.insert(0, note.evidence(allowed).about(about));
        } else if !has_fault {
            findings.insert(
                0,
                Finding::ok(format!("what the configuration needs of the log group {about} is allowed"))
                    .evidence(allowed)
                    .about(about),
            );
        }
        findings
    }
}

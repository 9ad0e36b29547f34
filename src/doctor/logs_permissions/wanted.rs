//! The log groups that the configuration writes to on this host, and what it wants of each. Pure. Not the asking.

use std::collections::{BTreeMap, BTreeSet};

use crate::logs::{DestinationSnapshot, GroupSettings, Settings};
use crate::template::Names;

/// One group, and what is written to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::doctor) struct Wanted {
    pub(in crate::doctor) group: String,
    pub(in crate::doctor) settings: GroupSettings,
    /// The streams whose names are known before a line is read; empty where each name depends on its source.
    pub(super) streams: BTreeSet<String>,
    /// What the names of all streams begin with, as far as that is known.
    pub(super) prefix: String,
}

impl Wanted {
    /// A stream's name that no stream has, and which every policy allows that allows all with a name of this beginning.
    pub(in crate::doctor) fn missing_stream(&self, random: u64) -> String {
        let stem = self.streams.first().unwrap_or(&self.prefix);
        // 512 characters are the most, and 35 are added at most.
        let stem: String = stem.chars().take(477).collect();
        format!("{stem}-imds-agent-doctor-{random:x}")
    }
}

/// Groups that the configuration names, and names of groups that can't be told here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::doctor) struct Groups {
    pub(in crate::doctor) known: Vec<Wanted>,
    /// `{unit}-logs`, and what is missing in it.
    pub(in crate::doctor) unknown: Vec<(String, Vec<String>)>,
}

impl Groups {
    /// All that `settings` write to; `running` is what the daemon writes to, which knows the names that only sources know.
    pub(in crate::doctor) fn of(settings: &Settings, names: &Names, running: &[DestinationSnapshot]) -> Self {
        let mut groups = Self::default();
        let mut known: BTreeMap<String, Wanted> = BTreeMap::new();
        for target in settings.targets() {
            let filled = match target.log_group.fill(names) {
                Ok(group) => vec![group],
                Err(missing) => {
                    let like: BTreeSet<String> = running
                        .iter()
                        .map(|destination| destination.log_group.to_string())
                        .filter(|group| is_filled(group, target.log_group.text()))
                        .collect();
                    if like.is_empty() {
                        groups.unknown.push((target.log_group.text().to_owned(), missing));
                    }
                    like.into_iter().collect()
                }
            };
            for group in filled {
                let wanted = known.entry(group.clone()).or_insert_with(|| Wanted {
                    group,
                    settings: target.group.clone(),
                    streams: BTreeSet::new(),
                    prefix: beginning(target.log_stream.text(), names),
                });
                wanted.streams.extend(target.log_stream.fill(names));
            }
        }
        groups.known = known.into_values().collect();
        groups
    }
}

/// Whether `name` may be what became of `template`: it begins and ends as that does.
fn is_filled(name: &str, template: &str) -> bool {
    let head = template.split('{').next().unwrap_or_default();
    let tail = template.rsplit('}').next().unwrap_or_default();
    name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail)
}

/// `template` up to the first hole that nothing is known for.
fn beginning(template: &str, names: &Names) -> String {
    let mut known = String::new();
    let mut rest = template;
    while let Some((literal, behind)) = rest.split_once('{') {
        known.push_str(literal);
        let Some((hole, behind)) = behind.split_once('}') else { break };
        let Some(value) = names.get(hole.split('|').next().unwrap_or_default()) else { return known };
        known.push_str(value);
        rest = behind;
    }
    known + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::{FileSettings, Target};
    use crate::template::Template;

    fn table(group: &str, stream: &str) -> FileSettings {
        let template = |text| Template::parse(text, &[]).unwrap();
        FileSettings::new(vec!["/var/log/*.log".to_owned()], Target::new(template(group), template(stream)))
    }

    fn names() -> Names {
        [("instance_id".to_owned(), "i-1".to_owned())].into_iter().collect()
    }

    #[test]
    fn tables_with_the_same_group_are_one_and_streams_are_known_as_far_as_they_can_be() {
        let files = vec![table("/app", "{instance_id}"), table("/app", "{instance_id}/{file_name}"), table("/b", "x")];
        let groups = Groups::of(&Settings { files, ..Settings::default() }, &names(), &[]);
        let names: Vec<&str> = groups.known.iter().map(|wanted| wanted.group.as_str()).collect();
        assert_eq!(names, ["/app", "/b"]);
        assert_eq!(groups.known[0].streams, BTreeSet::from(["i-1".to_owned()]));
        assert!(groups.known[0].missing_stream(7).starts_with("i-1-"));
        let files = vec![table("/app", "{instance_id}/{file_name}")];
        let groups = Groups::of(&Settings { files, ..Settings::default() }, &super::tests::names(), &[]);
        assert_eq!(groups.known[0].prefix, "i-1/");
        assert!(groups.known[0].streams.is_empty());
    }

    #[test]
    fn a_group_that_only_its_source_can_name_is_told_as_unknown() {
        let settings = Settings { files: vec![table("/app/{file_name}", "x")], ..Settings::default() };
        let groups = Groups::of(&settings, &names(), &[]);
        assert_eq!(groups.unknown, [("/app/{file_name}".to_owned(), vec!["file_name".to_owned()])]);
    }

    #[test]
    fn a_missing_streams_name_is_never_too_long() {
        let files = vec![table("/app", &"s".repeat(512))];
        let groups = Groups::of(&Settings { files, ..Settings::default() }, &names(), &[]);
        assert!(groups.known[0].missing_stream(u64::MAX).len() <= 512);
    }
}

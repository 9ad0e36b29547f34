//! The keys that say where events go and how what is missing there is made: `[logs]` sets them for all tables of
//! sources, each table for itself.

use std::collections::BTreeMap;

use crate::config::names;
use crate::config::report::{Place, Problem};
use crate::config::table::{Located, Reader};
use crate::config::variables::Variables;
use crate::logs::{GroupSettings, LogClass, RETENTION_DAYS, Target};
use crate::template::{OF_SOURCES, Template};

/// The stream that events go to unless something else is said: there is one writer for it.
const DEFAULT_STREAM: &str = "{instance_id}";

/// What `log_class` can be. AWS has `DELIVERY` too, which keeps events for a day only.
pub(in crate::config) const LOG_CLASSES: [(&str, LogClass); 2] =
    [("STANDARD", LogClass::Standard), ("INFREQUENT_ACCESS", LogClass::InfrequentAccess)];

/// The longest ARN of a key, in characters (`CreateLogGroup` in the API reference, as all limits below).
const LONGEST_KEY_ID: usize = 256;

/// The most tags of a group.
const MOST_TAGS: usize = 50;

/// The longest key of a tag, in characters.
const LONGEST_TAG_KEY: usize = 128;

/// The longest value of a tag, in characters.
const LONGEST_TAG_VALUE: usize = 256;

/// What a table says, and what is known of keys that are wrong: they are set, so nothing is missing.
pub(super) struct Inherited {
    log_group: Option<Located<Template>>,
    group_is_set: bool,
    log_stream: Option<Located<Template>>,
    group: GroupSettings,
}

/// What `table` says itself.
pub(super) fn read(table: &mut Reader<'_>, variables: &Variables) -> Inherited {
    let group_is_set = table.has("log_group");
    let log_group = name(table, "log_group", variables, names::log_group);
    let log_stream = name(table, "log_stream", variables, names::log_stream);
    let group = GroupSettings {
        retention_in_days: retention(table),
        log_class: log_class(table),
        kms_key_id: kms_key(table),
        tags: tags(table),
    };
    Inherited { log_group, group_is_set, log_stream, group }
}

fn name(
    table: &mut Reader<'_>,
    key: &'static str,
    variables: &Variables,
    check: fn(&Reader<'_>, &Located<String>, &Variables) -> Option<Template>,
) -> Option<Located<Template>> {
    let text = table.string(key)?;
    let value = check(table, &text, variables)?;
    Some(Located { value, place: text.place })
}

/// What a table says that inherits nothing.
pub(super) fn read_alone(table: &mut Reader<'_>, variables: &Variables) -> Option<Target> {
    let group = GroupSettings::default();
    let nothing = Inherited { log_group: None, group_is_set: false, log_stream: None, group };
    read_inheriting(table, &nothing, variables, &[])
}

/// What `table` says, filled in with what it inherits; `None` when something is missing or wrong, which is reported.
/// `known` are those of the names in [`OF_SOURCES`] that sources of this kind have.
pub(super) fn read_inheriting(
    table: &mut Reader<'_>,
    inherited: &Inherited,
    variables: &Variables,
    known: &[&str],
) -> Option<Target> {
    let own = read(table, variables);
    if !own.group_is_set && !inherited.group_is_set {
        table.missing("log_group", "set it here, or in [logs] for all sources: `log_group = \"/aws/ec2/app\"`");
    }
    let log_group = choose(table, "log_group", known, own.log_group.as_ref(), inherited.log_group.as_ref());
    let log_stream = choose(table, "log_stream", known, own.log_stream.as_ref(), inherited.log_stream.as_ref());
    Some(Target {
        log_group: log_group?,
        log_stream: log_stream.or_else(|| Template::parse(DEFAULT_STREAM, &[]).ok())?,
        group: GroupSettings {
            retention_in_days: own.group.retention_in_days.or(inherited.group.retention_in_days),
            log_class: own.group.log_class.or(inherited.group.log_class),
            kms_key_id: own.group.kms_key_id.or_else(|| inherited.group.kms_key_id.clone()),
            tags: if own.group.tags.is_empty() { inherited.group.tags.clone() } else { own.group.tags },
        },
    })
}

/// The table's own template, or the one it inherits, if a source of this kind can fill it in.
fn choose(
    table: &Reader<'_>,
    key: &str,
    known: &[&str],
    own: Option<&Located<Template>>,
    inherited: Option<&Located<Template>>,
) -> Option<Template> {
    let template = own.or(inherited)?;
    let unknown = template.value.needed().find(|name| OF_SOURCES.contains(name) && !known.contains(name));
    if let Some(name) = unknown {
        refuse(table, key, name, template.place, own.is_none());
    }
    Some(template.value.clone())
}

fn refuse(table: &Reader<'_>, key: &str, name: &str, place: Place, is_inherited: bool) {
    let header = table.header();
    let problem = if is_inherited {
        let message = format!("{header} inherits `{key}`, which needs {{{name}}}, and has no such thing");
        Problem::new(table.place(), message).also("set", place)
    } else {
        Problem::new(place, format!("`{key}`: {header} has no {{{name}}}"))
    };
    table.report().add(problem.hint(format!("set another `{key}` here, or give it a fallback: {{{name}|none}}")));
}

fn retention(table: &mut Reader<'_>) -> Option<u16> {
    let days = table.integer("retention_in_days")?;
    let known = RETENTION_DAYS.into_iter().find(|known| i64::from(*known) == days.value);
    if known.is_none() {
        let listed: Vec<String> = RETENTION_DAYS.iter().map(u16::to_string).collect();
        let message = format!("`retention_in_days` can't be {}; CloudWatch accepts {}", days.value, listed.join(", "));
        table.report().add(Problem::new(days.place, message));
    }
    known
}

fn log_class(table: &mut Reader<'_>) -> Option<LogClass> {
    table.choice("log_class", &LOG_CLASSES)
}

/// `arn:aws:kms:REGION:ACCOUNT:key/ID`, or an alias's.
fn kms_key(table: &mut Reader<'_>) -> Option<String> {
    let key = table.string("kms_key_id")?;
    let parts: Vec<&str> = key.value.splitn(6, ':').collect();
    let is_arn = matches!(parts[..], ["arn", partition, "kms", region, account, resource]
        if partition.starts_with("aws") && !region.is_empty() && account.len() == 12
            && account.bytes().all(|digit| digit.is_ascii_digit())
            && resource.split_once('/').is_some_and(|(kind, id)| ["key", "alias"].contains(&kind) && !id.is_empty()));
    if is_arn && key.value.chars().count() <= LONGEST_KEY_ID {
        return Some(key.value);
    }
    let message = "`kms_key_id` must be the ARN of a key, as in \"arn:aws:kms:eu-west-1:123456789012:key/ID\"";
    table.report().add(Problem::new(key.place, message));
    None
}

fn tags(table: &mut Reader<'_>) -> BTreeMap<String, String> {
    let mut tags = table.table("tags");
    let mut kept = BTreeMap::new();
    for (key, value) in tags.free_strings() {
        if kept.len() == MOST_TAGS {
            tags.report().add(Problem::new(key.place, format!("a log group can have {MOST_TAGS} tags at most")));
            break;
        }
        if let Some(reason) = tag_fault(&key, &value) {
            tags.report().add(Problem::new(key.place, reason));
        } else {
            kept.insert(key.value, value);
        }
    }
    kept
}

/// Why a log group can't have this tag.
fn tag_fault(key: &Located<String>, value: &str) -> Option<String> {
    let name = &key.value;
    let allowed = |c: char| c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c);
    if name.to_ascii_lowercase().starts_with("aws:") {
        return Some(format!("the tag `{name}` can't begin with `aws:`: such tags are AWS's own"));
    }
    if name.is_empty() || name.chars().count() > LONGEST_TAG_KEY {
        return Some(format!("a tag's key has 1 to {LONGEST_TAG_KEY} characters, and `{name}` has not"));
    }
    if value.chars().count() > LONGEST_TAG_VALUE {
        return Some(format!("the tag `{name}` can have {LONGEST_TAG_VALUE} characters at most"));
    }
    let strange = name.chars().chain(value.chars()).find(|c| !allowed(*c))?;
    Some(format!("the tag `{name}` can't hold {strange:?}; letters, digits, spaces and `_.:/=+-@` are allowed"))
}

//! The syntax of the `[[role]]` tables, checked as far as it can be without asking AWS. Not what STS takes: those limits
//! are in `credentials::request`.

use std::collections::BTreeMap;

use super::allow;
use super::names;
use super::report::Problem;
use super::root;
use super::session_policy;
use super::table::{Located, Reader};
use super::units::Span;
use crate::config::variables::Variables;
use crate::credentials::RoleSettings;
use crate::credentials::request::{
    DURATIONS, EXTERNAL_ID, HOLE, Kind, LONGEST_POLICY, MOST_POLICY_ARNS, MOST_TAGS, SESSION_NAME, SOURCE_IDENTITY,
    Shape, TAG_KEY, TAG_VALUE,
};
use crate::template::{Names, Template};

/// The session's name unless something else is said; a host that is no instance has the fallback.
pub(super) const SESSION: &str = "{instance_id|imds-agent}";

/// The longest name of a role: it names a file, and is part of addresses.
const LONGEST_NAME: usize = 64;

/// Those that are right.
pub(super) fn read_all(tables: Vec<Reader<'_>>, variables: &Variables) -> Vec<RoleSettings> {
    let mut taken: Vec<Located<String>> = Vec::new();
    tables.into_iter().filter_map(|table| read(table, variables, &mut taken)).collect()
}

fn read(mut table: Reader<'_>, variables: &Variables, taken: &mut Vec<Located<String>>) -> Option<RoleSettings> {
    if !table.has("name") {
        table.missing("name", "how callers name it, as in `name = \"app\"`");
    }
    if !table.has("role_arn") {
        table.missing("role_arn", "as in `role_arn = \"arn:aws:iam::123456789012:role/app-{environment}-task-role\"`");
    }
    let name = table.string("name").and_then(|name| checked_name(&table, name, taken));
    let filled = Filled { variables };
    let role_arn = table.string("role_arn").and_then(|text| filled.arn(&table, "role_arn", &text, Kind::Role));
    let duration = duration(&mut table);
    let session_name = filled.text(&mut table, "session_name", &SESSION_NAME);
    let external_id = filled.text(&mut table, "external_id", &EXTERNAL_ID);
    let policy = session_policy::read(&mut table);
    let policy_arns = policy_arns(&mut table, &filled, policy.as_deref());
    let tags = tags(&mut table, &filled);
    let source_identity = filled.text(&mut table, "source_identity", &SOURCE_IDENTITY);
    let region = table.string("region").and_then(|text| root::region(table.report(), text, false));
    if !table.has("allow") {
        let hint = "nobody has a role by default; say who may, as in `allow = [{ user = \"app\" }]`";
        table.missing("allow", hint);
    }
    let allow = allow::read(&mut table, "may have this role");
    table.finish();
    let default = || Template::parse(SESSION, &[]).ok();
    Some(RoleSettings {
        name: name?,
        role_arn: role_arn?,
        duration,
        session_name: session_name.or_else(default)?,
        external_id,
        policy,
        policy_arns,
        tags,
        source_identity,
        region,
        allow: allow?,
    })
}

/// A name that can be a file's and part of an address, and is no other role's.
fn checked_name(table: &Reader<'_>, name: Located<String>, taken: &mut Vec<Located<String>>) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let text = name.value.as_str();
    if text.is_empty() || text.len() > LONGEST_NAME || text.starts_with('.') || !text.chars().all(plain) {
        let message = format!(
            "`name` can't be \"{}\"; it has 1 to {LONGEST_NAME} letters, digits, `_`, `-` and `.`, and no `.` in front",
            text.escape_debug()
        );
        table.report().add(Problem::new(name.place, message));
        return None;
    }
    let other = taken.iter().find(|other| other.value == name.value).map(|other| other.place);
    taken.push(name.clone());
    let Some(other) = other else { return Some(name.value) };
    let message = format!("\"{}\" is the `name` of two roles", name.value);
    table.report().add(Problem::new(name.place, message).also("the other", other));
    None
}

fn duration(table: &mut Reader<'_>) -> std::time::Duration {
    let because = "the role is assumed with role credentials, and AWS caps such chained sessions at one hour, whatever \
                   the role's own maximum is; the agent renews them at half of their life";
    let limits = (Span(DURATIONS.0), Span(DURATIONS.1));
    let duration = table.quantity_because("duration", "1h", Span::parse, limits, because);
    duration.map_or(DURATIONS.1, |span| span.0)
}

fn policy_arns(table: &mut Reader<'_>, filled: &Filled<'_>, policy: Option<&str>) -> Vec<Template> {
    let Some(listed) = table.strings("policy_arns") else {
        return Vec::new();
    };
    if listed.value.len() > MOST_POLICY_ARNS {
        let message = format!("`policy_arns` has at most {MOST_POLICY_ARNS} policies, not {}", listed.value.len());
        table.report().add(Problem::new(listed.place, message));
    }
    let arn = |text: &Located<String>| filled.arn(table, "policy_arns", text, Kind::Policy);
    let arns: Vec<Template> = listed.value.iter().filter_map(arn).collect();
    let length = |text: &str| text.chars().filter(|c| *c != HOLE).count();
    let total = policy.map_or(0, length) + arns.iter().map(|arn| length(&filled.fill(arn))).sum::<usize>();
    if total > LONGEST_POLICY {
        let message =
            format!("`policy` and `policy_arns` have at most {LONGEST_POLICY} characters together, not {total}");
        table.report().add(Problem::new(listed.place, message));
    }
    arns
}

fn tags(table: &mut Reader<'_>, filled: &Filled<'_>) -> BTreeMap<String, Template> {
    let mut tags = table.table("tags");
    let mut kept: BTreeMap<String, Template> = BTreeMap::new();
    for (key, value) in tags.free_strings() {
        let name = key.value.as_str();
        let fault = if kept.len() == MOST_TAGS {
            Some(format!("a session can have {MOST_TAGS} tags at most"))
        } else if name.to_ascii_lowercase().starts_with("aws:") {
            Some(format!("the tag `{name}` can't begin with `aws:`: such tags are AWS's own"))
        } else if kept.keys().any(|known| known.eq_ignore_ascii_case(name)) {
            Some(format!("the tag `{name}` is there in another case already, which STS does not tell apart"))
        } else {
            TAG_KEY.fault(name).map(|fault| format!("the tag `{name}`: {fault}"))
        };
        if let Some(fault) = fault {
            tags.report().add(Problem::new(key.place, fault));
            continue;
        }
        let value = Located { value, place: key.place };
        if let Some(template) = filled.template(&tags, &format!("tags.{name}"), &value, |text| TAG_VALUE.fault(text)) {
            kept.insert(key.value, template);
        }
    }
    kept
}

/// Fills in what is known before IMDS is asked, to judge a template as far as that goes.
struct Filled<'v> {
    variables: &'v Variables,
}

impl Filled<'_> {
    /// With the variables' values, and [`HOLE`] for what will be known only later.
    fn fill(&self, template: &Template) -> String {
        let mut names = Names::from_iter(self.variables.clone());
        for name in template.names() {
            if names.get(name).is_none() {
                names.insert(name, HOLE.to_string());
            }
        }
        template.fill(&names).unwrap_or_default()
    }

    fn template(
        &self,
        table: &Reader<'_>,
        key: &str,
        text: &Located<String>,
        fault: impl Fn(&str) -> Option<String>,
    ) -> Option<Template> {
        let variables: Vec<&str> = self.variables.keys().map(String::as_str).collect();
        let template = names::parse(table, key, text, &variables)?;
        let of_source = template.names().find(|name| crate::template::OF_SOURCES.contains(name) || *name == "date");
        if let Some(name) = of_source {
            let message = format!("`{key}`: a role has no {{{name}}}");
            table.report().add(Problem::new(text.place, message));
            return None;
        }
        let Some(fault) = fault(&self.fill(&template)) else {
            return Some(template);
        };
        let shown = text.value.escape_debug();
        table.report().add(Problem::new(text.place, format!("`{key}` can't be \"{shown}\": {fault}")));
        None
    }

    fn arn(&self, table: &Reader<'_>, key: &str, text: &Located<String>, kind: Kind) -> Option<Template> {
        self.template(table, key, text, |filled| kind.fault(filled))
    }

    fn text(&self, table: &mut Reader<'_>, key: &'static str, shape: &Shape) -> Option<Template> {
        let text = table.string(key)?;
        self.template(table, key, &text, |filled| shape.fault(filled))
    }
}

//! The syntax of `allow`: a list of entries, each with keys that must all be the caller's. Not who is calling.

use super::report::Problem;
use super::table::{Located, Reader};
use crate::caller::{Rule, Rules, Uids};

/// The keys of an entry.
const KEYS: [&str; 5] = ["user", "group", "uid", "unit", "container"];

/// What `allow` says, if it is there; `what` nobody may do if it names nobody.
pub(super) fn read(table: &mut Reader<'_>, what: &str) -> Option<Rules> {
    let is_set = table.has("allow");
    let entries = table.tables("allow");
    if !is_set {
        return None;
    }
    if entries.is_empty() {
        let problem = Problem::new(table.place(), format!("`allow` names nobody, so nobody {what}"));
        table.report().add(problem.hint("as in `allow = [{ user = \"app\" }]`"));
    }
    Some(Rules(entries.into_iter().map(rule).collect()))
}

fn rule(mut entry: Reader<'_>) -> Rule {
    let names_nobody = !KEYS.into_iter().any(|key| entry.has(key));
    let user = entry.string("user").and_then(|name| account(&entry, "user", name));
    let group = entry.string("group").and_then(|name| account(&entry, "group", name));
    let uid = entry.integer_or_string("uid").and_then(|text| uids(&entry, &text));
    let unit = entry.string("unit").and_then(|name| service(&entry, name));
    let container = entry.string("container").and_then(|name| container(&entry, name));
    if names_nobody {
        let message = "an entry of `allow` names nobody; expected user, group, uid, unit or container";
        entry.report().add(Problem::new(entry.place(), message));
    }
    entry.finish();
    Rule { user, group, uid, unit, container }
}

/// A name as useradd(8) takes it, or a number. Whether there is such an account is known only when somebody calls.
fn account(entry: &Reader<'_>, key: &str, name: Located<String>) -> Option<String> {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != ':' && c != '/';
    if name.value.is_empty() || !name.value.chars().all(plain) {
        let message = format!("`{key}` can't be \"{}\"; expected a name or a number", name.value.escape_debug());
        entry.report().add(Problem::new(name.place, message));
        return None;
    }
    Some(name.value)
}

fn service(entry: &Reader<'_>, name: Located<String>) -> Option<String> {
    let stem = name.value.strip_suffix(".service").filter(|stem| !stem.is_empty() && !stem.contains('/'));
    if stem.is_none() {
        let message = format!("`unit` can't be \"{}\"; expected a service, as in \"app.service\"", name.value);
        entry.report().add(Problem::new(name.place, message));
        return None;
    }
    Some(name.value)
}

/// `1000`, or `"1000-1999"`.
fn uids(entry: &Reader<'_>, text: &Located<String>) -> Option<Uids> {
    let uids = text.value.parse().ok();
    if uids.is_none() {
        let message =
            format!("`uid` can't be \"{}\"; expected a number, or two as in \"1000-1999\"", text.value.escape_debug());
        entry.report().add(Problem::new(text.place, message));
    }
    uids
}

/// As containers are called: `*`, 12 to 64 digits of an id, or a machine's name (hostname(7)).
fn container(entry: &Reader<'_>, name: Located<String>) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_name = (1..=64).contains(&name.value.len()) && name.value.chars().all(plain);
    if name.value == "*" || is_name {
        return Some(name.value);
    }
    let message = format!(
        "`container` can't be \"{}\"; expected \"*\", 12 to 64 digits of a container's id, or a machine's name",
        name.value.escape_debug()
    );
    entry.report().add(Problem::new(name.place, message));
    None
}

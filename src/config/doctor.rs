//! The `[[doctor.probe]]` tables: further permissions that the host is to have, each checked for its form. Not whether it
//! has them.

use super::report::Problem;
use super::table::{Located, Reader};
use crate::policy::{Probe, Settings};

pub(super) fn read(mut table: Reader<'_>) -> Settings {
    let probes = table.tables("probe").into_iter().filter_map(probe).collect();
    table.finish();
    Settings { probes }
}

fn probe(mut table: Reader<'_>) -> Option<Probe> {
    for (key, hint) in [
        ("service", "the prefix of its actions, as in `service = \"ssm\"`"),
        ("action", "what the service calls it, as in `action = \"GetParameter\"`"),
        ("resource", "on what, as in `resource = \"/app/db/password\"`; an ARN or \"*\" do as well"),
    ] {
        if !table.has(key) {
            table.missing(key, hint);
        }
    }
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let service = table.string("service").and_then(|text| {
        let is_prefix = text.value.starts_with(|c: char| c.is_ascii_lowercase()) && text.value.chars().all(lower);
        checked(&table, "service", text, is_prefix, "it is the prefix of a policy's actions, as in \"ssm\"")
    });
    let action = table.string("action").and_then(|text| {
        let is_name = text.value.starts_with(|c: char| c.is_ascii_uppercase())
            && text.value.chars().all(|c| c.is_ascii_alphanumeric());
        checked(&table, "action", text, is_name, "it is one action without its service, as in \"GetParameter\"")
    });
    let resource = table.string("resource").and_then(|text| {
        let plain = |c: char| !c.is_whitespace() && !c.is_control();
        let is_named = service.as_deref().is_none_or(Probe::takes_names);
        let is_whole = text.value == "*" || text.value.starts_with("arn:") || is_named;
        let is_right = !text.value.is_empty() && text.value.chars().all(plain) && is_whole;
        checked(&table, "resource", text, is_right, "it is a name, where the service has such, an ARN, or \"*\"")
    });
    table.finish();
    Some(Probe { service: service?, action: action?, resource: resource? })
}

fn checked(table: &Reader<'_>, key: &str, text: Located<String>, is_right: bool, hint: &str) -> Option<String> {
    if is_right {
        return Some(text.value);
    }
    let message = format!("`{key}` can't be \"{}\"", text.value.escape_debug());
    table.report().add(Problem::new(text.place, message).hint(hint));
    None
}

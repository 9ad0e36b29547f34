//! The top level of the configuration: `region`, and which tables there are. Not what is in the tables.

use super::document::Table;
use super::report::{Problem, Report};
use super::table::{Located, Reader};
use super::{Config, credentials, doctor, endpoints, imds, logs, role, variables};
use crate::credentials::Settings;

/// What stands for "find out": `AWS_REGION`, then IMDS.
pub(super) const AUTO: &str = "auto";

pub(super) fn read(report: &Report, table: Table) -> Config {
    let mut root = Reader::root(report, table);
    let region = root.string("region").filter(|text| text.value != AUTO).and_then(|text| region(report, text, true));
    let imds = imds::read(root.table("imds"));
    let (source, allow, audit) = credentials::read(root.table("credentials"));
    let variables = variables::read(root.table("variables"));
    let roles = role::read_all(root.tables("role"), &variables);
    let credentials = Settings { source, allow, roles };
    let declared: Vec<&str> = credentials.roles.iter().map(|role| role.name.as_str()).collect();
    let endpoints = endpoints::read(root.table("endpoints"), &declared);
    let mut logs = logs::read(root.table("logs"), &variables);
    logs.sockets.extend(audit.and_then(|table| logs::read_audit(table, &variables)));
    let doctor = doctor::read(root.table("doctor"));
    root.finish();
    Config { region, imds, credentials, endpoints, variables, logs, doctor }
}

/// `eu-west-1`, `us-gov-east-1`: words and a number, as in every partition so far.
pub(super) fn region(report: &Report, text: Located<String>, has_auto: bool) -> Option<String> {
    if is_region(&text.value) {
        return Some(text.value);
    }
    let problem = Problem::new(text.place, format!("`region` can't be \"{}\"", text.value));
    let zone_of = text.value.strip_suffix(|c: char| c.is_ascii_lowercase()).filter(|region| is_region(region));
    report.add(match zone_of {
        Some(region) => problem.hint(format!("that is an availability zone; its region is \"{region}\"")),
        None if has_auto => problem.hint("expected \"auto\" or a region's name, as in \"eu-west-1\""),
        None => problem.hint("expected a region's name, as in \"eu-west-1\""),
    });
    None
}

/// Whether it has the form of a region's name.
pub(super) fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let Some((number, words)) = parts.split_last() else {
        return false;
    };
    let word = |word: &&str| word.len() >= 2 && word.bytes().all(|b| b.is_ascii_lowercase());
    words.len() >= 2 && words.iter().all(word) && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
}

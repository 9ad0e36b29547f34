//! Holds imds-agent.toml(5) and the sample to the code, in both directions: what the code knows is in them, with its
//! default, and what is in them the code knows. Not what the configuration means.

use std::collections::BTreeSet;
use std::fs;

use super::{Config, Errors, SAMPLE, read};
use crate::template::BUILT_IN;

/// The page as it is installed.
const PAGE: &str = include_str!("../../packaging/man/imds-agent.toml.5");

/// A key that no table has: asking for it brings the names of those it has.
const NO_KEY: &str = "no-such-key";

fn parse(text: &str) -> Result<Config, Errors> {
    let home = tempfile::tempdir().unwrap();
    let main = home.path().join("config.toml");
    fs::write(&main, text).unwrap();
    read(Some(&main), None).map(|(loaded, _)| loaded.config)
}

/// The names that the code says it expected at `header`, which is empty for the top level.
fn expected(header: &str) -> Option<Vec<String>> {
    let errors = parse(&format!("{header}\n{NO_KEY} = 0\n")).err()?;
    let place = if header.is_empty() { "at the top level".to_owned() } else { format!("in {header}") };
    let wanted = format!("unknown key `{NO_KEY}` {place}; expected ");
    errors.diagnostics().find_map(|fault| {
        let names = fault.message.strip_prefix(&wanted)?;
        Some(names.split(", ").map(str::to_owned).collect())
    })
}

/// `(header, key)` of everything below `header`, as far as the code tells: a key that is itself a table is walked into.
fn known(header: &str, path: &str) -> BTreeSet<(String, String)> {
    let mut all = BTreeSet::new();
    for key in expected(header).unwrap_or_default() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let headers = [format!("[{path}]"), format!("[[{path}]]")];
        // The entries of `allow` are the same everywhere, and described under the key.
        let is_table = |header: &String| key != "allow" && expected(header).is_some();
        let tables: Vec<_> = headers.into_iter().filter(is_table).collect();
        match tables.first() {
            Some(table) => all.extend(known(table, &path)),
            None if header.is_empty() && is_free_table(&path) => {}
            None => drop(all.insert((header.to_owned(), key))),
        }
    }
    all
}

/// Whether any name is allowed in the table.
fn is_free_table(path: &str) -> bool {
    parse(&format!("[{path}]\nany = \"name\"\n")).is_ok()
}

/// The page's keys as a configuration: each table's header, and the line after each `.TP` in it.
fn settings_of_page() -> String {
    let settings = PAGE.split(".SH TOP LEVEL\n").nth(1).and_then(|rest| rest.split(".SH NAMES\n").next()).unwrap();
    let (mut text, mut lines) = (String::new(), settings.lines());
    while let Some(line) = lines.next() {
        let wanted = if line == ".TP" { lines.next() } else { line.strip_prefix(".SS ") };
        text.extend(wanted.into_iter().flat_map(|line| [line, "\n"]));
    }
    unescaped(&text)
}

/// What a reader of the page sees of a line without macros.
fn unescaped(text: &str) -> String {
    text.replace("\\-", "-").replace("\\e", "\\")
}

/// The sample with every setting switched on.
fn settings_of_sample() -> String {
    let setting = |line: &str| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).map(str::to_owned);
    SAMPLE.lines().filter_map(setting).collect::<Vec<_>>().join("\n")
}

/// `(header, key)` of a configuration's lines.
fn keys(settings: &str) -> BTreeSet<(String, String)> {
    let (mut all, mut header) = (BTreeSet::new(), "");
    for line in settings.lines() {
        match line.split_once(" = ") {
            Some((key, _)) if header != "[variables]" => drop(all.insert((header.to_owned(), key.to_owned()))),
            Some(_) => {}
            None => header = line.trim(),
        }
    }
    all
}

#[test]
fn the_code_tells_its_tables_and_keys() {
    let known = known("", "");
    for (header, key) in
        [("", "region"), ("[imds]", "token_ttl"), ("[logs]", "log_group"), ("[[logs.file]]", "include")]
    {
        assert!(known.contains(&(header.to_owned(), key.to_owned())), "{known:#?}");
    }
}

#[test]
fn the_manual_and_the_sample_have_every_key_and_no_other() {
    assert_eq!(keys(&settings_of_page()), known("", ""), "imds-agent.toml(5)");
    assert_eq!(keys(&settings_of_sample()), known("", ""), "packaging/config.toml");
}

#[test]
fn the_manual_shows_the_defaults() {
    let config = parse(&settings_of_page()).unwrap();
    let (imds, logs) = (crate::imds::Settings::default(), crate::logs::Settings::default());
    assert_eq!(config.imds, crate::imds::Settings { endpoint: config.imds.endpoint.clone(), ..imds });
    let roles = config.credentials.roles.clone();
    assert_eq!(config.credentials, crate::credentials::Settings { roles, ..crate::credentials::Settings::default() });
    assert_eq!(config.credentials.roles[0].duration, crate::credentials::request::DURATIONS.1);
    assert_eq!(config.credentials.roles[0].session_name.text(), super::role::SESSION);
    let (files, journals, sockets) =
        (config.logs.files.clone(), config.logs.journals.clone(), config.logs.sockets.clone());
    assert_eq!(config.logs, crate::logs::Settings { files, journals, sockets, ..logs });
    assert_eq!(config.logs.sockets[0].allow, crate::caller::Rules::default());
    assert_eq!(config.logs.files[0].start_at, crate::logs::StartAt::default());
    assert_eq!(config.logs.files[0].backfill_limit, crate::logs::BACKFILL_LIMIT);
    assert_eq!(config.logs.journals[0].start_at, crate::logs::StartAt::default());
    assert_eq!(config.region, None);
}

#[test]
fn the_manual_has_every_name_for_the_braces_and_no_other() {
    let names = PAGE.split(".SH NAMES\n").nth(1).and_then(|rest| rest.split("\n.SH ").next()).unwrap();
    let listed: BTreeSet<&str> = names.lines().filter_map(|line| line.strip_prefix('{')?.strip_suffix('}')).collect();
    assert_eq!(listed, BUILT_IN.into_iter().chain(["tag:KEY"]).collect());
}

#[test]
fn the_examples_of_the_manual_are_right() {
    let examples = PAGE.split("\n.SH EXAMPLES\n").nth(1).unwrap().split(".nf\n").skip(1);
    let mut count = 0;
    for example in examples.map(|example| example.split("\n.fi").next().unwrap().replace("\\-", "-")) {
        let config = parse(&example).unwrap_or_else(|errors| panic!("{example}\n{errors}"));
        assert!(!config.logs.files.is_empty() || !config.credentials.roles.is_empty());
        count += 1;
    }
    assert_eq!(count, 3);
}

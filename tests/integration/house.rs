//! Holds the house to its plan: imports go one way, each foreign crate is named in its own room only, nothing but the
//! command line prints or exits, and every file has its sign. Not style that rustfmt and clippy already hold.

mod scan;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use scan::{Mention, Named, mentions};

/// Rooms, the highest floor first. A room may import rooms on lower floors only; leaves may import leaves.
const FLOORS: [&[&str]; 8] = [
    &["cli"],
    &["agent"],
    &["doctor"],
    &["config", "status"],
    &["endpoints", "logs", "policy"],
    &["credentials"],
    &["imds"],
    &["aws", "backoff", "caller", "clock", "denial", "door", "fault", "heartbeat", "rate", "template"],
];

/// Rooms that stand beside the floors: who may import them.
const ANNEXES: [(&str, &[&str]); 3] = [
    ("telemetry", &["agent/", "cli/"]),
    // A misreading of a protocol must not pass on both sides, so the daemon can't know its own fake.
    ("emulator", &["cli/mod.rs", "cli/demo", "cli/emulator"]),
    // For tests of every room.
    ("fuzz", &[]),
];

/// Foreign crates, and the places that may name them.
const FOREIGN: [(&str, &[&str]); 4] = [
    ("aws_sdk_cloudwatchlogs", &["doctor/", "logs/sink/"]),
    ("aws_sdk_sts", &["credentials/", "doctor/"]),
    // A live screen, and the terminal under it.
    ("ratatui", &["cli/status/", "status/watch/"]),
    // The transport of the metadata service and of a container's credentials; AWS's own APIs are reached through the SDKs.
    ("reqwest", &["credentials/source/", "doctor/", "imds/"]),
];

/// Macros that write to the standard streams.
const PRINTING: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];

/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 6] = ["util", "utils", "common", "helper", "helpers", "misc"];

/// Past this, a file is two files: nine in ten files of the projects we learn from are shorter.
const LONGEST_FILE: usize = 400;

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// Why `room` may not be imported by the file at `path` (below `src/`), or `None` when it may.
fn import_fault(path: &str, room: &str, in_test: bool) -> Option<String> {
    let importer = path.split('/').next().unwrap_or(path);
    if importer == room || (in_test && ["emulator", "fuzz"].contains(&room)) {
        return None;
    }
    if let Some((_, importers)) = ANNEXES.iter().find(|(annex, _)| *annex == room) {
        let allowed = importers.iter().any(|prefix| path.starts_with(prefix));
        return (!allowed).then(|| format!("only {} may import `{room}`", importers.join(", ")));
    }
    let Some(to) = floor(room) else {
        return Some(format!("`{room}` has no place in the house: give it a floor in tests/integration/house.rs"));
    };
    let leaves = FLOORS.len() - 1;
    match (importer, floor(importer)) {
        ("logs", _) if room == "credentials" => {
            Some("`logs` never imports `credentials`: the agent hands it an SDK configuration".to_owned())
        }
        ("telemetry", _) if to == leaves => None,
        (_, Some(from)) if from < to || (from == leaves && to == leaves) => None,
        _ => Some(format!("`{importer}` may not import `{room}`: imports go down the floors only")),
    }
}

/// What is wrong with one mention in the file at `path`, if anything.
fn mention_fault(path: &str, mention: &Mention) -> Option<String> {
    match &mention.named {
        Named::Room(_) | Named::Root if path == "lib.rs" => None,
        Named::Room(room) if path == "main.rs" => {
            (room != "cli").then(|| "main is a doorway: it calls `cli` and nothing else".to_owned())
        }
        Named::Room(room) => import_fault(path, room, mention.in_test),
        Named::Root => Some("the crate's root is renamed or globbed: name the room".to_owned()),
        Named::Word(word) if !mention.in_test => {
            let (name, places) = FOREIGN.iter().find(|(name, _)| name == word)?;
            let allowed = places.iter().any(|place| path.starts_with(place));
            (!allowed).then(|| format!("`{name}` is named in {} only", places.join(", ")))
        }
        Named::Macro(name) if !mention.in_test && PRINTING.contains(&name.as_str()) && !path.starts_with("cli/") => {
            Some(format!("`{name}!` prints: only cli/ does"))
        }
        Named::Exit if !mention.in_test && !path.starts_with("cli/") => {
            Some("the process is ended: only cli/ does that".to_owned())
        }
        _ => None,
    }
}

/// The modules a file below `src/` stands in.
fn module_of(path: &str) -> Vec<&str> {
    let stem = path.trim_end_matches(".rs").trim_end_matches("/mod");
    if matches!(stem, "lib" | "main") { Vec::new() } else { stem.split('/').collect() }
}

/// Everything that breaks the plan in one file below `src/`, as `path:line: what`. `in_test` is for files that only
/// tests compile.
fn faults_of_source(path: &str, source: &str, in_test: bool) -> Vec<String> {
    mentions(source, &module_of(path))
        .iter()
        .map(|mention| Mention { in_test: in_test || mention.in_test, ..mention.clone() })
        .filter_map(|mention| Some(format!("{path}:{}: {}", mention.line, mention_fault(path, &mention)?)))
        .collect()
}

/// Everything that breaks the plan in how a file looks from outside.
fn faults_of_shape(path: &str, source: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !source.starts_with("//! ") {
        faults.push(format!("{path}:1: no sign on the door: begin with `//!`, what it is for and what it is not"));
    }
    let lines = source.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
    if lines > LONGEST_FILE && !is_test_file(path) {
        faults.push(format!("{path}: {lines} lines before its tests; {LONGEST_FILE} is the most"));
    }
    if let Some(name) = path.split(['/', '.']).find(|name| EMPTY_NAMES.contains(name)) {
        faults.push(format!("{path}: `{name}` says nothing of what is inside"));
    }
    faults
}

/// Files that are declared with `#[cfg(test)] mod tests;` or named after what they test: `destination_tests.rs`.
fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.ends_with("_tests.rs") || path.contains("/tests/")
}

/// Every `.rs` file below `directory`, by its path from there.
fn sources(directory: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(below) = open.pop() {
        for entry in std::fs::read_dir(directory.join(&below)).expect("our own sources can be read") {
            let entry = entry.expect("our own sources can be read");
            let path = below.join(entry.file_name());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = std::fs::read_to_string(directory.join(&path)).expect("our own sources are text");
                found.push((path.to_string_lossy().into_owned(), source));
            }
        }
    }
    found.sort();
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Which room imports which, itself excepted.
fn edges(files: &[(String, String)]) -> BTreeSet<(String, String)> {
    let mut edges = BTreeSet::new();
    for (path, source) in files.iter().filter(|(path, _)| path.contains('/')) {
        let from = module_of(path)[0].to_owned();
        for mention in mentions(source, &module_of(path)) {
            if let Named::Room(to) = mention.named
                && to != from
                && !mention.in_test
            {
                edges.insert((from.clone(), to));
            }
        }
    }
    edges
}

/// What is left after taking away, again and again, the rooms that import nothing more: the cycles, if any.
fn cycles(mut edges: BTreeSet<(String, String)>) -> BTreeSet<(String, String)> {
    loop {
        let importers: BTreeSet<String> = edges.iter().map(|(from, _)| from.clone()).collect();
        let before = edges.len();
        edges.retain(|(_, to)| importers.contains(to));
        if edges.len() == before {
            return edges;
        }
    }
}

fn assert_none(faults: &[String]) {
    let list = faults.iter().fold(String::new(), |mut list, fault| {
        let _ = writeln!(list, "  {fault}");
        list
    });
    assert!(faults.is_empty(), "{} places break the plan of the house:\n{list}", faults.len());
}

#[test]
fn every_source_keeps_to_its_room() {
    let faults: Vec<_> = sources(&root().join("src"))
        .iter()
        .flat_map(|(path, source)| faults_of_source(path, source, is_test_file(path)))
        .collect();
    assert_none(&faults);
}

#[test]
fn no_two_rooms_import_each_other_even_by_a_detour() {
    assert_eq!(cycles(edges(&sources(&root().join("src")))), BTreeSet::new());
}

#[test]
fn every_file_has_its_sign_and_its_measure() {
    let mut faults = Vec::new();
    for directory in ["src", "tests", "benches"] {
        for (path, source) in sources(&root().join(directory)) {
            faults.extend(faults_of_shape(&format!("{directory}/{path}"), &source));
        }
    }
    assert_none(&faults);
}

#[test]
fn every_room_has_a_door() {
    let rooms = FLOORS.iter().copied().flatten().chain(ANNEXES.iter().map(|(room, _)| room));
    let missing: Vec<_> = rooms.filter(|room| !root().join("src").join(room).join("mod.rs").is_file()).collect();
    assert!(missing.is_empty(), "rooms without a mod.rs: {missing:?}");
}

/// The checker, checked: that it finds what it must, and only that.
mod checker {
    use super::*;

    fn faults(path: &str, source: &str) -> Vec<String> {
        faults_of_source(path, source, false)
    }

    #[test]
    fn an_import_upwards_is_found_in_every_way_of_writing_it() {
        for source in [
            "use crate::logs::Settings;",
            "use crate::{clock, logs::Settings};",
            "use crate::{\n    clock::Clock,\n    logs::{self, Settings},\n};",
            "fn f() -> crate::logs::Settings { todo() }",
            "fn f() { tracing::info!(x = crate::logs::longest()); }",
            "use super::super::logs;",
            "mod inner { use super::super::super::logs::Settings; }",
            "use crate::logs as other;",
            "#[cfg(test)] mod tests { use crate::logs; }",
        ] {
            let found = faults("credentials/cache.rs", source);
            assert_eq!(found.len(), 1, "{source}: {found:?}");
            assert!(found[0].contains("`credentials` may not import `logs`"), "{found:?}");
        }
    }

    #[test]
    fn imports_downwards_and_within_a_room_are_fine() {
        for (path, source) in [
            ("logs/shipper.rs", "use crate::{clock::Clock, imds, template};"),
            ("logs/shipper.rs", "use super::{sink::Sink, Settings}; use crate::logs::sink;"),
            ("logs/shipper.rs", "pub(crate) fn f() {} pub(super) fn g() {} pub(in crate::logs) fn h() {}"),
            ("logs/mod.rs", "mod tests { use super::*; }"),
            ("cli/run.rs", "use crate::{agent, config, telemetry};"),
            ("aws/mod.rs", "use crate::clock::Clock;"),
            (
                "logs/mod.rs",
                "// use crate::credentials;\n/// [`crate::credentials`]\nconst A: &str = \"crate::credentials\";",
            ),
            ("lib.rs", "pub mod agent;"),
            ("main.rs", "fn main() { imds_agent::cli::main() }"),
        ] {
            assert_eq!(faults(path, source), Vec::<String>::new(), "{source}");
        }
    }

    #[test]
    fn logs_never_imports_credentials_and_a_leaf_no_room() {
        assert!(faults("logs/mod.rs", "use crate::credentials::State;")[0].contains("never imports"));
        assert_eq!(faults("clock/mod.rs", "use crate::imds;").len(), 1);
        assert_eq!(faults("status/mod.rs", "use crate::config;").len(), 1, "rooms of one floor are strangers");
        assert_eq!(faults("logs/mod.rs", "use crate::telemetry;").len(), 1);
        assert_eq!(faults("main.rs", "use imds_agent::agent;").len(), 1);
    }

    #[test]
    fn the_emulator_is_known_to_few_and_knows_nobody() {
        assert_eq!(faults("agent/mod.rs", "use crate::emulator;").len(), 1);
        assert_eq!(faults("cli/run.rs", "use crate::emulator;").len(), 1);
        assert_eq!(faults("emulator/mod.rs", "use crate::clock;").len(), 1);
        assert_eq!(faults("cli/demo.rs", "use crate::emulator;"), Vec::<String>::new());
        assert_eq!(faults("imds/mod.rs", "#[cfg(test)] mod tests { use crate::emulator; }"), Vec::<String>::new());
    }

    #[test]
    fn a_room_that_hides_behind_the_root_or_has_no_floor_is_found() {
        for source in ["use crate as root;", "use crate::*;", "use crate::{self as root};", "use crate::cellar;"] {
            assert_eq!(faults("logs/mod.rs", source).len(), 1, "{source}");
        }
    }

    #[test]
    fn foreign_crates_are_named_in_their_rooms_only() {
        assert_eq!(faults("agent/mod.rs", "use aws_sdk_sts::Client;").len(), 1);
        assert_eq!(faults("logs/shipper.rs", "type C = aws_sdk_cloudwatchlogs::Client;").len(), 1);
        assert_eq!(faults("credentials/mod.rs", "use ::reqwest::Client;").len(), 1);
        assert_eq!(faults("credentials/source/exchange.rs", "use ::reqwest::Client;"), Vec::<String>::new());
        assert_eq!(faults("logs/sink/put.rs", "use aws_sdk_cloudwatchlogs::Client;"), Vec::<String>::new());
        assert_eq!(faults("imds/mod.rs", "use reqwest::Client;"), Vec::<String>::new());
        assert_eq!(faults("emulator/mod.rs", "#[cfg(test)] use aws_sdk_sts::Client;"), Vec::<String>::new());
        assert_eq!(faults("emulator/mod.rs", "#[cfg(test)] use a::B; use aws_sdk_sts::Client;").len(), 1);
    }

    #[test]
    fn printing_and_exiting_outside_the_command_line_are_found() {
        for source in [
            "fn f() { println!(\"x\") }",
            "fn f() { std::eprint!(\"x\") }",
            "fn f() { std::process::exit(1) }",
            "use std::process::{exit, Command};",
        ] {
            assert_eq!(faults("agent/mod.rs", source).len(), 1, "{source}");
            assert_eq!(faults("cli/run.rs", source), Vec::<String>::new(), "{source}");
        }
        assert_eq!(faults("agent/mod.rs", "use std::process::ExitCode;"), Vec::<String>::new());
    }

    #[test]
    fn a_cycle_is_found_through_a_detour() {
        let edge = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        let ring = BTreeSet::from([edge("a", "b"), edge("b", "c"), edge("c", "a")]);
        let mut graph = ring.clone();
        graph.insert(edge("c", "d"));
        assert_eq!(cycles(graph), ring);
        assert_eq!(cycles(BTreeSet::from([edge("a", "b"), edge("b", "c"), edge("a", "c")])), BTreeSet::new());
    }

    #[test]
    fn a_file_without_sign_measure_or_meaning_is_found() {
        let long = "//! A sign.\n".to_owned() + &"\n".repeat(LONGEST_FILE);
        assert_eq!(faults_of_shape("src/logs/long.rs", &long).len(), 1);
        assert_eq!(faults_of_shape("src/logs/utils/mod.rs", "//! A sign.\n").len(), 1);
        assert_eq!(faults_of_shape("src/logs/bare.rs", "use std::fmt;\n").len(), 1);
        let tested = "//! A sign.\n#[cfg(test)]\nmod tests {}\n".to_owned() + &"\n".repeat(LONGEST_FILE);
        assert_eq!(faults_of_shape("src/logs/tested.rs", &tested), Vec::<String>::new());
    }
}

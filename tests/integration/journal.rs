//! A directory of journal files, read by the machine's own journalctl: what stands there, what comes, and what came while
//! the agent was away. What a running journald does is tried on a whole machine (`tests/machine`).

use std::path::Path;

use crate::harness::{Emulator, Host, JournalFile, SOON, look_until};

const GROUP: &str = "/test/journal";

/// A host that ships the journal in its directory `journal`, one stream a unit; none, said loudly, without journalctl.
#[expect(clippy::print_stderr, reason = "who reads the log must see what was not tested")]
fn host() -> Option<(Host, Emulator, JournalFile)> {
    if !Path::new("/usr/bin/journalctl").exists() {
        eprintln!("SKIPPED: there is no /usr/bin/journalctl here, so no journal is read");
        return None;
    }
    let emulator = Emulator::start();
    let host = Host::new(&emulator.url());
    std::fs::create_dir(host.path("journal")).expect("a directory");
    host.configure(&format!(
        "[logs]\nlog_group = \"{GROUP}\"\nflush_interval = \"250ms\"\n\
         [[logs.journal]]\ndirectory = \"{}\"\nunits = [\"app*.service\"]\nlog_stream = \"{{unit}}\"\n\
         redact = [{{ regex = 'password=\\S+', replace = \"password=***\" }}]\n",
        host.path("journal").display()
    ));
    let journal = JournalFile::create(&host.path("journal/remote.journal"));
    Some((host, emulator, journal))
}

fn say(journal: &mut JournalFile, unit: &str, message: &str) -> i64 {
    journal.append(&[("MESSAGE", message), ("PRIORITY", "6"), ("_SYSTEMD_UNIT", unit), ("_PID", "7")])
}

fn wait_for(emulator: &Emulator, stream: &str, expected: &[String]) {
    let arrived = || emulator.lines(GROUP, stream);
    look_until(SOON, || (arrived() == expected).then_some(())).unwrap_or_else(|_| panic!("{stream}: {:?}", arrived()));
}

#[test]
fn what_stands_in_a_directory_what_comes_and_what_came_meanwhile_arrives_once() {
    let Some((host, emulator, mut journal)) = host() else { return };
    let mut expected = Vec::new();
    let write = |journal: &mut JournalFile, count: usize, expected: &mut Vec<String>| {
        for number in expected.len()..expected.len() + count {
            let message = format!("entry {number} of app\nwith a second line");
            say(journal, "app.service", &message);
            say(journal, "other.service", "not asked for");
            expected.push(message);
        }
    };
    let first = say(&mut journal, "app-2.service", "by pattern");
    write(&mut journal, 50, &mut expected);
    let agent = host.start();
    wait_for(&emulator, "app.service", &expected);
    assert_eq!(emulator.events(GROUP, "app-2.service"), [(first, "by pattern".to_owned())]);
    write(&mut journal, 5, &mut expected);
    wait_for(&emulator, "app.service", &expected);
    agent.wait_until_delivered(56).assert_ledger_adds_up();
    agent.kill();
    write(&mut journal, 5, &mut expected);
    let agent = host.start();
    wait_for(&emulator, "app.service", &expected);
    let report = agent.wait_until_delivered(61);
    report.assert_ledger_adds_up();
    assert_eq!((report.events().read, report.events().dropped), (61, 0));
    assert!(report.list("/logs/sources").iter().all(|source| source["kind"] == "journal"), "{report}");
}

#[test]
fn a_message_longer_than_an_event_comes_in_parts_and_no_secret_in_halves() {
    let Some((host, emulator, mut journal)) = host() else { return };
    // The first cut would be in the middle of the secret.
    let (before, behind) = ("x".repeat(1_048_490), "y".repeat(1_500_000));
    say(&mut journal, "app.service", &format!("{before} password=hunter2hunter2 {behind}"));
    say(&mut journal, "app.service", "next");
    let agent = host.start();
    let arrived = look_until(SOON, || Some(emulator.lines(GROUP, "app.service")).filter(|lines| lines.len() == 4));
    let arrived = arrived.expect("three parts, and the next");
    let marks =
        [" [imds-agent: part 1, continued]", " [imds-agent: part 2, continued]", " [imds-agent: part 3, last]", ""];
    let mut parts = arrived.iter().zip(marks).map(|(line, mark)| line.strip_suffix(mark).expect("it is marked"));
    let joined: String = parts.clone().take(3).collect();
    assert!(joined == format!("{before} password=*** {behind}"), "{} bytes", joined.len());
    assert_eq!(parts.next_back(), Some("next"));
    agent.wait_until_delivered(2).assert_ledger_adds_up();
}

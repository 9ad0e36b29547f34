//! Files that are rotated, can't be read, are too many, or no files at all: promises 4 and 5 by a real process. Not what is
//! in them; the matrix of rotations is the engine's own.

use std::fs::OpenOptions;

use crate::harness::{Host, SOON, append, assert_same_lines, look_until, numbered, set_mode};

const GROUP: &str = "/test/app";

#[test]
fn a_file_renamed_by_rotation_is_read_to_its_end_and_its_successor_from_its_beginning() {
    let (host, emulator) = Host::with_emulator();
    let lines = numbered(0, 3_000, 100);
    append(&host.log("app.log"), &lines[..1_000]);
    let agent = host.start();
    agent.wait_until_delivered(1_000);
    append(&host.log("app.log"), &lines[1_000..2_000]);
    std::fs::rename(host.log("app.log"), host.log("app.log.1")).unwrap();
    append(&host.log("app.log"), &lines[2_000..]);
    let report = agent.wait_until_delivered(3_000);
    report.assert_ledger_adds_up();
    let mut arrived = emulator.lines(GROUP, "app");
    // Both files feed one stream; what one of them ends with and the other begins with may arrive interleaved.
    arrived[1_000..].sort();
    assert_same_lines(&arrived, &lines);
}

#[test]
fn a_file_rotated_while_the_agent_was_away_loses_nothing_and_repeats_nothing() {
    let (host, emulator) = Host::with_emulator();
    let lines = numbered(0, 3_000, 100);
    append(&host.log("app.log"), &lines[..1_000]);
    let agent = host.start();
    agent.wait_until_delivered(1_000);
    let (status, said) = agent.stop();
    assert!(status.success(), "{status}: {said}");
    append(&host.log("app.log"), &lines[1_000..2_000]);
    std::fs::rename(host.log("app.log"), host.log("app.log.1")).unwrap();
    append(&host.log("app.log"), &lines[2_000..]);
    let agent = host.start();
    let arrived = || Some(emulator.lines(GROUP, "app")).filter(|arrived| arrived.len() >= 3_000);
    let Ok(mut arrived) = look_until(SOON, arrived) else {
        panic!("{} of 3,000 lines arrived; the report is\n{:#}", emulator.lines(GROUP, "app").len(), agent.report());
    };
    arrived[1_000..].sort();
    assert_same_lines(&arrived, &lines);
}

#[test]
fn a_truncated_file_is_read_from_its_beginning() {
    let (host, emulator) = Host::with_emulator();
    let lines = numbered(0, 150, 100);
    append(&host.log("app.log"), &lines[..100]);
    let agent = host.start();
    agent.wait_until_delivered(100);
    // As `copytruncate` does: the same inode, shorter than what was read.
    OpenOptions::new().write(true).truncate(true).open(host.log("app.log")).unwrap();
    append(&host.log("app.log"), &lines[100..]);
    let report = agent.wait_until_delivered(150);
    assert_same_lines(&emulator.lines(GROUP, "app"), &lines);
    report.assert_ledger_adds_up();
}

#[test]
fn an_unreadable_file_is_a_warning_with_its_cure_and_the_others_go_on() {
    let (mut host, emulator) = Host::with_emulator();
    append(&host.log("secret.log"), &numbered(0, 1, 40));
    append(&host.log("app.log"), &numbered(0, 10, 40));
    set_mode(&host.log("secret.log"), 0o000);
    set_mode(&host.log("app.log"), 0o644);
    host.without_root();
    let agent = host.start();
    agent.wait_until_delivered(10);
    assert_same_lines(&emulator.lines(GROUP, "app"), &numbered(0, 10, 40));
    let report = agent.wait_until("the unreadable file is reported", |report| {
        report.source("secret.log").is_some_and(|source| source["state"] == "failed")
    });
    let fault = &report.source("secret.log").unwrap()["last_error"];
    let message = fault["message"].as_str().unwrap_or_default().to_lowercase();
    assert!(message.contains("permission denied") && message.contains("secret.log"), "{fault}");
    assert!(fault["hint"].as_str().is_some_and(|hint| hint.contains("secret.log")), "the cure names the file: {fault}");
    set_mode(&host.log("secret.log"), 0o644);
    agent.wait_within(SOON * 2, "the cured file is shipped", |report| report.events().delivered == 11);
}

#[test]
fn more_files_than_the_process_may_open_are_all_shipped_and_followed() {
    let (mut host, emulator) = Host::with_emulator();
    host.with_few_descriptors(64);
    for file in 0..200 {
        append(&host.log(&format!("{file}.log")), &[format!("{file} first")]);
    }
    let agent = host.start();
    agent.wait_until_delivered(200);
    for file in 0..200 {
        append(&host.log(&format!("{file}.log")), &[format!("{file} second")]);
    }
    agent.wait_until_delivered(400);
    assert_eq!(emulator.lines(GROUP, "app").len(), 400);
}

#[test]
fn what_was_rotated_while_it_could_not_be_read_is_finished_once_it_can() {
    let (mut host, emulator) = Host::with_emulator();
    host.without_root();
    append(&host.log("app.log"), &numbered(0, 10, 40));
    let agent = host.start();
    agent.wait_until_delivered(10);
    agent.stop();
    append(&host.log("app.log"), &numbered(10, 10, 40));
    set_mode(&host.log("app.log"), 0);
    std::fs::rename(host.log("app.log"), host.log("app.log.1")).unwrap();
    append(&host.log("app.log"), &numbered(20, 10, 40));
    let agent = host.start();
    agent.wait_until_delivered(20);
    set_mode(&host.log("app.log.1"), 0o644);
    agent.wait_until_delivered(30);
    let mut lines = emulator.lines(GROUP, "app");
    lines.sort();
    assert_same_lines(&lines, &numbered(0, 30, 40));
}

#[test]
fn what_is_no_regular_file_blocks_nothing() {
    let (host, emulator) = Host::with_emulator();
    let pipe = host.log("pipe.log");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::from(0o600), 0).unwrap();
    std::fs::create_dir(host.log("directory.log")).unwrap();
    append(&host.log("app.log"), &numbered(0, 10, 40));
    let agent = host.start();
    agent.wait_until_delivered(10);
    assert_same_lines(&emulator.lines(GROUP, "app"), &numbered(0, 10, 40));
}

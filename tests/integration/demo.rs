//! What a newcomer tries first: `demo` on a file, on what is piped into it, and live until Ctrl-C, on a machine whose
//! environment points elsewhere, with a journal or without.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Host, SOON, append, look_until, numbered};

/// Nobody listens there: whoever follows the environment gets nowhere.
const NOWHERE: &str = "http://127.0.0.1:9";

#[test]
fn demo_ships_a_file_ends_by_itself_and_says_that_every_line_arrived() {
    let mut host = Host::new(NOWHERE);
    host.set("AWS_EC2_METADATA_DISABLED", "true");
    let log = host.log("app.log");
    append(&log, &numbered(0, 1_234, 200));
    let output = host.run(&["demo", &log.display().to_string()]);
    let screen = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{screen}{}", String::from_utf8_lossy(&output.stderr));
    let counted = screen.contains("1,234") || screen.contains("1234");
    assert!(counted && screen.contains("every line"), "{screen}");
}

#[test]
fn demo_of_a_file_that_is_not_there_says_so_and_fails() {
    let host = Host::new(NOWHERE);
    let missing = host.log("missing.log").display().to_string();
    let output = host.run(&["demo", &missing]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains(&missing), "{output:?}");
}

/// A demo, with these lines on their way into it.
fn piped(host: &Host, arguments: &[&str], lines: usize) -> Child {
    let mut command = host.command(&[&["demo"], arguments].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary can be started");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    // The last one has no end.
    let text = numbered(0, lines, 0).join("\n");
    std::thread::spawn(move || stdin.write_all(text.as_bytes()).expect("the demo reads to the end"));
    child
}

/// What it showed, once it ended by itself, which must be soon.
fn screen_of(mut child: Child) -> (Option<i32>, String) {
    let (mut stdout, mut stderr) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
    let mut screen = String::new();
    let shown = std::thread::spawn(move || {
        stdout.read_to_string(&mut screen).and_then(|_| stderr.read_to_string(&mut screen)).expect("text");
        screen
    });
    let status = look_until(SOON, || child.try_wait().expect("a child of ours"));
    if status.is_err() {
        child.kill().expect("a child of ours");
    }
    let screen = shown.join().expect("it does not panic");
    (status.unwrap_or_else(|_| panic!("it did not end by itself: {screen}")).code(), screen)
}

#[test]
fn demo_ships_what_is_piped_into_it_and_ends_by_itself() {
    let host = Host::new(NOWHERE);
    let (code, screen) = screen_of(piped(&host, &["-"], 100_000));
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("100,000 of 100,000 lines, in order") && screen.contains("every line"), "{screen}");
}

#[test]
fn demo_ships_a_file_beside_stdin() {
    let host = Host::new(NOWHERE);
    let log = host.log("app.log");
    append(&log, &numbered(0, 2_345, 200));
    let (code, screen) = screen_of(piped(&host, &[&log.display().to_string(), "-"], 1_234));
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("2,345 of 2,345 lines") && screen.contains("1,234 of 1,234 lines"), "{screen}");
}

/// A demo that would go on for ever, were a test to fail.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        // One that ended already, and was waited for, is not killed again.
        let _ = self.0.kill();
    }
}

#[test]
fn the_live_demo_ships_stdin_too_and_ends_well_at_ctrl_c_while_stdin_is_open() {
    let host = Host::new(NOWHERE);
    let mut command = host.command(&["demo"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut ends = Ends(command.spawn().expect("the binary can be started"));
    let child = &mut ends.0;
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    stdin.write_all(b"one\ntwo\n\nthree").expect("the demo reads");
    let mut shown = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
    let mut screen = String::new();
    // The invented application never ends, so neither does what is shown.
    let begun = Instant::now();
    while !screen.contains("stdin 2") {
        assert!(begun.elapsed() < SOON, "{screen}");
        assert_ne!(shown.read_line(&mut screen).expect("text"), 0, "it ended: {screen}");
    }
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a child has a pid");
    kill_process(pid, Signal::INT).expect("a child of ours");
    shown.read_to_string(&mut screen).expect("text");
    assert_eq!(child.wait().expect("a child of ours").code(), Some(0), "{screen}");
    assert!(screen.contains("3 of 3 lines, in order (1 empty lines") && screen.contains("every line"), "{screen}");
    drop(stdin);
}

/// Nobody is there to press Ctrl-C, so it must not go on for ever.
#[test]
fn the_live_demo_ends_by_itself_where_no_terminal_is() {
    let host = Host::new(NOWHERE);
    let mut command = host.command(&["demo"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (code, screen) = screen_of(command.spawn().expect("the binary can be started"));
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("every line arrived, once and in order"), "{screen}");
}

#[test]
fn the_live_demo_tells_the_truth_however_often_it_is_told_to_end() {
    for pause in [Duration::ZERO, Duration::from_millis(1_200)] {
        let host = Host::new(NOWHERE);
        let mut command = host.command(&["demo"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut ends = Ends(command.spawn().expect("the binary can be started"));
        let child = &mut ends.0;
        let mut shown = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut screen = String::new();
        while !screen.contains("/s   read 1") {
            assert_ne!(shown.read_line(&mut screen).expect("text"), 0, "it ended: {screen}");
        }
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a child has a pid");
        kill_process(pid, Signal::TERM).expect("a child of ours");
        std::thread::sleep(pause);
        // It may have ended.
        let _ = kill_process(pid, Signal::TERM);
        shown.read_to_string(&mut screen).expect("text");
        assert_eq!(child.wait().expect("a child of ours").code(), Some(0), "{screen}");
        assert!(screen.contains("every line arrived, once and in order"), "{screen}");
    }
}

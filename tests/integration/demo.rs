//! What a newcomer tries first: `demo` on a file, on a machine whose environment points elsewhere. Not the live demo,
//! which runs until Ctrl-C.

use crate::harness::{Host, append, numbered};

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

//! `explain` as a shell sees it: denials as people paste them, and what it ends with. Not each wording: those are tested
//! beside the parser.

use std::io::Write as _;
use std::process::{Output, Stdio};

use crate::harness::Host;

const DENIED: &str = "An error occurred (AccessDeniedException) when calling the PutLogEvents operation: User: \
                      arn:aws:sts::123456789012:assumed-role/web/i-1 is not authorized to perform: logs:PutLogEvents on \
                      resource: arn:aws:logs:eu-west-1:123456789012:log-group:/aws/ec2/app:log-stream:i-1 because no \
                      identity-based policy allows the logs:PutLogEvents action";

fn host() -> Host {
    Host::new("http://127.0.0.1:9")
}

fn piped(text: &[u8], arguments: &[&str]) -> Output {
    let mut command = host().command(arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    // It may have read enough before all is written.
    let _ = child.stdin.take().expect("a pipe").write_all(text);
    child.wait_with_output().expect("it ends")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn a_denial_is_explained_the_same_from_arguments_and_from_stdin() {
    let given = host().run(&["explain", DENIED]);
    let words: Vec<&str> = std::iter::once("explain").chain(DENIED.split(' ')).collect();
    for output in [host().run(&words), piped(DENIED.as_bytes(), &["explain"])] {
        assert_eq!((output.status.code(), stdout(&output)), (Some(0), stdout(&given)));
    }
    let text = stdout(&given);
    assert!(text.starts_with("why       role web may not logs:PutLogEvents on arn:aws:logs:"), "{text}");
    assert!(text.contains("\"Resource\": \"arn:aws:logs:eu-west-1:123456789012:log-group:/aws/ec2/app:*\""), "{text}");
    assert!(text.contains("aws iam put-role-policy --role-name web "), "{text}");
}

#[test]
fn json_has_the_statement_as_json() {
    let output = piped(DENIED.as_bytes(), &["explain", "--json"]);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found["explained"], true);
    assert_eq!(found["policy"]["kind"], "identity-based policy");
    assert_eq!(found["cure"][0]["statement"]["Action"], "logs:PutLogEvents");
}

#[test]
fn what_is_not_known_is_shown_whole_and_nothing_is_a_mistake_of_usage() {
    let output = piped(b"the dog\x1b]0;x\x07 ate\xff it", &["explain"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "no error of AWS's that is known:\n  the dog\\u{1b}]0;x\\u{7} ate\u{fffd} it\n");
    for arguments in [&["explain"][..], &["explain", ""], &["explain", " \n"]] {
        let output = piped(b"", arguments);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}");
    }
}

#[test]
fn a_text_of_any_length_is_read_no_further_than_it_can_matter() {
    let text = DENIED.to_owned() + &" and so on".repeat(100_000);
    let output = piped(text.as_bytes(), &["explain"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("only the first 64 KiB"), "{output:?}");
}

//! `credentials` and `exec` as a shell sees them: what they print where, what they end with, what a command finds. Against
//! a stand-in for the daemon that answers as told; the daemon's own side has suites of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Host, set_mode};

const HANDED: &str = r#"{"AccessKeyId":"ASIAEXAMPLE","SecretAccessKey":"secret","Token":"token",
    "Expiration":"2099-01-01T00:00:00Z","RoleArn":"arn:aws:iam::123456789012:role/app",
    "AccountId":"123456789012","Region":"eu-west-1"}"#;

/// Nothing is there that anything could leave this machine by.
fn host() -> Host {
    Host::new("http://127.0.0.1:9")
}

/// Answers one question on `host` with `status` and `body`; ends with the question's first line.
fn answer_once(host: &Host, status: &'static str, body: String) -> JoinHandle<String> {
    let listener = UnixListener::bind(host.path("run/credentials.sock")).expect("a socket in a temporary directory");
    std::thread::spawn(move || {
        let mut stream = listener.accept().expect("a question").0;
        let mut lines = BufReader::new(stream.try_clone().expect("a second descriptor")).lines();
        let question = lines.next().expect("a first line").expect("text");
        assert!(lines.map_while(Result::ok).any(|line| line.is_empty()), "the head ends");
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).expect("it is read");
        question
    })
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn credential_process_gets_its_document_and_nothing_else() {
    let host = host();
    let asked = answer_once(&host, "200 OK", HANDED.to_owned());
    let output = host.run(&["credentials", "--role", "app"]);
    assert_eq!(asked.join().unwrap(), "GET /role/app HTTP/1.1");
    assert_eq!((output.status.code(), words(&output)), (Some(0), String::new()));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&document["Version"], &document["SessionToken"]), (&1.into(), &"token".into()), "{document}");
}

#[test]
fn no_daemon_a_refusal_and_not_ready_each_have_their_exit_code_and_leave_stdout_empty() {
    let absent = host();
    let output = absent.run(&["credentials"]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(69), &b""[..]));
    assert!(words(&output).contains("systemctl start imds-agent"), "{}", words(&output));
    for (status, code) in [("403 Forbidden", 77), ("503 Service Unavailable", 1), ("404 Not Found", 1)] {
        for arguments in [&["credentials", "--role", "app"][..], &["exec", "--role", "app", "--", "true"]] {
            let host = host();
            let body = r#"{"Code":"X","Message":"the reason","Hint":"the cure"}"#;
            answer_once(&host, status, body.to_owned());
            let output = host.run(arguments);
            assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(code), &b""[..]), "{arguments:?}");
            assert!(words(&output).contains("the reason\n  → the cure"), "{}", words(&output));
        }
    }
    assert_eq!(absent.run(&["credentials", "--role", "../base"]).status.code(), Some(2));
    assert_eq!(absent.run(&["exec", "--role", "app"]).status.code(), Some(2), "a command is needed");
}

#[test]
fn waiting_begins_before_the_daemon_does() {
    let host = host();
    let mut command = host.command(&["credentials", "--wait", "1m"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("waiting"), "a person is told: {said}");
    let asked = answer_once(&host, "200 OK", HANDED.to_owned());
    assert!(asked.join().unwrap().starts_with("GET /base?wait="));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_command_gets_the_roles_keys_its_region_and_nothing_that_stands_in_the_way() {
    let mut host = host();
    host.set("AWS_PROFILE", "other");
    host.set("AWS_ROLE_ARN", "arn:aws:iam::1:role/other");
    host.set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/other");
    answer_once(&host, "200 OK", HANDED.to_owned());
    let output = host.run(&["exec", "--role", "app", "--", "sh", "-c", "env | grep -v ENDPOINT | grep ^AWS_ | sort"]);
    let expected = "AWS_ACCESS_KEY_ID=ASIAEXAMPLE\nAWS_CREDENTIAL_EXPIRATION=2099-01-01T00:00:00Z\n\
                    AWS_DEFAULT_REGION=eu-west-1\nAWS_REGION=eu-west-1\nAWS_SECRET_ACCESS_KEY=secret\n\
                    AWS_SESSION_TOKEN=token\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    assert!(words(&output).contains("2099-01-01T00:00:00Z"), "the end is said: {}", words(&output));
}

#[test]
fn a_command_with_an_address_gets_no_key_unless_one_insists() {
    let host = host();
    let token = host.path("token");
    std::fs::write(&token, "0".repeat(64)).unwrap();
    let handed = HANDED.trim_end_matches('}').to_owned()
        + &format!(r#","Endpoint":"http://127.0.0.1:1339/role/app","TokenFile":"{}"}}"#, token.display());
    let run = |arguments: &[&str]| {
        let _ = std::fs::remove_file(host.path("run/credentials.sock"));
        answer_once(&host, "200 OK", handed.clone());
        let output = host.run(arguments);
        (String::from_utf8_lossy(&output.stdout).into_owned(), words(&output))
    };
    let (environment, said) = run(&["exec", "--role", "app", "env"]);
    assert!(environment.contains("AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1:1339/role/app\n"));
    assert!(environment.contains(&format!("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE={}\n", token.display())));
    assert!(!environment.contains("ASIAEXAMPLE") && said.is_empty(), "{environment}{said}");
    std::fs::create_dir(host.path(".aws")).unwrap();
    std::fs::write(host.path(".aws/credentials"), "[default]\naws_access_key_id = AKIA\n").unwrap();
    let (_, said) = run(&["exec", "--role", "app", "env"]);
    assert!(said.contains(".aws/credentials has aws_access_key_id"), "{said}");
    let (environment, said) = run(&["exec", "--role", "app", "--static", "--", "env"]);
    assert!(environment.contains("ASIAEXAMPLE") && !environment.contains("FULL_URI"), "{environment}");
    assert!(said.contains("(--static)") && !said.contains(".aws"), "{said}");
}

#[test]
fn a_commands_exit_code_is_execs_and_one_that_can_not_run_is_said_to_be_none() {
    let host = host();
    let run = |command: &[&str]| {
        let _ = std::fs::remove_file(host.path("run/credentials.sock"));
        answer_once(&host, "200 OK", HANDED.to_owned());
        host.run(&[&["exec", "--"], command].concat())
    };
    assert_eq!(run(&["sh", "-c", "exit 41"]).status.code(), Some(41));
    let missing = run(&["there-is-no-such-command"]);
    assert_eq!(missing.status.code(), Some(127));
    assert!(words(&missing).contains("there-is-no-such-command"), "{}", words(&missing));
    let file = host.path("file");
    std::fs::write(&file, "").unwrap();
    set_mode(&file, 0o644);
    assert_eq!(run(&[file.to_str().unwrap()]).status.code(), Some(126));
}

#[test]
fn a_command_takes_execs_place_so_that_signals_reach_it() {
    let host = host();
    answer_once(&host, "200 OK", HANDED.to_owned());
    let script = "trap 'exit 5' TERM; echo $$; while :; do sleep 1 & wait $!; done";
    let mut command: Command = host.command(&["exec", "--", "sh", "-c", script]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim(), child.id().to_string(), "the same process");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

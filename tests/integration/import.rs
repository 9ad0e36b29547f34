//! `config import`, as its user runs it: the configuration on stdout, the rest on stderr, and an agent that ships by what
//! was made. Not each setting: unit tests go through those.

use std::io::Write as _;

use crate::harness::{Host, append, numbered};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_amazons_agent_shipped_arrives_where_it_arrived() {
    let (host, emulator) = Host::with_emulator();
    let theirs = host.path("amazon-cloudwatch-agent.json");
    let logs = host.path("logs").display().to_string();
    let json = format!(
        r#"{{"agent": {{"run_as_user": "cwagent"}}, "metrics": {{"metrics_collected": {{"mem": {{"measurement": ["used"]}}}}}},
            "logs": {{"logs_collected": {{"files": {{"collect_list": [
            {{"file_path": "{logs}/app.log", "log_group_name": "/theirs/app", "log_stream_name": "{{instance_id}}-app",
              "filters": [{{"type": "exclude", "expression": "noise"}}]}}]}}}}}}}}"#
    );
    std::fs::write(&theirs, json).expect("a file can be written");
    let output = host.run(&["config", "import", &theirs.display().to_string()]);
    let (made, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("not taken over: 2; different here:"), "{said}");
    for path in ["* agent.run_as_user = cwagent: not taken over", "* metrics.metrics_collected.mem = "] {
        assert!(said.contains(path), "{said}");
    }
    host.configure(&made);
    let agent = host.start();
    let mut log = std::fs::File::create(host.log("app.log")).expect("a log");
    writeln!(log, "noise").expect("a line");
    append(&host.log("app.log"), &numbered(0, 10, 100));
    let report = agent.wait_until("all but the noise is delivered", |report| {
        let events = report.events();
        events.delivered == 10 && events.pending == 0
    });
    let stream = format!("{}-app", report.text("/instance/instance_id"));
    assert_eq!(emulator.lines("/theirs/app", &stream).len(), 10);
}

#[test]
fn a_directory_is_merged_and_what_is_wrong_is_cited() {
    let (host, _emulator) = Host::with_emulator();
    let directory = host.path("amazon-cloudwatch-agent.d");
    std::fs::create_dir(&directory).expect("a directory");
    let entry = |path: &str| {
        format!(r#"{{"logs": {{"logs_collected": {{"files": {{"collect_list": [{{"file_path": "{path}"}}]}}}}}}}}"#)
    };
    std::fs::write(directory.join("file_a.json"), entry("/var/log/a.log")).expect("a file");
    std::fs::write(directory.join("file_b.json"), entry("/var/log/b.log")).expect("a file");
    std::fs::write(directory.join("half.tmp"), "{").expect("a file");
    let import = || host.run(&["config", "import", &directory.display().to_string()]);
    let output = import();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).matches("[[logs.file]]\n").count(), 2);
    std::fs::write(directory.join("file_b.json"), "{\n  \"logs\": oops\n}").expect("a file");
    let output = import();
    assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(78), true));
    assert!(
        text(&output.stderr).contains("file_b.json: expected value at line 2 column 11"),
        "{}",
        text(&output.stderr)
    );
    let missing = host.run(&["config", "import", "/nonexistent.json"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("can't read /nonexistent.json"), "{}", text(&missing.stderr));
}

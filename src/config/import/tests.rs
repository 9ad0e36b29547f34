//! The translation as a whole: nothing is lost, what is made is right, and each setting means what it meant.

use std::collections::BTreeSet;

use proptest::prelude::{ProptestConfig, proptest};
use serde_json::{Value, json};

use super::{Error, Imported, check, import};

/// With something of everything, known and unknown.
const SAMPLE: &str = r#"{
    "agent": { "region": "eu-west-1", "run_as_user": "cwagent", "debug": true, "metrics_collection_interval": 60,
        "credentials": { "role_arn": "arn:aws:iam::123456789012:role/x" }, "new": [1, { "a": null }] },
    "metrics": { "namespace": "N", "append_dimensions": { "InstanceId": "${aws:InstanceId}" },
        "metrics_collected": { "cpu": { "measurement": ["usage_idle"] }, "statsd": {} } },
    "traces": { "traces_collected": { "xray": {} } },
    "csm": { "port": 31000 },
    "logs": {
        "log_stream_name": "{instance_id}-{ip_address}", "force_flush_interval": 15, "concurrency": 4,
        "endpoint_override": "https://logs.example", "metrics_collected": { "emf": {}, "kubernetes": { "cluster_name": "c" } },
        "logs_collected": {
            "windows_events": { "collect_list": [{ "event_name": "System" }] },
            "files": { "collect_list": [
                { "file_path": "/var/log/messages", "log_group_name": "/ec2/messages", "log_stream_name": "{local_hostname}",
                  "timestamp_format": "%b %d %H:%M:%S", "timezone": "UTC", "multi_line_start_pattern": "{timestamp_format}",
                  "retention_in_days": 14, "auto_removal": false, "encoding": "utf-8" },
                { "file_path": "/var/log/**.log", "log_group_name": "all logs", "blacklist": "debug|\\.gz$", "publish_multi_logs": true,
                  "log_group_class": "INFREQUENT_ACCESS", "retention_in_days": -1, "auto_removal": true, "trim_timestamp": true,
                  "filters": [{ "type": "include", "expression": "ERR" }, { "type": "include", "expression": "WARN" },
                              { "type": "exclude", "expression": "health" }, { "type": "include", "expression": "(" }],
                  "service.name": "s", "deployment.environment": "d", "backpressure_mode": "fd_release" },
                { "file_path": "/opt/app/logs/*.out", "timestamp_format": "%Q", "multi_line_start_pattern": "^\\[",
                  "log_stream_name": "{hostname}/{date}/{ProcessID}", "blacklist": "^(a|b)", "retention_in_days": 2, "future": 1 },
                { "file_path": "C:\\logs\\app.log", "log_group_name": "win", "encoding": "utf-16" },
                { "file_path": "/var/log/messages", "log_group_name": "again", "encoding": "martian" },
                "not an object"
            ] },
            "journald": { "collect_list": [
                { "units": ["nginx", "ssh.service"], "priority": "4", "matches": [{ "_UID": "0" }, { "_UID": "1000" }],
                  "filters": [{ "type": "exclude", "expression": "noise" }], "log_group_name": "/ec2/journal", "retention_in_days": 7 },
                { "matches": [{ "_UID": "0" }, { "_TRANSPORT": "kernel" }], "priority": "loud", "log_stream_name": "a:b" }
            ] }
        }
    }
}"#;

fn imported(text: &str) -> Imported {
    let imported = import(&[("a.json".to_owned(), text.to_owned())]).unwrap_or_else(|error| panic!("{error}"));
    if let Err(errors) = check(&imported) {
        panic!("{errors}\n{}", imported.toml);
    }
    imported
}

/// The path of each value that holds no others.
fn leaves(value: &Value, path: &str, all: &mut Vec<String>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(key, value)| leaves(value, &below(key), all));
        }
        Value::Array(list) if !list.is_empty() => {
            list.iter().enumerate().for_each(|(index, value)| leaves(value, &format!("{path}[{index}]"), all));
        }
        _ => all.push(path.to_owned()),
    }
}

/// Whether `path` is `whole` or stands in it.
fn is_within(path: &str, whole: &str) -> bool {
    path.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

fn assert_nothing_is_lost(text: &str) {
    let imported = imported(text);
    let mut all = Vec::new();
    leaves(&serde_json::from_str(text).unwrap(), "", &mut all);
    let left: Vec<&str> = imported.notes.iter().filter(|note| !note.is_taken).map(|note| note.path.as_str()).collect();
    for leaf in &all {
        // A list whose objects were all taken apart, or an empty section, has nothing to tell.
        let is_taken = imported.taken.iter().any(|taken| is_within(leaf, taken));
        let is_left = left.iter().any(|left| is_within(leaf, left));
        assert!(is_taken != is_left, "{leaf} is {}:\n{}", if is_taken { "both" } else { "lost" }, imported.toml);
    }
    for note in imported.notes.iter().filter(|note| !note.is_taken) {
        assert!(imported.toml.contains(&note.path.replace('\n', " ")), "{} is not in the file", note.path);
        assert!(!note.text.is_empty() && !note.value.is_empty(), "{note:?}");
    }
}

#[test]
fn each_value_is_taken_over_or_named_and_what_is_made_is_right() {
    assert_nothing_is_lost(SAMPLE);
    for text in
        ["{}", r#"{"logs": {"logs_collected": {"files": {"collect_list": []}}}}"#, r#"{"agent": {"region": 7}}"#]
    {
        imported(text);
    }
}

#[test]
fn what_is_made_says_the_same_in_our_words() {
    let imported = imported(SAMPLE);
    for line in [
        "region = \"eu-west-1\"",
        "log_stream = \"{instance_id}-{private_ip}\"",
        "flush_interval = \"15s\"",
        "include = [\"/var/log/messages\"]",
        "log_group = \"/ec2/messages\"",
        "log_stream = \"{hostname}\"",
        r#"timestamp = { regex = '(\w{3} \s?\d{1,2} \d{2}:\d{2}:\d{2})', format = "%b %d %H:%M:%S", timezone = "UTC" }"#,
        r"multiline = { start = '(\w{3} \s?\d{1,2} \d{2}:\d{2}:\d{2})' }",
        "retention_in_days = 14",
        "include = [\"/var/log/*.log\", \"/var/log/*/**/*.log\"]",
        "exclude = [\"*debug*\", \"*.gz\"]",
        "log_group = \"all_logs\"",
        "log_stream = \"{instance_id}-{private_ip}_{file_path}\"",
        "log_class = \"INFREQUENT_ACCESS\"",
        "keep = [\"ERR\"]",
        "drop = [\"health\"]",
        r"multiline = { start = '^\S' }",
        "log_group = \"/opt/app/logs/_\"",
        "log_stream = \"{hostname}/{date}/ProcessID\"",
        r"multiline = { start = '^\[' }",
        "units = [\"nginx\", \"ssh.service\"]",
        "priority = \"warning\"",
        "matches = { \"_UID\" = [\"0\", \"1000\"] }",
        "matches = { \"_TRANSPORT\" = [\"kernel\"] }",
        "log_group = \"journald-logs\"",
        "log_stream = \"a_b\"",
    ] {
        assert!(imported.toml.lines().any(|found| found == line), "no {line} in\n{}", imported.toml);
    }
    assert_eq!(imported.toml.matches("\n[[logs.file]]\n").count(), 4);
    assert_eq!(imported.toml.matches("\n[[logs.journal]]\n").count(), 3);
}

#[test]
fn what_behaves_differently_is_said() {
    let imported = imported(SAMPLE);
    let said: BTreeSet<(&str, bool)> = imported.notes.iter().map(|note| (note.path.as_str(), note.is_taken)).collect();
    let list = "logs.logs_collected.files.collect_list";
    for (path, is_taken) in [
        (list.to_owned(), true),
        (format!("{list}[2].file_path"), true),
        (format!("{list}[2].log_stream_name"), true),
        (format!("{list}[4].file_path"), true),
        (format!("{list}[3].file_path"), false),
        (format!("{list}[1].filters[1].expression"), false),
        ("metrics.metrics_collected.cpu".to_owned(), false),
        ("csm".to_owned(), false),
        ("logs.logs_collected.journald.collect_list[1].matches".to_owned(), true),
    ] {
        assert!(said.contains(&(path.as_str(), is_taken)), "nothing is said of {path}: {said:#?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_an_entry_says_what_is_made_of_it_is_right(
        path in r"/?[ -~]{0,12}", name in r"[ -~\n]{0,12}", format in r"(%[YmdHMSfz]|[ -~]){0,8}", regex in r"[ -~]{0,8}"
    ) {
        let entry = json!({
            "file_path": path, "log_group_name": name, "log_stream_name": name, "timestamp_format": format,
            "multi_line_start_pattern": regex, "blacklist": regex, "encoding": name, "log_group_class": name,
            "filters": [{ "type": "include", "expression": regex }, { "type": "exclude", "expression": regex }],
        });
        let whole = json!({ "logs": { "logs_collected": { "files": { "collect_list": [entry] } } } });
        assert_nothing_is_lost(&whole.to_string());
    }
}

#[test]
fn files_are_merged_and_two_that_contradict_each_other_are_named() {
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let entry = |path: &str| {
        format!(r#"{{"logs": {{"logs_collected": {{"files": {{"collect_list": [{{"file_path": "{path}"}}]}}}}}}}}"#)
    };
    let both = import(&[file("a", &entry("/a.log")), file("b", &entry("/b.log"))]).unwrap();
    assert_eq!(both.toml.matches("[[logs.file]]\n").count(), 2);
    let regions = [r#"{"agent": {"region": "eu-west-1"}}"#, r#"{"agent": {"region": "us-east-1"}}"#];
    let error = import(&[file("a", regions[0]), file("b", regions[1])]).unwrap_err();
    assert!(matches!(&error, Error::Contradiction { file, path } if file == "b" && path == "agent.region"), "{error}");
}

#[test]
fn what_is_no_configuration_is_refused_with_its_place() {
    let error = |text: &str| import(&[("a.json".to_owned(), text.to_owned())]).unwrap_err().to_string();
    assert!(error("{\n  \"agent\": {,}\n}").contains("line 2 column 13"), "{}", error("{\n  \"agent\": {,}\n}"));
    assert!(error(r#"{"agent": {"region": "a", "region": "b"}}"#).contains("\"region\" is there twice"));
    for text in ["[]", "7", r#"{"inputs": {}}"#] {
        assert!(error(text).contains("not a configuration of Amazon's"), "{text}");
    }
    assert!(error(&"[".repeat(10_000)).contains("recursion limit"));
}

#[test]
fn nothing_that_a_file_says_leaves_its_comment_or_its_string() {
    let hostile = r#"{"agent": {"user_agent": "x\n[logs]\nmemory_limit = \"1\"\u202e", "a\n[b]": 1},
        "logs": {"logs_collected": {"files": {"collect_list": [
            {"file_path": "/a'\"\\\n\u007f.log", "log_group_name": "g\"'\n]", "log_stream_name": "s'\"\\\n",
             "multi_line_start_pattern": "'\"\\\\\n", "filters": [{"type": "exclude", "expression": "'''\n\"\"\""}]}]}}}}"#;
    let imported = imported(hostile);
    assert!(!imported.toml.contains("\n[logs]\n") && !imported.toml.contains('\u{202e}'), "{}", imported.toml);
}

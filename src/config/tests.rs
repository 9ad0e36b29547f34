//! What a configuration means, and what is said of one that is wrong. Not the tests of single parts: they are beside
//! those.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::caller::Rule;
use crate::credentials::SourceKind;
use crate::imds::EndpointMode;
use crate::logs::framing::{Budget, Format, Level, Sample};
use crate::logs::{Compression, LogClass, SocketKind, StartAt, Syntax};

/// A directory that holds a main file and drop-ins, by their names.
struct House(TempDir);

impl House {
    fn new(main: impl AsRef<[u8]>, drop_ins: &[(&str, &str)]) -> Self {
        let house = Self(tempfile::tempdir().unwrap());
        fs::write(house.main(), main).unwrap();
        if !drop_ins.is_empty() {
            fs::create_dir(house.conf_d()).unwrap();
        }
        for (name, text) in drop_ins {
            fs::write(house.conf_d().join(name), text).unwrap();
        }
        house
    }

    fn main(&self) -> PathBuf {
        self.0.path().join("config.toml")
    }

    fn conf_d(&self) -> PathBuf {
        self.0.path().join("conf.d")
    }

    fn read(&self) -> Result<Config, Errors> {
        read(Some(&self.main()), None).map(|(loaded, _)| loaded.config)
    }

    /// As root would read it, if root's id were `user`.
    fn read_trusting(&self, user: u32) -> Result<(Loaded, Origins), Errors> {
        read(Some(&self.main()), Some(user))
    }
}

pub(super) fn parse(text: &str) -> Result<Config, Errors> {
    House::new(text, &[]).read()
}

/// `line:column message` of all that is wrong.
pub(super) fn faults(text: &str) -> Vec<String> {
    let place = |fault: &Diagnostic| format!("{}:{}", fault.line.unwrap_or(0), fault.column.unwrap_or(0));
    let errors = parse(text).unwrap_err();
    errors.diagnostics().map(|fault| format!("{} {}", place(fault), fault.message)).collect()
}

#[track_caller]
pub(super) fn assert_only_fault(text: &str, place: &str, part: &str) {
    let faults = faults(text);
    assert_eq!(faults.len(), 1, "{faults:#?}");
    assert!(faults[0].starts_with(&format!("{place} ")) && faults[0].contains(part), "{faults:#?}");
}

const FULL: &str = r#"
region = "us-gov-west-1"
[imds]
endpoint = "http://127.0.0.1:1338/"
endpoint_mode = "auto"
token_ttl = "1h30m"
v1_fallback = true
[credentials]
source = "instance"
[variables]
environment = "a \"quoted\"\u007f\tvalue"
[logs]
log_group = "/aws/ec2/{environment}"
retention_in_days = 14
log_class = "INFREQUENT_ACCESS"
kms_key_id = "arn:aws:kms:eu-west-1:123456789012:alias/logs"
tags = { team = "web", "cost center" = "a=b" }
compression = "gzip"
flush_interval = "250ms"
memory_limit = "64MiB"
spool_limit = "1GiB"
[[logs.file]]
include = ["/var/log/app/*.log", "/srv/{a,b}/**/x.log"]
exclude = ["*.debug.log"]
log_stream = "{instance_id}/{file_name}"
start_at = "beginning"
backfill_limit = "64MiB"
[[logs.file]]
include = ["/var/log/syslog"]
log_group = "{tag:Name|none}"
retention_in_days = 3653
start_at = "end"
log_class = "STANDARD"
tags = { team = "ops" }
[[logs.socket]]
path = "app.sock"
type = "datagram"
syntax = "rfc5424"
allow = [{ user = "app" }, { group = "web", unit = "web.service" }]
log_stream = "events"
"#;

/// Everything that can be said about records.
const RECORDS: &str = r#"
[[logs.file]]
include = ["/a"]
log_group = "/g/{date}"
encoding = "Shift_JIS"
multiline = { continuation = '^\s', timeout = "5s", max_lines = 10, max_bytes = "64KiB" }
timestamp = { regex = '^(\S+ +\d+ \S+)', format = "%b %e %H:%M:%S", timezone = "Europe/Berlin" }
json = { timestamp = "@timestamp", level = "log.level", minimum_level = "notice" }
keep = ["a", '"b"']
drop = ['c\d']
redact = [{ regex = '(x)=\S+', replace = "${1}=$$" }, { regex = "y", replace = "" }]
budget = { per_day = "10MiB", sample = 0.25 }
[[logs.file]]
include = ["/b"]
log_group = "/g"
multiline.end = ';$'
timestamp = { regex = '^\d+', format = "epoch_millis" }
json = {}
budget = { per_day = "1GB" }
"#;

#[test]
fn every_key_about_records_reaches_its_setting() {
    let config = parse(RECORDS).unwrap();
    let (first, second) = (&config.logs.files[0].framing, &config.logs.files[1].framing);
    assert_eq!(first.encoding.name(), "shift_jis");
    let multiline = first.multiline.as_ref().unwrap();
    assert_eq!((multiline.timeout, multiline.max_lines, multiline.max_bytes), (Duration::from_secs(5), 10, 64 << 10));
    assert_eq!(first.timestamp.as_ref().unwrap().zone.name(), "Europe/Berlin");
    assert_eq!(first.json.as_ref().unwrap().level, Some(("log.level".to_owned(), Level::Notice)));
    assert_eq!((first.keep.len(), first.drop.len(), first.redact.len()), (2, 1, 2));
    assert_eq!(first.budget, Sample::of(0.25).map(|sample| Budget { per_day: 10 << 20, sample }));
    let multiline = second.multiline.as_ref().unwrap();
    assert_eq!((multiline.timeout, multiline.max_lines, multiline.max_bytes), (Duration::from_secs(1), 1000, 1 << 20));
    assert_eq!(second.timestamp.as_ref().unwrap().format, Format::EpochMillis);
    assert_eq!(second.budget, Some(Budget { per_day: 1_000_000_000, sample: Sample::default() }));
}

#[test]
fn what_is_wrong_about_records_is_cited() {
    let fault = |row: &str, place, reason| {
        assert_only_fault(&format!("[[logs.file]]\ninclude = [\"/a\"]\nlog_group = \"g\"\n{row}"), place, reason);
    };
    fault("encoding = \"utf-7\"", "4:12", "no encoding has that label");
    fault("multiline = { timeout = \"1s\" }", "4:13", "exactly one of `start`");
    fault("multiline.start = 'a('", "4:19", "unclosed group");
    fault("multiline = { start = 'a', max_lines = 0 }", "4:40", "from 1 to 1000000");
    fault("multiline = { start = 'a', max_bytes = \"2MiB\" }", "4:40", "at most 1MiB");
    fault("timestamp = { regex = 'a' }", "4:13", "has no `format`");
    fault("timestamp = { regex = 'a', format = \"%Y-%m-%d\" }", "4:37", "which minute");
    fault("timestamp = { regex = 'a', format = \"epoch\", timezone = \"Mars/X\" }", "4:57", "time zone database");
    fault("redact = [{ regex = 'a', replace = \"$1\" }]", "4:36", "the group `1`");
    fault("budget = { per_day = \"1GiB\", sample = 1.5 }", "4:39", "a share from 0 to 1");
    fault("budget = { sample = 0.5 }", "4:10", "has no `per_day`");
    fault("json = { minimum_level = \"info\" }", "4:8", "together");
    fault("drop = ['a', '[']", "4:14", "unclosed character class");
}

#[test]
fn every_key_reaches_its_setting() {
    let config = parse(FULL).unwrap();
    assert_eq!(config.region.as_deref(), Some("us-gov-west-1"));
    assert_eq!(config.imds.endpoint.as_deref(), Some("http://127.0.0.1:1338"));
    assert_eq!(config.imds.endpoint_mode, EndpointMode::Auto);
    assert_eq!(config.imds.token_ttl, Duration::from_mins(90));
    assert!(config.imds.v1_fallback);
    assert_eq!(config.credentials.source, SourceKind::Instance);
    assert_eq!(config.variables["environment"], "a \"quoted\"\u{7f}\tvalue");
    assert_eq!(config.logs.flush_interval, Duration::from_millis(250));
    assert_eq!((config.logs.memory_limit, config.logs.compression), (64 << 20, Compression::Gzip));
    let [first, second] = config.logs.files.as_slice() else { panic!("two files") };
    assert_eq!(first.include, ["/var/log/app/*.log", "/srv/{a,b}/**/x.log"]);
    assert_eq!(first.exclude, ["*.debug.log"]);
    assert_eq!(first.target.log_group.text(), "/aws/ec2/{environment}");
    assert_eq!(first.target.log_stream.text(), "{instance_id}/{file_name}");
    assert_eq!((first.target.group.retention_in_days, first.start_at), (Some(14), StartAt::Beginning));
    assert_eq!((first.backfill_limit, second.backfill_limit), (64 << 20, crate::logs::BACKFILL_LIMIT));
    assert_eq!(second.target.log_group.text(), "{tag:Name|none}");
    assert_eq!(second.target.log_stream.text(), "{instance_id}");
    let group = &first.target.group;
    assert_eq!(group.log_class, Some(LogClass::InfrequentAccess));
    assert_eq!(group.kms_key_id.as_deref(), Some("arn:aws:kms:eu-west-1:123456789012:alias/logs"));
    assert_eq!((group.tags["team"].as_str(), group.tags["cost center"].as_str()), ("web", "a=b"));
    assert_eq!((second.target.group.log_class, second.target.group.tags.len()), (Some(LogClass::Standard), 1));
    assert_eq!((second.target.group.retention_in_days, second.start_at), (Some(3653), StartAt::End));
    assert_eq!(config.logs.spool_limit, 1 << 30);
    let [socket] = config.logs.sockets.as_slice() else { panic!("one socket") };
    assert_eq!((socket.path.as_str(), socket.kind, socket.syntax), ("app.sock", SocketKind::Datagram, Syntax::Rfc5424));
    let rule = |user: Option<&str>, group: Option<&str>, unit: Option<&str>| Rule {
        user: user.map(str::to_owned),
        group: group.map(str::to_owned),
        unit: unit.map(str::to_owned),
        ..Rule::default()
    };
    let rules = [rule(Some("app"), None, None), rule(None, Some("web"), Some("web.service"))];
    assert_eq!(socket.allow.0, rules);
    assert_eq!((socket.target.log_stream.text(), socket.target.group.retention_in_days), ("events", Some(14)));
}

#[test]
fn a_socket_that_can_not_be_is_cited() {
    let socket = |rest: &str| format!("[logs]\nlog_group = \"g\"\n[[logs.socket]]\n{rest}\n");
    let assert_fault = |rest: &str, place: &str, part: &str| assert_only_fault(&socket(rest), place, part);
    assert_fault("syntax = \"line\"", "3:1", "[[logs.socket]] has no `path`");
    for path in ["../x", "/run/x", "a/b", "", ".x", "a b"] {
        assert_fault(&format!("path = \"{path}\""), "4:8", "it is a name in the runtime directory");
    }
    assert_fault("path = \"status.sock\"", "4:8", "the agent has that itself");
    assert_fault(&format!("path = \"{}\"", "x".repeat(65)), "4:8", "at most 64 characters");
    assert_fault("path = \"a\"\nsyntax = \"syslog\"", "5:10", "expected \"line\" or \"rfc3164\" or \"rfc5424\"");
    assert_fault("path = \"a\"\ntype = \"tcp\"", "5:8", "expected \"stream\" or \"datagram\"");
    assert_fault("path = \"a\"\nallow = []", "3:1", "`allow` names nobody");
    assert_fault("path = \"a\"\nallow = [{}]", "5:10", "names nobody");
    assert_fault(
        "path = \"a\"\nallow = [{ usr = \"x\", user = \"y\" }]",
        "5:12",
        "in [[logs.socket.allow]]; expected user, group, uid, unit, container",
    );
    assert_fault("path = \"a\"\nallow = [{ unit = \"web\" }]", "5:19", "expected a service");
    assert_fault("path = \"a\"\nallow = [{ user = \"a:b\" }]", "5:19", "expected a name or a number");
    assert_fault("path = \"a\"\n[[logs.socket]]\npath = \"a\"", "6:8", "is the `path` of two sockets");
    assert_fault("path = \"a\"\nlog_stream = \"{file_name}\"", "5:14", "has no {file_name}");
    assert_fault("path = \"a\"\nmultiline = { start = '^x' }", "5:13", "told apart as it comes");
}

#[test]
fn a_journal_that_can_not_be_is_cited() {
    let fault = |rows: &str, place: &str, part: &str| {
        assert_only_fault(&format!("[logs]\nlog_group = \"g\"\n[[logs.journal]]\n{rows}\n"), place, part);
    };
    fault("units = []", "4:9", "names no unit; leave it out");
    fault("units = \"ssh\"", "4:9", "must be a list");
    fault("units = [\"ssh\", \"a b\"]", "4:17", "is no unit's name");
    fault("units = [\"a[\"]", "4:10", "is no pattern");
    fault("unit = [\"ssh\"]", "4:1", "expected");
    fault("identifiers = []", "4:15", "names no identifier");
    fault("identifiers = [\"\"]", "4:16", "is no identifier");
    fault("priority = \"loud\"", "4:12", "expected \"emerg\"");
    fault("priority = 6", "4:12", "must be a string");
    fault("matches = { _transport = [\"kernel\"] }", "4:13", "is no journal field");
    fault("matches = { _TRANSPORT = [] }", "4:13", "has no value to match");
    fault("format = \"xml\"", "4:10", "expected \"text\" or \"json\"");
    fault("fields = [\"MESSAGE\"]", "4:10", "`fields` is for JSON");
    fault("format = \"text\"\nfields = [\"MESSAGE\"]", "5:10", "`fields` is for JSON");
    fault("format = \"json\"\nfields = []", "5:10", "names no field");
    fault("format = \"json\"\nfields = [\"message\"]", "5:11", "is no journal field");
    fault("start_at = \"now\"", "4:12", "expected \"auto\"");
    fault("directory = \"journal\"", "4:13", "is not absolute");
    fault("log_stream = \"{file_name}\"", "4:14", "has no {file_name}");
    fault("multiline = { start = '^x' }", "4:13", "a record with all its lines already");
    fault("redact = [{ regex = 'a', replace = \"$1\" }]", "4:36", "the group `1`");
    fault("budget = { per_day = \"1\" }", "4:22", "per_day");
}

#[test]
fn an_empty_file_means_all_defaults() {
    assert_eq!(parse("").unwrap(), Config::default());
}

#[test]
fn the_sample_changes_no_default() {
    assert_eq!(parse(SAMPLE).unwrap(), Config::default());
}

#[test]
fn the_sample_is_right_with_every_setting_switched_on() {
    let on: Vec<&str> = SAMPLE
        .lines()
        .map(|line| line.strip_prefix('#').filter(|setting| !setting.starts_with(' ')).unwrap_or(line))
        .collect();
    let config = parse(&on.join("\n")).unwrap();
    assert_eq!(config.imds, crate::imds::Settings { endpoint: config.imds.endpoint.clone(), ..Default::default() });
    let roles = config.credentials.roles.clone();
    assert_eq!(roles.len(), 1);
    assert_eq!(config.credentials, crate::credentials::Settings { roles, ..Default::default() });
    let (files, journals) = (config.logs.files.clone(), config.logs.journals.clone());
    let sockets = config.logs.sockets.clone();
    assert_eq!((config.region, files.len(), journals.len(), sockets.len()), (None, 1, 1, 2));
    assert_eq!(config.variables.len(), 1);
    assert_eq!(config.logs, crate::logs::Settings { files, journals, sockets, ..Default::default() });
}

#[test]
fn a_missing_file_is_an_error_if_it_was_named() {
    let home = tempfile::tempdir().unwrap();
    let missing = home.path().join("config.toml");
    let errors = read(Some(&missing), None).unwrap_err();
    let fault = errors.diagnostics().next().unwrap();
    assert_eq!((&fault.file, fault.line), (&missing, None));
    assert!(fault.message.contains("no such file (ENOENT)"), "{}", fault.message);
}

#[test]
fn a_missing_default_file_leaves_the_drop_ins() {
    let house = House::new("", &[("a.toml", "x = 1")]);
    fs::remove_file(house.main()).unwrap();
    assert!(source::read_all(&house.main(), true, None)[0].is_err());
    let optional = source::read_all(&house.main(), false, None);
    assert_eq!(optional.len(), 1);
    assert_eq!(optional[0].as_ref().unwrap().text, "x = 1");
    std::os::unix::fs::symlink("nowhere", house.main()).unwrap();
    assert!(source::read_all(&house.main(), false, None)[0].is_err(), "a link that leads nowhere is a mistake");
}

#[test]
fn drop_ins_append_lists_and_fill_tables() {
    let file = |path: &str| format!("[[logs.file]]\ninclude = [\"{path}\"]\n");
    let main = format!("[logs]\nlog_group = \"main\"\n{}", file("/m"));
    let (b, a) = (file("/b"), format!("{}[imds]\nv1_fallback = true\n", file("/a")));
    let drop_ins = [("b.toml", b.as_str()), ("a.toml", a.as_str()), (".hidden.toml", "x"), ("note.txt", "x")];
    let config = House::new(main, &drop_ins).read().unwrap();
    let paths: Vec<&str> = config.logs.files.iter().map(|file| file.include[0].as_str()).collect();
    assert_eq!(paths, ["/m", "/a", "/b"]);
    assert!(config.logs.files.iter().all(|file| file.target.log_group.text() == "main"));
    assert!(config.imds.v1_fallback);
}

#[test]
fn a_scalar_set_in_two_files_cites_both_places() {
    let house = House::new("\n[imds]\ntoken_ttl = \"1h\"\n", &[("a.toml", "imds.token_ttl = \"2h\"")]);
    let errors = house.read().unwrap_err();
    let fault = errors.diagnostics().next().unwrap();
    let other = fault.other.as_ref().unwrap();
    assert_eq!((fault.file.as_path(), fault.line, fault.column), (&*house.conf_d().join("a.toml"), Some(1), Some(6)));
    assert_eq!((other.file.as_path(), other.line, other.column), (&*house.main(), 3, 1));
    assert_eq!(errors.count(), 1);
    let text = errors.to_string();
    assert!(text.contains("`imds.token_ttl` is set twice") && text.contains("config.toml:3:1"), "{text}");
}

#[test]
fn an_unknown_key_brings_the_expected_ones_and_a_guess() {
    let errors = parse("[imds]\nendpoint_mod = \"ipv4\"\n").unwrap_err();
    let text = errors.to_string();
    let expected = "config.toml:2:1: unknown key `endpoint_mod` in [imds]; expected endpoint, endpoint_mode, token_ttl, v1_fallback
  |
2 | endpoint_mod = \"ipv4\"
  | ^^^^^^^^^^^^
  = did you mean `endpoint_mode`?

1 error in the configuration";
    assert!(text.ends_with(expected), "{text}");
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let house = House::new("region = 5\n[imds]\nx = 1\n", &[("a.toml", "[logs]\nflush_interval = \"5\"\ny = ")]);
    let text = house.read().unwrap_err().to_string();
    for place in ["config.toml:1:10", "config.toml:3:1", "a.toml:2:18", "a.toml:3:5"] {
        assert!(text.contains(place), "{place} in {text}");
    }
    assert!(text.ends_with("4 errors in the configuration"), "{text}");
}

#[test]
fn reading_goes_on_behind_a_line_that_is_not_toml() {
    assert_eq!(faults("region\n[logs]\nlog_group = a b\nbroken\nx = 1\n").len(), 4);
}

#[test]
fn a_broken_line_is_one_fault_and_misses_nothing() {
    assert_only_fault("[[logs.file]]\ninclude = [\"/a\"]\nlog_group = \n", "3:13", "a value is missing");
    assert_only_fault("[[logs.file]]\ninclude = [\"/a\"\n", "2:16", "");
}

#[test]
fn a_key_set_twice_in_one_file_is_cited() {
    assert_only_fault("[imds]\ntoken_ttl = \"1h\"\ntoken_ttl = \"2h\"\n", "3:1", "`token_ttl` is set twice");
}

#[test]
fn quantities_need_units_and_have_limits() {
    assert_only_fault("[logs]\nflush_interval = 5", "2:18", "needs a unit and quotes, as in \"5s\"");
    assert_only_fault("[logs]\nflush_interval = \"249ms\"", "2:18", "at least 250ms, not 249ms");
    assert_only_fault("[logs]\nflush_interval = \"61s\"", "2:18", "at most 1m, not 1m1s");
    assert_only_fault("[logs]\nmemory_limit = \"4095KiB\"", "2:16", "at least 4MiB");
    assert_only_fault("[logs]\nmemory_limit = \"16\"", "2:16", "a unit is missing");
    assert_only_fault("[imds]\ntoken_ttl = \"0s\"", "2:13", "at least 1s");
    assert_only_fault("[imds]\ntoken_ttl = \"6h1s\"", "2:13", "at most 6h");
    assert_only_fault("[imds]\ntoken_ttl = true", "2:13", "not a boolean");
}

#[test]
fn words_are_checked() {
    assert_only_fault("[imds]\nendpoint_mode = \"IPv4\"", "2:17", "\"ipv4\" or \"ipv6\" or \"auto\"");
    assert_only_fault("[credentials]\nsource = \"ecs\"", "2:10", "\"container\" or \"instance\"");
    assert_only_fault("[imds]\nv1_fallback = \"yes\"", "2:15", "true or false");
}

#[test]
fn an_endpoint_is_a_plain_http_url() {
    for wrong in ["https://h", "h:80", "", "http://", "http://h/latest", "http://h?x", "http://u:p@h", "unix:/x"] {
        assert_only_fault(&format!("[imds]\nendpoint = \"{wrong}\""), "2:12", "`endpoint`");
    }
    for right in ["http://[fd00:ec2::254]", "http://imds.example:8080"] {
        let config = parse(&format!("[imds]\nendpoint = \"{right}\"")).unwrap();
        assert_eq!(config.imds.endpoint.as_deref(), Some(right));
    }
}

#[test]
fn a_region_has_a_region_s_shape() {
    for right in ["eu-west-1", "us-iso-east-1", "eusc-de-east-1", "ap-southeast-12"] {
        assert_eq!(parse(&format!("region = \"{right}\"")).unwrap().region.as_deref(), Some(right));
    }
    assert_eq!(parse("region = \"auto\"").unwrap().region, None);
    for wrong in ["", "Frankfurt", "EU-WEST-1", "eu-west-", "eu-west", "eu--1", "eu-west-1/../x"] {
        assert_only_fault(&format!("region = \"{wrong}\""), "1:10", "can't be");
    }
    let text = parse("region = \"eu-west-1a\"").unwrap_err().to_string();
    assert!(text.contains("its region is \"eu-west-1\""), "{text}");
}

#[test]
fn variables_have_names_of_their_own() {
    assert_only_fault("[variables]\nEnv = \"x\"", "2:1", "lower-case letters");
    assert_only_fault("[variables]\n\"\" = \"x\"", "2:1", "lower-case letters");
    assert_only_fault("[variables]\nregion = \"x\"", "2:1", "built in");
    assert_only_fault("[variables]\ndate = \"x\"", "2:1", "built in");
    assert_only_fault("[variables]\nn = 1", "2:5", "must be a string");
}

#[test]
fn a_template_s_fault_is_cited_inside_the_string() {
    assert_only_fault("[logs]\nlog_group = \"/aws/{enviroment}\"", "2:20", "unknown name `enviroment`");
    assert_only_fault("[logs]\nlog_group = \"\\u0061{x}\"", "2:13", "unknown name `x`");
    let text = parse("[variables]\nenvironment = \"x\"\n[logs]\nlog_group = \"{enviroment}\"").unwrap_err().to_string();
    assert!(text.contains("^^^^^^^^^^\n") && text.contains("did you mean `environment`?"), "{text}");
}

#[test]
fn a_name_that_a_source_can_t_fill_in_is_refused_unless_it_has_a_fallback() {
    let file =
        |stream: &str| format!("[[logs.file]]\ninclude = [\"/a\"]\nlog_group = \"g\"\nlog_stream = \"{stream}\"\n");
    assert_only_fault(&file("{unit}"), "4:14", "[[logs.file]] has no {unit}");
    assert!(parse(&file("{unit|none}")).is_ok());
    let inherits = "[logs]\nlog_group = \"{unit}\"\n[[logs.file]]\ninclude = [\"/a\"]\n";
    assert_only_fault(inherits, "3:1", "[[logs.file]] inherits `log_group`");
}

#[test]
fn names_hold_what_cloudwatch_allows() {
    let group = |name: &str| format!("[logs]\nlog_group = \"{name}\"");
    assert_only_fault(&group("a b"), "2:15", "can't hold ` `");
    assert_only_fault(&group("{tag:Name|a:b}"), "2:25", "can't hold `:`");
    assert_only_fault(&group("größe"), "2:16", "can't hold `ö`");
    assert_only_fault(&group("aws/x"), "2:13", "can't begin with `aws/`");
    assert_only_fault(&group(""), "2:13", "can't be empty");
    assert_only_fault(&group("{tag:Name|}"), "2:13", "can't be empty");
    assert_only_fault(&group(&"a".repeat(513)), "2:13", "at most 512 characters, not 513");
    assert_only_fault("[logs]\nlog_stream = \"a*\"", "2:16", "can't hold `*`");
    assert!(parse(&group("/aws/x.-_/#9{region}")).is_ok());
    assert!(parse(&group(&"a".repeat(512))).is_ok());
    assert!(parse("[logs]\nlog_stream = \"größe b\"").is_ok());
}

#[test]
fn names_are_judged_with_the_variables_filled_in() {
    let group = |name: &str, value: &str| format!("[variables]\nenv = \"{value}\"\n[logs]\nlog_group = \"{name}\"");
    assert_only_fault(&group("{env}", ""), "4:13", "can't be empty, with what is known filled in");
    assert_only_fault(&group("{env}/x", "aws"), "4:13", "can't begin with `aws/`");
    assert_only_fault(&group("{env}{instance_id}", &"a".repeat(512)), "4:13", "at most 512 characters, not 513, with");
    assert_only_fault(&group("{env|}", &"a".repeat(513)), "4:13", "not 513");
    for fine in
        [group("{env}", &"a".repeat(512)), group("{env|}", "x"), group("{env}{region}", ""), group("{env}", "a b")]
    {
        assert!(parse(&fine).is_ok(), "{fine}");
    }
    let stream = format!("[variables]\nenv = \"{}\"\n[logs]\nlog_stream = \"{{env}}x\"", "a".repeat(512));
    assert_only_fault(&stream, "4:14", "at most 512 characters");
}

#[test]
fn a_file_needs_patterns_and_a_group() {
    assert_only_fault("[logs]\nlog_group = \"g\"\n\n  [[logs.file]]\n", "4:3", "[[logs.file]] has no `include`");
    assert_only_fault("[[logs.file]]\ninclude = [\"/a\"]", "1:1", "[[logs.file]] has no `log_group`");
    assert_only_fault("[logs]\nlog_group = \"g\"\n[[logs.file]]\ninclude = []", "4:11", "names no file");
    assert_only_fault("[logs]\nlog_group = \"a b\"\n[[logs.file]]\ninclude = [\"/a\"]", "2:15", "can't hold");
    assert_only_fault("[logs.file]\ninclude = [\"/a\"]", "1:1", "each headed `[[logs.file]]`, not a table");
}

#[test]
fn patterns_can_match() {
    let file = |key: &str, pattern: &str| {
        let include = if key == "include" { "" } else { "include = [\"/a\"]" };
        format!("[logs]\nlog_group = \"g\"\n[[logs.file]]\n{include}\n{key} = [\"{pattern}\"]")
    };
    assert_only_fault(&file("include", "var/log/*.log"), "5:12", "is not absolute");
    assert_only_fault(&file("include", "/var/log/"), "5:12", "\"/var/log/*\"");
    assert_only_fault(&file("include", "/var/../log"), "5:12", "matches nothing");
    assert_only_fault(&file("include", "/var//log"), "5:12", "matches nothing");
    assert_only_fault(&file("include", "/var/[a"), "5:12", "is not a glob pattern");
    assert_only_fault(&file("exclude", "app/*.log"), "5:12", "\"**/app/*.log\" would");
    assert_only_fault(&file("exclude", "{a"), "5:12", "is not a glob pattern");
    for right in ["*.gz", "**/old/*", "/var/log/x"] {
        assert!(parse(&file("exclude", right)).is_ok());
    }
}

#[test]
fn retention_is_one_of_cloudwatch_s_numbers() {
    assert_only_fault("[logs]\nretention_in_days = 15", "2:21", "can't be 15; CloudWatch accepts 1, 3, 5");
    assert_only_fault("[logs]\nretention_in_days = -1", "2:21", "can't be -1");
    assert_only_fault("[logs]\nretention_in_days = \"14\"", "2:21", "must be an integer, not a string");
    assert_only_fault("[logs]\nretention_in_days = 99999999999999999999", "2:21", "too large");
}

#[test]
fn a_file_that_is_no_text_is_refused() {
    let fault = |house: &House| house.read().unwrap_err().to_string();
    let not_utf8 = House::new(b"region = \"auto\"\nx = \"\xff\"\n", &[]);
    assert!(fault(&not_utf8).contains("config.toml:2:6: not UTF-8"), "{}", fault(&not_utf8));
    let huge = House::new("#".repeat((1 << 20) + 1), &[]);
    assert!(fault(&huge).contains("larger than 1 MiB"), "{}", fault(&huge));
    let directory = House::new("", &[("a.toml", "")]);
    fs::create_dir(directory.conf_d().join("b.toml")).unwrap();
    assert!(fault(&directory).contains("b.toml: is a directory, not a regular file"), "{}", fault(&directory));
}

#[test]
fn who_may_read_more_than_its_user_trusts_roots_configuration_only() {
    assert_eq!(trusted(true, Ok(CapabilitySet::empty())), Some(0));
    assert_eq!(trusted(false, Ok(CapabilitySet::DAC_READ_SEARCH)), Some(0));
    assert_eq!(trusted(false, Err(rustix::io::Errno::PERM)), Some(0), "in doubt");
    assert_eq!(trusted(false, Ok(CapabilitySet::empty())), None);
}

#[test]
fn what_others_can_write_is_refused_by_root() {
    let me = rustix::process::geteuid().as_raw();
    let house = House::new("", &[("a.toml", "")]);
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(&house.main(), 0o644);
    mode(&house.conf_d(), 0o755);
    mode(&house.conf_d().join("a.toml"), 0o600);
    house.read_trusting(me).unwrap();
    for path in [house.main(), house.conf_d(), house.conf_d().join("a.toml"), house.0.path().to_owned()] {
        let before = fs::metadata(&path).unwrap().permissions().mode();
        for bit in [0o020, 0o002] {
            mode(&path, before | bit);
            let text = house.read_trusting(me).unwrap_err().to_string();
            assert!(text.contains(&format!("cure: chmod go-w {}", path.display())), "{text}");
        }
        mode(&path, before);
    }
    let text = house.read_trusting(me + 1).unwrap_err().to_string();
    assert!(text.contains("cure: chown root:root") && text.contains(&format!("uid {me} owns it")), "{text}");
}

#[test]
fn a_link_into_a_directory_that_others_can_write_is_refused_by_root() {
    let me = rustix::process::geteuid().as_raw();
    let (house, elsewhere) = (House::new("", &[]), tempfile::tempdir().unwrap());
    fs::rename(house.main(), elsewhere.path().join("real.toml")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("real.toml"), house.main()).unwrap();
    fs::set_permissions(elsewhere.path().join("real.toml"), fs::Permissions::from_mode(0o644)).unwrap();
    house.read_trusting(me).unwrap();
    fs::set_permissions(elsewhere.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let text = house.read_trusting(me).unwrap_err().to_string();
    assert!(text.contains("this directory"), "{text}");
    // As /tmp is: others can add files there, but not replace this one.
    fs::set_permissions(elsewhere.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    house.read_trusting(me).unwrap();
}

#[test]
fn what_is_shown_parses_back_to_the_same_settings() {
    for text in ["", FULL, RECORDS] {
        let (loaded, origins) = read(Some(&House::new(text, &[]).main()), None).unwrap();
        let config = loaded.config.clone();
        let shown = Effective::new(loaded, origins).to_toml();
        assert_eq!(parse(&shown).unwrap(), config, "{shown}");
    }
}

#[test]
fn what_a_group_can_not_be_made_with_is_cited() {
    assert_only_fault("[logs]\nlog_class = \"DELIVERY\"", "2:13", "expected \"STANDARD\" or \"INFREQUENT_ACCESS\"");
    assert_only_fault("[logs]\nkms_key_id = \"1234abcd\"", "2:14", "must be the ARN of a key");
    assert_only_fault("[logs]\ntags = { \"aws:x\" = \"y\" }", "2:10", "AWS's own");
    assert_only_fault("[logs]\ntags = { a = \"b!\" }", "2:10", "can't hold '!'");
    assert_only_fault(&format!("[logs]\ntags = {{ a = \"{}\" }}", "x".repeat(257)), "2:10", "256 characters at most");
    assert_only_fault(&format!("[logs]\ntags = {{ {} = \"x\" }}", "a".repeat(129)), "2:10", "1 to 128 characters");
    let many: Vec<String> = (0..51).map(|n| format!("t{n:02} = \"x\"")).collect();
    let faults = parse(&format!("[logs]\ntags = {{ {} }}", many.join(", "))).unwrap_err().to_string();
    assert!(faults.contains("50 tags at most"), "{faults}");
}

#[test]
fn what_is_shown_says_where_it_comes_from() {
    let (loaded, origins) = read(Some(&House::new(FULL, &[]).main()), None).unwrap();
    let effective = Effective::new(loaded, origins);
    let shown = effective.to_toml();
    let line = |start: &str| shown.lines().find(|line| line.starts_with(start)).unwrap();
    assert!(line("token_ttl = \"1h30m\"").ends_with("config.toml:6"), "{shown}");
    assert!(line("log_group = \"/aws/ec2/{environment}\"").ends_with("config.toml:13"), "inherited: {shown}");
    assert!(line("log_stream = \"{instance_id}\"").ends_with("# default"), "{shown}");
    let json = effective.to_json();
    assert_eq!(json["imds"]["token_ttl"], "1h30m");
    assert_eq!(json["logs"]["file"][1]["log_group"], "{tag:Name|none}");
    assert_eq!(json["logs"]["file"][0]["retention_in_days"], 14);
}

#[test]
fn a_flood_of_faults_is_counted_and_cut() {
    let lines: Vec<String> = (0..5000).map(|n| format!("k{n} = 1")).collect();
    let errors = parse(&lines.join("\n")).unwrap_err();
    assert_eq!((errors.count(), errors.diagnostics().count()), (5000, 100));
    assert!(errors.to_string().ends_with("5000 errors in the configuration, the first 100 shown"));
}

/// Text that is nearly a configuration: its pieces in any order.
fn nearly() -> impl Strategy<Value = String> {
    let pieces = [
        "[", "]", "[[", "]]", "{", "}", "=", ".", ",", "\"", "'", "\"\"\"", "\n", "\r\n", " ", "#", "\\", "é",
        "\u{feff}",
    ];
    let words =
        ["logs", "file", "imds", "include", "log_group", "region", "token_ttl", "\"/a\"", "\"5s\"", "1", "true"];
    let lines =
        ["[logs]\n", "[[logs.file]]\n", "[imds]\n", "region = \"auto\"\n", "log_group = \"{x}\"\n", "[logs.file]\n"];
    let all: Vec<&str> = pieces.into_iter().chain(words).chain(lines).collect();
    proptest::collection::vec(proptest::sample::select(all), 0..40).prop_map(|pieces| pieces.concat())
}

fn assert_places_are_inside(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Err(errors) = House::new(bytes, &[]).read() else {
        return Ok(());
    };
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    prop_assert!(errors.count() > 0 && !errors.to_string().is_empty());
    for fault in errors.diagnostics() {
        let (line, column) = (fault.line.unwrap(), fault.column.unwrap());
        let cited = lines.get(line - 1).copied().unwrap_or_default();
        prop_assert!((1..=lines.len().max(1)).contains(&line), "line {line} of {}: {}", lines.len(), fault.message);
        prop_assert!((1..=cited.chars().count() + 1).contains(&column), "{line}:{column} {}", fault.message);
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_inside_themselves(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        assert_places_are_inside(&bytes)?;
    }

    #[test]
    fn what_is_nearly_a_configuration_is_read_or_refused_inside_itself(text in nearly()) {
        assert_places_are_inside(text.as_bytes())?;
    }
}

/// Also what is long, and valid for the most part: the manual's own example, with each key, broken.
#[test]
fn nothing_hostile_makes_a_configuration_panic_or_be_cited_outside_of_itself() {
    let example = include_bytes!("../../packaging/config.toml");
    let all_set = String::from_utf8_lossy(example).replace("\n#", "\n");
    // Each one compiles patterns, time formats and templates: some milliseconds.
    crate::fuzz::hostile_times(100, &[FULL.as_bytes(), example, all_set.as_bytes()], |input| {
        let mut sources =
            vec![Ok(Source::new(PathBuf::from("config.toml"), String::from_utf8_lossy(input).into_owned()))];
        if input.len() % 2 == 0 {
            sources.push(Ok(Source::new(PathBuf::from("drop-in.toml"), FULL.to_owned())));
        }
        if let Err(errors) = super::parse(sources, super::source::Attached::Kept(Vec::new())) {
            assert!(errors.count() > 0 && !errors.to_string().is_empty());
        }
    });
}

//! The telemetry door, from outside: what is answered there when all is well and when it is not, read by Prometheus' own
//! reader. Not each metric: unit tests hold those to their documentation.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::http::{Answer, request};
use crate::harness::{Agent, Denial, Effect, Fault, Host, SOON, append, free_address, look_until, numbered, python};

/// Reads the page with the parser that Prometheus' client library has for it, and the alert rules as YAML.
const READER: &str = r#"
import json, pathlib, sys, yaml
from prometheus_client import openmetrics, parser
from prometheus_client.openmetrics import parser as open_parser
text, kind, monitoring = sys.stdin.read(), sys.argv[1], pathlib.Path(sys.argv[2])
read = open_parser.text_string_to_metric_families if kind == "openmetrics" else parser.text_string_to_metric_families
values = {}
for family in read(text):
    assert family.documentation, family.name
    for sample in family.samples:
        labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
        key = sample.name + "{" + labels + "}"
        assert key not in values, key
        values[key] = sample.value
for group in yaml.safe_load((monitoring / "alerts.yml").read_text())["groups"]:
    for rule in group["rules"]:
        assert rule["alert"] and rule["expr"] and rule["annotations"]["description"], rule
assert json.loads((monitoring / "grafana.json").read_text())["panels"]
stack = yaml.safe_load((monitoring / "cloudwatch.yaml").read_text())
json.loads(stack["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
print(json.dumps(values))
"#;

/// All samples by name and labels, as Prometheus reads them.
fn samples(page: &str, kind: &str) -> Value {
    let monitoring = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/monitoring");
    let mut reader = Command::new(python::program("python"))
        .args(["-c", READER, kind, monitoring])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python can be started");
    reader.stdin.take().expect("a pipe").write_all(page.as_bytes()).expect("it reads");
    let output = reader.wait_with_output().expect("our own child can be waited for");
    assert!(output.status.success(), "Prometheus can't read\n{page}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn ask(door: SocketAddr, path: &str) -> Answer {
    request(door, "GET", path, &[], "").expect("an answer")
}

fn health(door: SocketAddr) -> (u16, Value) {
    let answer = ask(door, "/health");
    let body = serde_json::from_slice(&answer.body).expect("JSON");
    (answer.status, body)
}

fn wait_for_health(agent: &Agent, door: SocketAddr, status: u16, holds: impl Fn(&Value) -> bool) -> Value {
    let found = look_until(SOON, || Some(health(door)).filter(|(found, body)| *found == status && holds(body)));
    match found {
        Ok((_, body)) => body,
        Err(waited) => {
            panic!("waited {waited:?} for {status}; it is {:?}; the agent said:\n{}", health(door), agent.said());
        }
    }
}

fn with_door(host: &Host) -> SocketAddr {
    let door = free_address();
    host.configure(&format!("{}[endpoints.telemetry]\nlisten = \"{door}\"\n", host.one_source("")));
    door
}

#[test]
fn a_healthy_agent_says_so_and_prometheus_reads_its_numbers() {
    let (host, _emulator) = Host::with_emulator();
    let door = with_door(&host);
    let agent = host.start();
    append(&host.log("app.log"), &numbered(0, 100, 100));
    let report = agent.wait_until_delivered(100);
    let body = wait_for_health(&agent, door, 200, |_| true);
    assert_eq!((&body["status"], &body["reasons"]), (&Value::from("healthy"), &Value::Array(Vec::new())));
    assert_eq!(body["logs"]["delivered"], 100);

    let page = ask(door, "/metrics");
    assert_eq!(page.status, 200);
    let values = samples(&page.text(), "openmetrics");
    let value =
        |name: &str| values.get(name).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {name} in {values:#}"));
    assert!((value("imds_agent_healthy{}") - 1.0).abs() < f64::EPSILON);
    assert!((value("imds_agent_logs_delivered_events_total{}") - 100.0).abs() < f64::EPSILON);
    let source = format!("imds_agent_source_read_events_total{{kind=file,source={}}}", host.log("app.log").display());
    assert!((value(&source) - 100.0).abs() < f64::EPSILON);
    assert!(
        (value("imds_agent_destination_state{log_group=/test/app,log_stream=app,state=running}") - 1.0).abs()
            < f64::EPSILON
    );
    let key = report.text("/credentials/0/key_id_suffix");
    assert!(!page.text().contains(key) && !body.to_string().contains(key), "no part of a key is told");

    let older = request(door, "GET", "/metrics", &[("Accept", "text/plain")], "").expect("an answer").text();
    let older = samples(&older, "text");
    assert_eq!(older["imds_agent_logs_delivered_events_total{}"], values["imds_agent_logs_delivered_events_total{}"]);
    let head = request(door, "HEAD", "/health", &[], "").expect("an answer");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(ask(door, "/").status, 404);
    assert_eq!(request(door, "POST", "/health", &[], "").expect("an answer").status, 405);
    let foreign = request(door, "GET", "/health", &[("Origin", "http://evil.example")], "").expect("an answer");
    assert_eq!(foreign.status, 403, "no page of a browser reads it");
    agent.stop_in_order();
}

#[test]
fn a_group_that_denies_is_unhealthy_with_the_reason_and_the_cure_until_it_does_not() {
    let (host, emulator) = Host::with_emulator();
    let door = with_door(&host);
    emulator.set_fault(Fault::on("logs:PutLogEvents", Effect::Deny(Denial::default())));
    let agent = host.start();
    append(&host.log("app.log"), &numbered(0, 1, 100));
    let body = wait_for_health(&agent, door, 503, |body| body["reasons"][0]["problem"] == "1 destination denied");
    assert_eq!(body["status"], "degraded");
    let reason = &body["reasons"][0];
    assert!(reason["message"].as_str().is_some_and(|text| text.contains("logs:PutLogEvents")), "{body:#}");
    assert!(reason["hint"].is_string(), "{body:#}");
    let values = samples(&ask(door, "/metrics").text(), "openmetrics");
    assert_eq!(values["imds_agent_destination_state{log_group=/test/app,log_stream=app,state=denied}"], 1.0);
    assert_eq!(values["imds_agent_healthy{}"], 0.0);
}

#[test]
fn without_imds_it_answers_that_it_is_not_well_and_why() {
    let host = Host::new("http://127.0.0.1:9");
    let door = with_door(&host);
    let agent = host.start();
    let body = wait_for_health(&agent, door, 503, |body| body["status"] == "degraded");
    let problems: Vec<&str> =
        body["reasons"].as_array().expect("a list").iter().filter_map(|r| r["problem"].as_str()).collect();
    assert!(problems.contains(&"IMDS absent"), "{body:#}");
    assert!(body["reasons"][0]["message"].is_string(), "{body:#}");
}

#[test]
fn a_reload_opens_moves_and_closes_the_door() {
    let (host, _emulator) = Host::with_emulator();
    let agent = host.start();
    let reload = |agent: &Agent| {
        let before = agent.report().at("/config/loaded_at").clone();
        agent.signal(Signal::HUP);
        agent.wait_until("the configuration is read again", |report| *report.at("/config/loaded_at") != before);
    };
    let first = with_door(&host);
    reload(&agent);
    wait_for_health(&agent, first, 200, |_| true);
    let second = with_door(&host);
    reload(&agent);
    wait_for_health(&agent, second, 200, |_| true);
    let is_closed = |door| look_until(SOON, || request(door, "GET", "/health", &[], "").is_err().then_some(()));
    assert!(is_closed(first).is_ok(), "the first is closed");
    host.configure(&host.one_source(""));
    reload(&agent);
    assert!(is_closed(second).is_ok(), "the second is closed");
}

#[test]
fn who_checks_the_configuration_is_told_who_can_read_the_numbers() {
    let (host, _emulator) = Host::with_emulator();
    host.configure("[endpoints.telemetry]\nlisten = \"0.0.0.0:9464\"\n");
    let output = host.run(&["config", "check", "--config", &host.config().display().to_string()]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("note: [endpoints.telemetry] listens at 0.0.0.0:9464"), "{said}");
}

#[test]
fn refused_callers_are_counted_at_their_door() {
    let (host, _emulator) = Host::with_emulator();
    let (door, container) = (free_address(), free_address());
    host.configure(&format!(
        "[[role]]\nname = \"app\"\nrole_arn = \"arn:aws:iam::123456789012:role/app\"\nallow = [{{ uid = 61235 }}]\n\
         [endpoints.container]\nlisten = \"{container}\"\n[endpoints.telemetry]\nlisten = \"{door}\"\n"
    ));
    let agent = host.start();
    agent.wait_until("the role is there", |report| report.list("/credentials").len() == 2);
    assert_eq!(ask(container, "/role/app").status, 403);
    let values = samples(&ask(door, "/metrics").text(), "openmetrics");
    assert_eq!(values["imds_agent_door_refused_requests_total{door=container}"], 1.0);
    assert_eq!(values["imds_agent_credentials_denied_total{role=app}"], 1.0);
}

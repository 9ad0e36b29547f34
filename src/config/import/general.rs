//! What stands around the lists of sources: the agent's own settings, those of all logs, and what this agent does not do.

use super::document::Section;
use super::text::{line, quoted};
use super::{files, journal, names};
use crate::config::root;

/// The agent's own settings that have no counterpart, and what to do instead.
const AGENT: [(&str, &str); 11] = [
    ("metrics_collection_interval", "not needed: there are no host metrics here"),
    ("logfile", "not taken over: what the agent says is in the journal: journalctl -u imds-agent"),
    ("aws_sdk_log_level", "not taken over: the SDK's own log can show secrets, and is never written"),
    ("omit_hostname", "not needed: there are no host metrics here"),
    ("service.name", "not taken over: log events carry no entity here"),
    ("deployment.environment", "not taken over: log events carry no entity here"),
    ("internal", "not taken over: the agent sends nothing about itself to anybody"),
    ("usage_data", "not taken over: the agent sends nothing about itself to anybody"),
    ("user_agent", "not taken over: the agent calls itself imds-agent"),
    ("quiet", "not taken over: Environment=IMDS_AGENT_LOG=warn in a drop-in of the unit"),
    ("use_dualstack_endpoint", "not taken over: Environment=AWS_USE_DUALSTACK_ENDPOINT=true in a drop-in of the unit"),
];

/// Why a role of its own for shipping is not taken over.
const NO_ROLE: &str = "not taken over: logs are sent with the instance's own role; give that the permissions that \
                       `imds-agent policy` prints";

/// The stream that both agents take if none is named.
const DEFAULT_STREAM: &str = "{instance_id}";

/// How long a busy stream may linger, in seconds.
const LONGEST_FLUSH: i64 = 60;

/// `agent`.
pub(super) fn agent(document: &mut Section<'_>, body: &mut String) {
    let Some(mut section) = document.section("agent") else { return };
    if let Some(region) = section.text("region").filter(|region| !region.is_empty()) {
        if root::is_region(&region) {
            body.push('\n');
            line(body, "region", &quoted(&region));
        } else {
            section.refuse("region", &region, "not taken over: that is no region's name; the instance's own is taken");
        }
    }
    if section.flag("debug") == Some(true) {
        section.refuse("debug", "true", "not taken over: Environment=IMDS_AGENT_LOG=debug in a drop-in of the unit");
    }
    if let Some(user) = section.text("run_as_user") {
        let text =
            "not taken over: the service has a user of its own, which reads every file by a capability and is not root";
        section.refuse("run_as_user", &user, text);
    }
    section.leave("credentials", NO_ROLE);
    for (key, why) in AGENT {
        section.leave(key, why);
    }
    section.finish("not taken over: this agent has no such setting");
}

/// `logs`.
pub(super) fn logs(document: &mut Section<'_>, body: &mut String) {
    let Some(mut section) = document.section("logs") else { return };
    let mut table = String::new();
    let stream = section.text("log_stream_name").filter(|name| !name.is_empty());
    let stream = stream.map(|name| names::stream(&section, "log_stream_name", &name));
    if let Some(stream) = &stream {
        line(&mut table, "log_stream", &quoted(stream));
    }
    if let Some(seconds) = section.number("force_flush_interval") {
        if seconds < 1 {
            section.refuse("force_flush_interval", &seconds.to_string(), "not taken over: expected seconds");
        } else {
            let most = seconds.min(LONGEST_FLUSH);
            line(&mut table, "flush_interval", &quoted(&format!("{most}s")));
            if most < seconds {
                section.differs("force_flush_interval", "events wait a minute at most here");
            }
        }
    }
    if let Some(url) = section.text("endpoint_override") {
        let text = "not taken over: Environment=AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=URL in a drop-in of the unit";
        section.refuse("endpoint_override", &url, text);
    }
    section.leave("credentials", NO_ROLE);
    section.leave("concurrency", "not needed: streams are sent side by side, and up to eight requests of a busy one");
    for key in ["service.name", "deployment.environment"] {
        section.leave(key, "not taken over: log events carry no entity here");
    }
    if !table.is_empty() {
        body.extend(["\n[logs]\n", &table]);
    }
    collected(&mut section, stream.as_deref().unwrap_or(DEFAULT_STREAM), body);
    if let Some(mut metrics) = section.section("metrics_collected") {
        let emf = "not taken over: there is no port for EMF; EMF in followed files and sockets is sent as it is";
        metrics.leave("emf", emf);
        metrics.finish("not taken over: there are no metrics of containers, Prometheus or applications here");
    }
    section.finish("not taken over: this agent has no such setting");
}

fn collected(section: &mut Section<'_>, stream: &str, body: &mut String) {
    let Some(mut collected) = section.section("logs_collected") else { return };
    if let Some(mut list) = collected.section("files") {
        let entries = list.sections("collect_list");
        if !entries.is_empty() {
            let text = "files that are there already are read from their beginning, as the CloudWatch agent did once: \
                        what it sent before is sent again; start_at = \"end\" in the tables, for the first start, prevents that";
            list.differs("collect_list", text);
            let text = "where no multi_line_start_pattern is said, lines that begin with a blank belong to the line before, \
                        as the CloudWatch agent has it; without `multiline` each line is an event, which costs less";
            list.differs("collect_list", text);
        }
        files::all(entries, stream, body);
        list.finish("not taken over: expected collect_list");
    }
    if let Some(mut list) = collected.section("journald") {
        journal::all(list.sections("collect_list"), body);
        list.finish("not taken over: expected collect_list");
    }
    collected.leave("windows_events", "not taken over: this agent is for Linux");
    collected.finish("not taken over: this agent reads files, the journal and sockets");
}

/// What this agent does not do.
pub(super) fn unknown_to_us(document: &mut Section<'_>) {
    if let Some(mut metrics) = document.section("metrics") {
        if let Some(collected) = metrics.section("metrics_collected") {
            collected.finish("not taken over: there are no host metrics here; keep the CloudWatch agent for them");
        }
        metrics.finish("not taken over: it is for host metrics, which there are none of here");
    }
    document.leave("traces", "not taken over: there are no traces here; keep the CloudWatch agent for them");
    document.leave("opentelemetry", "not taken over: there is no OpenTelemetry here; keep the CloudWatch agent for it");
}

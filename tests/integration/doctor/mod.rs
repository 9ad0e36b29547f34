//! `imds-agent doctor`: each fault is set, and its outcome, its cause and the text of its cure are asserted; and on a
//! host that is well it finds nothing. One file an area. Not the checks' own logic: unit tests stand beside that.

mod aws;
mod imds;
mod keys;
mod machine;
mod network;
mod probes;
mod reach;
mod scenarios;
mod visit;

use std::process::Output;

use serde_json::Value;

use crate::harness::Host;

/// What the doctor found, as JSON.
pub(crate) struct Diagnosis(Value);

/// Sends the doctor to a host.
pub(crate) fn examine(host: &Host, arguments: &[&str]) -> Diagnosis {
    let output = doctor(host, &[arguments, &["--json"]].concat());
    let diagnosis = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    Diagnosis(diagnosis)
}

/// Runs the command with the host's configuration, if it has one.
pub(crate) fn doctor(host: &Host, arguments: &[&str]) -> Output {
    let config = host.config();
    let path = config.display().to_string();
    let with: &[&str] = if config.exists() { &["--config", &path] } else { &[] };
    host.run(&[&["doctor"], arguments, with].concat())
}

impl Diagnosis {
    /// The findings of a check with an outcome.
    pub(crate) fn all(&self, check: &str, outcome: &str) -> Vec<&Value> {
        let findings = self.0["findings"].as_array().expect("findings");
        findings.iter().filter(|finding| finding["check"] == check && finding["outcome"] == outcome).collect()
    }

    /// The one finding of a check with an outcome: its summary, evidence, reason and cure, a line each.
    pub(crate) fn text(&self, check: &str, outcome: &str) -> String {
        let found = self.all(check, outcome);
        assert_eq!(found.len(), 1, "one {outcome} of {check}: {:#}", self.0);
        let text = |key: &str| found[0][key].as_str().unwrap_or_default();
        ["subject", "summary", "evidence", "why", "cure"].map(text).join("\n")
    }

    /// Asserts that the one finding of `check` with `outcome` says all that.
    #[track_caller]
    pub(crate) fn says(&self, check: &str, outcome: &str, parts: &[&str]) {
        let text = self.text(check, outcome);
        for part in parts {
            assert!(text.contains(part), "{part:?} is missing in:\n{text}");
        }
    }

    /// How long it took.
    pub(crate) fn seconds(&self) -> f64 {
        self.0["seconds"].as_f64().expect("a number")
    }

    /// The checks that came out so, with the findings, for a test's message.
    pub(crate) fn with(&self, outcome: &str) -> Vec<String> {
        let findings = self.0["findings"].as_array().expect("findings").iter();
        let those = findings.filter(|finding| finding["outcome"] == outcome);
        those.map(ToString::to_string).collect()
    }
}

//! The report's shape, which scripts and other versions of the command rely on. Not its values' meaning: those that
//! come from a room are described there.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::fault::Warning;
use crate::logs::{DeadLettersSnapshot, DestinationSnapshot, Ledger, SourceSnapshot, SpoolSnapshot};
use crate::{credentials, endpoints, imds};

/// The version of the shape. Keys may be added within it, never renamed or removed.
pub const SCHEMA: u32 = 1;

/// What the daemon is doing now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The daemon's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// When it started, by the corrected clock.
    pub started_at: Timestamp,
    /// For how long it has been running, suspend included.
    pub uptime_seconds: u64,
    /// The configuration in use.
    pub config: Configuration,
    /// Where it runs; nothing is known of it until IMDS answers.
    pub instance: Instance,
    /// The metadata service.
    pub imds: imds::Snapshot,
    /// Each role, the base role first.
    pub credentials: Vec<credentials::Snapshot>,
    /// The doors at which credentials are had.
    #[serde(default)]
    pub doors: Vec<endpoints::Snapshot>,
    /// The logs.
    pub logs: Logs,
    /// Memory.
    pub memory: Memory,
    /// Things a person should know although they are nobody's `last_error`.
    pub warnings: Vec<Warning>,
}

/// The configuration in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// The main file; `null` when there is none and all is default.
    pub path: Option<String>,
    /// When it was read.
    pub loaded_at: Option<Timestamp>,
    /// Why what stands in the file now is not in use.
    pub error: Option<String>,
    /// From when the configuration in use is, if it is not the one in the file.
    pub last_good: Option<Timestamp>,
}

/// The instance; `null` stands for what is not known yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// `i-…`
    pub instance_id: Option<String>,
    /// The region in use: the configuration's, the environment's, or the instance's own.
    pub region: Option<String>,
    /// Twelve digits.
    pub account_id: Option<String>,
    /// `eu-west-1a`
    pub availability_zone: Option<String>,
    /// `t3.micro`
    pub instance_type: Option<String>,
}

/// The logs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Logs {
    /// The sum over all sources.
    pub ledger: Ledger,
    /// Each source.
    pub sources: Vec<SourceSnapshot>,
    /// Each destination.
    pub destinations: Vec<DestinationSnapshot>,
    /// What sockets received and CloudWatch did not take yet.
    #[serde(default)]
    pub spool: SpoolSnapshot,
    /// Events that were given up, and kept.
    #[serde(default)]
    pub dead_letters: DeadLettersSnapshot,
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// What the process occupies.
    pub rss_bytes: u64,
    /// What is in buffers of log data.
    pub buffers_bytes: u64,
    /// The ceiling of those buffers.
    pub limit_bytes: u64,
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;
    use crate::fault::Fault;
    use crate::logs::{DestinationState, SourceState, Tally};

    pub(in crate::status) fn at(text: &str) -> Timestamp {
        text.parse().expect("a timestamp")
    }

    fn tally(read: u64, delivered: u64, dropped: &[(&str, u64)]) -> Tally {
        let dropped: BTreeMap<_, _> = dropped.iter().map(|(reason, n)| ((*reason).to_owned(), *n)).collect();
        let pending = read - delivered - dropped.values().sum::<u64>();
        Tally { read, delivered, pending, dropped }
    }

    fn ledger() -> Ledger {
        Ledger {
            events: tally(1_000_000, 999_880, &[("empty", 20)]),
            bytes: tally(200_000_000, 199_979_980, &[("empty", 20)]),
        }
    }

    fn source(name: &str, state: SourceState, last_error: Option<Fault>) -> SourceSnapshot {
        SourceSnapshot {
            kind: "file".into(),
            name: name.into(),
            state,
            log_group: Some("/aws/ec2/prod".into()),
            log_stream: Some("i-0123456789abcdef0/app.log".into()),
            position: 199_980_000,
            size: 200_000_000,
            lag_seconds: 0.4,
            invalid_utf8: 0,
            unparsed_timestamps: 0,
            ledger: ledger(),
            last_error: last_error.map(Box::new),
        }
    }

    fn logs_sample() -> Logs {
        let denied = Fault {
            at: at("2026-11-22T11:59:00Z"),
            message: "logs:PutLogEvents is denied on arn:aws:logs:eu-west-1:123456789012:log-group:/aws/ec2/audit"
                .to_owned(),
            hint: Some("allow logs:PutLogEvents for role web in an identity-based policy".to_owned()),
        };
        let unreadable = Fault {
            at: at("2026-11-22T11:58:00Z"),
            message: "/var/log/secret.log can't be opened: permission denied".to_owned(),
            hint: Some("setfacl -m u:imds-agent:r /var/log/secret.log".to_owned()),
        };
        Logs {
            ledger: ledger(),
            sources: vec![
                source("/var/log/app/app.log", SourceState::Running, None),
                source("/var/log/secret.log", SourceState::Failed, Some(unreadable)),
            ],
            destinations: vec![DestinationSnapshot {
                log_group: "/aws/ec2/audit".into(),
                log_stream: "i-0123456789abcdef0/app.log".into(),
                state: DestinationState::Denied,
                in_flight: 1,
                delivered_until: Some(at("2026-11-22T11:59:58Z")),
                oldest_pending_at: Some(at("2026-11-22T11:59:59Z")),
                put_calls: 250,
                throttles: 3,
                retries: 4,
                lag_seconds: 1.0,
                ledger: ledger(),
                last_error: Some(Box::new(denied)),
            }],
            spool: SpoolSnapshot { bytes: 4096, limit_bytes: 512 << 20, quarantined_bytes: 0 },
            dead_letters: DeadLettersSnapshot {
                path: "/var/lib/imds-agent/dead-letters.jsonl".to_owned(),
                events: 12,
                bytes: 4_096,
                rolled_off: 3,
            },
        }
    }

    /// A report with something of everything.
    pub(in crate::status) fn sample() -> Report {
        Report {
            schema: SCHEMA,
            version: "0.1.0".to_owned(),
            pid: 812,
            started_at: at("2026-11-22T08:48:00Z"),
            uptime_seconds: 11_520,
            config: Configuration {
                path: Some("/etc/imds-agent/config.toml".to_owned()),
                loaded_at: Some(at("2026-11-22T08:48:00Z")),
                ..Configuration::default()
            },
            instance: Instance {
                instance_id: Some("i-0123456789abcdef0".to_owned()),
                region: Some("eu-west-1".to_owned()),
                account_id: Some("123456789012".to_owned()),
                availability_zone: Some("eu-west-1a".to_owned()),
                instance_type: Some("t3.micro".to_owned()),
            },
            imds: imds::Snapshot {
                state: imds::State::Running,
                endpoint: "http://169.254.169.254".to_owned(),
                version: "v2".to_owned(),
                token_expires_at: Some(at("2026-11-22T14:48:00Z")),
                requests: 5,
                failures: 0,
                last_error: None,
            },
            credentials: vec![credentials::Snapshot {
                role: "web".to_owned(),
                state: credentials::State::Fresh,
                source: "instance (the only source there is)".to_owned(),
                arn: Some("arn:aws:sts::123456789012:assumed-role/web/i-0123456789abcdef0".to_owned()),
                key_id_suffix: Some("X7QZ".to_owned()),
                expiration: Some(at("2026-11-22T17:12:30Z")),
                next_refresh: Some(at("2026-11-22T12:46:00Z")),
                refreshes: 4,
                failures: 0,
                served: 1_234,
                denied: 0,
                last_error: None,
                confirmation: None,
            }],
            doors: vec![endpoints::Snapshot { door: "unix".to_owned(), served: 7, refused: 2 }],
            logs: logs_sample(),
            memory: Memory { rss_bytes: 10_276_045, buffers_bytes: 1_258_291, limit_bytes: 16 << 20 },
            warnings: vec![Warning {
                code: "clock_skew".to_owned(),
                message: "the machine's clock is 10 min behind AWS's".to_owned(),
                hint: Some("chronyc makestep".to_owned()),
            }],
        }
    }

    /// The keys of `golden` that `actual` lacks, and the values that differ.
    fn lost(golden: &Value, actual: &Value, place: &str) -> Vec<String> {
        match (golden, actual) {
            (Value::Object(golden), Value::Object(actual)) => golden
                .iter()
                .flat_map(|(key, value)| {
                    lost(value, actual.get(key).unwrap_or(&Value::Null), &format!("{place}.{key}"))
                })
                .chain(
                    golden.keys().filter(|key| !actual.contains_key(*key)).map(|key| format!("{place}.{key}: no key")),
                )
                .collect(),
            (Value::Array(golden), Value::Array(actual)) if golden.len() == actual.len() => {
                golden.iter().zip(actual).flat_map(|(a, b)| lost(a, b, &format!("{place}[]"))).collect()
            }
            (golden, actual) if golden == actual => Vec::new(),
            (golden, actual) => vec![format!("{place}: {golden} became {actual}")],
        }
    }

    #[test]
    fn no_key_and_no_word_that_scripts_rely_on_is_lost() {
        let golden = serde_json::from_str(include_str!("golden.json")).expect("the golden report");
        let actual = serde_json::to_value(sample()).expect("a report");
        assert_eq!(lost(&golden, &actual, ""), [""; 0], "keys may be added to schema 1, never renamed or removed");
    }

    #[test]
    fn a_report_reads_back_as_it_was() {
        let json = serde_json::to_string(&sample()).expect("a report");
        assert_eq!(serde_json::from_str::<Report>(&json).expect("a report"), sample());
    }

    #[test]
    fn keys_that_a_newer_daemon_added_are_ignored() {
        let mut json = serde_json::to_value(sample()).expect("a report");
        for place in ["", "/imds", "/credentials/0", "/logs", "/logs/sources/0", "/memory", "/config"] {
            json.pointer_mut(place).expect(place)["added"] = "later".into();
        }
        assert_eq!(serde_json::from_value::<Report>(json).expect("a report"), sample());
    }
}

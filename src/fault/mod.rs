//! How a failure is reported: when, what, and what cures it. Not an error type: rooms have their own, and turn them
//! into a [`Fault`] where a person will read them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A failure as `status` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// When it happened last.
    pub at: Timestamp,
    /// The thing and the reason, in one sentence.
    pub message: String,
    /// What cures it, when that is known: an exact command or statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Something a person should know although nothing has failed, or although it recovers by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// A stable word for machines: `config_fallback`, `imds_v1`, `state_set_aside`…
    pub code: String,
    /// The thing and the reason, in one sentence.
    pub message: String,
    /// What cures it, when that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// An error and all its sources in one line: `a: b: c`. Printed at the edge, once.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

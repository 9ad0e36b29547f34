//! All that a visit found out: the shape that scripts rely on.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Finding, Outcome};

/// The version of the shape. Keys may be added within it, never renamed or removed.
const SCHEMA: u32 = 1;

/// All that a visit found out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The version of the shape.
    pub schema: u32,
    /// The doctor's version.
    pub version: String,
    /// The worst of all outcomes.
    pub outcome: Outcome,
    /// How long it took.
    pub seconds: f64,
    /// Each check's findings, in the order of the checks.
    pub findings: Vec<Checked>,
}

/// A finding, and which check it is of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// The check's name.
    pub check: String,
    /// What it looks for.
    pub title: String,
    /// What it found.
    #[serde(flatten)]
    pub finding: Finding,
}

impl Diagnosis {
    pub(super) fn new(findings: Vec<Checked>, took: Duration) -> Self {
        let outcome = findings.iter().map(|checked| checked.finding.outcome).max().unwrap_or(Outcome::Ok);
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { schema: SCHEMA, version, outcome, seconds: took.as_secs_f64(), findings }
    }

    /// Whether something does not work.
    #[must_use]
    pub fn has_fault(&self) -> bool {
        self.outcome == Outcome::Fault
    }

    /// How many findings came out so.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        self.findings.iter().filter(|checked| checked.finding.outcome == outcome).count()
    }
}

//! What a check is: a name, what must have gone well before it, and the look itself.

use std::pin::Pin;
use std::sync::Arc;

use super::facts::Facts;
use super::{Finding, Ground, Outcome};
use crate::config::Config;

/// What a check looks at: what is given, and what the checks before it found out.
pub(in crate::doctor) struct Host {
    pub(in crate::doctor) ground: Ground,
    pub(in crate::doctor) facts: Facts,
}

impl Host {
    /// The configuration; all defaults where it can't be used, which is a finding of its own.
    pub(in crate::doctor) fn config(&self) -> Config {
        self.ground.config.as_ref().map(|loaded| loaded.config.clone()).unwrap_or_default()
    }

    /// The instance's id, by whoever tells it.
    pub(in crate::doctor) fn instance_id(&self) -> Option<&str> {
        let facts = &self.facts;
        let told = facts.identity.get().map(|identity| identity.instance_id.as_str()).filter(|id| !id.is_empty());
        let of_daemon = || facts.report.get().and_then(|report| report.instance.instance_id.as_deref());
        told.or_else(|| facts.firmware_id.get().map(String::as_str)).or_else(of_daemon)
    }
}

/// A look under way.
pub(in crate::doctor) type Looking = Pin<Box<dyn Future<Output = Found> + Send>>;

/// One check. It changes nothing, on the host or at AWS.
#[derive(Clone, Copy)]
pub(in crate::doctor) struct Check {
    /// What `--only` names: the part and the thing, `imds-token`.
    pub(in crate::doctor) name: &'static str,
    /// What is well if it finds nothing, as a short sentence: `the metadata service gives a token`.
    pub(in crate::doctor) title: &'static str,
    /// Checks without whose success this one would be meaningless: it is skipped where they stop it.
    pub(in crate::doctor) needs: &'static [&'static str],
    /// Checks that must only be over before this one, whatever they found, since it uses what they found out.
    pub(in crate::doctor) after: &'static [&'static str],
    /// Looks.
    pub(in crate::doctor) look: fn(Arc<Host>) -> Looking,
}

/// A check's `look`, from an async function.
pub(in crate::doctor) fn look<F>(future: F) -> Looking
where
    F: Future<Output = Found> + Send + 'static,
{
    Box::pin(future)
}

/// What a check found, and whether the checks that need it have a point.
pub(in crate::doctor) struct Found {
    pub(super) findings: Vec<Finding>,
    pub(super) goes_on: bool,
}

impl Found {
    /// All these; what needs the check has a point unless one of them is a fault.
    pub(in crate::doctor) fn all(findings: Vec<Finding>) -> Self {
        let goes_on = findings.iter().all(|finding| finding.outcome != Outcome::Fault);
        Self { findings, goes_on }
    }

    /// This, after which the checks that need this one have no point, although it may be no fault.
    pub(in crate::doctor) fn stop(finding: Finding) -> Self {
        Self { findings: vec![finding], goes_on: false }
    }
}

impl From<Finding> for Found {
    fn from(finding: Finding) -> Self {
        Self::all(vec![finding])
    }
}

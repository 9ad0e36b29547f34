//! One thing that a check found out.

use serde::{Deserialize, Serialize};

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Well.
    Ok,
    /// It had no point, because of what another check found.
    Skipped,
    /// Nothing wrong, but good to know.
    Note,
    /// It could not be seen, say by this user.
    Unseen,
    /// It works, but will not always, or not as one would think.
    Warning,
    /// Something does not work.
    Fault,
}

/// One thing that a check found out: what, how it knows, why it is so, and what cures it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How it is.
    pub outcome: Outcome,
    /// The thing it is about, where a check has several: a role's name, a log group, a file.
    pub subject: Option<String>,
    /// The thing and how it is, in one sentence.
    pub summary: String,
    /// How that is known: what was asked, and the answer, in the answerer's words.
    pub evidence: Option<String>,
    /// Why it is so, as far as that can be told.
    pub why: Option<String>,
    /// What cures it: an exact command or policy statement, with this host's own values.
    pub cure: Option<String>,
}

impl Finding {
    fn new(outcome: Outcome, summary: impl Into<String>) -> Self {
        Self { outcome, subject: None, summary: summary.into(), evidence: None, why: None, cure: None }
    }

    /// It is well.
    pub fn ok(summary: impl Into<String>) -> Self {
        Self::new(Outcome::Ok, summary)
    }

    /// It is good to know.
    pub fn note(summary: impl Into<String>) -> Self {
        Self::new(Outcome::Note, summary)
    }

    /// It could not be seen.
    pub fn unseen(summary: impl Into<String>) -> Self {
        Self::new(Outcome::Unseen, summary)
    }

    /// It works for now.
    pub fn warning(summary: impl Into<String>) -> Self {
        Self::new(Outcome::Warning, summary)
    }

    /// It does not work.
    pub fn fault(summary: impl Into<String>) -> Self {
        Self::new(Outcome::Fault, summary)
    }

    /// It had no point.
    pub(super) fn skipped(summary: impl Into<String>) -> Self {
        Self::new(Outcome::Skipped, summary)
    }

    /// What it is about.
    #[must_use]
    pub fn about(self, subject: impl Into<String>) -> Self {
        Self { subject: Some(subject.into()), ..self }
    }

    /// How that is known.
    #[must_use]
    pub fn evidence(self, evidence: impl Into<String>) -> Self {
        Self { evidence: Some(evidence.into()), ..self }
    }

    /// Why it is so.
    #[must_use]
    pub fn why(self, why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..self }
    }

    /// Why it is so, where that is known.
    #[must_use]
    pub fn why_if_known(self, why: Option<impl Into<String>>) -> Self {
        Self { why: why.map(Into::into), ..self }
    }

    /// What cures it.
    #[must_use]
    pub fn cure(self, cure: impl Into<String>) -> Self {
        Self { cure: Some(cure.into()), ..self }
    }

    /// What cures it, where that is known.
    #[must_use]
    pub fn cure_if_known(self, cure: Option<String>) -> Self {
        Self { cure, ..self }
    }
}

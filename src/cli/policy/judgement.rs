//! `policy --compare`: what a policy lacks and what it grants beyond need, in words. Not the comparison itself.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::super::exit::{FAILED, print as print_out};
use crate::fault::escape;
use crate::policy::{Comparison, Document, DocumentError, Needs, compare, document, pretty};

/// No policy is as long: IAM allows 6,144 characters, an SCP 10,240 (IAM User Guide, quotas), and files may be indented.
const LONGEST: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{} can't be read", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is longer than any policy: {LONGEST} bytes at most are read", path.display())]
    TooLong { path: PathBuf },
    #[error("{} can't be compared", path.display())]
    Parse { path: PathBuf, source: DocumentError },
}

pub(super) fn read(path: &Path) -> Result<Document, Error> {
    let mut bytes = Vec::new();
    let named = |source| Error::Read { path: path.to_owned(), source };
    std::fs::File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes)).map_err(named)?;
    if bytes.len() as u64 > LONGEST {
        return Err(Error::TooLong { path: path.to_owned() });
    }
    let text = String::from_utf8_lossy(&bytes);
    Document::parse(&text).map_err(|source| Error::Parse { path: path.to_owned(), source })
}

pub(super) fn print(needs: &Needs, document: &Document, is_json: bool) -> ExitCode {
    let comparison = compare(needs, document);
    let text = if is_json { format!("{:#}\n", to_json(&comparison)) } else { words(&comparison) };
    let printed = print_out(&text);
    if comparison.lacking.is_empty() { printed } else { ExitCode::from(FAILED) }
}

fn words(comparison: &Comparison) -> String {
    let mut text = String::new();
    if comparison.lacking.is_empty() {
        text += "it lacks nothing that this configuration needs\n";
    } else {
        text += "it lacks:\n";
    }
    for lacking in &comparison.lacking {
        let denied = lacking
            .denied_by
            .as_deref()
            .map_or_else(String::new, |rule| format!(", which {} denies; no Allow cures that", escape(rule)));
        let _ = writeln!(text, "  {} on {}{denied}", lacking.permission.action, lacking.permission.resource);
    }
    let statements = comparison.statements();
    if !statements.is_empty() {
        let _ = write!(text, "\nwhat to add:\n{}", pretty(&statements));
    }
    if comparison.beyond.is_empty() {
        text += "\nit grants nothing beyond that\n";
    } else {
        text += "\nit grants more than is needed:\n";
    }
    let mut before = "";
    for beyond in &comparison.beyond {
        if beyond.statement != before {
            let _ = writeln!(text, "  {}", escape(&beyond.statement));
            before = &beyond.statement;
        }
        let _ = writeln!(text, "    {}: {}", escape(&beyond.action), escape(&beyond.reason));
    }
    if !comparison.conditional.is_empty() {
        let rules: Vec<String> = comparison.conditional.iter().map(|rule| escape(rule)).collect();
        let _ = writeln!(
            text,
            "\nconditions are not judged: an Allow with one counted as given, a Deny as not; see {}",
            rules.join(", ")
        );
    }
    text
}

fn to_json(comparison: &Comparison) -> Value {
    let lacking = comparison.lacking.iter().map(|lacking| {
        json!({
            "action": lacking.permission.action,
            "resource": lacking.permission.resource,
            "denied_by": lacking.denied_by,
        })
    });
    let beyond = comparison
        .beyond
        .iter()
        .map(|beyond| json!({ "statement": beyond.statement, "action": beyond.action, "reason": beyond.reason }));
    json!({
        "lacking": lacking.collect::<Vec<_>>(),
        "add": document(&comparison.statements()),
        "beyond": beyond.collect::<Vec<_>>(),
        "conditional": comparison.conditional,
    })
}

//! `explain`: a denial of AWS's, or another error, from arguments or stdin: cause and cure. Not how it is read (`denial`).

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Read as _};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::exit::{FAILED, USAGE, complain, failed, print};
use crate::denial::{Denial, Explanation, LONGEST, Policy, Statement, Step, explain};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What AWS, or a program around it, said; stdin is read if there is none
    #[arg(value_name = "TEXT")]
    text: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("there is no text to explain")]
    Empty,
    #[error("stdin can't be read")]
    Stdin(#[source] std::io::Error),
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let text = match text(args) {
        Ok(text) => text,
        Err(error @ Error::Empty) => {
            return failed(
                USAGE,
                &error,
                Some("give it as an argument, or on stdin: COMMAND 2>&1 | imds-agent explain"),
            );
        }
        Err(error @ Error::Stdin(_)) => return failed(FAILED, &error, None),
    };
    let explanation = explain(&text);
    if explanation.was_cut {
        complain(&format!("only the first {} KiB were read", LONGEST / 1024));
    }
    let printed =
        if args.json { print(&format!("{:#}\n", to_json(&explanation))) } else { print(&to_text(&explanation)) };
    if explanation.cause.is_none() { ExitCode::from(FAILED) } else { printed }
}

fn text(args: &Args) -> Result<String, Error> {
    let mut text = args.text.join(" ");
    if args.text.is_empty() {
        let stdin = std::io::stdin();
        if stdin.is_terminal() {
            complain("waiting for what AWS said: paste it, then Enter and Ctrl-D");
        }
        let mut bytes = Vec::new();
        // One byte more than is read of it tells that there was more.
        stdin.lock().take(LONGEST as u64 + 1).read_to_end(&mut bytes).map_err(Error::Stdin)?;
        text = String::from_utf8_lossy(&bytes).into_owned();
    }
    if text.trim().is_empty() { Err(Error::Empty) } else { Ok(text) }
}

fn to_text(explanation: &Explanation) -> String {
    let Some(cause) = &explanation.cause else {
        return format!("no error of AWS's that is known:\n  {}\n", explanation.text);
    };
    let mut text = format!("why       {cause}\n");
    let mut row = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            let _ = writeln!(text, "{name:<9} {value}");
        }
    };
    row("error", explanation.code.as_deref());
    if let Some(denial) = &explanation.denial {
        row("who", denial.caller.as_deref());
        row("action", denial.action.as_deref());
        row("resource", denial.resource.as_deref());
        row("policy", Some(&policy(denial)));
    }
    for step in &explanation.steps {
        text.push('\n');
        text += &step_text(step);
    }
    if explanation.denial.as_ref().is_none_or(|denial| denial.action.is_none()) {
        let _ = write!(text, "\nAWS said:\n  {}\n", explanation.text);
    }
    text
}

/// `identity-based policy: no Allow`
fn policy(denial: &Denial) -> String {
    let name = if denial.by == Policy::Unknown { "AWS does not say which" } else { denial.by.name() };
    let how = if denial.explicit { "an explicit Deny" } else { "no Allow" };
    let which = denial.policy_arn.as_deref().map_or_else(String::new, |arn| format!(" ({arn})"));
    format!("{name}{which}: {how}")
}

fn step_text(step: &Step) -> String {
    let mut text = format!("→ {}", step.what);
    if let Some(statement) = &step.statement {
        let _ = write!(text, ":\n{}", statement.pretty("  "));
        if let Some(command) = &step.command {
            let _ = write!(text, "  by this command, for one:\n  {command}");
        }
    } else if let Some(command) = &step.command {
        let _ = write!(text, ":\n  {command}");
    }
    text.trim_end().to_owned() + "\n"
}

fn to_json(explanation: &Explanation) -> Value {
    let denial = explanation.denial.as_ref();
    let steps: Vec<Value> = explanation.steps.iter().map(step_json).collect();
    json!({
        "explained": explanation.cause.is_some(),
        "code": explanation.code,
        "cause": explanation.cause,
        "caller": denial.and_then(|denial| denial.caller.as_deref()),
        "action": denial.and_then(|denial| denial.action.as_deref()),
        "resource": denial.and_then(|denial| denial.resource.as_deref()),
        "policy": denial.map(|denial| json!({
            "kind": if denial.by == Policy::Unknown { None } else { Some(denial.by.name()) },
            "explicit": denial.explicit,
            "arn": denial.policy_arn,
        })),
        "cure": steps,
        "text": explanation.text,
    })
}

fn step_json(step: &Step) -> Value {
    json!({
        "what": step.what,
        "statement": step.statement.as_ref().map(Statement::to_json),
        "command": step.command,
    })
}

//! `policy`: what the agent's role needs for a configuration, as documents, and an existing policy held against that. It
//! calls AWS for nothing; only the metadata service is asked where this is, if nothing else says so. Not which statements
//! those are (`policy`), and nothing is applied.

mod judgement;
mod place;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::Value;

use self::place::Whereabouts;
use super::exit::{CONFIGURATION, FAILED, USAGE, complain, failed, print};
use crate::config::{self, DEFAULT_PATH, Errors};
use crate::imds;
use crate::policy::{Needs, Trust, cloudformation, pretty, terraform};
use crate::template::Names;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long, value_name = "FILE", help = format!("The configuration, instead of {DEFAULT_PATH}"))]
    config: Option<PathBuf>,
    /// How: json is the role's own policy alone, the others have everything about the role
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    format: Format,
    /// Print the trust policy of the agent's own role instead
    #[arg(long, conflicts_with_all = ["trust_of", "compare"])]
    trust: bool,
    /// Print instead what the trust policy of this [[role]] must say
    #[arg(long, value_name = "ROLE", conflicts_with = "compare")]
    trust_of: Option<String>,
    /// Say what this policy lacks and what it grants beyond need; 1 when it lacks something
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Print what came of --compare as JSON
    #[arg(long, requires = "compare")]
    json: bool,
    /// Where, if neither the configuration nor the environment nor the metadata service says so
    #[arg(long, value_name = "REGION", value_parser = place::region)]
    region: Option<String>,
    /// Whose, if the metadata service does not say so
    #[arg(long, value_name = "DIGITS", value_parser = place::account)]
    account_id: Option<String>,
    /// What the agent's own role is called, or is to be called
    #[arg(long, value_name = "NAME", value_parser = place::role)]
    role: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A policy document
    Json,
    /// Resources of the AWS provider
    Terraform,
    /// A template in YAML
    Cloudformation,
}

/// What a role is called in templates if nobody says.
const ROLE: &str = "imds-agent";

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Configuration(#[from] Errors),
    #[error("the environment says about the instance metadata service what can't be used")]
    Environment(#[source] imds::Error),
    #[error("the configuration has no [[role]] called {name:?}; it has {known}")]
    NoSuchRole { name: String, known: String },
    #[error("--trust and --trust-of print json; terraform and cloudformation have both anyway")]
    FormatOfTrust,
    #[error("the event loop can't be started")]
    Loop(#[source] std::io::Error),
    #[error(transparent)]
    Existing(#[from] judgement::Error),
}

impl Error {
    fn code(&self) -> u8 {
        match self {
            Self::Configuration(_) | Self::Environment(_) => CONFIGURATION,
            Self::NoSuchRole { .. } | Self::FormatOfTrust => USAGE,
            Self::Loop(_) | Self::Existing(_) => FAILED,
        }
    }
}

pub(crate) fn run(args: &Args) -> ExitCode {
    match answer(args) {
        Ok(code) => code,
        Err(Error::Configuration(errors)) => {
            complain(&errors.to_string());
            ExitCode::from(CONFIGURATION)
        }
        Err(error) => failed(error.code(), &error, None),
    }
}

fn answer(args: &Args) -> Result<ExitCode, Error> {
    let is_json = args.format == Format::Json;
    if (args.trust || args.trust_of.is_some() || args.compare.is_some()) && !is_json {
        return Err(Error::FormatOfTrust);
    }
    let existing = args.compare.as_deref().map(judgement::read).transpose()?;
    let config = config::load(args.config.as_deref())?.config;
    let mut whereabouts = place::find(args, &config)?;
    if let Some(existing) = &existing {
        whereabouts.take_from(existing);
    }
    let (needs, open) = config.needs(whereabouts.place.clone(), &Names::default());
    let role = args.role.as_deref().or(whereabouts.role.as_deref());
    if let Some(document) = existing {
        note(&whereabouts.left_open(&open, false));
        return Ok(judgement::print(&needs, &document, args.json));
    }
    let text = match (args.trust, &args.trust_of, args.format) {
        (true, ..) => pretty(&[needs.trust.statement(&needs.place)]),
        (_, Some(name), _) => trust_of(&needs, name, role, &whereabouts)?,
        (.., Format::Json) => pretty(&needs.statements()),
        (.., Format::Terraform) => terraform(&needs, role.unwrap_or(ROLE)),
        (.., Format::Cloudformation) => cloudformation(&needs, role.unwrap_or(ROLE)),
    };
    if !args.trust && args.trust_of.is_none() {
        note(&whereabouts.left_open(&open, needs.groups.is_empty() && needs.probes.is_empty()));
    }
    if needs.trust == Trust::WebIdentity && (args.trust || !is_json) {
        note("ISSUER, SUBJECT and, where it stands, ACCOUNT in the trust policy are for you to fill in");
    }
    if needs.statements().is_empty() && is_json && !args.trust {
        note("this configuration ships nothing and assumes nothing: it needs no policy at all");
    }
    Ok(print(&text))
}

/// On stderr, where it is in nobody's way; nothing if there is nothing to say.
fn note(text: &str) {
    for line in text.lines() {
        complain(&format!("imds-agent: {line}"));
    }
}

fn trust_of(needs: &Needs, name: &str, own: Option<&str>, whereabouts: &Whereabouts) -> Result<String, Error> {
    let role = needs.role(name).ok_or_else(|| {
        let known: Vec<&str> = needs.roles.iter().map(|role| role.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Error::NoSuchRole { name: name.to_owned(), known }
    })?;
    let account = whereabouts.place.account.as_deref().unwrap_or("ACCOUNT");
    let principal = format!("arn:{}:iam::{account}:role/{}", needs.place.partition, own.unwrap_or("ROLE"));
    if whereabouts.place.account.is_none() || own.is_none() {
        note("the agent's own role is not known: put it in, or give --account-id and --role");
    }
    Ok(pretty(&[role.trust(&Value::from(principal))]))
}

//! `metadata`: what the instance metadata service says, by name or by path. It asks as whoever calls it, never through the
//! daemon, which would be a way around a firewall. Not credentials: those are the agent's to hand out.

mod names;
mod path;
mod tree;

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::ValueEnum;
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use serde_json::{Map, Value};

use self::names::{NAMES, Name};
use self::path::{Path, Refused};
use super::exit::{FAILED, NOT_ALLOWED, UNREACHABLE, complain, failed, print};
use crate::clock::Clock;
use crate::config;
use crate::imds::{self, ImdsClient, Problem};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to print: a name, or any path of the metadata service; all names if nothing is named
    #[arg(value_name = "NAME|PATH", value_parser = Subject)]
    subject: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print everything below the path
    #[arg(long)]
    tree: bool,
    /// Print the region as variables for other programs
    #[arg(long, value_name = "FORMAT", conflicts_with_all = ["json", "tree", "subject"])]
    format: Option<Format>,
}

/// What others read.
#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// Lines for a shell: eval "$(imds-agent metadata --format env)"
    Env,
}

/// Any text, of which the shells complete the names.
#[derive(Clone)]
struct Subject;

impl TypedValueParser for Subject {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(NAMES.iter().map(|(name, _)| PossibleValue::new(*name))))
    }
}

/// Why there is nothing to print.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Imds(#[from] imds::Error),
    #[error("the metadata service has nothing at {path}")]
    Absent { path: Path },
    #[error("the event loop can't be started")]
    Loop(#[source] std::io::Error),
    #[error("stdout can't be written to")]
    Stdout(#[source] std::io::Error),
}

impl Error {
    fn code(&self) -> u8 {
        match self {
            Self::Refused(Refused::NotAPath { .. }) | Self::Absent { .. } | Self::Loop(_) | Self::Stdout(_) => FAILED,
            Self::Refused(_) => NOT_ALLOWED,
            Self::Imds(error) => match error.problem() {
                Problem::Disabled
                | Problem::Off { .. }
                | Problem::Blocked { .. }
                | Problem::Absent { .. }
                | Problem::Throttled { .. }
                | Problem::NotImds { .. }
                | Problem::TokenRefused { .. } => UNREACHABLE,
                _ => FAILED,
            },
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(refused) => refused.hint().map(str::to_owned),
            Self::Imds(error) => error.hint(),
            Self::Absent { path } => names::hint_for_absent(path).map(str::to_owned),
            Self::Loop(_) | Self::Stdout(_) => None,
        }
    }
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Loop);
    let answer = event_loop.and_then(|event_loop| event_loop.block_on(answer(args)));
    answer.unwrap_or_else(|error| failed(error.code(), &error, error.hint().as_deref()))
}

async fn answer(args: &Args) -> Result<ExitCode, Error> {
    let imds = ImdsClient::new(&settings(), &imds::Environment::from_process()?, &Clock::system())?;
    let name = args.subject.as_deref().and_then(Name::of).filter(|_| !args.tree);
    match (&args.subject, name) {
        _ if args.format.is_some() => {
            let region = imds.identity_document().await?.region;
            Ok(print(&format!("export AWS_REGION={region}\nexport AWS_DEFAULT_REGION={region}\n")))
        }
        (_, Some(name)) => name.ask(&imds).await.map_err(absent(&name)).map(|value| print(&text(&value, args.json))),
        (Some(path), None) => of_path(&imds, path, args).await,
        (None, None) if args.tree => of_path(&imds, "", args).await,
        (None, None) => Ok(print(&overview(&imds, args.json).await?)),
    }
}

/// Where to ask, as configured for the daemon; what is wrong with that is `config check`'s to say.
fn settings() -> imds::Settings {
    if let Ok(loaded) = config::load(None) {
        return loaded.config.imds;
    }
    complain("imds-agent: the configuration can't be used, and [imds] in it is not; imds-agent config check");
    imds::Settings::default()
}

/// A name that has one path is absent by that path.
fn absent(name: &Name) -> impl Fn(imds::Error) -> Error {
    let path = match name {
        Name::At(path) => Path::parse(path).ok(),
        Name::Tags => Path::parse("tags/instance").ok(),
        Name::Account | Name::Role | Name::Profile => None,
    };
    move |error| match (&path, error.problem()) {
        (Some(path), Problem::NotFound { .. }) => Error::Absent { path: path.clone() },
        _ => error.into(),
    }
}

async fn of_path(imds: &ImdsClient, text: &str, args: &Args) -> Result<ExitCode, Error> {
    let path = Path::parse(text)?;
    path.check(rustix::process::geteuid().is_root())?;
    let not_there = |error: imds::Error| match error.problem() {
        Problem::NotFound { .. } => Error::Absent { path: path.clone() },
        _ => error.into(),
    };
    if args.tree {
        if !path.is_shown_in_a_tree() {
            return Err(Refused::UserData.into());
        }
        let tree = tree::read(imds, &path, &mut progress()).await.map_err(not_there)?;
        return Ok(print(&if args.json { json(&tree) } else { tree::draw(&tree) }));
    }
    let bytes = imds.bytes(&path.to_string()).await.map_err(not_there)?;
    if args.json {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        return Ok(print(&json(&serde_json::from_str(&text).unwrap_or(Value::String(text)))));
    }
    as_it_is(&bytes).map_err(Error::Stdout)
}

/// All names, and what each is here; what is not there is left blank, unless nothing is.
async fn overview(imds: &ImdsClient, as_json: bool) -> Result<String, Error> {
    let mut all = Map::new();
    for (name, thing) in NAMES {
        let value = match thing.ask(imds).await {
            Ok(value) => value,
            Err(error) => match error.problem() {
                Problem::NotFound { .. }
                | Problem::NoInstanceProfile
                | Problem::EmptyProfile { .. }
                | Problem::RoleFailure { .. } => Value::Null,
                _ => return Err(error.into()),
            },
        };
        all.insert(name.to_owned(), value);
    }
    if as_json {
        return Ok(json(&Value::Object(all)));
    }
    let width = NAMES.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let line = |(name, _): &(&str, Name)| format!("{name:width$}  {}\n", in_one_line(&all[*name]));
    Ok(NAMES.iter().map(line).collect())
}

fn in_one_line(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Object(_) => text(value, false).trim_end().replace('\n', ", "),
        value => text(value, false).trim_end().to_owned(),
    }
}

/// A value for a person or a script: tags are `KEY=VALUE` lines.
fn text(value: &Value, as_json: bool) -> String {
    match value {
        value if as_json => json(value),
        Value::Object(tags) => {
            let line = |(key, value): (&String, &Value)| {
                format!("{}={}\n", shown(key), shown(value.as_str().unwrap_or_default()))
            };
            tags.iter().map(line).collect()
        }
        value => format!("{}\n", shown(value.as_str().unwrap_or_default())),
    }
}

fn json(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Somebody else's text, without what a terminal would obey.
fn shown(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Bytes as they came, with a line end for a terminal.
fn as_it_is(bytes: &[u8]) -> std::io::Result<ExitCode> {
    let mut stdout = std::io::stdout().lock();
    let line_end: &[u8] = if stdout.is_terminal() && !bytes.ends_with(b"\n") { b"\n" } else { b"" };
    let written = stdout.write_all(bytes).and_then(|()| stdout.write_all(line_end)).and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// A tree takes a while, at eight requests a second: says how far it is, where somebody watches.
fn progress() -> impl FnMut(usize) {
    let is_watched = std::io::stderr().is_terminal();
    move |count| {
        if is_watched {
            // On one line, over the last; if stderr is gone, nobody watches.
            let _ = write!(std::io::stderr(), "\r{count} names read…\x1b[K");
        }
    }
}

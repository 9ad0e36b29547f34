//! `config check | show | init | import`: whether a configuration is right, what is in effect, and one to start from, also
//! from another agent's. Not the reading itself.

mod import;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::json;

use crate::aws;
use crate::caller::Accounts;
use crate::config::{self, Config, DEFAULT_PATH, Errors, Loaded, SAMPLE};
use crate::credentials::BASE;
use crate::endpoints::unknown_accounts;
use crate::fault::chain;

/// What the shell learns of a wrong configuration (`EX_CONFIG` of sysexits).
const CONFIGURATION: u8 = 78;

/// Readable by all and writable by its owner: what `run` wants of a configuration.
const FILE_MODE: u32 = 0o644;

/// `imds-agent config …`
#[derive(Debug, Parser)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether the configuration is right, and where it is not
    Check(Which),
    /// Show what is in effect, defaults included, and where each value comes from
    Show(Which),
    /// Print a commented configuration to start from
    Init {
        /// Write it to this file, which must not exist yet
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Print what a configuration of Amazon's CloudWatch agent is here, and what it is not
    Import {
        /// amazon-cloudwatch-agent.json, or a directory of such files, which are merged
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
struct Which {
    #[arg(long, value_name = "FILE", help = format!("The configuration, instead of {DEFAULT_PATH}"))]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand: 0, 1 when something can't be written, 78 when the configuration is wrong.
pub(crate) fn run(args: Args) -> ExitCode {
    let written = match args.command {
        Command::Check(which) => check(&which),
        Command::Show(which) => show(&which),
        Command::Init { output: None } => print(SAMPLE),
        Command::Init { output: Some(path) } => init(&path),
        Command::Import { files } => import::run(&files),
    };
    written.unwrap_or_else(|error| {
        complain(&format!("imds-agent: {error}"));
        ExitCode::FAILURE
    })
}

fn check(which: &Which) -> io::Result<ExitCode> {
    let path = which.config.as_deref().unwrap_or(Path::new(DEFAULT_PATH));
    match config::load(which.config.as_deref()) {
        Ok(loaded) if which.json => {
            let (path, sources) = (path.to_string_lossy(), loaded.config.logs.tables());
            let notes = notes(&loaded.config);
            let files: Vec<_> = loaded.files.iter().map(|file| file.path.to_string_lossy()).collect();
            print_json(
                &json!({"ok": true, "path": path, "files": files, "sources": sources, "notes": notes, "errors": []}),
            )
        }
        Ok(loaded) => print(&verdict(path, &loaded)),
        Err(errors) if which.json => {
            let listed: Vec<_> = errors.diagnostics().collect();
            let path = path.to_string_lossy();
            print_json(&json!({"ok": false, "path": path, "count": errors.count(), "errors": listed}))?;
            Ok(ExitCode::from(CONFIGURATION))
        }
        Err(errors) => Ok(refuse(&errors)),
    }
}

/// `FILE: ok (2 sources, 1 drop-in)`
fn verdict(path: &Path, loaded: &Loaded) -> String {
    let sources = counted(loaded.config.logs.tables(), "source");
    let main_is_there = loaded.files.iter().any(|file| file.path == path);
    let drop_ins = match loaded.files.len() - usize::from(main_is_there) {
        0 => String::new(),
        drop_ins => format!(", {}", counted(drop_ins, "drop-in")),
    };
    let absent = if main_is_there { "" } else { "; there is no such file, so defaults apply" };
    let notes: Vec<_> = notes(&loaded.config).iter().map(|note| format!("note: {note}\n")).collect();
    format!("{}: ok ({sources}{drop_ins}){absent}\n{}", path.display(), notes.concat())
}

/// What is no fault, and who checks the configuration should know.
fn notes(config: &Config) -> Vec<String> {
    let credentials = &config.credentials;
    let named = credentials.roles.iter().map(|role| (role.name.as_str(), &role.allow));
    let roles = std::iter::once((BASE, &credentials.allow)).chain(named);
    let unknown = unknown_accounts(roles, &Accounts::of_system()).into_iter().map(|warning| match warning.hint {
        Some(hint) => format!("{}; {hint}", warning.message),
        None => warning.message,
    });
    // By the environment of who checks: the service's own may be another.
    let aws = aws::Environment::from_process().and_then(|environment| environment.check()).err();
    let aws = aws.map(|error| format!("{}; {}", chain(&error), error.hint()));
    config.endpoints.note().into_iter().chain(unknown).chain(aws).collect()
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn show(which: &Which) -> io::Result<ExitCode> {
    match config::effective(which.config.as_deref()) {
        Ok(effective) if which.json => print_json(&effective.to_json()),
        Ok(effective) => print(&effective.to_toml()),
        Err(errors) => Ok(refuse(&errors)),
    }
}

fn init(path: &Path) -> io::Result<ExitCode> {
    let named = |error: io::Error| {
        let cure = match error.kind() {
            io::ErrorKind::AlreadyExists => "; it is left as it is: move it away, or name another file",
            io::ErrorKind::NotFound => "; its directory must exist: create it with mkdir -p",
            _ => "",
        };
        io::Error::new(error.kind(), format!("can't write {}: {error}{cure}", path.display()))
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path).map_err(named)?;
    file.write_all(SAMPLE.as_bytes()).map_err(named)?;
    print(&format!("{}: written; `imds-agent config check --config {0}` checks it\n", path.display()))
}

fn refuse(errors: &Errors) -> ExitCode {
    complain(&errors.to_string());
    ExitCode::from(CONFIGURATION)
}

fn print_json(value: &serde_json::Value) -> io::Result<ExitCode> {
    print(&format!("{value:#}\n"))
}

/// To stdout; a reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> io::Result<ExitCode> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// To stderr; if even that is closed, nobody is left to be told.
fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn init_writes_the_sample_and_never_overwrites() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("config.toml");
        init(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), SAMPLE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o022, 0, "root would refuse it");
        fs::write(&path, "mine").unwrap();
        let error = init(&path).unwrap_err().to_string();
        assert!(error.contains("it is left as it is"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn the_verdict_counts_sources_and_drop_ins() {
        let (main, drop_in) = (PathBuf::from("/e/config.toml"), PathBuf::from("/e/conf.d/a.toml"));
        let source = |path: &&PathBuf| config::Source::new((*path).clone(), String::new());
        let loaded = |files: &[&PathBuf]| Loaded {
            config: config::Config::default(),
            files: files.iter().map(source).collect(),
            attachments: Vec::new(),
        };
        assert_eq!(verdict(&main, &loaded(&[&main])), "/e/config.toml: ok (0 sources)\n");
        assert_eq!(verdict(&main, &loaded(&[&main, &drop_in])), "/e/config.toml: ok (0 sources, 1 drop-in)\n");
        assert!(verdict(&main, &loaded(&[])).contains("no such file, so defaults apply"));
    }
}

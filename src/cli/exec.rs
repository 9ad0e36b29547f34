//! `exec`: becomes a command that has a role. Where the daemon serves that over HTTP, the command is told where, and has
//! it for as long as it runs; else it is given credentials as they are, which end. Not a parent: the command takes this
//! process's place, so that signals reach it and its exit code is ours.

mod shadow;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use super::credentials::{HandedOut, REGION_VARIABLES, hand_out, refused, region, role_name};
use super::duration::duration;
use super::exit::{CANNOT_RUN, NO_COMMAND, complain, failed};
use shadow::shadow;

/// What the command must not find in its environment, since SDKs would take it for the role: each with its reason.
const REMOVED: [(&str, &str); 14] = [
    ("AWS_ACCESS_KEY_ID", "static keys come before every other source"),
    ("AWS_SECRET_ACCESS_KEY", "as above"),
    ("AWS_SESSION_TOKEN", "as above"),
    ("AWS_SECURITY_TOKEN", "the session token's first name, which boto3 reads still"),
    ("AWS_CREDENTIAL_EXPIRATION", "of the keys above: boto3 would think that others end then"),
    ("AWS_PROFILE", "a profile's keys, role or process come before the container's in most SDKs"),
    ("AWS_DEFAULT_PROFILE", "the same for the CLI"),
    (
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "with AWS_ROLE_ARN it makes SDKs assume a role by web identity, before the container's",
    ),
    ("AWS_ROLE_ARN", "as above"),
    ("AWS_ROLE_SESSION_NAME", "as above"),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "wins over the full one: that of ECS, with the task's role"),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "another container's, unless we say where ours is"),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "some SDKs prefer it to the file"),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "another container's, unless we say where ours is"),
];

/// A role's token is 256 bits as hexadecimal digits.
const TOKEN_DIGITS: usize = 64;

/// `imds-agent exec …`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The role, a [[role]] of the configuration; without it, the one that the daemon itself has
    #[arg(long, value_name = "NAME", value_parser = role_name)]
    role: Option<String>,
    /// Give the command credentials as they are, which end, even where it could have them refreshed
    #[arg(long = "static")]
    as_they_are: bool,
    /// How long to wait where the daemon or the role is not there yet: 30s, 5m
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    wait: Duration,
    /// The command, and its arguments behind it
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let handed = match hand_out(args.role.as_deref(), args.wait) {
        Ok(handed) => handed,
        Err(error) => return refused(&error),
    };
    let variable = |name: &str| std::env::var_os(name);
    let way = if args.as_they_are { Err("--static") } else { way(args.role.as_deref(), &handed, variable) };
    match &way {
        Err(reason) => complain(&ending(&handed, reason)),
        Ok(_) => {
            if let Some((path, key)) = shadow(variable) {
                complain(&in_the_way(&path, key));
            }
        }
    }
    let Some((program, arguments)) = args.command.split_first() else {
        // clap sees to it that there is one.
        return ExitCode::from(NO_COMMAND);
    };
    let mut command = Command::new(program);
    command.args(arguments);
    for (name, _) in REMOVED {
        command.env_remove(name);
    }
    command.envs(environment(&handed, way.ok(), variable));
    // Only returns if it failed.
    let error = command.exec();
    let source = if error.kind() == ErrorKind::PermissionDenied && nowhere(program, variable("PATH")) {
        rustix::io::Errno::NOENT.into()
    } else {
        error
    };
    let code = if source.kind() == ErrorKind::NotFound { NO_COMMAND } else { CANNOT_RUN };
    failed(code, &Unrunnable { program: program.clone(), source }, None)
}

/// Whether `program` is in no directory of `path`. The kernel's last word is "permission denied" as soon as one of the
/// directories is closed to this user, as root's own are; shells say that there is no such command.
fn nowhere(program: &OsStr, path: Option<OsString>) -> bool {
    let is_name = !program.as_encoded_bytes().contains(&b'/');
    is_name && path.is_some_and(|path| std::env::split_paths(&path).all(|directory| !directory.join(program).exists()))
}

/// A command that could not be run.
#[derive(Debug, thiserror::Error)]
#[error("can't run {program:?}")]
struct Unrunnable {
    program: OsString,
    source: std::io::Error,
}

/// Where the command gets its credentials from.
#[derive(Debug, PartialEq, Eq)]
struct Way {
    endpoint: String,
    token_file: PathBuf,
}

/// Where the command can get the role's credentials itself, or why it can't.
fn way(
    role: Option<&str>,
    handed: &HandedOut,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Way, &'static str> {
    let role = role.ok_or("the daemon's own role is on no address")?;
    let endpoint = handed.endpoint.clone().ok_or("[endpoints.container] is not in the configuration")?;
    // A unit's own copy comes first: the file itself may be another user's.
    let own = variable("CREDENTIALS_DIRECTORY").map(|directory| Path::new(&directory).join(role));
    let public = handed.token_file.as_ref().map(PathBuf::from);
    let token_file = own.into_iter().chain(public).find(|path| holds_token(path));
    let token_file = token_file.ok_or("this user can't read the role's token")?;
    Ok(Way { endpoint, token_file })
}

/// Whether a token is there to be read: what else a unit calls by the role's name is nothing to send to anybody.
fn holds_token(path: &Path) -> bool {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(TOKEN_DIGITS as u64 + 1).read_to_string(&mut text));
    read.is_ok() && text.len() == TOKEN_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What the command is told.
fn environment(
    handed: &HandedOut,
    way: Option<Way>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Vec<(&'static str, OsString)> {
    let region = region(variable, handed.region.as_deref());
    let Some(Way { endpoint, token_file }) = way else {
        let variables = handed.variables(region.as_deref()).into_iter();
        return variables.filter_map(|(name, value)| Some((name, OsStr::new(value?).to_owned()))).collect();
    };
    let region = region.iter().flat_map(|region| REGION_VARIABLES.map(|name| (name, OsString::from(&**region))));
    [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", endpoint.into()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token_file.into_os_string()),
    ]
    .into_iter()
    .chain(region)
    .collect()
}

/// That the command's SDK will most likely not get as far as the role.
fn in_the_way(path: &Path, key: &str) -> String {
    format!(
        "imds-agent: {} has {key} for the profile default, which most SDKs take before the role\n  → remove it, or use \
         --static, which comes before both",
        path.display()
    )
}

/// That what the command gets will end, and why it gets that.
fn ending(handed: &HandedOut, reason: &str) -> String {
    let end = handed.expiration.as_deref().map_or("have no end".to_owned(), |end| format!("end at {end}"));
    format!("imds-agent: the command's credentials {end} and are not refreshed ({reason})")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn handed(more: &str) -> HandedOut {
        let text = "{\"AccessKeyId\":\"ASIA1\",\"SecretAccessKey\":\"s\",\"Token\":\"t\",\"Region\":\"eu-west-1\",\
                    \"Expiration\":\"2026-11-22T12:00:00Z\""
            .to_owned();
        serde_json::from_str(&format!("{text}{more}}}")).unwrap()
    }

    fn with_door(token_file: &Path) -> HandedOut {
        let token_file = token_file.display();
        handed(&format!(",\"Endpoint\":\"http://127.0.0.1:1339/role/app\",\"TokenFile\":\"{token_file}\""))
    }

    /// The lines of an environment.
    fn lines(environment: Vec<(&'static str, OsString)>) -> Vec<String> {
        environment.into_iter().map(|(name, value)| format!("{name}={}", value.display())).collect()
    }

    #[test]
    fn with_a_readable_token_the_command_is_told_where_and_gets_no_key() {
        let directory = tempfile::tempdir().unwrap();
        let token_file = directory.path().join("token");
        std::fs::write(&token_file, TOKEN).unwrap();
        let handed = with_door(&token_file);
        let way = way(Some("app"), &handed, |_| None).unwrap();
        let told = lines(environment(&handed, Some(way), |_| None));
        let expected = [
            "AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1:1339/role/app".to_owned(),
            format!("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE={}", token_file.display()),
            "AWS_REGION=eu-west-1".to_owned(),
            "AWS_DEFAULT_REGION=eu-west-1".to_owned(),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_units_own_token_comes_first_and_what_is_no_token_is_not_sent_anywhere() {
        let unit = tempfile::tempdir().unwrap();
        let public = unit.path().join("public");
        std::fs::write(&public, TOKEN).unwrap();
        let variable = |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| unit.path().as_os_str().to_owned());
        let token_file = || way(Some("app"), &with_door(&public), variable).map(|way| way.token_file);
        assert_eq!(token_file().as_ref(), Ok(&public));
        for (content, expected) in [("the application's own secret", &public), (TOKEN, &unit.path().join("app"))] {
            std::fs::write(unit.path().join("app"), content).unwrap();
            assert_eq!(token_file().as_ref(), Ok(expected), "{content}");
        }
    }

    #[test]
    fn without_a_door_a_token_or_a_name_credentials_are_given_as_they_are_and_their_end_is_said() {
        for (role, handed, reason) in [
            (Some("app"), handed(""), "[endpoints.container]"),
            (Some("app"), with_door(Path::new("/nowhere")), "can't read the role's token"),
            (None, with_door(Path::new("/nowhere")), "own role"),
        ] {
            let refused = way(role, &handed, |_| None).expect_err("there is no way");
            assert!(refused.contains(reason), "{refused}");
            let said = ending(&handed, refused);
            assert!(said.contains("end at 2026-11-22T12:00:00Z") && said.contains(reason), "{said}");
            let told = lines(environment(&handed, None, |name| (name == "AWS_REGION").then(|| "us-east-1".into())));
            assert_eq!(told[..3], ["AWS_ACCESS_KEY_ID=ASIA1", "AWS_SECRET_ACCESS_KEY=s", "AWS_SESSION_TOKEN=t"]);
            assert_eq!(told[4..], ["AWS_REGION=us-east-1", "AWS_DEFAULT_REGION=us-east-1"]);
        }
    }

    #[test]
    fn a_command_is_nowhere_only_if_no_directory_of_the_path_has_it() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("notes"), "not a program").unwrap();
        let path = || std::env::join_paths([Path::new("/nowhere"), directory.path()]).ok();
        assert!(nowhere(OsStr::new("nosuch"), path()) && !nowhere(OsStr::new("notes"), path()));
        assert!(!nowhere(OsStr::new("./nosuch"), path()), "a path is not looked for elsewhere");
    }

    #[test]
    fn nothing_that_is_given_is_missing_among_what_is_taken_away() {
        let given = environment(&handed(""), None, |_| None);
        for (name, _) in given.into_iter().filter(|(name, _)| !REGION_VARIABLES.contains(name)) {
            assert!(REMOVED.iter().any(|(removed, _)| *removed == name), "{name}");
        }
    }
}

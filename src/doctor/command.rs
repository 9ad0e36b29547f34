//! Asking a program of the system, within bounds. Not what is made of its answer.

use std::ffi::OsStr;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

/// How long a program may take: well below what a check may.
const PATIENCE: Duration = Duration::from_secs(2);

/// What `program` prints, where it is installed and ends well in time.
pub(super) async fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = ask(program, arguments).await?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What becomes of `program`, where it is installed and ends in time.
pub(super) async fn ask<A: AsRef<OsStr>>(program: &str, arguments: &[A]) -> Option<Output> {
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(PATIENCE, command.output()).await.ok()?.ok()
}

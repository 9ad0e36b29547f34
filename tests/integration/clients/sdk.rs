//! The programs of `tests/clients`, one an SDK, each with nothing about credentials in it, and what they are started
//! with. A line in is a question, a line out the answer: an ARN, or why there is none.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use aws_config::BehaviorVersion;
use aws_smithy_http_client::tls;

use super::Way;
use crate::harness::python;

/// Whose default chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sdk {
    Boto3,
    Cli,
    Go,
    Java,
    JavaScript,
    Rust,
}

/// Where this finds the clients that `tests/clients/run` installed.
const INSTALLED: &str = "IMDS_AGENT_TEST_CLIENTS";

impl Sdk {
    pub(super) fn installed() -> Vec<Self> {
        let mut sdks = vec![Self::Boto3, Self::Rust];
        if let Some(directory) = installed() {
            let there = |name: &str| directory.join(name).is_dir();
            sdks.push(Self::Cli);
            sdks.extend(there("go").then_some(Self::Go));
            sdks.extend(there("java").then_some(Self::Java));
            sdks.extend(there("js").then_some(Self::JavaScript));
        }
        sdks
    }

    /// Whether a process may go on with what it has when that has expired, as it does with what a metadata service gave it:
    /// botocore where the rest of its life is short, the Rust SDK for minutes after one refresh that took too long, which
    /// on a busy machine happens.
    pub(super) fn outlives(self, way: Way) -> bool {
        way == Way::LookAlike && matches!(self, Self::Boto3 | Self::Rust)
    }

    /// Starts it with one question.
    pub(super) fn start(self, environment: &[(&'static str, String)]) -> Asked {
        // Where `credential_process` finds the agent's command.
        let given = std::env::var_os("IMDS_AGENT_TEST_BINARY");
        let agent = given.map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_imds-agent")), PathBuf::from);
        let mut path = agent.parent().expect("a file is in a directory").as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = self.command();
        command.env_clear().envs(environment.iter().map(|(name, value)| (name, value))).env("PATH", path);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let answers = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut asked = Asked { child, answers };
        asked.again();
        asked
    }

    fn command(self) -> Command {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
        let installed = |name: &str| installed().unwrap_or_default().join(name);
        let with = |program: PathBuf, arguments: &[PathBuf]| {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        };
        match self {
            Self::Boto3 => with(python::program("python"), &[sources.join("client.py")]),
            Self::Cli => with(sources.join("client.sh"), &[python::program("aws")]),
            Self::Go => with(installed("go/client"), &[]),
            Self::Java => {
                let classes = format!("{0}:{0}/lib/*", installed("java").display());
                with("java".into(), &["-cp".into(), classes.into(), "Client".into()])
            }
            Self::JavaScript => with("node".into(), &["--no-warnings".into(), installed("js/client.mjs")]),
            Self::Rust => {
                let this = std::env::current_exe().expect("this test's own path");
                let arguments = ["--exact", "clients::sdk::rust", "--ignored", "--nocapture"].map(PathBuf::from);
                with(this, &arguments)
            }
        }
    }
}

fn installed() -> Option<PathBuf> {
    std::env::var_os(INSTALLED).map(PathBuf::from)
}

/// A program that was asked something; killed when dropped.
pub(super) struct Asked {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Asked {
    pub(super) fn again(&mut self) {
        let stdin = self.child.stdin.as_mut().expect("stdin is piped");
        stdin.write_all(b"who am I\n").expect("a program that was started reads");
    }

    /// Waits for the answer, which must be `arn`.
    pub(super) fn assert_is(&mut self, arn: &str, what: &str) {
        let mut line = String::new();
        // What else there is on stdout is the test harness's that the Rust client runs in.
        let answer = loop {
            line.clear();
            let length = self.answers.read_line(&mut line).expect("answers are text");
            assert_ne!(length, 0, "{what}: it ended");
            let begin = line.find("arn:").filter(|_| !line.contains("error:")).or_else(|| line.find("error:"));
            if let Some(begin) = begin {
                break line[begin..].trim();
            }
        };
        assert_eq!(answer, arn, "{what}");
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The Rust SDK's client, in a process of its own.
#[test]
#[ignore = "not a test: what the tests start as the Rust SDK's client"]
#[expect(clippy::print_stdout, reason = "where the client's answers go")]
fn rust() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        let http_client = aws_smithy_http_client::Builder::new().tls_provider(ring).build_https();
        let config = aws_config::defaults(BehaviorVersion::latest()).http_client(http_client).load().await;
        let sts = aws_sdk_sts::Client::new(&config);
        for _ in std::io::stdin().lines() {
            match sts.get_caller_identity().send().await {
                Ok(identity) => println!("{}", identity.arn().unwrap_or_default()),
                Err(error) => println!("error: {}", format!("{error:?}").replace('\n', " ")),
            }
        }
    });
}

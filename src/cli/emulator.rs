//! `imds-agent emulator`: IMDSv2, STS and CloudWatch Logs on this machine, for development, until Ctrl-C. Not what they
//! answer: that is the emulator's room.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::time::MissedTickBehavior;

use super::duration::duration;
use crate::emulator::{Activity, Emulator, Options};

/// Free in IANA's list, and beside the daemon's own 1338 and 1339.
const DEFAULT_LISTEN: &str = "127.0.0.1:1340";

/// A busy agent's puts are summed up this often, not shown one by one.
const SUMMARY_EVERY: Duration = Duration::from_secs(1);

/// Usage errors, as in DESIGN §2.
const USAGE: u8 = 2;

/// What EC2 takes as user data, before it is encoded (EC2 User Guide, "Run commands when you launch an EC2 instance").
const LARGEST_USER_DATA: u64 = 16 * 1024;

/// IMDSv2, STS and CloudWatch Logs for development, on loopback
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to listen; may be given more than once; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = DEFAULT_LISTEN)]
    listen: Vec<SocketAddr>,
    /// Allow addresses that are not loopback, such as 169.254.169.254 in a network namespace of its own
    #[arg(long)]
    allow_any_address: bool,
    /// The region of the instance
    #[arg(long, default_value = "eu-west-1")]
    region: String,
    /// The instance's id
    #[arg(long, default_value = "i-0e00000000000e001")]
    instance_id: String,
    /// The account's twelve digits
    #[arg(long, default_value = "123456789012")]
    account_id: String,
    /// The instance's role; empty: no instance profile is attached
    #[arg(long, default_value = "emulated-role")]
    role: String,
    /// How long the role's credentials live; they rotate after a sixth of that
    #[arg(long, value_name = "DURATION", default_value = "6h", value_parser = duration)]
    credentials_lifetime: Duration,
    /// The instance's user data, for cloud-init: a file with text of at most 16 KiB
    #[arg(long, value_name = "FILE", value_parser = user_data)]
    user_data: Option<UserData>,
    /// A tag that the instance's metadata show; may be given more than once
    #[arg(long = "tag", value_name = "KEY=VALUE", default_value = "Name=emulated", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// How many hops the answer to a token request may go, 1 to 64: with 1, none behind the instance gets a token
    #[arg(long, value_name = "N", default_value = "64", value_parser = hop_limit)]
    hop_limit: NonZeroU8,
    /// How long each put of log events takes
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    put_latency: Duration,
}

fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("a tag is KEY=VALUE".into()),
    }
}

fn hop_limit(text: &str) -> Result<NonZeroU8, String> {
    text.parse().ok().filter(|limit: &NonZeroU8| limit.get() <= 64).ok_or_else(|| "a hop limit is 1 to 64".into())
}

/// The text of `--user-data FILE`.
#[derive(Clone, Debug)]
struct UserData(String);

fn user_data(path: &str) -> Result<UserData, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST_USER_DATA + 1).read_to_string(&mut text));
    match read {
        Ok(size) if size as u64 > LARGEST_USER_DATA => Err("EC2 takes at most 16 KiB of user data".into()),
        Ok(_) => Ok(UserData(text)),
        Err(error) => Err(error.to_string()),
    }
}

/// Runs the subcommand.
pub(crate) fn run(args: Args) -> ExitCode {
    if let Some(addr) = args.listen.iter().find(|addr| !addr.ip().is_loopback() && !args.allow_any_address) {
        return fail(
            USAGE,
            &format!(
                "{addr} is not a loopback address: whoever reaches the emulator gets its (made-up) credentials, and a \
                 real instance's metadata may be shadowed; --allow-any-address allows it"
            ),
        );
    }
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output is gone, which is a way to end it.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            fail(1, &format!("{error}; --listen 127.0.0.1:0 takes a free port"))
        }
        Err(error) => fail(1, &error.to_string()),
    }
}

fn fail(code: u8, message: &str) -> ExitCode {
    // Nowhere is left to say that stderr is closed.
    let _ = writeln!(io::stderr(), "imds-agent emulator: {message}");
    ExitCode::from(code)
}

impl From<Args> for Options {
    fn from(args: Args) -> Self {
        Self {
            listen: args.listen,
            availability_zone: format!("{}a", args.region),
            region: args.region,
            instance_id: args.instance_id,
            account_id: args.account_id,
            role_name: (!args.role.is_empty()).then_some(args.role),
            tags: args.tags.into_iter().collect(),
            user_data: args.user_data.map(|data| data.0),
            hop_limit: args.hop_limit,
            credentials_lifetime: args.credentials_lifetime,
            put_latency: args.put_latency,
            ..Self::default()
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn serve(args: Args) -> io::Result<()> {
    let region = args.region.clone();
    let emulator = Emulator::start(args.into()).await?;
    let mut activity = emulator.activity();
    introduce(&emulator, &region)?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut summary = tokio::time::interval(SUMMARY_EVERY);
    summary.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut puts = Puts::default();
    loop {
        tokio::select! {
            happened = activity.recv() => match happened {
                Ok(happened) if puts.takes(&happened) => {}
                Ok(happened) => line(&happened)?,
                // Only a flood of puts is that fast, and the counters of the summary have them all.
                Err(RecvError::Lagged(_)) => puts.changed = true,
                Err(RecvError::Closed) => break,
            },
            _ = summary.tick() => puts.summary(&emulator)?,
            result = tokio::signal::ctrl_c() => { result?; break }
            _ = terminate.recv() => break,
        }
    }
    puts.summary(&emulator)?;
    emulator.stop().await;
    Ok(())
}

fn introduce(emulator: &Emulator, region: &str) -> io::Result<()> {
    let url = emulator.url();
    let mut out = io::stdout().lock();
    for addr in emulator.addrs() {
        writeln!(out, "# IMDSv2, STS and CloudWatch Logs at http://{addr}; until Ctrl-C")?;
    }
    writeln!(out, "# point the AWS CLI, any SDK or imds-agent at it:")?;
    writeln!(out, "export AWS_EC2_METADATA_SERVICE_ENDPOINT={url}/")?;
    writeln!(out, "export AWS_ENDPOINT_URL={url}")?;
    writeln!(out, "export AWS_REGION={region}")?;
    writeln!(
        out,
        "# or as a container's task: export AWS_CONTAINER_CREDENTIALS_FULL_URI={url}/v2/credentials/emulated"
    )?;
    writeln!(out, "# what it holds: curl {url}/_emulator/state")?;
    writeln!(out, "#                curl '{url}/_emulator/events?group=G&stream=S&format=text'")?;
    out.flush()
}

fn line(happened: &Activity) -> io::Result<()> {
    let status = happened.status.map_or_else(|| "---".into(), |status| status.to_string());
    let mut out = io::stdout().lock();
    writeln!(out, "{} {status} {} {}", now(), happened.operation, happened.detail)?;
    out.flush()
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%H:%M:%SZ").to_string()
}

/// The puts that succeeded, summed up.
#[derive(Debug, Default)]
struct Puts {
    changed: bool,
    calls: u64,
    events: u64,
}

impl Puts {
    /// Whether this needs no line of its own.
    fn takes(&mut self, happened: &Activity) -> bool {
        let taken = happened.operation == "logs:PutLogEvents" && happened.status == Some(200);
        self.changed |= taken;
        taken
    }

    /// A line about the puts since the last one, if there were any.
    fn summary(&mut self, emulator: &Emulator) -> io::Result<()> {
        if !std::mem::take(&mut self.changed) {
            return Ok(());
        }
        let counts = emulator.counts().puts;
        let (calls, events) = (counts.calls - self.calls, counts.events - self.events);
        let detail = format!("+{calls} calls, +{events} events; {} events in all", counts.events);
        (self.calls, self.events) = (counts.calls, counts.events);
        line(&Activity { operation: "logs:PutLogEvents".into(), status: Some(200), detail })
    }
}

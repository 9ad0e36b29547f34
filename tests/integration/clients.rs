//! Programs that know nothing of the agent, by the SDKs' default chains: each gets its role in every way that its SDK
//! knows, as `packaging/clients.md` says, keeps it across a refresh, and gets it from an agent that restarts.
//!
//! boto3 and the Rust SDK are in every run. The others are where `tests/clients/run` installed them.

mod sdk;

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::Duration;

use jiff::Timestamp;

use crate::doors::{HAND_OVER, start_with};
use crate::harness::{Agent, Change, Emulator, Host, SOON, Systemd, free_address};
use sdk::{Asked, Sdk};

/// Sessions this short expire while one can wait for it. The agent renews them at half their life.
const SHORT: Duration = Duration::from_secs(24);

/// How a client gets at its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Container,
    LookAlike,
    Process,
}

/// A machine with an agent, and an application's role.
struct Machine {
    host: Host,
    emulator: Emulator,
    systemd: Systemd,
    container: SocketAddr,
    metadata: SocketAddr,
}

impl Machine {
    fn new() -> Self {
        let emulator = Emulator::start();
        let mut host = Host::new(&emulator.url());
        let (container, metadata) = (free_address(), free_address());
        let uid = rustix::process::geteuid();
        host.configure(&format!(
            "[[role]]\nname = \"app\"\nrole_arn = \"arn:aws:iam::123456789012:role/app-task-role\"\n\
             session_name = \"{{instance_id}}\"\nallow = [{{ user = \"{uid}\" }}]\n\n\
             [endpoints.container]\nlisten = \"{container}\"\n\n\
             [endpoints.metadata]\nlisten = \"{metadata}\"\nrole = \"app\"\n",
        ));
        let text = "[default]\ncredential_process = imds-agent credentials --role app --wait 10s\n";
        std::fs::write(host.path("aws-config"), text).expect("a file in a temporary directory");
        let systemd = Systemd::of(&mut host);
        Self { host, emulator, systemd, container, metadata }
    }

    /// What a program's environment has, as the page says, beside what keeps it on this machine.
    fn environment(&self, way: Way) -> Vec<(&'static str, String)> {
        let mut environment = vec![
            ("AWS_ENDPOINT_URL", self.emulator.url()),
            ("AWS_REGION", "eu-west-1".to_owned()),
            ("AWS_DEFAULT_REGION", "eu-west-1".to_owned()),
            ("HOME", self.host.path("").display().to_string()),
            ("IMDS_AGENT_RUNTIME_DIR", self.host.path("run").display().to_string()),
        ];
        if way != Way::LookAlike {
            environment.push(("AWS_EC2_METADATA_DISABLED", "true".to_owned()));
        }
        match way {
            Way::Container => {
                let token = self.host.path("run/tokens/app").display().to_string();
                environment.push(("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://{}/role/app", self.container)));
                environment.push(("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token));
            }
            Way::LookAlike => {
                environment.push(("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{}", self.metadata)));
            }
            Way::Process => {
                environment.push(("AWS_CONFIG_FILE", self.host.path("aws-config").display().to_string()));
            }
        }
        environment
    }

    fn ask(&self, sdk: Sdk, way: Way) -> Asked {
        sdk.start(&self.environment(way))
    }

    /// Whether this is the door by which clients come on that way.
    fn is_door(&self, way: Way, socket: &OwnedFd) -> bool {
        let copy = || socket.try_clone().expect("a descriptor can be copied");
        let port = || TcpListener::from(copy()).local_addr().ok().map(|address| address.port());
        match way {
            Way::Container => port() == Some(self.container.port()),
            Way::LookAlike => port() == Some(self.metadata.port()),
            Way::Process => {
                let address = std::os::unix::net::UnixListener::from(copy()).local_addr();
                address
                    .is_ok_and(|address| address.as_pathname().is_some_and(|path| path.ends_with("credentials.sock")))
            }
        }
    }
}

const EXPECTED: &str = "arn:aws:sts::123456789012:assumed-role/app-task-role/i-0e00000000000e001";

fn expiration(agent: &Agent) -> Timestamp {
    let report = agent.wait_until("the role has credentials", |report| report.at("/credentials/1/state") == "fresh");
    report.text("/credentials/1/expiration").parse().expect("times are RFC 3339")
}

/// All of `sdks` at once: first, over a refresh, from an agent that restarts.
fn try_out(sdks: &[Sdk], way: Way) {
    let machine = Machine::new();
    let seconds = Some(SHORT.as_secs());
    machine.emulator.change(&Change { session_lifetime_seconds: seconds, ..Change::default() });
    let agent = machine.host.start();
    let stored = machine.systemd.stored_until_ready();
    let first_expiration = expiration(&agent);
    let mut running: Vec<_> = sdks.iter().map(|&sdk| (sdk, machine.ask(sdk, way))).collect();
    for (sdk, asked) in &mut running {
        asked.assert_is(EXPECTED, &format!("{sdk:?} by {way:?}"));
    }
    agent.wait_within(SHORT + SOON, "what was handed out first is expired", |_| Timestamp::now() > first_expiration);
    for (sdk, asked) in running.iter_mut().filter(|(sdk, _)| !sdk.outlives(way)) {
        asked.again();
        asked.assert_is(EXPECTED, &format!("{sdk:?} by {way:?} after a refresh"));
    }
    let door = stored.into_iter().find(|socket| machine.is_door(way, socket)).expect("the door is kept");
    agent.stop_in_order();
    let mut anew: Vec<_> = sdks.iter().map(|&sdk| (sdk, machine.ask(sdk, way))).collect();
    let _agent = start_with(&machine.host, &door, HAND_OVER);
    for (sdk, asked) in &mut anew {
        asked.assert_is(EXPECTED, &format!("{sdk:?} by {way:?} at a restart"));
    }
    for sdk in sdks {
        let refresh = if sdk.outlives(way) { "a new process" } else { "yes" };
        say(&format!("{:<10}  {:<10}  yes    {refresh:<13}  yes", format!("{sdk:?}"), format!("{way:?}")));
    }
}

/// A line of the table that `tests/clients/run` shows: which SDK, which way, at first, over a refresh, at a restart.
#[expect(clippy::print_stdout, reason = "shown to those who ask for it")]
fn say(line: &str) {
    println!("{line}");
}

#[test]
fn clients_get_their_role_by_the_container_protocol() {
    try_out(&Sdk::installed(), Way::Container);
}

#[test]
fn clients_get_their_role_by_the_look_alike() {
    try_out(&Sdk::installed(), Way::LookAlike);
}

#[test]
fn clients_get_their_role_by_credential_process() {
    try_out(&Sdk::installed(), Way::Process);
}

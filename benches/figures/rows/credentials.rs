//! How fast credentials are handed out, by each door and by the command, and what roles cost. All from memory: the one
//! row that STS is in says how often it was asked.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::daemon::{BINARY, Daemon, Host};
use crate::machine::memory_mib;
use crate::sink::Sink;
use crate::table::Row;

/// Requests that are timed at each door, over all clients.
const REQUESTS: usize = 20_000;

/// Clients at once, beside one alone.
const CLIENTS: usize = 64;

/// Runs of the command that are timed.
const RUNS: usize = 100;

/// Callers that ask before any role has credentials, and the roles they ask for.
const FIRST: usize = 500;
const FIRST_ROLES: usize = 5;

/// As many roles as a machine with many small services might have.
const MANY: usize = 100;

/// Until every role has credentials, at the most.
const PATIENCE: Duration = Duration::from_mins(2);

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// An agent with `count` roles, `role0` and on, that whoever measures may have, and more of its configuration.
fn with_roles(count: usize, more: &str) -> Host {
    let uid = rustix::process::geteuid();
    let mut config = more.to_owned();
    for role in 0..count {
        let _ = write!(
            config,
            "\n[[role]]\nname = \"role{role}\"\nrole_arn = \"arn:aws:iam::123456789012:role/role{role}\"\n\
             session_name = \"figures\"\nallow = [{{ user = \"{uid}\" }}]\n"
        );
    }
    Host::configured(|_| config)
}

/// Waits until each of `count` roles has credentials.
fn wait_until_fresh(host: &Host, count: usize) {
    let begun = Instant::now();
    loop {
        let mut text = String::new();
        let socket = UnixStream::connect(host.path("run/status.sock")).and_then(|mut it| it.read_to_string(&mut text));
        let report: Value = socket.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or_default();
        let roles =
            report["credentials"].as_array().map_or(0, |all| all.iter().filter(|it| it["state"] == "fresh").count());
        if roles > count {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{roles} of {count} roles have credentials: {report:#}");
        std::thread::sleep(LOOK_EVERY);
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// A connection over which one question is asked again and again.
struct Asker<S> {
    stream: BufReader<S>,
    question: String,
}

impl<S: Read + Write> Asker<S> {
    fn new(stream: S, question: String) -> Self {
        Self { stream: BufReader::new(stream), question }
    }

    /// Asks, reads the answer to its end, and says how long that was.
    fn ask(&mut self) -> Duration {
        self.try_ask().expect("the door answers")
    }

    /// The same; `None` where the connection is closed without an answer.
    fn try_ask(&mut self) -> Option<Duration> {
        let begun = Instant::now();
        self.stream.get_mut().write_all(self.question.as_bytes()).ok()?;
        let (mut line, mut length) = (String::new(), 0);
        self.stream.read_line(&mut line).ok().filter(|length| *length > 0)?;
        assert!(line.starts_with("HTTP/1.1 200 "), "{line:?} to {}", self.question);
        while line != "\r\n" {
            if let Some((name, value)) = line.split_once(": ")
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().expect("a length is a number");
            }
            line.clear();
            self.stream.read_line(&mut line).expect("a head ends");
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("the answer is whole");
        Some(begun.elapsed())
    }
}

/// What one door does with one client and with many.
fn door<S: Read + Write + Send>(name: &str, goal: Duration, ask: impl Fn() -> Asker<S>) -> Vec<Row> {
    [1, CLIENTS]
        .map(|clients| {
            let mut askers: Vec<_> = (0..clients).map(|_| ask()).collect();
            for asker in &mut askers {
                asker.ask();
            }
            let begun = Instant::now();
            let mut times: Vec<Duration> = std::thread::scope(|scope| {
                let timed = |mut asker: Asker<S>| (0..REQUESTS / clients).map(move |_| asker.ask()).collect::<Vec<_>>();
                let threads: Vec<_> = askers.into_iter().map(|asker| scope.spawn(move || timed(asker))).collect();
                threads.into_iter().flat_map(|thread| thread.join().expect("no client fails")).collect()
            });
            let wall = begun.elapsed();
            times.sort_unstable();
            let at = |share: usize| times[times.len() * share / 100];
            #[expect(clippy::cast_precision_loss, reason = "some thousands")]
            let rate = times.len() as f64 / wall.as_secs_f64();
            let alone = clients == 1;
            Row {
                what: format!("{name}, {clients} at once").into(),
                measured: format!("p50 {} us, p99 {} us, {rate:.0}/s", at(50).as_micros(), at(99).as_micros()),
                goal: match goal.as_micros() {
                    _ if !alone => ">= 20,000/s",
                    200 => "p99 <= 200 us",
                    _ => "p99 <= 300 us",
                },
                met: if alone { at(99) <= goal } else { rate >= 20_000.0 },
                others: "",
            }
        })
        .into()
}

/// Cached credentials by each door.
pub(crate) fn doors() -> Vec<Row> {
    let (container, metadata) = (free_port(), free_port());
    let host = with_roles(
        1,
        &format!(
            "[endpoints.container]\nlisten = \"127.0.0.1:{container}\"\n\n\
             [endpoints.metadata]\nlisten = \"127.0.0.1:{metadata}\"\nrole = \"role0\"\n"
        ),
    );
    let sink = Sink::start(Duration::ZERO);
    let _daemon = start(&host, &sink, 1);
    let question =
        |path: &str, host: String, more: String| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n");
    let tcp = |port: u16| {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the door is open");
        stream.set_nodelay(true).expect("a socket has options");
        stream
    };
    let socket = host.path("run/credentials.sock");
    let token = std::fs::read_to_string(host.path("run/tokens/role0")).expect("whoever may have a role has its token");
    let metadata_token = metadata_token(tcp(metadata), metadata);
    let document = "/latest/meta-data/iam/security-credentials/role0";
    let mut rows = door("unix socket", Duration::from_micros(200), || {
        let stream = UnixStream::connect(&socket).expect("the door is open");
        Asker::new(stream, question("/role/role0", "localhost".to_owned(), String::new()))
    });
    rows.extend(door("container protocol", Duration::from_micros(300), || {
        let authorization = format!("Authorization: {token}\r\n");
        Asker::new(tcp(container), question("/role/role0", format!("127.0.0.1:{container}"), authorization))
    }));
    rows.extend(door("metadata look-alike", Duration::from_micros(300), || {
        let token = format!("X-aws-ec2-metadata-token: {metadata_token}\r\n");
        Asker::new(tcp(metadata), question(document, format!("127.0.0.1:{metadata}"), token))
    }));
    rows
}

/// A token of the look-alike.
fn metadata_token(mut stream: TcpStream, port: u16) -> String {
    let request = format!(
        "PUT /latest/api/token HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\
         X-aws-ec2-metadata-token-ttl-seconds: 21600\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("the door is open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the door answers");
    let (_, token) = answer.split_once("\r\n\r\n").expect("an answer has a body");
    token.trim().to_owned()
}

fn start(host: &Host, sink: &Sink, roles: usize) -> Daemon {
    let mut daemon = host.start(sink);
    daemon.wait_until_ready();
    wait_until_fresh(host, roles);
    daemon
}

/// `imds-agent credentials`, from its start to its end.
pub(crate) fn command() -> Vec<Row> {
    let host = with_roles(1, "");
    let sink = Sink::start(Duration::ZERO);
    let _daemon = start(&host, &sink, 1);
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let mut command = Command::new(BINARY);
            command.args(["credentials", "--role", "role0"]).env_clear();
            command.env("IMDS_AGENT_RUNTIME_DIR", host.path("run")).stdout(Stdio::null());
            let begun = Instant::now();
            let status = command.status().expect("the release binary can be started");
            assert!(status.success(), "{status}");
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    let (median, most) = (times[RUNS / 2].as_secs_f64() * 1e3, times[RUNS - 1].as_secs_f64() * 1e3);
    vec![Row {
        what: "imds-agent credentials, process".into(),
        measured: format!("{median:.1} ms median, {most:.1} ms at most"),
        goal: "<= 5 ms",
        met: median <= 5.0,
        others: "aws --version 360 ms",
    }]
}

/// Many callers before there is anything to hand out: how often STS is asked.
pub(crate) fn first_requests() -> Vec<Row> {
    let host = with_roles(FIRST_ROLES, "");
    let sink = Sink::start(Duration::ZERO);
    let mut daemon = host.start(&sink);
    daemon.wait_until_ready();
    let socket = host.path("run/credentials.sock");
    let ask = |caller: usize, socket: &Path| {
        let path = format!("/role/role{}?wait=60", caller % FIRST_ROLES);
        let question = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let begun = Instant::now();
        loop {
            let stream = UnixStream::connect(socket).expect("the door is open");
            if Asker::new(stream, question.clone()).try_ask().is_some() {
                return begun.elapsed();
            }
            // One user's connections are bounded, and those beyond are closed without a word.
            std::thread::sleep(LOOK_EVERY);
        }
    };
    let slowest = std::thread::scope(|scope| {
        let socket = &socket;
        let callers: Vec<_> = (0..FIRST).map(|caller| scope.spawn(move || ask(caller, socket))).collect();
        callers.into_iter().map(|caller| caller.join().expect("every caller is answered")).max()
    });
    let asked = sink.tally().assumed;
    vec![Row {
        what: format!("AssumeRole for {FIRST} first callers").into(),
        measured: format!("{asked} for {FIRST_ROLES} roles, slowest {} ms", slowest.unwrap_or_default().as_millis()),
        goal: "1 per role",
        met: asked == FIRST_ROLES as u64,
        others: "",
    }]
}

/// What roles cost in memory.
pub(crate) fn many_roles() -> Vec<Row> {
    let [few, many] = [1, MANY].map(|count| {
        let (host, sink) = (with_roles(count, ""), Sink::start(Duration::ZERO));
        let daemon = start(&host, &sink, count);
        memory_mib(daemon.pid(), "VmRSS")
    });
    let measured = format!("{many:.1} MiB, with one {few:.1} MiB");
    vec![Row { what: format!("{MANY} roles: RSS").into(), measured, goal: "", met: true, others: "" }]
}

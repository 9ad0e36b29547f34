//! What is written to sockets, and by `logs send`, arrives: whoever is killed meanwhile, and whatever does not take it.
//! Who may not write is told so. Not the spool's own logic: that has unit tests.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{
    Agent, Effect, Emulator, Fates, Fault, Host, SOON, Writer, fates, look_until, numbered, set_mode,
};

/// A user that no rule of these tests names.
const STRANGER: u32 = 65_534;

/// A delivered segment is completed after 5 s of quiet.
const EMPTIED: Duration = Duration::from_secs(30);

/// A host whose agent has these sockets, all of them for who runs the tests.
fn host(more: &str) -> (Host, Emulator) {
    let emulator = Emulator::start();
    let host = Host::new(&emulator.url());
    host.configure(&sockets(more));
    (host, emulator)
}

fn sockets(more: &str) -> String {
    let uid = rustix::process::geteuid().as_raw();
    let table = |keys: &str| format!("[[logs.socket]]\nallow = [{{ user = \"{uid}\" }}]\n{keys}\n");
    [
        "[logs]\nlog_group = \"/test/app\"\nflush_interval = \"250ms\"\n".to_owned() + more,
        table("path = \"app.sock\"\nlog_stream = \"app\""),
        table("path = \"sys.sock\"\nsyntax = \"rfc3164\"\nlog_stream = \"sys\""),
        table("path = \"dev.sock\"\ntype = \"datagram\"\nsyntax = \"rfc5424\"\nlog_stream = \"dev\""),
    ]
    .join("\n")
}

fn connect(host: &Host, name: &str) -> UnixStream {
    UnixStream::connect(host.path("run").join(name)).expect("the agent listens")
}

/// `logs send` of these lines.
fn send(host: &Host, arguments: &[&str], lines: &[String]) -> Child {
    let mut command = host.command(&["logs", "send"]);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    feed(&mut command, lines)
}

fn feed(command: &mut Command, lines: &[String]) -> Child {
    let mut child = command.spawn().expect("the binary can be started");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    let text = lines.iter().flat_map(|line| [line, "\n"]).collect::<String>();
    // It ends with the command, which may not want all of it.
    std::thread::spawn(move || drop(stdin.write_all(text.as_bytes())));
    child
}

fn end_of(child: Child) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = child.wait_with_output().expect("a pipe can be read");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

fn arrived(emulator: &Emulator, stream: &str, count: usize) -> Vec<String> {
    let all = || Some(emulator.lines("/test/app", stream)).filter(|lines| lines.len() >= count);
    look_until(SOON, all).unwrap_or_else(|_| panic!("{} of {count} arrived", emulator.lines("/test/app", stream).len()))
}

/// CloudWatch takes nothing.
fn unavailable() -> Fault {
    let (code, message) = ("ServiceUnavailableException".to_owned(), String::new());
    Fault::on("logs:PutLogEvents", Effect::Error { status: 503, code, message })
}

fn wait_for_empty_spool(agent: &Agent) {
    let report = agent.wait_within(EMPTIED, "the spool is empty", |report| report.at("/logs/spool/bytes") == 0);
    report.assert_ledger_adds_up();
}

/// A file that grows all the time.
const BUSY_FILE: &str = "[[logs.file]]\ninclude = [\"LOG\"]\nlog_stream = \"busy\"\n";

#[test]
fn a_file_that_grows_all_the_time_does_not_keep_sockets_waiting() {
    let (host, emulator) = host("");
    let busy = BUSY_FILE.replace("LOG", &host.log("busy.log").display().to_string());
    host.configure(&format!("{}\n{busy}", sockets("")));
    let agent = host.start();
    // Twelve seconds of lines, each sooner than the agent listens again.
    let writer = Writer::start(host.log("busy.log"), numbered(0, 1_200, 50), 1, Duration::from_millis(10));
    for round in 1..=5 {
        let lines = numbered(round * 10, 10, 50);
        assert_eq!(end_of(send(&host, &["--log-group", "/test/app"], &lines)).0, Some(0));
        arrived(&emulator, "app", round * 10);
    }
    assert!(writer.is_writing(), "they did not wait for the file to end");
    writer.finish();
    drop(agent);
}

#[test]
fn lines_and_syslog_of_all_kinds_arrive_and_the_spool_is_empty_afterwards() {
    let (host, emulator) = host("");
    let agent = host.start();
    let mut app = connect(&host, "app.sock");
    app.write_all(b"one\ntwo\r\n\nhalf a line").expect("the agent reads");
    drop(app);
    let mut sys = connect(&host, "sys.sock");
    sys.write_all(b"<13>app: by its end\n22 <13>app: by\nits length<13>app: next").expect("it reads");
    drop(sys);
    let dev = UnixDatagram::unbound().expect("a socket");
    let text = "<13>1 - h app - - - datagram";
    dev.send_to(text.as_bytes(), host.path("run/dev.sock")).expect("the agent receives");
    assert_eq!(arrived(&emulator, "app", 3), ["one", "two", "half a line"]);
    let expected = ["<13>app: by its end", "<13>app: by\nits length", "<13>app: next"];
    assert_eq!(arrived(&emulator, "sys", 3), expected);
    assert_eq!(arrived(&emulator, "dev", 1), [text]);
    let report = agent.wait_until_delivered(7);
    let source = report.source("app.sock").expect("the socket is a source");
    assert_eq!((&source["kind"], &source["ledger"]["events"]["dropped"]["empty"]), (&"socket".into(), &1.into()));
    assert_eq!(report.events().read, 8);
    wait_for_empty_spool(&agent);
}

#[test]
fn syslogs_own_time_is_the_events() {
    let (host, emulator) = host("");
    let _agent = host.start();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let at = i64::try_from(now.as_millis()).expect("a time") / 1000 * 1000 - 3_600_000;
    let time = jiff::Timestamp::from_millisecond(at).expect("a time");
    let dev = UnixDatagram::unbound().expect("a socket");
    dev.send_to(format!("<13>1 {time} h app - - - x").as_bytes(), host.path("run/dev.sock")).expect("it receives");
    arrived(&emulator, "dev", 1);
    assert_eq!(emulator.events("/test/app", "dev")[0].0, at);
}

#[test]
fn logs_send_loses_nothing_when_the_agent_is_killed_meanwhile() {
    let (host, emulator) = host("");
    emulator.set_put_latency(Duration::from_millis(20));
    let lines = numbered(0, 40_000, 100);
    let mut agent = host.start();
    let sending = send(&host, &["--log-group", "/test/app", "--log-stream", "sent"], &lines);
    for _ in 0..3 {
        agent.wait_until("something was received", |report| report.at("/logs/spool/bytes").as_u64() > Some(0));
        agent.kill();
        agent = host.start();
    }
    let (code, said) = end_of(sending);
    assert_eq!(code, Some(0), "{said}");
    arrived(&emulator, "sent", lines.len());
    wait_for_empty_spool(&agent);
    let fates = fates(&emulator.lines("/test/app", "sent"), &lines);
    assert_eq!((fates.lost, fates.strange), (0, 0), "{fates:?}");
    // What was durable and not yet acknowledged, and what was on its way to CloudWatch.
    let most = 3 * 8 * emulator.largest_put("/test/app", "sent") + 3 * (4 << 20) / 100;
    assert!(fates.again <= most, "{} arrived again, {most} may", fates.again);
}

#[test]
fn logs_send_ends_only_when_all_is_durable_and_it_survives_a_kill_then() {
    let (host, emulator) = host("");
    emulator.set_fault(unavailable());
    let lines = numbered(0, 1_000, 100);
    let agent = host.start();
    let (code, said) = end_of(send(&host, &["--log-group", "/test/app"], &lines));
    agent.kill();
    assert_eq!(code, Some(0), "{said}");
    emulator.clear_faults();
    let _agent = host.start();
    assert_eq!(fates(&arrived(&emulator, "app", lines.len()), &lines), Fates::default());
}

#[test]
fn who_may_not_is_told_why_and_what_cures_it() {
    let (host, _emulator) = host("");
    let line = ["x".to_owned()];
    let (code, said) = end_of(send(&host, &["--log-group", "/test/app"], &line));
    assert_eq!(code, Some(69), "{said}");
    let agent = host.start();
    let (code, said) = end_of(send(&host, &["--log-group", "/other"], &line));
    assert!(code == Some(77) && said.contains("declares the log group '/other'") && said.contains("→ add"), "{said}");
    if rustix::process::geteuid().is_root() {
        stranger_is_refused(&host, &line);
    }
    host.configure("");
    agent.signal(Signal::HUP);
    look_until(SOON, || (!host.path("run/logs.sock").exists()).then_some(())).expect("nothing is declared any more");
    let (code, said) = end_of(send(&host, &["--log-group", "/test/app"], &line));
    assert!(code == Some(77) && said.contains("has no [[logs.socket]]"), "{said}");
}

fn stranger_is_refused(host: &Host, line: &[String]) {
    let mut command = stranger(host, &["logs", "send", "--log-group", "/test/app"]);
    let (code, said) = end_of(feed(command.stderr(Stdio::piped()), line));
    assert!(code == Some(77) && said.contains("user 65534 may not send"), "{said}");
}

/// The binary, from a copy that a stranger can reach, as a stranger.
fn stranger(host: &Host, arguments: &[&str]) -> Command {
    let copy = host.path("copy");
    if !copy.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_imds-agent"), &copy).expect("the binary can be copied");
        set_mode(&host.path(""), 0o755);
    }
    let known = host.command(arguments);
    let mut command = Command::new(copy);
    command.args(arguments).env_clear();
    command.envs(known.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.uid(STRANGER).gid(STRANGER).stdin(Stdio::piped());
    command
}

#[test]
fn a_full_spool_holds_senders_up_and_loses_nothing_of_streams() {
    let (host, emulator) = host("spool_limit = \"16MiB\"\n");
    emulator.set_fault(unavailable());
    let lines = numbered(0, 12_000, 1_000);
    let agent = host.start();
    let sending = send(&host, &["--log-group", "/test/app"], &lines);
    agent.wait_until("the share is used up", |report| {
        report.list("/warnings").iter().any(|warning| warning["code"] == "spool_full")
    });
    let report = agent.report();
    let (used, limit) = (report.at("/logs/spool/bytes").as_u64(), report.at("/logs/spool/limit_bytes").as_u64());
    assert!(used <= limit.map(|limit| limit / 2), "one user holds half at most: {used:?} of {limit:?}");
    let dev = UnixDatagram::unbound().expect("a socket");
    // More than what is left of the share when no further piece of the lines finds room in it.
    let large = format!("<13>{}", "x".repeat(60_000));
    dev.send_to(large.as_bytes(), host.path("run/dev.sock")).expect("the agent receives");
    agent.wait_until("the datagram is counted", |report| report.dropped("spool_full") == 1);
    emulator.clear_faults();
    let gap = arrived(&emulator, "dev", 1).remove(0);
    assert!(
        gap.starts_with("[imds-agent: gap: 1 event, ") && gap.contains("dev.sock dropped (spool_full), 20"),
        "{gap}"
    );
    let (code, said) = end_of(sending);
    assert!(code == Some(0) && said.contains("holds its share of the spool"), "{said}");
    assert_eq!(fates(&arrived(&emulator, "app", lines.len()), &lines).lost, 0);
    wait_for_empty_spool(&agent);
}

/// The agent killed with two segments in its spool, `first` and `second`, of fifty lines each: their files.
fn killed_with_two_segments(host: &Host, lines: &[String]) -> Vec<PathBuf> {
    let agent = host.start();
    for (stream, lines) in [("first", &lines[..50]), ("second", &lines[50..])] {
        let (code, said) = end_of(send(host, &["--log-group", "/test/app", "--log-stream", stream], lines));
        assert_eq!(code, Some(0), "{said}");
    }
    agent.kill();
    let mut segments: Vec<_> = std::fs::read_dir(host.path("state/spool"))
        .expect("the spool")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "segment"))
        .collect();
    segments.sort();
    segments
}

fn assert_damage_is_said(host: &Host, agent: &Agent, places: u64) {
    assert_damage_is_said_of("app.sock", host, agent, places);
}

fn assert_damage_is_said_of(source: &str, host: &Host, agent: &Agent, places: u64) {
    let report = agent.wait_until("it is said", |report| {
        let says_so = |warning: &&Value| warning["code"] == "spool_damaged";
        let warning = report.list("/warnings").iter().find(says_so);
        warning.is_some_and(|warning| {
            warning["message"].as_str().is_some_and(|text| text.contains(&format!("in {places} places")))
        })
    });
    let dropped = report.source(source).map(|source| source["ledger"]["events"]["dropped"]["gap"].as_u64());
    assert_eq!(dropped, Some(Some(places)), "{report}");
    let kept = std::fs::read_dir(host.path("state/spool/quarantine")).expect("kept");
    assert_eq!(kept.count() as u64, places);
    let quarantined = report.at("/logs/spool/quarantined_bytes").clone();
    assert!(quarantined.as_u64() > Some(0), "{report}");
    let report = agent.wait_within(EMPTIED, "only what was put away is left", |report| {
        report.at("/logs/spool/bytes") == &quarantined
    });
    report.assert_ledger_adds_up();
}

fn without_gaps(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().filter(|line| !line.starts_with("[imds-agent: gap: ")).collect()
}

#[test]
fn a_torn_end_is_put_away_and_everything_else_arrives() {
    let (host, emulator) = host("");
    emulator.set_fault(unavailable());
    let lines = numbered(0, 100, 100);
    let segments = killed_with_two_segments(&host, &lines);
    let content = std::fs::read(&segments[0]).expect("a segment");
    std::fs::write(&segments[0], &content[..content.len() - 30]).expect("it can be cut");
    emulator.clear_faults();
    let agent = host.start();
    let first = arrived(&emulator, "first", 50);
    assert!(first[49].starts_with("[imds-agent: gap: "), "the stream itself says so: {}", first[49]);
    assert_eq!(without_gaps(first), lines[..49]);
    assert_eq!(arrived(&emulator, "second", 50), lines[50..]);
    assert_damage_is_said(&host, &agent, 1);
}

#[test]
fn a_segment_that_lost_its_header_is_put_away_whole_and_counted_and_everything_else_arrives() {
    let (host, emulator) = host("");
    emulator.set_fault(unavailable());
    let lines = numbered(0, 100, 100);
    let segments = killed_with_two_segments(&host, &lines);
    let mut content = std::fs::read(&segments[0]).expect("a segment");
    content[..512].fill(0);
    std::fs::write(&segments[0], content).expect("it can be damaged");
    emulator.clear_faults();
    let agent = host.start();
    assert_eq!(arrived(&emulator, "second", 50), lines[50..]);
    assert_damage_is_said_of("unknown", &host, &agent, 1);
    agent.kill();
    let report = host.start().wait_until("the account is there", |report| report.source("unknown").is_some());
    assert_eq!(report.dropped("gap"), 1, "what was put away is counted once: {report}");
}

#[test]
fn damage_in_the_middle_costs_the_records_that_stand_there_and_no_others() {
    let (host, emulator) = host("");
    emulator.set_fault(unavailable());
    let lines = numbered(0, 100, 100);
    let segments = killed_with_two_segments(&host, &lines);
    let mut content = std::fs::read(&segments[0]).expect("a segment");
    // A flipped bit in the tenth line's text, and zeros from the middle of the twentieth into the twenty-second.
    let place = |content: &[u8], line: &str| {
        content.windows(line.len()).position(|bytes| bytes == line.as_bytes()).expect("it stands there")
    };
    let (flipped, zeros) = (place(&content, &lines[9]), place(&content, &lines[19]));
    content[flipped + 50] ^= 1;
    content[zeros + 50..zeros + 250].fill(0);
    std::fs::write(&segments[0], &content).expect("it can be written");
    emulator.clear_faults();
    let agent = host.start();
    let expected: Vec<String> = [&lines[..9], &lines[10..19], &lines[22..50]].concat();
    look_until(SOON, || (without_gaps(emulator.lines("/test/app", "first")) == expected).then_some(()))
        .unwrap_or_else(|_| panic!("{:#?}", emulator.lines("/test/app", "first")));
    assert_eq!(arrived(&emulator, "second", 50), lines[50..]);
    assert_damage_is_said(&host, &agent, 2);
    let said = |line: &String| line.contains("gap: 2 events") && line.contains("app.sock dropped (gap)");
    look_until(SOON, || emulator.lines("/test/app", "first").iter().any(said).then_some(()))
        .expect("the stream says so");
    assert!(agent.said().contains("a place in a segment of the spool is damaged"), "{}", agent.said());
}

#[test]
fn a_reload_breaks_no_connection_and_opens_and_closes_sockets() {
    let (host, emulator) = host("");
    let agent = host.start();
    let mut app = connect(&host, "app.sock");
    app.write_all(b"before\n").expect("the agent reads");
    arrived(&emulator, "app", 1);
    let uid = rustix::process::geteuid().as_raw();
    let allow = format!("allow = [{{ user = \"{uid}\" }}]");
    host.configure(&format!(
        "[logs]\nlog_group = \"/test/app\"\nlog_stream = \"other\"\nflush_interval = \"250ms\"\n\
         [[logs.socket]]\npath = \"app.sock\"\n{allow}\n[[logs.socket]]\npath = \"new.sock\"\n{allow}\n"
    ));
    agent.signal(Signal::HUP);
    look_until(SOON, || (!host.path("run/sys.sock").exists()).then_some(())).expect("the reload is applied");
    app.write_all(b"after\n").expect("the connection lives");
    connect(&host, "new.sock").write_all(b"new\n").expect("the agent reads");
    assert_eq!(arrived(&emulator, "other", 2).len(), 2);
    // Who is not allowed any more is let go.
    host.configure("[logs]\nlog_group = \"/test/app\"\n[[logs.socket]]\npath = \"app.sock\"\nallow = [{ user = \"4000000000\" }]\n");
    agent.signal(Signal::HUP);
    look_until(SOON, || (!host.path("run/new.sock").exists()).then_some(())).expect("the reload is over");
    let _ = app.write_all(b"no more\n");
    assert_eq!(app.read(&mut [0; 1]).expect("the agent closes it"), 0);
}

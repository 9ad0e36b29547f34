//! What an agent costs that has nothing to do, and how soon it does something when there is.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::daemon::{Daemon, Host};
use crate::machine::{cpu, memory_mib};
use crate::sink::Sink;
use crate::table::Row;

/// Until everything that happens once after a start has happened.
const SETTLE: Duration = Duration::from_secs(15);

/// CPU times are counted in hundredths of a second: over a minute that is 0.017 %.
const WATCH: Duration = Duration::from_mins(1);

/// New lines that are timed.
const SAMPLES: usize = 20;

/// A refresh asks for the role's name and its credentials.
const REQUESTS_PER_REFRESH: f64 = 2.0;

fn settled(files: usize) -> (Host, Sink, Daemon) {
    let host = Host::new();
    let sink = Sink::start(Duration::ZERO);
    host.write("app.log", 0, 10);
    for file in 1..files {
        host.write(&format!("{file:04}.log"), file * 10, 10);
    }
    let mut daemon = host.start(&sink);
    daemon.wait_until_shipped(&sink, files as u64 * 10);
    std::thread::sleep(SETTLE);
    (host, sink, daemon)
}

/// Memory, CPU and metadata requests at rest.
pub(crate) fn idle() -> Vec<Row> {
    let (host, sink, daemon) = settled(1);
    let (cpu_before, requests_before) = (cpu(daemon.pid()), sink.tally().imds_requests);
    std::thread::sleep(WATCH);
    let percent = cpu(daemon.pid()).saturating_sub(cpu_before).as_secs_f64() * 100.0 / WATCH.as_secs_f64();
    let requests = sink.tally().imds_requests - requests_before;
    let mib = memory_mib(daemon.pid(), "VmRSS");
    let until_refresh = until_next_refresh(&host);
    #[expect(clippy::cast_precision_loss, reason = "a handful of requests")]
    let an_hour = requests as f64 * 3600.0 / WATCH.as_secs_f64() + REQUESTS_PER_REFRESH / until_refresh;
    let others = "Fluent Bit 14 MiB, 0.03 %; Vector 45 MiB, 0.1 %";
    vec![
        Row {
            what: "idle, one file: RSS".into(),
            measured: format!("{mib:.1} MiB"),
            goal: "<= 10 MiB",
            met: mib <= 10.0,
            others,
        },
        Row {
            what: "  CPU".into(),
            measured: format!("{percent:.3} %"),
            goal: "<= 0.05 %",
            met: percent <= 0.05,
            others,
        },
        Row {
            what: "  IMDS requests an hour".into(),
            measured: format!("{an_hour:.1} ({requests} in a minute, refresh in {:.0} min)", until_refresh * 60.0),
            goal: "<= 3",
            met: an_hour <= 3.0,
            others: "",
        },
    ]
}

/// The same with a thousand files, none of which grows.
pub(crate) fn idle_with_many_files() -> Vec<Row> {
    let (_host, _sink, daemon) = settled(1_000);
    let before = cpu(daemon.pid());
    std::thread::sleep(WATCH);
    let percent = cpu(daemon.pid()).saturating_sub(before).as_secs_f64() * 100.0 / WATCH.as_secs_f64();
    let mib = memory_mib(daemon.pid(), "VmRSS");
    let measured = format!("{mib:.1} MiB, {percent:.3} %");
    vec![Row { what: "idle, 1,000 files: RSS, CPU".into(), measured, goal: "", met: true, others: "" }]
}

/// Hours, as the report says.
fn until_next_refresh(host: &Host) -> f64 {
    let mut text = String::new();
    let mut socket = UnixStream::connect(host.path("run/status.sock")).expect("a running agent has a status socket");
    socket.read_to_string(&mut text).expect("the agent reports");
    let report: Value = serde_json::from_str(&text).expect("the report is JSON");
    let next = report["credentials"][0]["next_refresh"].as_str().expect("a refresh is planned");
    let next: jiff::Timestamp = next.parse().expect("times are RFC 3339");
    next.duration_since(jiff::Timestamp::now()).as_secs_f64() / 3600.0
}

/// How soon a new line on an idle stream is at the sink.
pub(crate) fn latency() -> Vec<Row> {
    let (host, sink, mut daemon) = settled(1);
    let mut samples: Vec<u64> = (0..SAMPLES)
        .map(|sample| {
            // Until the stream counts as idle again.
            std::thread::sleep(Duration::from_secs(2));
            let written = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is past 1970");
            host.write("app.log", 10 + sample, 1);
            daemon.wait_until_shipped(&sink, 11 + sample as u64);
            let written = u64::try_from(written.as_micros()).expect("microseconds fit for a while");
            sink.tally().last_put_at.saturating_sub(written) / 1_000
        })
        .collect();
    samples.sort_unstable();
    let (median, most) = (samples[SAMPLES / 2], samples[SAMPLES - 1]);
    vec![Row {
        what: "a new line on an idle stream".into(),
        measured: format!("{median} ms median, {most} ms at most"),
        goal: "<= 300 ms",
        met: most <= 300,
        others: "Fluent Bit 0.4 s, Vector 2 s, AWS's agent 5 s",
    }]
}

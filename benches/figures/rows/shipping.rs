//! How much CPU, memory and time shipping takes. Not what arrives: the tests hold that; here it is only counted.

use std::borrow::Cow;
use std::time::Duration;

use crate::daemon::{Host, LINE};
use crate::machine::{cpu, memory_mib, yardstick};
use crate::sink::Sink;
use crate::table::Row;

/// The design's file: 200 MB in lines of 200 bytes.
const LINES: usize = 200_000_000 / LINE;

/// What shipping once took.
pub(super) struct Cost {
    pub(super) cpu: Duration,
    pub(super) wall: Duration,
    pub(super) peak_mib: f64,
    twice: u64,
}

/// Ships what `host` has, and waits for so many lines.
pub(super) fn ship(host: &Host, lines: usize, delay: Duration) -> Cost {
    let sink = Sink::start(delay);
    let mut daemon = host.start(&sink);
    let wall = daemon.wait_until_shipped(&sink, lines as u64);
    Cost { cpu: cpu(daemon.pid()), wall, peak_mib: memory_mib(daemon.pid(), "VmHWM"), twice: sink.tally().twice() }
}

pub(super) fn ratio(cost: &Cost, yardstick: Duration) -> f64 {
    cost.cpu.as_secs_f64() / yardstick.as_secs_f64()
}

pub(super) fn cpu_row(
    what: impl Into<Cow<'static, str>>,
    cost: &Cost,
    yardstick: Duration,
    goal: &'static str,
    most: f64,
    others: &'static str,
) -> Row {
    let ratio = ratio(cost, yardstick);
    let (cpu, sha) = (cost.cpu.as_secs_f64(), yardstick.as_secs_f64());
    let measured = format!("{ratio:.2} x sha256 ({cpu:.2} s / {sha:.3} s), {} twice", cost.twice);
    Row { what: what.into(), measured, goal, met: ratio <= most && cost.twice == 0, others }
}

pub(super) fn memory_row(
    what: impl Into<Cow<'static, str>>,
    cost: &Cost,
    goal: &'static str,
    most: f64,
    others: &'static str,
) -> Row {
    Row { what: what.into(), measured: format!("{:.1} MiB", cost.peak_mib), goal, met: cost.peak_mib <= most, others }
}

/// One file of 200 MB.
pub(crate) fn one_file() -> Vec<Row> {
    let host = Host::new();
    host.write("app.log", 0, LINES);
    let yardstick = yardstick(&host.logs());
    let cost = ship(&host, LINES, Duration::ZERO);
    vec![
        cpu_row("one 200 MB file: CPU", &cost, yardstick, "<= 2.5 x", 2.5, "Fluent Bit 8 x, Vector 41 x"),
        memory_row("  peak RSS", &cost, "<= 24 MiB", 24.0, "Fluent Bit 60-240 MiB, Vector 80-300 MiB"),
    ]
}

/// A thousand files of a thousand lines, to a thousand streams.
pub(crate) fn a_thousand_files() -> Vec<Row> {
    let host = Host::new();
    for file in 0..1_000 {
        host.write(&format!("{file:04}.log"), file * 1_000, 1_000);
    }
    let yardstick = yardstick(&host.logs());
    let cost = ship(&host, 1_000_000, Duration::ZERO);
    vec![
        cpu_row(
            "1,000 files x 1,000 lines: CPU",
            &cost,
            yardstick,
            "<= 6 x",
            6.0,
            "Fluent Bit 25-36 x, Vector 52-95 x",
        ),
        memory_row("  peak RSS", &cost, "<= 40 MiB", 40.0, "Fluent Bit 170-690 MiB, Vector 200-730 MiB"),
    ]
}

/// The single file, when each put takes 30 ms.
pub(crate) fn slow_puts() -> Vec<Row> {
    let host = Host::new();
    host.write("app.log", 0, LINES);
    let fast = ship(&host, LINES, Duration::ZERO).wall.as_secs_f64();
    std::fs::remove_dir_all(host.path("state")).expect("our own directory");
    std::fs::create_dir(host.path("state")).expect("our own directory");
    let slow = ship(&host, LINES, Duration::from_millis(30)).wall.as_secs_f64();
    let ratio = slow / fast;
    vec![Row {
        what: "the same at 30 ms a put: wall".into(),
        measured: format!("{ratio:.2} x ({slow:.2} s / {fast:.2} s)"),
        goal: "<= 2 x at 0 ms",
        met: ratio <= 2.0,
        others: "Fluent Bit 1.0 x, Vector 1.7 x",
    }]
}

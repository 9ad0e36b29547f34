//! How cost grows: with the backlog, the number of files, the length of lines, and with what is done to each line. Not
//! the design's own rows: those have goals, most of these are there to be compared with each other.

use std::time::Duration;

use super::shipping::{Cost, cpu_row, memory_row, ratio, ship};
use crate::daemon::{Host, LINE};
use crate::machine::yardstick;
use crate::table::Row;

/// The same bytes for every row that is compared: 100 MB.
const BYTES: usize = 100_000_000;

const FILES: [usize; 5] = [1, 10, 100, 1_000, 10_000];

const LENGTHS: [(usize, &str); 3] = [(1_000, "1 KB"), (10_000, "10 KB"), (200_000, "200 KB")];

/// What may be done to each line, and the keys for it.
const WORK: [(&str, &str); 4] = [
    ("nothing", ""),
    ("redact", "redact = [{ regex = 'password=\\S+', replace = \"password=***\" }]"),
    ("multi-line", "multiline.start = '^line \\d'"),
    (
        "a time read",
        "timestamp = { regex = '^line \\d+ (\\S+)', format = \"%Y-%m-%dT%H:%M:%S%.fZ\", timezone = \"UTC\" }",
    ),
];

fn row(what: String, cost: &Cost, sha: Duration) -> Row {
    let measured =
        format!("{:.2} x sha256, {:.1} s, {:.1} MiB", ratio(cost, sha), cost.wall.as_secs_f64(), cost.peak_mib);
    Row { what: what.into(), measured, goal: "", met: true, others: "" }
}

/// The same lines in more and more files, each to a stream of its own.
pub(crate) fn files() -> Vec<Row> {
    FILES
        .map(|files| {
            let (host, lines) = (Host::new(), BYTES / LINE / files);
            for file in 0..files {
                host.write(&format!("{file:05}.log"), file * lines, lines);
            }
            let sha = yardstick(&host.logs());
            row(format!("100 MB in {files} files"), &ship(&host, lines * files, Duration::ZERO), sha)
        })
        .into()
}

/// The same bytes in longer and longer lines.
pub(crate) fn lengths() -> Vec<Row> {
    LENGTHS
        .map(|(length, name)| {
            let (host, lines) = (Host::new(), BYTES / length);
            host.write_long("app.log", 0, lines, length);
            let sha = yardstick(&host.logs());
            row(format!("100 MB in lines of {name}"), &ship(&host, lines, Duration::ZERO), sha)
        })
        .into()
}

/// The same lines, with more and more done to each.
pub(crate) fn work() -> Vec<Row> {
    WORK.map(|(name, keys)| {
        let (host, lines) = (Host::with(keys), BYTES / LINE);
        host.write("app.log", 0, lines);
        let sha = yardstick(&host.logs());
        row(format!("100 MB, {name} done to lines"), &ship(&host, lines, Duration::ZERO), sha)
    })
    .into()
}

/// Two gigabytes to catch up with: what is held does not grow with what waits.
pub(crate) fn backlog() -> Vec<Row> {
    catch_up(2)
}

/// Ten of them, for who has the room and the time.
pub(crate) fn large_backlog() -> Vec<Row> {
    catch_up(10)
}

fn catch_up(gigabytes: usize) -> Vec<Row> {
    // By default a first look reads no more than the last gigabyte.
    let (host, lines) = (Host::with("backfill_limit = \"100GiB\""), gigabytes * 1_000_000_000 / LINE);
    host.write("app.log", 0, lines);
    let sha = yardstick(&host.logs());
    let cost = ship(&host, lines, Duration::ZERO);
    vec![
        cpu_row(format!("catch-up of {gigabytes} GB: CPU"), &cost, sha, "<= 2.5 x", 2.5, "Fluent Bit 8 x, Vector 41 x"),
        memory_row("  peak RSS", &cost, "<= 24 MiB", 24.0, ""),
    ]
}

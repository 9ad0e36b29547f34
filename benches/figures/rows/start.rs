//! How soon the agent is ready, and how big it is.

use std::time::Duration;

use crate::daemon::{BINARY, Host};
use crate::sink::Sink;
use crate::table::Row;

/// Starts that are timed; the median is shown.
const SAMPLES: usize = 11;

/// From the start of the process to `READY=1`.
pub(crate) fn start() -> Vec<Row> {
    let host = Host::new();
    let sink = Sink::start(Duration::ZERO);
    let mut samples: Vec<_> = (0..SAMPLES).map(|_| host.start(&sink).wait_until_ready()).collect();
    samples.sort_unstable();
    let (median, most) = (samples[SAMPLES / 2].as_secs_f64() * 1e3, samples[SAMPLES - 1].as_secs_f64() * 1e3);
    vec![Row {
        what: "start to READY=1".into(),
        measured: format!("{median:.1} ms median, {most:.1} ms at most"),
        goal: "<= 50 ms",
        met: median <= 50.0,
        others: "",
    }]
}

/// The stripped release binary.
pub(crate) fn size() -> Vec<Row> {
    let bytes = std::fs::metadata(BINARY).expect("the benchmark is built with the binary").len();
    #[expect(clippy::cast_precision_loss, reason = "a size of some millions, printed with one decimal")]
    let mib = bytes as f64 / f64::from(1 << 20);
    vec![Row {
        what: "release binary, stripped".into(),
        measured: format!("{mib:.1} MiB"),
        goal: "<= 12 MiB",
        met: mib <= 12.0,
        others: "",
    }]
}

//! How much shipping a journal takes, by the journalctl of this machine. Not what a file takes: an entry is some twenty
//! fields, written out and read again, where a line of a file is its bytes.

use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::daemon::Host;
use crate::journal;
use crate::machine::{cpu, cpu_of_children, memory_mib};
use crate::sink::Sink;
use crate::table::Row;

/// Enough for a figure with two digits: some seconds of CPU time, which is counted in hundredths.
const ENTRIES: u32 = 200_000;

/// What reads a journal, where the agent looks for it first.
const JOURNALCTL: &str = "/usr/bin/journalctl";

const WHAT: &str = "a journal of 200,000 entries: CPU";

/// A journal that is there when the agent starts, to one stream.
pub(crate) fn journal() -> Vec<Row> {
    let row = |what, measured| Row { what, measured, goal: "", met: true, others: "" };
    if !Path::new(JOURNALCTL).exists() {
        return vec![row(WHAT.into(), format!("not measured: there is no {JOURNALCTL}"))];
    }
    let host = Host::configured(|root| {
        format!(
            "[[logs.journal]]\ndirectory = \"{}\"\nlog_group = \"/figures\"\nlog_stream = \"journal\"\n\
             start_at = \"beginning\"\n",
            root.join("logs").display()
        )
    });
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is past 1970");
    journal::write(
        &host.logs().join("system.journal"),
        ENTRIES as usize,
        u64::try_from(now.as_micros()).expect("they fit"),
    );
    let sink = Sink::start(Duration::ZERO);
    let mut daemon = host.start(&sink);
    let wall = daemon.wait_until_shipped(&sink, ENTRIES.into()).as_secs_f64();
    let microseconds = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(ENTRIES);
    let (ours, journalctl) = (microseconds(cpu(daemon.pid())), microseconds(cpu_of_children(daemon.pid())));
    let speed = f64::from(ENTRIES) / wall;
    let twice = sink.tally().twice();
    vec![
        row(WHAT.into(), format!("{ours:.1} µs an entry, journalctl {journalctl:.1} µs, {twice} twice")),
        row("  entries a second".into(), format!("{speed:.0}")),
        row("  peak RSS".into(), format!("{:.1} MiB", memory_mib(daemon.pid(), "VmHWM"))),
    ]
}

//! The figures of the design, measured on the release binary and printed beside their goals. Not a test: nothing here
//! fails for being slow, and other people's figures are quoted, not measured.
//!
//! `cargo bench` measures all rows, `cargo bench -- shipping idle` some. What receives the logs is this program once
//! more, as `sink`, in a process of its own, so that its work is not counted as the agent's.

#![expect(clippy::print_stdout, reason = "a benchmark is there to print")]

mod daemon;
mod machine;
mod rows;
mod sink;
mod table;

use table::Row;

/// A row's name and what measures it; some measure several lines of the table.
type Measure = (&'static str, fn() -> Vec<Row>);

const ROWS: [Measure; 8] = [
    ("size", rows::start::size),
    ("start", rows::start::start),
    ("shipping", rows::shipping::one_file),
    ("files", rows::shipping::a_thousand_files),
    ("slow-puts", rows::shipping::slow_puts),
    ("sigkill", rows::sigkill::sigkill),
    ("latency", rows::idle::latency),
    ("idle", rows::idle::idle),
];

fn main() {
    // `cargo bench` adds `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let [name, delay] = wanted.as_slice()
        && name == sink::COMMAND
    {
        sink::serve(delay.parse().expect("a delay in milliseconds"));
    }
    if let Some(unknown) = wanted.iter().find(|name| !ROWS.iter().any(|(known, _)| known == name)) {
        let known: Vec<_> = ROWS.iter().map(|(name, _)| *name).collect();
        println!("no row is called {unknown}; there are: {}", known.join(" "));
        std::process::exit(2);
    }
    table::print_head();
    for (name, measure) in ROWS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            measure().iter().for_each(table::print);
        }
    }
}

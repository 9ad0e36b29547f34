//! The figures of the design, measured on the release binary and printed beside their goals. Not a test: nothing here
//! fails for being slow, and other people's figures are quoted, not measured.
//!
//! `cargo bench` measures all rows, `cargo bench -- shipping idle` some. What receives the logs is this program once
//! more, as `sink`, in a process of its own, so that its work is not counted as the agent's.

#![expect(clippy::print_stdout, reason = "a benchmark is there to print")]

mod daemon;
mod journal;
mod machine;
mod rows;
mod sink;
mod table;

use table::Row;

/// A row's name and what measures it; some measure several lines of the table.
type Measure = (&'static str, fn() -> Vec<Row>);

const ROWS: [Measure; 18] = [
    ("size", rows::start::size),
    ("start", rows::start::start),
    ("shipping", rows::shipping::one_file),
    ("files", rows::shipping::a_thousand_files),
    ("slow-puts", rows::shipping::slow_puts),
    ("catch-up", rows::growth::backlog),
    ("growth-files", rows::growth::files),
    ("growth-lines", rows::growth::lengths),
    ("growth-work", rows::growth::work),
    ("journal", rows::journal::journal),
    ("sigkill", rows::sigkill::sigkill),
    ("latency", rows::idle::latency),
    ("doors", rows::credentials::doors),
    ("credentials", rows::credentials::command),
    ("first-requests", rows::credentials::first_requests),
    ("roles", rows::credentials::many_roles),
    ("idle", rows::idle::idle),
    ("idle-files", rows::idle::idle_with_many_files),
];

/// Measured only when asked for by name: it takes 10 GB of disk.
const LARGE: Measure = ("catch-up-10-gb", rows::growth::large_backlog);

fn main() {
    // `cargo bench` adds `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let [name, delay] = wanted.as_slice()
        && name == sink::COMMAND
    {
        sink::serve(delay.parse().expect("a delay in milliseconds"));
    }
    let known: Vec<&str> = ROWS.iter().chain([&LARGE]).map(|(name, _)| *name).collect();
    if let Some(unknown) = wanted.iter().find(|name| !known.contains(&name.as_str())) {
        println!("no row is called {unknown}; there are: {}", known.join(" "));
        std::process::exit(2);
    }
    table::print_head();
    for (name, measure) in ROWS.into_iter().chain([LARGE]) {
        if (wanted.is_empty() && name != LARGE.0) || wanted.iter().any(|wanted| wanted == name) {
            measure().iter().for_each(table::print);
        }
    }
}

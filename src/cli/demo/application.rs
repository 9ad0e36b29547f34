//! The invented application of a demo without files: it writes lines as a web shop might. Not a load test.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use super::Error;

/// How often it writes.
const BEAT: Duration = Duration::from_millis(50);

/// How many lines it writes at most each time: some 200 lines a second.
const LINES: usize = 20;

const LEVELS: [&str; 6] = ["INFO", "INFO", "INFO", "DEBUG", "WARN", "ERROR"];
const DEEDS: [&str; 6] = [
    "GET /api/products 200",
    "POST /api/orders 201",
    "GET /healthz 200",
    "cache miss for \"session\"",
    "payment provider answered slowly",
    "retrying connection to mysql://db:3306",
];

/// A running application.
pub(super) struct Application {
    path: PathBuf,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Application {
    /// Starts it, with its log in `directory`.
    pub(super) fn start(directory: &Path) -> Result<Self, Error> {
        let path = directory.join("shop.log");
        let made = OpenOptions::new().create(true).append(true).open(&path);
        let file = made.map_err(|source| Error::File { path: path.display().to_string(), source })?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(work(file, stop.clone()));
        Ok(Self { path, stop, task })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Ends it; its last line is complete.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        // It can't fail, and what it wrote is what counts.
        let _ = self.task.await;
    }
}

async fn work(mut file: File, stop: CancellationToken) {
    let mut beat = interval(BEAT);
    let mut request = 0_u64;
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = beat.tick() => {}
        }
        let mut lines = String::new();
        for _ in 0..fastrand::usize(1..=LINES) {
            request += 1;
            lines.push_str(&line(request));
        }
        if file.write_all(lines.as_bytes()).is_err() {
            return;
        }
    }
}

fn line(request: u64) -> String {
    let choose = |words: &[&'static str]| fastrand::choice(words.iter().copied()).unwrap_or_default();
    let (level, deed, took) = (choose(&LEVELS), choose(&DEEDS), fastrand::u32(1..400));
    format!("{:.3} {level:5} request={request} {deed} in {took} ms\n", Timestamp::now())
}

//! What ten SIGKILLs lose and repeat while lines are written.

use std::time::Duration;

use crate::daemon::Host;
use crate::sink::Sink;
use crate::table::Row;

/// The design's row: lines, kills, and the time of a put.
const LINES: usize = 300_000;
const KILLS: usize = 10;
const PUT: Duration = Duration::from_millis(20);

/// Each life is this long at most: ten of them are about as long as the writing.
const LIFE_MS: std::ops::Range<u64> = 200..2_500;

/// 300,000 lines in about fifteen seconds, in bursts as applications write.
const BURST: usize = 1_000;
const BETWEEN_BURSTS: Duration = Duration::from_millis(45);

/// Kills the agent at random moments while lines are written; the seed is fixed.
pub(crate) fn sigkill() -> Vec<Row> {
    let host = Host::new();
    let sink = Sink::start(PUT);
    let mut random = fastrand::Rng::with_seed(10);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for first in (0..LINES).step_by(BURST) {
                host.write("app.log", first, BURST);
                std::thread::sleep(BETWEEN_BURSTS);
            }
        });
        for _ in 0..KILLS {
            let daemon = host.start(&sink);
            std::thread::sleep(Duration::from_millis(random.u64(LIFE_MS)));
            drop(daemon);
        }
        writer.join().expect("the writer does not panic");
    });
    let mut daemon = host.start(&sink);
    daemon.wait_until_ready();
    let tally = wait_until_quiet(&sink);
    let lost = LINES as u64 - tally.distinct;
    #[expect(clippy::cast_precision_loss, reason = "a share of some thousands, printed with one decimal")]
    let twice = tally.twice() as f64 * 100.0 / LINES as f64;
    vec![Row {
        what: "10 SIGKILLs in 300,000 lines".into(),
        measured: format!("{lost} lost, {twice:.1} % twice"),
        goal: "0 lost, <= 10 % twice",
        met: lost == 0 && twice <= 10.0,
        others: "Fluent Bit 18-29 % lost or 7-25 % twice, Vector 27-77 % twice",
    }]
}

/// What has arrived once all has, or once nothing has come for longer than any retry: then the rest is lost.
fn wait_until_quiet(sink: &Sink) -> crate::sink::Tally {
    let longest_silence = Duration::from_secs(30);
    let look_every = Duration::from_millis(50);
    let mut last = sink.tally();
    let mut silent = Duration::ZERO;
    while last.distinct < LINES as u64 && silent < longest_silence {
        std::thread::sleep(look_every);
        let now = sink.tally();
        silent = if now.puts == last.puts { silent + look_every } else { Duration::ZERO };
        last = now;
    }
    last
}

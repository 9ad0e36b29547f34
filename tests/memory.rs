//! What a followed file costs in memory, counted at the allocator: "bookkeeping is at most 2 KiB a file". A program of its
//! own, so that nobody else's allocations are counted. Not what the process takes from the system: the benchmark shows that.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use imds_agent::clock::Clock;
use imds_agent::heartbeat::Heartbeat;
use imds_agent::logs::sink::{Accepted, Answer, Group, Sink};
use imds_agent::logs::{FileSettings, GroupSettings, LogShipper, Place, Settings, StartAt, Target};
use imds_agent::template::{Names, Template};
use peak_alloc::PeakAlloc;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// What the promise allows.
const MOST_PER_FILE: usize = 2048;

/// Enough that what does not grow with them disappears in it.
const FILES: usize = 3000;

/// Lines of one file.
const LINES: u64 = 3;

/// Far more than this takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// Takes everything and keeps nothing.
struct Nowhere;

impl Sink for Nowhere {
    fn put(&self, _: &str, _: &str, _: Bytes, _: bool) -> Answer<Accepted> {
        Box::pin(async { Ok(Accepted::default()) })
    }

    fn create_group(&self, _: &str, _: &GroupSettings) -> Answer<()> {
        Box::pin(async { Ok(()) })
    }

    fn create_stream(&self, _: &str, _: &str) -> Answer<()> {
        Box::pin(async { Ok(()) })
    }

    fn group(&self, _: &str) -> Answer<Option<Group>> {
        Box::pin(async { Ok(None) })
    }

    fn set_retention(&self, _: &str, _: u16) -> Answer<()> {
        Box::pin(async { Ok(()) })
    }
}

/// Ships every log below `root`, each to a stream of its own.
fn shipper(root: &Path) -> LogShipper {
    let template = |text| Template::parse(text, &[]).expect("a name");
    let target = Target::new(template("/aws/ec2/application"), template("i-0123456789abcdef0/{file_name}"));
    let include = vec![format!("{}/*.log", root.join("logs").display())];
    let table = FileSettings { start_at: StartAt::Beginning, ..FileSettings::new(include, target) };
    let settings = Settings { files: vec![table], ..Settings::default() };
    let names = watch::channel(Names::default()).1;
    LogShipper::new(settings, Place { state_dir: root.join("state") }, Arc::new(Nowhere), names, Clock::system())
}

fn write(root: &Path, files: std::ops::Range<usize>) {
    for file in files {
        let name = root.join(format!("logs/application-server-{file:05}.log"));
        std::fs::write(name, "a line\n".repeat(usize::try_from(LINES).expect("few"))).expect("a file");
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let bytes = || HEAP.current_usage();
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "not in {PATIENCE:?}: {what}; on the heap: {} bytes", bytes());
}

/// All is delivered, and nothing is held.
async fn until_settled(shipper: &LogShipper, files: usize) {
    let settled = || {
        let shown = shipper.snapshot();
        shown.ledger.events.delivered == files as u64 * LINES && shown.buffers_bytes == 0
    };
    until("everything is delivered", settled).await;
}

#[tokio::test]
async fn a_followed_file_costs_at_most_two_kibibytes() {
    // Not where TMPDIR says: the length of paths counts.
    let root = tempfile::tempdir_in("/tmp").expect("a directory");
    for directory in ["logs", "state"] {
        std::fs::create_dir(root.path().join(directory)).expect("a directory");
    }
    let shipper = shipper(root.path());
    let stop = CancellationToken::new();
    write(root.path(), 0..1);
    let running = tokio::spawn({
        let (shipper, stop) = (shipper.clone(), stop.clone());
        async move { shipper.run(stop, Duration::from_secs(5), Heartbeat::new()).await }
    });
    until_settled(&shipper, 1).await;
    let before = HEAP.current_usage();
    write(root.path(), 1..FILES + 1);
    until_settled(&shipper, FILES + 1).await;
    let most = before + FILES * MOST_PER_FILE;
    // A look around, say, takes more for a moment.
    until("no more than 2 KiB a file are left on the heap", || HEAP.current_usage() <= most).await;
    stop.cancel();
    running.await.expect("it does not panic");
}

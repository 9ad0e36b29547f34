//! The loop with a real engine, real files and a sink in memory.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::logs::sink::{Accepted, Answer, Group};
use crate::logs::source::read::PANICS;
use crate::logs::{FileSettings, GroupSettings, StartAt, Target};
use crate::template::Template;

/// Keeps what it is given; answers only while it is `open`.
#[derive(Clone, Default)]
struct Memory {
    messages: Arc<Mutex<Vec<String>>>,
    closed: Arc<AtomicBool>,
}

impl Memory {
    fn messages(&self) -> Vec<String> {
        self.messages.lock().expect("no panic while it was held").clone()
    }
}

impl Sink for Memory {
    fn put(&self, _: &str, _: &str, body: Bytes, _: bool) -> Answer<Accepted> {
        let memory = self.clone();
        Box::pin(async move {
            while memory.closed.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(1)).await;
            }
            let request: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            let events = request["logEvents"].as_array().expect("events");
            let texts = events.iter().map(|event| event["message"].as_str().expect("text").to_owned());
            memory.messages.lock().expect("no panic while it was held").extend(texts);
            Ok(Accepted::default())
        })
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

struct Host {
    root: TempDir,
    memory: Memory,
    shipper: LogShipper,
}

impl Host {
    fn new(text: &[u8]) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join("state")).expect("a directory");
        std::fs::write(root.path().join("a.log"), text).expect("a file");
        let template = Template::parse("x", &[]).expect("a name");
        let include = vec![format!("{}/*.log", root.path().display())];
        let table = FileSettings {
            start_at: StartAt::Beginning,
            ..FileSettings::new(include, Target::new(template.clone(), template))
        };
        let settings = Settings { files: vec![table], ..Settings::default() };
        let memory = Memory::default();
        let shipper = Self::shipper(settings, &root, &memory);
        Self { root, memory, shipper }
    }

    fn shipper(settings: Settings, root: &TempDir, memory: &Memory) -> LogShipper {
        let place = Place { state_dir: root.path().join("state") };
        let names = watch::channel(Names::default()).1;
        LogShipper::new(settings, place, Arc::new(memory.clone()), names, Clock::system())
    }

    fn run(&self, stop: &CancellationToken) -> JoinHandle<()> {
        let (shipper, stop) = (self.shipper.clone(), stop.clone());
        tokio::spawn(async move { shipper.run(stop, Duration::from_secs(5), Heartbeat::new()).await })
    }

    fn delivered(&self) -> u64 {
        self.shipper.snapshot().ledger.events.delivered
    }
}

async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(30), waiting).await.expect("it comes true in time");
}

#[tokio::test]
async fn a_record_that_makes_us_panic_twice_becomes_a_dead_letter_and_its_neighbours_are_delivered() {
    let text = [b"before\n", PANICS, b"\nafter\n"].concat();
    let host = Host::new(&text);
    for _ in 0..MOST_PANICS {
        let ended = host.run(&CancellationToken::new()).await;
        assert!(ended.expect_err("the run panics").is_panic());
    }
    let stop = CancellationToken::new();
    let run = host.run(&stop);
    until(|| host.delivered() == 2).await;
    assert_eq!(host.memory.messages(), ["before", "after"]);
    let ledger = host.shipper.snapshot().ledger;
    assert_eq!((ledger.events.read, ledger.events.dropped.get("invalid")), (3, Some(&1)));
    let letters = std::fs::read_to_string(host.root.path().join("state/dead-letters.jsonl")).expect("dead letters");
    assert!(letters.contains("this record makes us panic"), "{letters}");
    stop.cancel();
    run.await.expect("it ends in peace");
}

#[tokio::test]
async fn a_new_line_is_noticed_and_sent_soon() {
    let host = Host::new(b"one\n");
    let stop = CancellationToken::new();
    let run = host.run(&stop);
    until(|| host.delivered() == 1).await;
    let mut log = std::fs::OpenOptions::new().append(true).open(host.root.path().join("a.log")).expect("the log");
    std::io::Write::write_all(&mut log, b"two\n").expect("room for a line");
    // Far below the survey's interval and the flush interval: the kernel told.
    timeout(Duration::from_secs(4), until(|| host.memory.messages().len() == 2)).await.expect("soon");
    stop.cancel();
    run.await.expect("it ends in peace");
}

#[tokio::test]
async fn stopping_waits_for_what_is_on_its_way() {
    let host = Host::new(b"one\n");
    host.memory.closed.store(true, Ordering::Relaxed);
    let stop = CancellationToken::new();
    let run = host.run(&stop);
    until(|| host.shipper.snapshot().destinations.iter().any(|stream| stream.in_flight == 1)).await;
    stop.cancel();
    host.memory.closed.store(false, Ordering::Relaxed);
    run.await.expect("it ends in peace");
    assert_eq!((host.memory.messages().len(), host.delivered()), (1, 1));
}

#[tokio::test]
async fn a_change_shows_when_it_is_in_use_although_a_request_hangs_and_what_is_on_its_way_arrives_once() {
    let host = Host::new(b"one\n");
    host.memory.closed.store(true, Ordering::Relaxed);
    let stop = CancellationToken::new();
    let run = host.run(&stop);
    until(|| host.shipper.snapshot().destinations.iter().any(|stream| stream.in_flight == 1)).await;
    let Task { settings, names, .. } = host.shipper.0.task.borrow().clone();
    let mut settings = Settings::clone(&settings);
    settings.files[0].target.log_stream = Template::parse("y", &[]).expect("a name");
    let elsewhere = Memory::default();
    host.shipper.change(settings, Arc::new(elsewhere.clone()), names).await;
    let source = host.shipper.snapshot().sources.remove(0);
    assert_eq!((source.log_stream.as_deref(), source.ledger.events.pending), (Some("y"), 1));
    let mut log = std::fs::OpenOptions::new().append(true).open(host.root.path().join("a.log")).expect("the log");
    std::io::Write::write_all(&mut log, b"two\n").expect("room for a line");
    until(|| host.delivered() == 1).await;
    assert_eq!(elsewhere.messages(), ["two"], "it does not wait for what hangs");
    host.memory.closed.store(false, Ordering::Relaxed);
    until(|| host.delivered() == 2).await;
    assert_eq!((host.memory.messages(), elsewhere.messages().len()), (vec!["one".to_owned()], 1));
    stop.cancel();
    run.await.expect("it ends in peace");
}

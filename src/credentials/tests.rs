//! The cache with a scripted source and time that moves only when nothing else can, and STS from a scripted server on
//! loopback. Not the schedule: that is tested where it is decided, in `refresh`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::Clock;
use crate::heartbeat::Heartbeat;

/// What one fetch does.
#[derive(Clone, Debug)]
enum Step {
    /// Brings a key of this role that lives for so many seconds from now on.
    Bring(&'static str, &'static str, i64),
    Fail,
    Panic,
    Hang,
}

/// Plays its steps, then repeats the last one; each waits for the gate.
#[derive(Debug)]
struct Scripted {
    steps: Mutex<VecDeque<Step>>,
    clock: Clock,
    gate: Semaphore,
    fetches: Mutex<u32>,
}

impl Scripted {
    fn fetches(&self) -> u32 {
        *self.fetches.lock().unwrap()
    }
}

fn failure() -> Error {
    Error::TimedOut { after: Duration::from_secs(7) }
}

impl Source for Scripted {
    fn describe(&self) -> String {
        "scripted (for tests)".to_owned()
    }

    fn fetch(&self) -> Fetching<'_> {
        Box::pin(async move {
            *self.fetches.lock().unwrap() += 1;
            self.gate.acquire().await.unwrap().forget();
            self.gate.add_permits(1);
            let step = {
                let mut steps = self.steps.lock().unwrap();
                if steps.len() > 1 { steps.pop_front() } else { steps.front().cloned() }
            };
            match step.unwrap() {
                Step::Bring(role, key, seconds) => {
                    let expiration = self.clock.now() + jiff::SignedDuration::from_secs(seconds);
                    let credentials = Credentials::new(key, "hunter2", Some("tokentext".to_owned()), None, "test");
                    Ok(Fetched::new(role.to_owned(), credentials, Some(expiration)))
                }
                Step::Fail => Err(failure()),
                Step::Panic => panic!("a source that panics, on purpose"),
                Step::Hang => std::future::pending().await,
            }
        })
    }
}

struct Rig {
    cache: CredentialCache,
    source: Arc<Scripted>,
    clock: Clock,
    stop: CancellationToken,
}

impl Rig {
    /// A cache whose clocks follow tokio's paused time.
    fn new(steps: &[Step]) -> Self {
        let clock = Clock::stopped("2026-11-22T12:00:00Z".parse().unwrap());
        let source = Arc::new(Scripted {
            steps: Mutex::new(steps.iter().cloned().collect()),
            clock: clock.clone(),
            gate: Semaphore::new(1),
            fetches: Mutex::new(0),
        });
        let begin = tokio::time::Instant::now();
        let boot_time = Box::new(move || begin.elapsed());
        let shared: Arc<dyn Source> = Arc::clone(&source) as Arc<dyn Source>;
        let cache = CredentialCache::with_boot_time(shared, clock.clone(), boot_time);
        let hands = clock.clone();
        tokio::spawn(async move {
            let mut second = tokio::time::interval_at(begin + Duration::from_secs(1), Duration::from_secs(1));
            loop {
                second.tick().await;
                hands.advance(Duration::from_secs(1));
            }
        });
        Self { cache, source, clock, stop: CancellationToken::new() }
    }

    /// The same, kept fresh in the background.
    fn running(steps: &[Step]) -> Self {
        let rig = Self::new(steps);
        let (cache, stop) = (rig.cache.clone(), rig.stop.clone());
        tokio::spawn(async move { cache.run(stop, Heartbeat::new()).await });
        rig
    }

    async fn key(&self) -> Result<String, String> {
        let credentials = self.cache.provide_credentials().await;
        credentials.map(|found| found.access_key_id().to_owned()).map_err(|error| crate::fault::chain(&error))
    }
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

const HOURS: i64 = 3600;

#[tokio::test(start_paused = true)]
async fn valid_credentials_are_handed_out_at_once_whatever_the_source_does() {
    let rig = Rig::running(&[Step::Bring("web", "AKIA0001", 6 * HOURS), Step::Hang]);
    assert_eq!(rig.key().await.unwrap(), "AKIA0001");
    seconds(3700).await;
    assert!(rig.source.fetches() > 1 && rig.cache.snapshot().failures > 0, "the hourly fetch hangs");
    let before = tokio::time::Instant::now();
    assert_eq!(rig.key().await.unwrap(), "AKIA0001");
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(rig.cache.snapshot().served, 2);
}

#[tokio::test(start_paused = true)]
async fn callers_at_the_same_time_share_one_fetch() {
    let rig = Rig::new(&[Step::Bring("web", "AKIA0001", 6 * HOURS)]);
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let cache = rig.cache.clone();
            tokio::spawn(async move { cache.provide_credentials().await.unwrap() })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap().access_key_id(), "AKIA0001");
    }
    assert_eq!(rig.source.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_first_caller_fails_nobody() {
    let rig = Rig::new(&[Step::Bring("web", "AKIA0001", 6 * HOURS)]);
    let gate = rig.source.gate.acquire().await.unwrap();
    let cache = rig.cache.clone();
    let first = tokio::spawn(async move { cache.provide_credentials().await.is_ok() });
    seconds(1).await;
    let cache = rig.cache.clone();
    let second = tokio::spawn(async move { cache.provide_credentials().await.is_ok() });
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    drop(gate);
    assert!(second.await.unwrap());
    assert_eq!(rig.source.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_refresh_keeps_what_still_works_and_its_expiration() {
    let rig = Rig::running(&[Step::Bring("web", "AKIA0001", 6 * HOURS), Step::Fail]);
    rig.key().await.unwrap();
    let issued = rig.cache.snapshot().expiration.unwrap();
    for hour in 1..6 {
        seconds(3600).await;
        assert_eq!(rig.key().await.unwrap(), "AKIA0001");
        let snapshot = rig.cache.snapshot();
        assert_eq!(snapshot.expiration, Some(issued));
        if hour > 1 {
            assert_eq!(snapshot.state, State::Stale);
            assert!(snapshot.last_error.is_some() && snapshot.failures > 0);
        }
    }
    seconds(3601).await;
    assert_eq!(rig.cache.snapshot().state, State::Expired);
    let error = rig.cache.wait_for(Duration::from_secs(1)).await.unwrap_err();
    assert!(crate::fault::chain(&error).contains("7 s"), "the reason is told: {error}");
    assert_eq!(rig.key().await.unwrap(), "AKIA0001", "our own calls try the expired ones: AWS may still take them");
    assert_eq!(rig.cache.snapshot().expiration, Some(issued));
}

#[tokio::test(start_paused = true)]
async fn refreshing_never_stops_and_recovers_by_itself() {
    let mut steps = vec![Step::Fail; 500];
    steps.push(Step::Bring("web", "AKIA0001", 6 * HOURS));
    let rig = Rig::running(&steps);
    let begin = rig.clock.now();
    rig.cache.wait_for(Duration::from_hours(1)).await.unwrap();
    assert_eq!(rig.source.fetches(), 501);
    let took = rig.clock.now().duration_since(begin).as_secs();
    assert!((1000..=2600).contains(&took), "at most 5 s apart: {took} s for 500 failures");
    assert_eq!(rig.cache.snapshot().state, State::Fresh);
    assert!(rig.cache.snapshot().last_error.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_has_expired_already_is_a_failure() {
    let rig = Rig::running(&[Step::Bring("web", "AKIA0001", -1), Step::Bring("web", "AKIA0002", 6 * HOURS)]);
    let error = rig.key().await.unwrap_err();
    assert!(error.contains("role web expired at 2026-11-22T11:59:59Z"), "{error}");
    assert_eq!(rig.cache.snapshot().state, State::Absent);
    assert_eq!(rig.cache.wait_for(Duration::from_secs(10)).await.unwrap().credentials.access_key_id(), "AKIA0002");
}

#[tokio::test(start_paused = true)]
async fn an_expired_answer_does_not_displace_what_still_works() {
    let rig = Rig::running(&[Step::Bring("web", "AKIA0001", 6 * HOURS), Step::Bring("web", "AKIA0002", -1)]);
    rig.key().await.unwrap();
    seconds(3700).await;
    assert!(rig.cache.snapshot().failures > 0);
    assert_eq!(rig.key().await.unwrap(), "AKIA0001");
}

#[tokio::test(start_paused = true)]
async fn a_waiter_has_a_deadline_of_its_own_and_hears_the_reason() {
    let rig = Rig::new(&[Step::Fail, Step::Hang]);
    let before = tokio::time::Instant::now();
    let error = rig.cache.wait_for(Duration::from_secs(3)).await.unwrap_err();
    assert_eq!(before.elapsed(), Duration::from_secs(3));
    assert!(matches!(&error, Error::Waited { reason: Some(_), .. }) && error.to_string().contains("7 s"), "{error}");
    let hung = rig.key().await.unwrap_err();
    assert!(before.elapsed() < Duration::from_secs(9), "a caller waits 5 s: {hung}");
}

#[tokio::test(start_paused = true)]
async fn between_two_retries_a_caller_hears_the_last_reason_at_once() {
    let rig = Rig::new(&[Step::Fail]);
    rig.key().await.unwrap_err();
    let before = tokio::time::Instant::now();
    let fetches = rig.source.fetches();
    for _ in 0..100 {
        rig.key().await.unwrap_err();
    }
    assert_eq!((before.elapsed(), rig.source.fetches()), (Duration::ZERO, fetches));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_or_hangs_is_a_failure_and_is_asked_again() {
    let rig = Rig::running(&[Step::Panic, Step::Hang, Step::Bring("web", "AKIA0001", 6 * HOURS)]);
    assert!(rig.key().await.unwrap_err().contains("crashed"));
    rig.cache.wait_for(Duration::from_mins(1)).await.unwrap();
    assert_eq!(rig.cache.snapshot().failures, 2);
}

#[tokio::test(start_paused = true)]
async fn run_may_be_started_again_after_a_panic_took_it() {
    let rig = Rig::new(&[Step::Bring("web", "AKIA0001", 600), Step::Bring("web", "AKIA0002", 6 * HOURS)]);
    for _ in 0..2 {
        let cache = rig.cache.clone();
        let task = tokio::spawn(async move { cache.run(CancellationToken::new(), Heartbeat::new()).await });
        seconds(2).await;
        task.abort();
    }
    let (cache, stop) = (rig.cache.clone(), rig.stop.clone());
    tokio::spawn(async move { cache.run(stop, Heartbeat::new()).await });
    seconds(601).await;
    assert_eq!(rig.key().await.unwrap(), "AKIA0002");
}

#[tokio::test(start_paused = true)]
async fn a_role_that_changed_is_noticed_at_the_next_refresh() {
    let rig = Rig::running(&[Step::Bring("web", "AKIA0001", 6 * HOURS), Step::Bring("api", "AKIA0002", 6 * HOURS)]);
    rig.key().await.unwrap();
    assert_eq!(rig.cache.snapshot().role, "web");
    seconds(3601).await;
    let snapshot = rig.cache.snapshot();
    assert_eq!((snapshot.role.as_str(), snapshot.key_id_suffix.as_deref()), ("api", Some("0002")));
    assert_eq!((snapshot.refreshes, snapshot.state), (2, State::Fresh));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_key_is_replaced_at_once_and_stays_until_then() {
    let rig = Rig::running(&[
        Step::Bring("web", "AKIA0001", 6 * HOURS),
        Step::Bring("web", "AKIA0001", 6 * HOURS),
        Step::Bring("web", "AKIA0002", 6 * HOURS),
    ]);
    rig.key().await.unwrap();
    for _ in 0..50 {
        rig.cache.rejected("AKIA0001");
    }
    seconds(1).await;
    assert_eq!(rig.source.fetches(), 2, "fifty callers, one fetch");
    assert_eq!(rig.key().await.unwrap(), "AKIA0001", "IMDS repeated it");
    seconds(30).await;
    rig.cache.rejected("AKIA0001");
    seconds(1).await;
    assert_eq!(rig.key().await.unwrap(), "AKIA0002");
}

#[tokio::test(start_paused = true)]
async fn at_rest_there_is_one_fetch_an_hour_and_stop_ends_it() {
    let rig = Rig::running(&[Step::Bring("web", "AKIA0001", 6 * HOURS)]);
    seconds(5 * 3600).await;
    assert!((5..=6).contains(&rig.source.fetches()), "{}", rig.source.fetches());
    rig.stop.cancel();
    let before = rig.source.fetches();
    seconds(2 * 3600).await;
    assert_eq!(rig.source.fetches(), before);
}

#[tokio::test(start_paused = true)]
async fn the_state_is_told_in_words_a_person_understands() {
    let rig = Rig::new(&[Step::Bring("web", "AKIA0001", 60), Step::Fail]);
    let state = || rig.cache.snapshot().state;
    assert_eq!(state(), State::Absent);
    let gate = rig.source.gate.acquire().await.unwrap();
    let cache = rig.cache.clone();
    let caller = tokio::spawn(async move { cache.provide_credentials().await.is_ok() });
    seconds(1).await;
    assert_eq!(state(), State::Refreshing);
    drop(gate);
    assert!(caller.await.unwrap());
    assert_eq!(state(), State::Fresh);
    seconds(61).await;
    assert_eq!(state(), State::Expired);
}

#[tokio::test(start_paused = true)]
async fn secrets_are_never_printed() {
    let rig = Rig::new(&[Step::Bring("web", "AKIA0001", 6 * HOURS)]);
    let credentials = rig.cache.provide_credentials().await.unwrap();
    let printed = format!("{:?} {:?} {credentials:?}", rig.cache, rig.cache.snapshot());
    assert!(!printed.contains("hunter2") && !printed.contains("tokentext"), "{printed}");
    assert!(!serde_json::to_string(&rig.cache.snapshot()).unwrap().contains("AKIA"));
}

/// STS on loopback that gives `answers` in turn, then the last one for ever, and counts the questions.
async fn sts(answers: &'static [(u16, &'static str)]) -> (String, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"Version=2011-06-15") {
                request.push(stream.read_u8().await.unwrap());
            }
            let number = {
                let mut count = count.lock().unwrap();
                *count += 1;
                (*count - 1).min(answers.len() - 1)
            };
            let (status, body) = answers[number];
            let length = body.len();
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            stream.write_all((head + body).as_bytes()).await.unwrap();
        }
    });
    (endpoint, asked)
}

const IDENTITY: &str = "<GetCallerIdentityResponse><GetCallerIdentityResult>\
    <Arn>arn:aws:sts::123456789012:assumed-role/web/i-1</Arn><UserId>A:i-1</UserId><Account>123456789012</Account>\
    </GetCallerIdentityResult></GetCallerIdentityResponse>";

const EXPIRED: &str = "<ErrorResponse><Error><Type>Sender</Type><Code>ExpiredToken</Code>\
    <Message>The security token included in the request is expired</Message></Error></ErrorResponse>";

/// Real sockets, so real time: the condition is polled, with a deadline.
async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

/// A running cache, and who confirms its role at `endpoint`, which STS alone is asked at.
fn confirming(steps: &[Step], endpoint: &str) -> Rig {
    let rig = Rig::running(steps);
    let provider = SharedCredentialsProvider::new(rig.cache.clone());
    let variable = |name: &str| match name {
        "AWS_ENDPOINT_URL_STS" => Some(endpoint.to_owned()),
        "AWS_ENDPOINT_URL" => Some("http://127.0.0.1:1".to_owned()),
        _ => None,
    };
    let environment = crate::aws::Environment::read(&variable).unwrap();
    let sdk = environment.sdk_config("eu-west-1", provider, &rig.clock).unwrap();
    let (cache, stop) = (rig.cache.clone(), rig.stop.clone());
    tokio::spawn(async move { cache.confirm_identity(sdk, stop, Heartbeat::new()).await });
    rig
}

#[tokio::test]
async fn sts_is_asked_once_who_a_role_is() {
    let (endpoint, asked) = sts(&[(200, IDENTITY)]).await;
    let rig =
        confirming(&[Step::Bring("web", "AKIA0001", 6 * HOURS), Step::Bring("api", "AKIA0002", 6 * HOURS)], &endpoint);
    eventually("the arn of web", || rig.cache.snapshot().arn.is_some()).await;
    assert_eq!(rig.cache.snapshot().arn.as_deref(), Some("arn:aws:sts::123456789012:assumed-role/web/i-1"));
    assert_eq!(*asked.lock().unwrap(), 1);
    rig.cache.rejected("AKIA0001");
    eventually("the arn of api", || rig.cache.snapshot().role == "api" && rig.cache.snapshot().arn.is_some()).await;
    assert_eq!(*asked.lock().unwrap(), 2, "another role is asked about again");
}

#[tokio::test]
async fn sts_out_of_reach_is_a_warning_and_no_failure_of_the_credentials() {
    let rig = confirming(&[Step::Bring("web", "AKIA0001", 6 * HOURS)], "http://127.0.0.1:9");
    eventually("a warning", || rig.cache.snapshot().confirmation.is_some()).await;
    let snapshot = rig.cache.snapshot();
    assert_eq!((snapshot.state, snapshot.last_error), (State::Fresh, None));
    let warning = snapshot.confirmation.unwrap();
    assert!(warning.message.contains("sts:GetCallerIdentity"), "{}", warning.message);
    assert!(warning.hint.unwrap().contains("com.amazonaws.eu-west-1.sts"));
}

#[tokio::test]
async fn a_key_that_sts_calls_expired_is_fetched_anew() {
    let (endpoint, asked) = sts(&[(403, EXPIRED)]).await;
    let steps = [Step::Bring("web", "AKIA0001", 6 * HOURS), Step::Bring("web", "AKIA0002", 6 * HOURS)];
    let rig = confirming(&steps, &endpoint);
    eventually("another key", || rig.cache.snapshot().key_id_suffix.as_deref() == Some("0002")).await;
    assert_eq!(*asked.lock().unwrap(), 1, "STS itself is left alone for half a minute");
    assert!(rig.cache.snapshot().confirmation.unwrap().message.contains("ExpiredToken"));
}

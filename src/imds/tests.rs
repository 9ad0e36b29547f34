//! The client against a scripted server on loopback, one test a promise. Not a model of IMDS: that is the emulator's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::environment::Target;
use super::*;
use crate::clock::Clock;

/// What the server does with a connection.
#[derive(Clone)]
enum Reply {
    /// Answers with a status, further header lines and a body.
    Say(u16, &'static str, String),
    /// Reads the request and never answers.
    Silence,
    /// Reads the request and closes.
    Close,
    /// Answers with these bytes.
    Raw(&'static str),
}

fn say(status: u16, body: &str) -> Reply {
    Reply::Say(status, "", body.to_owned())
}

const TTL_TOLD: &str = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600\r\n";

fn token(text: &str) -> Reply {
    Reply::Say(200, TTL_TOLD, text.to_owned())
}

/// A server whose script sees each request's head and how many came before it.
struct Server {
    endpoint: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(script: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, log) = (Arc::new(script), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&script), Arc::clone(&log)));
            }
        });
        Self { endpoint, seen }
    }

    /// Grants tokens `t0`, `t1`… and answers every GET from `script`.
    async fn with_tokens(script: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(move |head, n| if head.starts_with("PUT") { token(&format!("t{n}")) } else { script(head, n) })
            .await
    }

    fn client(&self) -> ImdsClient {
        self.client_with(&Settings::default(), &Clock::system())
    }

    fn client_with(&self, settings: &Settings, clock: &Clock) -> ImdsClient {
        let settings = Settings { endpoint: Some(self.endpoint.clone()), ..settings.clone() };
        ImdsClient::new(&settings, &Environment::default(), clock).unwrap()
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    fn seen_starting(&self, start: &str) -> usize {
        self.seen().iter().filter(|head| head.starts_with(start)).count()
    }
}

async fn answer(
    mut stream: TcpStream,
    script: Arc<impl Fn(&str, usize) -> Reply + Send + Sync + 'static>,
    log: Arc<Mutex<Vec<String>>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let number = {
        let mut log = log.lock().unwrap();
        log.push(head.clone());
        log.len() - 1
    };
    let bytes = match script(&head, number) {
        Reply::Say(status, headers, body) => {
            format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}", body.len())
        }
        Reply::Raw(bytes) => bytes.to_owned(),
        Reply::Close => return,
        Reply::Silence => std::future::pending().await,
    };
    stream.write_all(bytes.as_bytes()).await.ok();
}

const ID: &str = "/latest/meta-data/instance-id";

const DOCUMENT: &str = r#"{"accountId":"1","availabilityZone":"a","imageId":"ami","instanceId":"i-1",
    "instanceType":"t","region":"eu-west-1"}"#;

#[tokio::test]
async fn every_request_carries_the_one_token() {
    let server = Server::with_tokens(|_, _| say(200, "i-1")).await;
    let client = server.client();
    for _ in 0..3 {
        assert_eq!(client.get(ID).await.unwrap(), "i-1");
    }
    let seen = server.seen();
    assert!(seen[0].starts_with("PUT /latest/api/token HTTP/1.1\r\n"), "{}", seen[0]);
    assert!(seen[0].contains("x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n"), "{}", seen[0]);
    assert_eq!(seen[0].matches("content-length: 0\r\n").count(), 1, "{}", seen[0]);
    for head in &seen[1..] {
        assert!(head.contains("x-aws-ec2-metadata-token: t0\r\n"), "{head}");
    }
    let snapshot = client.snapshot();
    assert_eq!((snapshot.state, snapshot.requests, snapshot.failures), (State::Running, 4, 0));
    assert_eq!(snapshot.version, "v2");
    assert!(snapshot.token_expires_at.is_some());
}

#[tokio::test]
async fn a_401_costs_one_new_token_and_one_retry() {
    let server =
        Server::with_tokens(|head, _| if head.contains("token: t0") { say(401, "") } else { say(200, "i-1") }).await;
    let client = server.client();
    assert_eq!(client.get(ID).await.unwrap(), "i-1");
    assert_eq!((server.seen_starting("PUT"), server.seen_starting("GET")), (2, 2));
}

#[tokio::test]
async fn a_token_that_is_always_refused_is_not_asked_for_again_and_again() {
    let server = Server::with_tokens(|head, _| if head.contains("/first") { say(200, "") } else { say(401, "") }).await;
    let client = server.client();
    client.get("/first").await.unwrap();
    let error = client.get(ID).await.unwrap_err();
    assert!(matches!(error.problem(), Problem::TokenRefused { status: 401, .. }), "{error:?}");
    assert_eq!(server.seen_starting("GET"), 3);
}

#[tokio::test]
async fn a_403_for_the_token_means_off_and_names_the_command() {
    let server = Server::start(|_, _| say(403, "")).await;
    let client = server.client();
    let error = client.get(ID).await.unwrap_err();
    assert!(matches!(error.problem(), Problem::Off { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("--http-endpoint enabled"));
    assert_eq!(client.snapshot().state, State::Off);
    assert_eq!(server.seen_starting("GET"), 0, "nothing is asked without a token");
}

#[tokio::test]
async fn a_token_request_that_is_never_answered_means_the_hop_limit() {
    let server = Server::start(|_, _| Reply::Silence).await;
    let client = server.client();
    let begin = std::time::Instant::now();
    let (first, second) = tokio::join!(client.get(ID), client.get(ID));
    for error in [first.unwrap_err(), second.unwrap_err()] {
        assert!(matches!(error.problem(), Problem::Blocked { .. }), "{error:?}");
        assert!(error.hint().unwrap().contains("--http-put-response-hop-limit 2"), "{error:?}");
    }
    assert!(begin.elapsed() < Duration::from_secs(4), "the whole operation has a deadline");
    assert_eq!(client.snapshot().state, State::Blocked);
}

#[tokio::test]
async fn nothing_listening_is_absent_and_is_tried_four_times() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let settings = Settings { endpoint: Some(endpoint), ..Settings::default() };
    let client = ImdsClient::new(&settings, &Environment::default(), &Clock::system()).unwrap();
    let error = client.get(ID).await.unwrap_err();
    assert!(matches!(error.problem(), Problem::Absent { .. }), "{error:?}");
    let snapshot = client.snapshot();
    assert_eq!((snapshot.state, snapshot.requests, snapshot.failures), (State::Absent, 4, 4));
    assert!(snapshot.last_error.is_some());
}

#[tokio::test]
async fn faults_that_pass_are_ridden_out() {
    for fault in [say(503, ""), say(500, ""), say(429, ""), Reply::Close, say(404, "")] {
        let server = Server::with_tokens(move |_, n| if n < 3 { fault.clone() } else { say(200, "i-1") }).await;
        assert_eq!(server.client().get(ID).await.unwrap(), "i-1");
    }
}

#[tokio::test]
async fn after_the_first_success_a_404_is_an_answer_at_once() {
    let server = Server::with_tokens(|head, _| if head.contains(ID) { say(200, "i-1") } else { say(404, "") }).await;
    let client = server.client();
    client.get(ID).await.unwrap();
    let error = client.get("/latest/meta-data/tags/instance/Name").await.unwrap_err();
    assert!(matches!(error.problem(), Problem::NotFound { .. }), "{error:?}");
    assert_eq!(server.seen_starting("GET"), 2);
    assert_eq!(client.snapshot().state, State::Running, "IMDS did answer");
}

#[tokio::test]
async fn an_unparsable_document_is_asked_for_again() {
    let server = Server::with_tokens(move |_, n| if n < 3 { say(200, "{\"a") } else { say(200, DOCUMENT) }).await;
    let client = server.client();
    assert_eq!(client.identity_document().await.unwrap().region, "eu-west-1");
    client.identity_document().await.unwrap();
    assert_eq!(server.seen().len(), 4, "the identity is fetched once, then known");
}

/// A service without an identity document that serves these values, and says `otherwise` for the rest.
async fn serving(values: &'static [(&str, &str)], otherwise: u16) -> Server {
    Server::with_tokens(move |head, _| {
        let path = head.split(' ').nth(1).unwrap();
        if path.ends_with("/document") {
            return say(404, "");
        }
        match values.iter().find(|(name, _)| path == format!("/latest/meta-data/{name}")) {
            Some((_, value)) => say(200, value),
            None => say(otherwise, ""),
        }
    })
    .await
}

#[tokio::test]
async fn where_there_is_no_identity_document_the_metadata_tell_the_instance_once() {
    let server = serving(
        &[
            ("instance-id", "i-1\n"),
            ("placement/region", "eu-west-1"),
            ("placement/availability-zone", "eu-west-1b"),
            ("instance-type", "t3.micro"),
            ("ami-id", "ami-1"),
            ("local-ipv4", "10.0.0.5"),
            ("iam/info", r#"{"Code":"Success","InstanceProfileArn":"arn:aws:iam::123456789012:instance-profile/web"}"#),
        ],
        404,
    )
    .await;
    let client = server.client();
    let document = client.identity_document().await.unwrap();
    let expected = IdentityDocument {
        instance_id: "i-1".to_owned(),
        region: "eu-west-1".to_owned(),
        account_id: "123456789012".to_owned(),
        availability_zone: "eu-west-1b".to_owned(),
        instance_type: "t3.micro".to_owned(),
        image_id: "ami-1".to_owned(),
        private_ip: Some("10.0.0.5".to_owned()),
    };
    assert_eq!(document, expected);
    let requests = server.seen().len();
    assert_eq!(client.identity_document().await.unwrap(), expected);
    assert_eq!(server.seen().len(), requests, "what was put together is known from then on");
}

#[tokio::test]
async fn what_the_metadata_do_not_tell_stays_unknown() {
    for otherwise in [404, 500] {
        let server = serving(&[("instance-id", "i-1"), ("placement/availability-zone", "eu-west-1b")], otherwise).await;
        let expected = IdentityDocument {
            instance_id: "i-1".to_owned(),
            region: "eu-west-1".to_owned(),
            availability_zone: "eu-west-1b".to_owned(),
            ..IdentityDocument::default()
        };
        assert_eq!(server.client().identity_document().await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_service_that_tells_no_more_than_the_region_is_believed() {
    let server = serving(&[("placement/region", "eu-west-1")], 404).await;
    let client = server.client();
    let document = client.identity_document().await.unwrap();
    assert_eq!((document.region.as_str(), document.instance_id.as_str()), ("eu-west-1", ""));
    let hint = client.role_name().await.unwrap_err().hint().unwrap();
    assert!(hint.contains("--instance-id INSTANCE_ID"), "{hint}");
}

#[tokio::test]
async fn while_nothing_else_answers_a_missing_document_is_no_absent_one() {
    let up = Arc::new(AtomicBool::new(false));
    let is_up = Arc::clone(&up);
    let server = Server::with_tokens(move |head, _| {
        if is_up.load(Ordering::Relaxed) && head.contains("/document") { say(200, DOCUMENT) } else { say(404, "") }
    })
    .await;
    let client = server.client();
    let error = client.identity_document().await.unwrap_err();
    let missing = Problem::NotFound { path: "/latest/dynamic/instance-identity/document".to_owned() };
    assert_eq!(*error.problem(), missing);
    up.store(true, Ordering::Relaxed);
    assert_eq!(client.identity_document().await.unwrap().account_id, "1");
}

#[tokio::test]
async fn a_document_that_comes_while_the_metadata_are_asked_is_taken() {
    let up = AtomicBool::new(false);
    let server = Server::with_tokens(move |head, _| {
        if !head.contains("/document") {
            up.store(true, Ordering::Relaxed);
            say(200, "i-2")
        } else if up.load(Ordering::Relaxed) {
            say(200, DOCUMENT)
        } else {
            say(404, "")
        }
    })
    .await;
    assert_eq!(server.client().identity_document().await.unwrap().account_id, "1");
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_is_not_imds() {
    let server = Server::start(|_, _| Reply::Say(302, "Location: http://127.0.0.1:9/\r\n", String::new())).await;
    let client = server.client();
    let error = client.get(ID).await.unwrap_err();
    assert!(matches!(error.problem(), Problem::NotImds { .. }), "{error:?}");
    assert_eq!(client.snapshot().state, State::NotImds);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn what_is_no_token_or_no_http_is_not_imds() {
    for reply in [say(200, "<html>welcome</html>"), say(200, ""), say(200, "a b"), Reply::Raw("SSH-2.0-x\r\n")] {
        let server = Server::start(move |_, _| reply.clone()).await;
        let error = server.client().get(ID).await.unwrap_err();
        assert!(matches!(error.problem(), Problem::NotImds { .. }), "{error:?}");
        assert_eq!(server.seen_starting("GET"), 0);
    }
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    let server = Server::with_tokens(|_, _| say(200, &"x".repeat(100_000))).await;
    let error = server.client().get(ID).await.unwrap_err();
    assert!(matches!(error.problem(), Problem::BadDocument { .. }), "{error:?}");
}

#[tokio::test]
async fn when_switched_off_nothing_is_sent() {
    let server = Server::with_tokens(|_, _| say(200, "i-1")).await;
    let settings = Settings { endpoint: Some(server.endpoint.clone()), ..Settings::default() };
    let client = ImdsClient::new(&settings, &Environment::switched_off(), &Clock::system()).unwrap();
    assert_eq!(client.snapshot().state, State::Off);
    assert!(matches!(client.get(ID).await.unwrap_err().problem(), Problem::Disabled));
    assert_eq!(client.snapshot().requests, 0);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn the_clock_learns_from_the_answers_date() {
    let noon: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
    let server =
        Server::with_tokens(|_, _| Reply::Say(200, "Date: Sun, 22 Nov 2026 12:10:00 GMT\r\n", "i-1".to_owned())).await;
    let clock = Clock::stopped(noon);
    server.client_with(&Settings::default(), &clock).get(ID).await.unwrap();
    assert_eq!(clock.skew(), SignedDuration::from_millis(600_500));
}

#[tokio::test]
async fn version_one_is_asked_only_if_configured() {
    let script = |head: &str, _| if head.starts_with("PUT") { say(404, "") } else { say(200, "i-1") };
    let server = Server::start(script).await;
    let error = server.client().get(ID).await.unwrap_err();
    assert!(matches!(error.problem(), Problem::TokenRefused { status: 404, .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("v1_fallback"));
    assert_eq!(server.seen_starting("GET"), 0);

    let client = server.client_with(&Settings { v1_fallback: true, ..Settings::default() }, &Clock::system());
    assert_eq!(client.get(ID).await.unwrap(), "i-1");
    assert_eq!(client.snapshot().version, "v1");
    assert!(!server.seen().iter().any(|head| head.contains("x-aws-ec2-metadata-token:")));
}

#[tokio::test]
async fn a_life_that_is_not_told_is_the_one_asked_for() {
    let server = Server::start(|head, _| if head.starts_with("PUT") { say(200, "t") } else { say(200, "i-1") }).await;
    let clock = Clock::stopped("2026-11-22T12:00:00Z".parse().unwrap());
    let client = server.client_with(&Settings { token_ttl: Duration::from_mins(10), ..Settings::default() }, &clock);
    client.get(ID).await.unwrap();
    assert_eq!(client.snapshot().token_expires_at, Some("2026-11-22T12:10:00Z".parse().unwrap()));
}

#[tokio::test]
async fn why_there_is_no_role_is_found_out() {
    let arn = r#"{"Code":"Success","InstanceProfileArn":"arn:aws:iam::1:instance-profile/team/web"}"#;
    let deleted = r#"{"Code":"InstanceProfileNotFound","Message":"gone"}"#;
    for (info, expected) in [
        (say(404, ""), Problem::NoInstanceProfile),
        (say(200, arn), Problem::EmptyProfile { profile: "web".to_owned() }),
        (
            say(200, deleted),
            Problem::RoleFailure { role: None, code: "InstanceProfileNotFound".to_owned(), message: "gone".to_owned() },
        ),
    ] {
        let server = Server::with_tokens(move |head, _| {
            if head.contains("/iam/info") {
                info.clone()
            } else if head.contains("/iam/") {
                say(404, "")
            } else {
                say(200, "i-1")
            }
        })
        .await;
        let client = server.client();
        client.get(ID).await.unwrap();
        assert_eq!(*client.role_name().await.unwrap_err().problem(), expected);
        assert_eq!(client.snapshot().state, State::Running);
    }
}

#[tokio::test]
async fn a_path_never_leads_to_another_host_and_an_endpoint_may_have_a_prefix() {
    let mut server = Server::with_tokens(|_, _| say(200, "x")).await;
    server.endpoint.push_str("/prefix/");
    server.client().get("//evil.example/latest?x").await.unwrap();
    let seen = server.seen();
    assert!(seen[0].starts_with("PUT /prefix/latest/api/token "), "{}", seen[0]);
    assert!(seen[1].starts_with("GET /prefix/evil.example/latest%3Fx "), "{}", seen[1]);
}

#[tokio::test]
async fn of_two_addresses_the_one_that_answers_is_kept() {
    let server = Server::with_tokens(|_, _| say(200, "i-1")).await;
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let endpoints = [format!("http://{dead}"), server.endpoint.clone()].map(|url| url.parse().unwrap()).to_vec();
    let target = Target { disabled: false, endpoints, v1_fallback: false };
    let client = ImdsClient::asking(target, Duration::from_mins(1), &Clock::system()).unwrap();
    client.get(ID).await.unwrap();
    client.get(ID).await.unwrap();
    let snapshot = client.snapshot();
    assert_eq!((snapshot.endpoint, snapshot.requests, snapshot.failures), (server.endpoint, 4, 1));
}

/// A proxy would answer with *its* role. The variables are given to a second run of another test, since they can't be
/// set in this process.
#[test]
fn a_proxy_variable_never_catches_imds() {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"] {
        command.env(name, "http://127.0.0.1:9");
    }
    command.env_remove("NO_PROXY").env_remove("no_proxy");
    let output = command.args(["--exact", "imds::tests::every_request_carries_the_one_token"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

//! The emulator, checked by clients that we did not write: the Rust SDK's IMDS provider, STS and `CloudWatch` Logs
//! clients, boto3 and the AWS CLI (in `tests/conformance/`). And its faults, as a client sees them. Not the agent.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sdk_cloudwatchlogs::error::ProvideErrorMetadata as _;
use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use aws_smithy_http_client::tls;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use imds_agent::emulator::{Change, Denial, Door, Effect, Emulator, Fault, Options};

use crate::harness::python;

/// Long enough for a busy machine, short enough to end a test that hangs.
const PATIENCE: Duration = Duration::from_mins(1);

/// The SDK's own client of the metadata service.
fn imds(emulator: &Emulator) -> aws_config::imds::Client {
    let builder = aws_config::imds::Client::builder().configure(&provider_config());
    builder.endpoint(emulator.url()).expect("the emulator's URL is one").build()
}

fn provider_config() -> ProviderConfig {
    ProviderConfig::without_region().with_http_client(http_client())
}

fn http_client() -> SharedHttpClient {
    let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    aws_smithy_http_client::Builder::new().tls_provider(ring).build_https()
}

/// The SDK pointed at the emulator, retries off, with the role's credentials as they are now.
async fn sdk(emulator: &Emulator) -> SdkConfig {
    let path = "/latest/meta-data/iam/security-credentials/emulated-role";
    let document = imds(emulator).get(path).await.expect("the role's document");
    let document: serde_json::Value = serde_json::from_str(document.as_ref()).expect("JSON");
    let text = |name: &str| document[name].as_str().expect("a text").to_string();
    let token = Some(text("Token"));
    let credentials = Credentials::new(text("AccessKeyId"), text("SecretAccessKey"), token, None, "emulator");
    sdk_with(emulator, SharedCredentialsProvider::new(credentials))
}

fn sdk_with(emulator: &Emulator, provider: SharedCredentialsProvider) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .http_client(http_client())
        .credentials_provider(provider)
        .region(aws_config::Region::new("eu-west-1"))
        .endpoint_url(emulator.url())
        .retry_config(RetryConfig::disabled())
        .build()
}

/// Runs one of these tests in a process of its own without AWS's variables, which the SDK's provider reads: where
/// they keep tests from AWS, they keep them from the emulator too. Whether that was needed, and is done.
fn ran_without_aws_variables(test: &str) -> bool {
    let name = |(name, _): (OsString, OsString)| name;
    let aws: Vec<OsString> =
        std::env::vars_os().map(name).filter(|name| name.to_string_lossy().starts_with("AWS_")).collect();
    if aws.is_empty() {
        return false;
    }
    let mut command = std::process::Command::new(std::env::current_exe().expect("this test's own path"));
    command.args(["--exact", &format!("emulator_conformance::{test}")]);
    for name in aws {
        command.env_remove(name);
    }
    let output = command.output().expect("this test can be started");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    true
}

async fn start() -> Emulator {
    Emulator::start(Options::default()).await.expect("a free port on loopback")
}

fn event(timestamp: i64, message: &str) -> InputLogEvent {
    InputLogEvent::builder().timestamp(timestamp).message(message).build().expect("both members are set")
}

async fn logs_with_stream(emulator: &Emulator) -> aws_sdk_cloudwatchlogs::Client {
    let logs = aws_sdk_cloudwatchlogs::Client::new(&sdk(emulator).await);
    logs.create_log_group().log_group_name("g").send().await.expect("a group");
    logs.create_log_stream().log_group_name("g").log_stream_name("s").send().await.expect("a stream");
    logs
}

#[tokio::test]
async fn the_rust_sdk_takes_its_credentials_from_the_emulator_and_signs_with_them() {
    if ran_without_aws_variables("the_rust_sdk_takes_its_credentials_from_the_emulator_and_signs_with_them") {
        return;
    }
    let emulator = start().await;
    let builder = ImdsCredentialsProvider::builder().configure(&provider_config());
    let provider = SharedCredentialsProvider::new(builder.imds_client(imds(&emulator)).build());
    let credentials = provider.provide_credentials().await.expect("the role's");
    assert_eq!(emulator.state()["credentials"]["access_key_id"], credentials.access_key_id());
    assert!(credentials.expiry().is_some());
    let sts = aws_sdk_sts::Client::new(&sdk_with(&emulator, provider));
    let identity = sts.get_caller_identity().send().await.expect("an identity");
    assert_eq!(identity.arn(), Some("arn:aws:sts::123456789012:assumed-role/emulated-role/i-0e00000000000e001"));
    assert_eq!(emulator.counts().metadata_without_token, 0);
}

#[tokio::test]
async fn what_the_rust_sdk_puts_is_held_in_the_order_of_arrival() {
    let emulator = start().await;
    let logs = logs_with_stream(&emulator).await;
    let now = emulator.now();
    let put = |events: Vec<InputLogEvent>| {
        logs.put_log_events().log_group_name("g").log_stream_name("s").set_log_events(Some(events)).send()
    };
    put(vec![event(now, "third"), event(now + 1, "fourth")]).await.expect("accepted");
    put(vec![event(now - 2, "first"), event(now - 1, "second")]).await.expect("accepted");
    let held: Vec<String> = emulator.events("g", "s").into_iter().map(|event| event.message).collect();
    assert_eq!(held, ["third", "fourth", "first", "second"]);
    let page = logs.get_log_events().log_group_name("g").log_stream_name("s").start_from_head(true).send().await;
    let page = page.expect("a page");
    let shown: Vec<_> = page.events().iter().filter_map(|event| event.message()).collect();
    assert_eq!(shown, ["first", "second", "third", "fourth"]);
    let stream = &emulator.streams()[0];
    assert_eq!((stream.events, stream.bytes, stream.puts), (4, 22, 2));
}

#[tokio::test]
async fn the_rust_sdk_reads_refusals_as_the_errors_of_its_model() {
    let emulator = start().await;
    let logs = logs_with_stream(&emulator).await;
    let put = |stream: &str, events| {
        logs.put_log_events().log_group_name("g").log_stream_name(stream).set_log_events(Some(events)).send()
    };
    let now = emulator.now();
    let missing = put("other", vec![event(now, "x")]).await.expect_err("no such stream").into_service_error();
    assert!(missing.is_resource_not_found_exception());
    let backwards = put("s", vec![event(now, "x"), event(now - 1, "y")]).await.expect_err("not in order");
    assert!(backwards.into_service_error().is_invalid_parameter_exception());
    emulator.set_fault(Fault::on("logs:PutLogEvents", Effect::Throttle { retry_after_ms: Some(250) }).times(1));
    let throttled = put("s", vec![event(now, "x")]).await.expect_err("a fault");
    assert_eq!(throttled.raw_response().and_then(|raw| raw.headers().get("x-amz-retry-after")), Some("250"));
    assert_eq!(throttled.into_service_error().code(), Some("ThrottlingException"));
    emulator.revoke_credentials();
    let expired = put("s", vec![event(now, "x")]).await.expect_err("revoked").into_service_error();
    assert_eq!(expired.code(), Some("ExpiredTokenException"));
    assert!(emulator.events("g", "s").is_empty());
}

#[tokio::test]
async fn a_lost_reply_leaves_the_work_done() {
    let emulator = start().await;
    let logs = logs_with_stream(&emulator).await;
    emulator.set_fault(Fault::on("logs:PutLogEvents", Effect::LostReply).times(1));
    let put = logs.put_log_events().log_group_name("g").log_stream_name("s").log_events(event(emulator.now(), "x"));
    assert!(put.send().await.expect_err("the connection was closed").as_service_error().is_none());
    assert_eq!(emulator.events("g", "s").len(), 1);
}

/// Sends text to the emulator as it is, and reads until the connection ends or `patience` does.
fn raw(addr: SocketAddr, text: &str, patience: Duration) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&addr, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(text.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

async fn ask(emulator: &Emulator, text: &'static str, patience: Duration) -> std::io::Result<Vec<u8>> {
    let addr = emulator.addr();
    tokio::task::spawn_blocking(move || raw(addr, text, patience)).await.expect("no panic")
}

const TOKEN_PUT: &str =
    "PUT /latest/api/token HTTP/1.1\r\nHost: imds\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n";

#[tokio::test]
async fn an_answer_carries_the_emulators_date_and_the_connection_ends() {
    let emulator = start().await;
    emulator.change(&Change { clock_skew_seconds: Some(-3 * 365 * 86_400), ..Change::default() });
    let answer = String::from_utf8(ask(&emulator, TOKEN_PUT, PATIENCE).await.unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let year = jiff::Timestamp::from_millisecond(emulator.now()).unwrap().strftime("%Y").to_string();
    let date = answer.lines().find(|line| line.starts_with("date: ")).expect("a date");
    assert!(date.contains(&year) && date.ends_with(" GMT"), "{date}");
    assert!(answer.contains("x-aws-ec2-metadata-token-ttl-seconds: 60\r\n"), "{answer}");
}

#[tokio::test]
async fn faults_of_the_wire_are_what_they_say() {
    let emulator = start().await;
    let hit = |effect: Effect| emulator.set_fault(Fault::on("imds:token", effect).times(1));
    hit(Effect::Garbage);
    let noise = ask(&emulator, TOKEN_PUT, PATIENCE).await.unwrap();
    assert!(!noise.is_empty() && noise.iter().all(|byte| *byte >= 128), "noise, and not HTTP");
    hit(Effect::Close);
    assert_eq!(ask(&emulator, TOKEN_PUT, PATIENCE).await.unwrap(), b"");
    hit(Effect::SlowBody { bytes: 7, every_ms: 1 });
    assert!(ask(&emulator, TOKEN_PUT, PATIENCE).await.unwrap().ends_with(b"=="), "a whole token");
    hit(Effect::Redirect { to: "http://127.0.0.1:9/".into() });
    let redirect = String::from_utf8(ask(&emulator, TOKEN_PUT, PATIENCE).await.unwrap()).unwrap();
    assert!(redirect.starts_with("HTTP/1.1 302") && redirect.contains("location: http://127.0.0.1:9/\r\n"));
    hit(Effect::Deny(Denial::default()));
    assert!(ask(&emulator, TOKEN_PUT, PATIENCE).await.unwrap().starts_with(b"HTTP/1.1 403"));
    hit(Effect::Hang);
    let waited = ask(&emulator, TOKEN_PUT, Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(waited.kind(), std::io::ErrorKind::WouldBlock, "connected, and never answered");
    assert_eq!(emulator.counts().of("imds:token"), 6);
}

#[tokio::test]
async fn a_door_is_shut_and_opened_again() {
    let emulator = start().await;
    emulator.set_door(Door::Refuse);
    let refused = |emulator: &Emulator| TcpStream::connect_timeout(&emulator.addr(), PATIENCE).is_err();
    tokio::time::timeout(PATIENCE, async {
        while !refused(&emulator) {
            tokio::task::yield_now().await;
        }
        emulator.set_door(Door::Open);
        while ask(&emulator, TOKEN_PUT, PATIENCE).await.is_err() {}
        emulator.set_door(Door::Hang);
        let times_out = Duration::from_millis(100);
        while ask(&emulator, TOKEN_PUT, times_out).await.is_ok() {}
        emulator.set_door(Door::Open);
        // What the kernel dropped is sent again after a second.
        while ask(&emulator, TOKEN_PUT, PATIENCE).await.is_err() {}
    })
    .await
    .expect("the door follows");
}

#[tokio::test]
async fn boto3_and_the_aws_cli_find_what_they_expect() {
    let emulator = start().await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/test_emulator.py");
    let python = tokio::task::spawn_blocking(|| python::program("python")).await.expect("a virtual environment");
    let output = tokio::process::Command::new(python)
        .arg(script)
        .env("EMULATOR_URL", emulator.url())
        .stdin(Stdio::null())
        .output()
        .await
        .expect("python can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

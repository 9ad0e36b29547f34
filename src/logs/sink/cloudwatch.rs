//! CloudWatch Logs through the SDK. The body of `PutLogEvents` is written by us and handed to the SDK's operation
//! before it is signed; endpoint, signature and typed errors stay the SDK's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::config::http::HttpRequest;
use aws_sdk_cloudwatchlogs::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
    BeforeTransmitInterceptorContextRef,
};
use aws_sdk_cloudwatchlogs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_cloudwatchlogs::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_cloudwatchlogs::operation::put_log_events::PutLogEventsOutput;
use aws_sdk_cloudwatchlogs::types::LogGroup;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::body::SdkBody;
use aws_types::SdkConfig;
use bytes::Bytes;
use tokio::sync::watch;

use super::{Accepted, Answer, Failure, Kind, Sink};
use crate::clock::Clock;
use crate::fault::chain;

/// Is told the access key id that AWS called expired or unknown.
type OnRejected = Arc<dyn Fn(&str) + Send + Sync>;

/// The sink that ships.
#[derive(Clone)]
pub struct CloudWatch {
    client: watch::Receiver<Option<Client>>,
    clock: Clock,
    rejected: OnRejected,
}

impl CloudWatch {
    /// A sink for a client that may not be known yet (the region may have to come from IMDS): until it is, every call
    /// fails with [`Kind::NoCredentials`]. `rejected` is told the access key id that AWS called expired or unknown.
    #[must_use]
    pub fn new(sdk: watch::Receiver<Option<SdkConfig>>, clock: Clock, rejected: OnRejected) -> Self {
        let (sender, client) = watch::channel(client_of(&sdk));
        tokio::spawn(follow(sdk, sender));
        Self { client, clock, rejected }
    }

    fn client(&self) -> Result<Client, Failure> {
        let client = self.client.borrow().clone();
        client.ok_or_else(|| Failure {
            kind: Kind::NoCredentials,
            message: "the region is not known yet".to_owned(),
            hint: Some("set `region` in the configuration or AWS_REGION, or let IMDS be reached".to_owned()),
            retry_after: None,
        })
    }

    fn probe(&self) -> Probe {
        Probe { clock: self.clock.clone(), key_id: Arc::default(), body: None }
    }

    /// Classifies a failure, and passes on what others should know of it.
    fn failed<E>(&self, call: &Call<'_>, probe: &Probe, error: &SdkError<E, HttpResponse>) -> Failure
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let failure = classify(call, error);
        if failure.kind == Kind::CredentialsRejected
            && let Some(key_id) = probe.key_id.lock().unwrap_or_else(PoisonError::into_inner).as_deref()
        {
            (self.rejected)(key_id);
        }
        failure
    }
}

fn client_of(sdk: &watch::Receiver<Option<SdkConfig>>) -> Option<Client> {
    sdk.borrow().as_ref().map(Client::new)
}

async fn follow(mut sdk: watch::Receiver<Option<SdkConfig>>, sender: watch::Sender<Option<Client>>) {
    while sdk.changed().await.is_ok() {
        let client = client_of(&sdk);
        sdk.mark_unchanged();
        if sender.send(client).is_err() {
            return;
        }
    }
}

/// Sends one operation with our interceptor, and classifies its failure.
macro_rules! call {
    ($sink:expr, $call:expr, $probe:expr, $operation:expr) => {{
        let probe = $probe;
        let result = $operation.customize().interceptor(probe.clone()).send().await;
        result.map_err(|error| $sink.failed(&$call, &probe, &error))
    }};
}

impl Sink for CloudWatch {
    fn put(&self, log_group: &str, log_stream: &str, body: Bytes) -> Answer<Accepted> {
        let (sink, group, stream) = (self.clone(), log_group.to_owned(), log_stream.to_owned());
        Box::pin(async move {
            let call = Call { action: "PutLogEvents", group: &group, stream: Some(&stream) };
            let operation = sink.client()?.put_log_events().log_group_name(&group).log_stream_name(&stream);
            let operation = operation.set_log_events(Some(Vec::new()));
            let output = call!(sink, call, Probe { body: Some(body), ..sink.probe() }, operation)?;
            Ok(accepted(&output))
        })
    }

    fn create_group(&self, log_group: &str) -> Answer<()> {
        let (sink, group) = (self.clone(), log_group.to_owned());
        Box::pin(async move {
            let call = Call { action: "CreateLogGroup", group: &group, stream: None };
            let operation = sink.client()?.create_log_group().log_group_name(&group);
            call!(sink, call, sink.probe(), operation).map(|_| ())
        })
    }

    fn create_stream(&self, log_group: &str, log_stream: &str) -> Answer<()> {
        let (sink, group, stream) = (self.clone(), log_group.to_owned(), log_stream.to_owned());
        Box::pin(async move {
            let call = Call { action: "CreateLogStream", group: &group, stream: Some(&stream) };
            let operation = sink.client()?.create_log_stream().log_group_name(&group).log_stream_name(&stream);
            call!(sink, call, sink.probe(), operation).map(|_| ())
        })
    }

    fn retention(&self, log_group: &str) -> Answer<Option<u16>> {
        let (sink, group) = (self.clone(), log_group.to_owned());
        Box::pin(async move {
            let call = Call { action: "DescribeLogGroups", group: &group, stream: None };
            // The wanted group sorts first among those that begin with its name.
            let operation = sink.client()?.describe_log_groups().log_group_name_prefix(&group).limit(1);
            let output = call!(sink, call, sink.probe(), operation)?;
            let found = output.log_groups().iter().find(|found| found.log_group_name() == Some(group.as_str()));
            let days = found.and_then(LogGroup::retention_in_days);
            Ok(days.and_then(|days| u16::try_from(days).ok()))
        })
    }

    fn set_retention(&self, log_group: &str, days: u16) -> Answer<()> {
        let (sink, group) = (self.clone(), log_group.to_owned());
        Box::pin(async move {
            let call = Call { action: "PutRetentionPolicy", group: &group, stream: None };
            let operation = sink.client()?.put_retention_policy().log_group_name(&group);
            let operation = operation.retention_in_days(i32::from(days));
            call!(sink, call, sink.probe(), operation).map(|_| ())
        })
    }
}

fn accepted(output: &PutLogEventsOutput) -> Accepted {
    let index = |index: Option<i32>| index.and_then(|index| usize::try_from(index).ok());
    output.rejected_log_events_info().map_or_else(Accepted::default, |info| Accepted {
        too_old_end: index(info.too_old_log_event_end_index()),
        expired_end: index(info.expired_log_event_end_index()),
        too_new_start: index(info.too_new_log_event_start_index()),
    })
}

/// Rides along with one call: puts our body in before the signature, notes which key signed, and reads the server's time.
#[derive(Clone, Debug)]
struct Probe {
    clock: Clock,
    key_id: Arc<Mutex<Option<String>>>,
    body: Option<Bytes>,
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Probe {
    fn name(&self) -> &'static str {
        "imds-agent"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(body) = &self.body {
            let request = context.request_mut();
            request.headers_mut().insert("content-length", body.len().to_string());
            *request.body_mut() = SdkBody::from(body.clone());
        }
        Ok(())
    }

    fn read_after_signing(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        *self.key_id.lock().unwrap_or_else(PoisonError::into_inner) = key_id(context.request());
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date") {
            self.clock.observe_date(date);
        }
        Ok(())
    }
}

/// The access key id in `Authorization: AWS4-HMAC-SHA256 Credential=AKID/…`.
fn key_id(request: &HttpRequest) -> Option<String> {
    let (_, credential) = request.headers().get("authorization")?.split_once("Credential=")?;
    credential.split_once('/').map(|(key_id, _)| key_id.to_owned())
}

/// What was called.
struct Call<'a> {
    action: &'static str,
    group: &'a str,
    stream: Option<&'a str>,
}

impl Call<'_> {
    /// The ARN's last part, as a policy would name it.
    fn resource(&self) -> String {
        match self.stream {
            Some(stream) => format!("log-group:{}:log-stream:{stream}", self.group),
            None => format!("log-group:{}", self.group),
        }
    }
}

/// Which kind each error code is (CloudWatch Logs API reference, "Common errors"; AWS's SDKs' lists of throttling codes).
///
/// | code | kind |
/// |---|---|
/// | `ThrottlingException` and its kin, 429 | throttled |
/// | `ExpiredToken…`, `UnrecognizedClientException`, `InvalidClientTokenId` | credentials rejected |
/// | `AccessDenied…`, `OptInRequired` | denied |
/// | `ResourceNotFoundException` | not found |
/// | `InvalidParameterException` that names no group or stream | invalid events |
/// | `InvalidSignatureException`, `RequestExpired`… | clock skew |
/// | 5xx | unavailable |
/// | any other answer | refused |
fn kind_of(code: &str, message: &str, status: u16) -> Kind {
    match code {
        "ThrottlingException"
        | "Throttling"
        | "ThrottledException"
        | "RequestThrottled"
        | "SlowDown"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "OperationAbortedException" => Kind::Throttled,
        "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidToken"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId" => Kind::CredentialsRejected,
        "AccessDeniedException" | "AccessDenied" | "NotAuthorized" | "OptInRequired" => Kind::Denied,
        "ResourceNotFoundException" => Kind::NotFound,
        "ResourceAlreadyExistsException" => Kind::AlreadyExists,
        "InvalidParameterException" if names_the_place(message) => Kind::Refused,
        "InvalidParameterException" => Kind::InvalidEvents,
        "InvalidSignatureException" | "SignatureDoesNotMatch" | "RequestExpired" | "RequestTimeTooSkewed" => {
            Kind::ClockSkew
        }
        _ if status == 429 => Kind::Throttled,
        _ if status >= 500 => Kind::Unavailable,
        _ => Kind::Refused,
    }
}

/// Whether a complaint is about the group's or stream's name, which no event can cure.
fn names_the_place(message: &str) -> bool {
    ["logGroupName", "logStreamName", "log group name", "log stream name"].iter().any(|name| message.contains(name))
}

fn classify<E>(call: &Call<'_>, error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let Some(status) = status else { return unanswered(call, error) };
    let code = error.code().unwrap_or_default();
    let message = error.message().unwrap_or_default();
    let kind = kind_of(code, message, status);
    let what = if code.is_empty() { format!("HTTP {status}") } else { code.to_owned() };
    let separator = if message.is_empty() { "" } else { ": " };
    let resource = call.resource();
    Failure {
        kind,
        message: format!("logs:{} on {resource}: {what}{separator}{message}", call.action),
        hint: hint(kind, call),
        retry_after: error.raw_response().and_then(retry_after),
    }
}

/// `x-amz-retry-after` is in milliseconds, HTTP's own `Retry-After` in seconds.
fn retry_after(response: &HttpResponse) -> Option<Duration> {
    let number = |name: &str| response.headers().get(name)?.parse::<u64>().ok();
    let millis = number("x-amz-retry-after").map(Duration::from_millis);
    millis.or_else(|| number("retry-after").map(Duration::from_secs))
}

/// No answer: no credentials to sign with, no connection, or silence.
fn unanswered<E>(call: &Call<'_>, error: &SdkError<E, HttpResponse>) -> Failure
where
    E: std::error::Error + Send + Sync + 'static,
{
    let kind = if is_caused_by::<CredentialsError>(error) { Kind::NoCredentials } else { Kind::Unreachable };
    let reason = match kind {
        Kind::NoCredentials => "no credentials to sign with".to_owned(),
        _ => chain(error),
    };
    Failure { kind, message: format!("logs:{}: {reason}", call.action), hint: hint(kind, call), retry_after: None }
}

fn is_caused_by<T: std::error::Error + 'static>(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(this) = cause {
        if this.is::<T>() {
            return true;
        }
        cause = this.source();
    }
    false
}

fn hint(kind: Kind, call: &Call<'_>) -> Option<String> {
    match kind {
        Kind::Denied => Some(format!(
            "allow it in the role's policy: {{\"Effect\": \"Allow\", \"Action\": \"logs:{}\", \"Resource\": \
             \"arn:aws:logs:*:*:log-group:{}{}\"}}",
            call.action,
            call.group,
            if call.stream.is_some() { ":*" } else { "" }
        )),
        Kind::NoCredentials => Some("see `credentials` and `imds` in this report".to_owned()),
        Kind::Unreachable => Some(
            "check the route to the CloudWatch Logs endpoint: NAT or the VPC endpoint com.amazonaws.REGION.logs, a \
             security group that lets 443 out, HTTPS_PROXY"
                .to_owned(),
        ),
        Kind::ClockSkew => Some("set the machine's clock: `chronyc makestep`, or enable NTP".to_owned()),
        _ => None,
    }
}

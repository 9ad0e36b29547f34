//! CloudWatch Logs through the SDK. The body of `PutLogEvents` is written by us and handed to the SDK's operation
//! before it is signed; endpoint, signature and typed errors stay the SDK's.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::config::http::HttpRequest;
use aws_sdk_cloudwatchlogs::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
    BeforeTransmitInterceptorContextRef,
};
use aws_sdk_cloudwatchlogs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_cloudwatchlogs::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_cloudwatchlogs::operation::put_log_events::PutLogEventsOutput;
use aws_sdk_cloudwatchlogs::types::{LogGroup, LogGroupClass};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::body::SdkBody;
use aws_types::SdkConfig;
use bytes::Bytes;
use tokio::sync::watch;

use super::compression::Compression;
use super::words::{Call, classify};
use super::{Accepted, Answer, Failure, Group, Kind, Sink};
use crate::aws::partition;
use crate::clock::{Clock, boot_time};
use crate::fault::Warning;
use crate::logs::{GroupSettings, LogClass};

/// Is told the access key id that AWS called expired or unknown.
type OnRejected = Arc<dyn Fn(&str) + Send + Sync>;

/// Sends one operation with our interceptor, and classifies its failure.
macro_rules! call {
    ($sink:expr, $call:expr, $probe:expr, $operation:expr) => {{
        let probe = $probe;
        let result = $operation.customize().interceptor(probe.clone()).send().await;
        result.map_err(|error| $sink.failed(&$call, &probe, &error))
    }};
}

/// The sink that ships.
#[derive(Clone)]
pub struct CloudWatch {
    client: watch::Receiver<Option<Client>>,
    clock: Clock,
    rejected: OnRejected,
    compression: Compression,
}

impl CloudWatch {
    /// A sink for a client that may not be known yet (the region may have to come from IMDS): until it is, every call
    /// fails with [`Kind::NoCredentials`]. `rejected` is told the access key id that AWS called expired or unknown.
    #[must_use]
    pub fn new(sdk: watch::Receiver<Option<SdkConfig>>, clock: Clock, rejected: OnRejected) -> Self {
        let (sender, client) = watch::channel(client_of(&sdk));
        tokio::spawn(follow(sdk, sender));
        Self { client, clock, rejected, compression: Compression::new() }
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

    /// One `PutLogEvents`, whose body is ours.
    async fn send(&self, group: &str, stream: &str, body: Bytes, is_packed: bool) -> Result<Accepted, Failure> {
        let call = self.call("PutLogEvents", group, Some(stream));
        let operation = self.client()?.put_log_events().log_group_name(group).log_stream_name(stream);
        let operation = operation.set_log_events(Some(Vec::new()));
        match call!(self, call, Probe { body: Some(body), is_packed, ..self.probe() }, operation) {
            Ok(output) => Ok(accepted(&output)),
            // What stands in for AWS may know a batch again that it took before its answer was lost.
            Err(failure) if failure.kind == Kind::AlreadyExists => Ok(Accepted::default()),
            Err(failure) => Err(failure),
        }
    }

    fn call<'a>(&self, action: &'static str, group: &'a str, stream: Option<&'a str>) -> Call<'a> {
        let client = self.client.borrow();
        let region = client.as_ref().and_then(|client| client.config().region());
        Call { action, group, stream, partition: partition(region.map_or("", |region| region.as_ref())) }
    }

    fn probe(&self) -> Probe {
        Probe { clock: self.clock.clone(), key_id: Arc::default(), body: None, is_packed: false }
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

impl Sink for CloudWatch {
    fn put(&self, log_group: &str, log_stream: &str, body: Bytes, packed: bool) -> Answer<Accepted> {
        let (sink, group, stream) = (self.clone(), log_group.to_owned(), log_stream.to_owned());
        Box::pin(async move {
            let (now, compression) = (boot_time(), &sink.compression);
            let packed = if packed { compression.pack(&body, now).await } else { None };
            let Some(packed) = packed else { return sink.send(&group, &stream, body, false).await };
            match sink.send(&group, &stream, packed, true).await {
                Err(failure) if compression.may_be_why(&failure) => {
                    let plain = sink.send(&group, &stream, body, false).await;
                    if Compression::was_why(&failure, plain.as_ref().err()) {
                        compression.refused(&failure, now);
                    }
                    plain
                }
                answer => {
                    if answer.is_ok() {
                        compression.taken();
                    }
                    answer
                }
            }
        })
    }

    fn create_group(&self, log_group: &str, settings: &GroupSettings) -> Answer<()> {
        let (sink, group, settings) = (self.clone(), log_group.to_owned(), settings.clone());
        Box::pin(async move {
            let call = sink.call("CreateLogGroup", &group, None);
            let class = settings.log_class.map(|class| match class {
                LogClass::Standard => LogGroupClass::Standard,
                LogClass::InfrequentAccess => LogGroupClass::InfrequentAccess,
            });
            let tags = (!settings.tags.is_empty()).then(|| settings.tags.into_iter().collect());
            let operation = sink.client()?.create_log_group().log_group_name(&group).set_log_group_class(class);
            let operation = operation.set_kms_key_id(settings.kms_key_id).set_tags(tags);
            call!(sink, call, sink.probe(), operation).map(|_| ())
        })
    }

    fn create_stream(&self, log_group: &str, log_stream: &str) -> Answer<()> {
        let (sink, group, stream) = (self.clone(), log_group.to_owned(), log_stream.to_owned());
        Box::pin(async move {
            let call = sink.call("CreateLogStream", &group, Some(&stream));
            let operation = sink.client()?.create_log_stream().log_group_name(&group).log_stream_name(&stream);
            call!(sink, call, sink.probe(), operation).map(|_| ())
        })
    }

    fn group(&self, log_group: &str) -> Answer<Option<Group>> {
        let (sink, group) = (self.clone(), log_group.to_owned());
        Box::pin(async move {
            let call = sink.call("DescribeLogGroups", &group, None);
            // The wanted group sorts first among those that begin with its name.
            let operation = sink.client()?.describe_log_groups().log_group_name_prefix(&group).limit(1);
            let output = call!(sink, call, sink.probe(), operation)?;
            let found = output.log_groups().iter().find(|found| found.log_group_name() == Some(group.as_str()));
            Ok(found.map(described))
        })
    }

    fn set_retention(&self, log_group: &str, days: u16) -> Answer<()> {
        let (sink, group) = (self.clone(), log_group.to_owned());
        Box::pin(async move {
            let call = sink.call("PutRetentionPolicy", &group, None);
            let operation = sink.client()?.put_retention_policy().log_group_name(&group);
            let operation = operation.retention_in_days(i32::from(days));
            call!(sink, call, sink.probe(), operation).map(|_| ())
        })
    }

    fn warnings(&self) -> Vec<Warning> {
        self.compression.warning().into_iter().collect()
    }
}

fn described(group: &LogGroup) -> Group {
    Group {
        retention_in_days: group.retention_in_days().and_then(|days| u16::try_from(days).ok()),
        log_class: group.log_group_class().map(|class| class.as_str().to_owned()),
        kms_key_id: group.kms_key_id().map(str::to_owned),
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
    /// Whether that is gzip.
    is_packed: bool,
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
            if self.is_packed {
                request.headers_mut().insert("content-encoding", "gzip");
            }
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

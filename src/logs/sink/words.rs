//! What AWS's answers mean: which kind a failure is, in words that name the operation, the thing, the reason and the
//! cure. Not what is done about it: that is `delivery::retry`.

use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_cloudwatchlogs::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::{Failure, Kind};
use crate::aws::certificate_hint;
use crate::denial::{self, Denial};
use crate::fault::chain;

/// No answer silences a stream for longer: AWS asks for seconds, and what stands in for it may ask for anything.
const LONGEST_ASKED: Duration = Duration::from_mins(5);

/// What was called.
pub(super) struct Call<'a> {
    pub(super) action: &'static str,
    pub(super) group: &'a str,
    pub(super) stream: Option<&'a str>,
    /// `aws`, `aws-cn`, `aws-us-gov`…: what ARNs begin with in this region.
    pub(super) partition: &'static str,
}

impl Call<'_> {
    /// The ARN's last part, as a policy would name it.
    fn resource(&self) -> String {
        match self.stream {
            Some(stream) => format!("log-group:{}:log-stream:{stream}", self.group),
            None => format!("log-group:{}", self.group),
        }
    }

    /// AWS's own words name the action, which may be another than the one that was called: tags at creation need
    /// `logs:TagResource`. What they leave out is known here.
    fn denied(&self, message: &str) -> Denial {
        let action = format!("logs:{}", self.action);
        let resource = format!("arn:{}:logs:*:*:{}", self.partition, self.resource());
        denial::Call { action: &action, resource: &resource, ..denial::Call::default() }.denied(message)
    }
}

/// Which kind each error code is (CloudWatch Logs API reference, "Common errors"; AWS's SDKs' lists of throttling codes).
///
/// | code | kind |
/// |---|---|
/// | `ThrottlingException` and its kin, 429 | throttled |
/// | `ExpiredToken…`, `UnrecognizedClientException`, `InvalidClientTokenId` | credentials rejected |
/// | `AccessDenied…`, `OptInRequired` | denied |
/// | `ResourceNotFoundException`, "The specified log group does not exist." | group not found |
/// | `ResourceNotFoundException` otherwise | not found |
/// | `ResourceAlreadyExistsException`, `DataAlreadyAcceptedException` | already exists |
/// | `InvalidParameterException` that names no group or stream, 413 | invalid events |
/// | `LimitExceededException` | limit reached |
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
        "ResourceNotFoundException" if message.contains("log group does not exist") => Kind::GroupNotFound,
        "ResourceNotFoundException" => Kind::NotFound,
        "ResourceAlreadyExistsException" | "DataAlreadyAcceptedException" => Kind::AlreadyExists,
        "LimitExceededException" => Kind::LimitReached,
        "InvalidParameterException" if names_the_place(message) => Kind::Refused,
        "InvalidParameterException" => Kind::InvalidEvents,
        "InvalidSignatureException" | "SignatureDoesNotMatch" | "RequestExpired" | "RequestTimeTooSkewed" => {
            Kind::ClockSkew
        }
        _ if status == 429 => Kind::Throttled,
        // Something on the way takes less than AWS does: nginx no more than 1 MiB by default, with all that JSON adds.
        _ if status == 413 => Kind::InvalidEvents,
        _ if status >= 500 => Kind::Unavailable,
        _ => Kind::Refused,
    }
}

/// Whether a complaint is about the group's or stream's name, which no event can cure.
fn names_the_place(message: &str) -> bool {
    ["logGroupName", "logStreamName", "log group name", "log stream name"].iter().any(|name| message.contains(name))
}

/// What kind of failure it is, in words that name the operation, the thing, the reason and the cure.
pub(super) fn classify<E>(call: &Call<'_>, error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let Some(status) = status else { return unanswered(call, error) };
    let code = error.code().unwrap_or_default();
    let message = error.message().unwrap_or_default();
    let kind = kind_of(code, message, status);
    let what = match code {
        "" if status < 300 => format!("HTTP {status} without an answer of CloudWatch's: {}", chain(error)),
        "" => format!("HTTP {status}"),
        code => code.to_owned(),
    };
    let separator = if message.is_empty() { "" } else { ": " };
    let resource = call.resource();
    Failure {
        kind,
        message: format!("logs:{} on {resource}: {what}{separator}{message}", call.action),
        hint: hint(kind, call, code, message),
        retry_after: error.raw_response().and_then(retry_after),
    }
}

/// `x-amz-retry-after` is in milliseconds, HTTP's own `Retry-After` in seconds. At most [`LONGEST_ASKED`].
fn retry_after(response: &HttpResponse) -> Option<Duration> {
    let number = |name: &str| response.headers().get(name)?.parse::<u64>().ok();
    let millis = number("x-amz-retry-after").map(Duration::from_millis);
    let asked = millis.or_else(|| number("retry-after").map(Duration::from_secs));
    asked.map(|asked| asked.min(LONGEST_ASKED))
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
    let hint = certificate_hint(&reason).map(str::to_owned).or_else(|| hint(kind, call, "", ""));
    Failure { kind, message: format!("logs:{}: {reason}", call.action), hint, retry_after: None }
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

/// What cures it; where AWS answered, `code` and `message` are its own.
fn hint(kind: Kind, call: &Call<'_>, code: &str, message: &str) -> Option<String> {
    let known = || denial::cure(code, message);
    match kind {
        // Words about a KMS key say more than the code.
        Kind::Denied => known().or_else(|| call.denied(message).hint()),
        Kind::LimitReached if call.action == "CreateLogGroup" => Some(
            "the account has as many log groups as it may have: delete some, or ask for more: `aws service-quotas \
             list-service-quotas --service-code logs`"
                .to_owned(),
        ),
        Kind::LimitReached => {
            Some("see the account's quotas: `aws service-quotas list-service-quotas --service-code logs`".to_owned())
        }
        Kind::NoCredentials => Some("see `credentials` and `imds` in this report".to_owned()),
        Kind::CredentialsRejected => Some(
            "other credentials were asked for; if it goes on, see `credentials` in this report, and `imds-agent doctor`"
                .to_owned(),
        ),
        Kind::Unreachable => Some(
            "check the route to the CloudWatch Logs endpoint: NAT or the VPC endpoint com.amazonaws.REGION.logs, a \
             security group that lets 443 out, HTTPS_PROXY"
                .to_owned(),
        ),
        Kind::Refused if code.is_empty() => Some(
            "that is no answer of AWS's: see what stands between here and there: HTTPS_PROXY, AWS_ENDPOINT_URL, a \
             portal that wants a login"
                .to_owned(),
        ),
        _ => known(),
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::http::StatusCode;
    use aws_smithy_types::body::SdkBody;

    use super::*;

    fn asked(name: &'static str, value: &'static str) -> Option<Duration> {
        let mut response = HttpResponse::new(StatusCode::try_from(503).expect("a status"), SdkBody::empty());
        response.headers_mut().insert(name, value);
        retry_after(&response)
    }

    #[test]
    fn who_asks_for_patience_gets_it_up_to_a_bound() {
        assert_eq!(asked("x-amz-retry-after", "1500"), Some(Duration::from_millis(1500)));
        assert_eq!(asked("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("retry-after", "18446744073709551615"), Some(LONGEST_ASKED));
        assert_eq!(asked("x-amz-retry-after", "18446744073709551615"), Some(LONGEST_ASKED));
        assert_eq!(asked("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }

    #[test]
    fn a_missing_group_is_told_from_a_missing_stream_if_it_is_said() {
        let kind = |message| kind_of("ResourceNotFoundException", message, 400);
        assert_eq!(kind("The specified log group does not exist."), Kind::GroupNotFound);
        assert_eq!(kind("The specified log stream does not exist."), Kind::NotFound);
        assert_eq!(kind(""), Kind::NotFound);
    }

    fn hinted(kind: Kind, action: &'static str, code: &str, message: &str) -> String {
        let call = Call { action, group: "g", stream: None, partition: "aws" };
        hint(kind, &call, code, message).unwrap_or_default()
    }

    #[test]
    fn the_cure_is_that_of_what_was_said_and_not_only_of_the_code() {
        let kms = "The specified KMS key does not exist or is not allowed to be used with LogGroup 'arn:aws:logs:x'";
        assert!(hinted(Kind::Denied, "CreateLogGroup", "AccessDeniedException", kms).contains("key policy"));
        let kms = "The specified KMS Key Id could not be found.";
        let kind = kind_of("InvalidParameterException", kms, 400);
        assert!(hinted(kind, "CreateLogGroup", "InvalidParameterException", kms).contains("key policy"));
        let secret = "The request signature we calculated does not match the signature you provided.";
        let hint = hinted(Kind::ClockSkew, "PutLogEvents", "InvalidSignatureException", secret);
        assert!(hint.contains("half-changed keys"), "{hint}");
        let clock = "Signature expired: 1 is now earlier than 2";
        assert!(hinted(Kind::ClockSkew, "PutLogEvents", "InvalidSignatureException", clock).contains("chronyc"));
        assert!(hinted(Kind::Refused, "PutLogEvents", "", "").contains("HTTPS_PROXY"));
        assert!(!hinted(Kind::LimitReached, "CreateLogStream", "LimitExceededException", "").contains("log groups"));
    }
}

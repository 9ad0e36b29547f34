//! One signed call of a service that has no client here, in AWS's JSON protocol: `SigV4` by the SDKs' own code, by the way
//! that the SDKs' clients take. What a good answer holds is not looked at: it may be a secret.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use serde_json::Value;
use tokio::time::timeout;

use crate::doctor::reach::{Api, Endpoint};
use crate::doctor::refused::Failure;
use crate::doctor::visit::Ground;
use crate::fault::chain;

/// All of it, on a way that may be long.
const PATIENCE: Duration = Duration::from_millis(3300);

/// The most of an error that is read: AWS's are a hundredth of it.
const LONGEST_ERROR: usize = 1 << 16;

/// A call.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) api: Api,
    pub(super) region: &'a str,
    /// `AmazonSSM.GetParameter`
    pub(super) target: String,
    pub(super) body: Value,
}

impl Call<'_> {
    /// Makes it; what a good answer holds is dropped unseen.
    pub(super) async fn make(&self, ground: &Ground, keys: &Credentials) -> Result<(), Failure> {
        let unanswered = |reason: String| Failure::Unanswered { reason };
        let made = async {
            let endpoint = Endpoint::of(self.api, self.region, &ground.aws).await.map_err(unanswered)?;
            let request = self.request(&endpoint.url, ground, keys).map_err(unanswered)?;
            let asking = ground.aws.ask(request, &ground.clock).map_err(|error| unanswered(chain(&error)))?;
            let mut answer = asking.await.map_err(|error| unanswered(chain(&error)))?;
            let status = answer.status();
            if status.is_success() {
                return Ok(());
            }
            let kind = answer.headers().get("x-amzn-errortype").map(str::to_owned);
            let body = read(answer.body_mut()).await;
            let (code, message) = error_in(kind.as_deref(), &body);
            Err(Failure::answered(
                status.as_u16(),
                code.unwrap_or_else(|| format!("HTTP {}", status.as_u16())),
                message,
            ))
        };
        let silence = || unanswered(format!("no answer within {:.1} s", PATIENCE.as_secs_f64()));
        timeout(PATIENCE, made).await.unwrap_or_else(|_| Err(silence()))
    }

    fn request(&self, url: &str, ground: &Ground, keys: &Credentials) -> Result<HttpRequest, String> {
        let url = format!("{}/", url.trim_end_matches('/'));
        let body = self.body.to_string();
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", self.target.as_str())];
        let identity = keys.clone().into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(self.api.prefix())
            .time(ground.clock.system_time())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| chain(&error))?;
        let signable =
            SignableRequest::new("POST", url.as_str(), headers.into_iter(), SignableBody::Bytes(body.as_bytes()));
        let signable = signable.map_err(|error| chain(&error))?;
        let (signature, _) = sign(signable, &params.into()).map_err(|error| chain(&error))?.into_parts();
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method("POST").map_err(|error| chain(&error))?;
        request.set_uri(url.as_str()).map_err(|error| chain(&error))?;
        for (name, value) in headers {
            request.headers_mut().insert(name, value.to_owned());
        }
        for (name, value) in signature.headers() {
            request.headers_mut().insert(name.to_owned(), value.to_owned());
        }
        Ok(request)
    }
}

/// The beginning of an answer's body.
async fn read(body: &mut SdkBody) -> Vec<u8> {
    let mut text = Vec::new();
    while let Some(Ok(chunk)) = http_body_util::BodyExt::frame(body).await {
        text.extend(chunk.into_data().unwrap_or_default());
        if text.len() > LONGEST_ERROR {
            break;
        }
    }
    text.truncate(LONGEST_ERROR);
    text
}

/// The code and the message of an error (awsJson1.1: the code may have a namespace in front and a URL behind).
fn error_in(header: Option<&str>, body: &[u8]) -> (Option<String>, String) {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| document.get(name).and_then(Value::as_str).map(str::to_owned);
    let code = header.map(str::to_owned).or_else(|| text("__type")).map(|code| {
        let code = code.split(':').next().unwrap_or_default();
        code.rsplit('#').next().unwrap_or_default().to_owned()
    });
    let said = text("message").or_else(|| text("Message"));
    (
        code,
        said.unwrap_or_else(|| {
            if document.is_null() { String::from_utf8_lossy(body).into_owned() } else { String::new() }
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_read_however_the_service_writes_it() {
        let read = |header: Option<&str>, body: &str| error_in(header, body.as_bytes());
        let denied = (Some("AccessDeniedException".to_owned()), "no".to_owned());
        assert_eq!(read(None, r#"{"__type":"AccessDeniedException","Message":"no"}"#), denied);
        assert_eq!(read(None, r#"{"__type":"com.amazonaws.ssm#AccessDeniedException","message":"no"}"#), denied);
        assert_eq!(read(Some("AccessDeniedException:http://internal/"), r#"{"message":"no"}"#), denied);
        assert_eq!(read(None, "<html>proxy</html>"), (None, "<html>proxy</html>".to_owned()));
    }
}

//! Which operation of which service a request is for: by method, path, `X-Amz-Target` and `Action`. Not what it does.

use std::borrow::Cow;

use hyper::body::Bytes;
use hyper::{Method, Request};

use super::container;

/// The prefix of `X-Amz-Target` (CloudWatch Logs API, version 2014-03-28).
const LOGS_TARGET: &str = "Logs_20140328.";

/// The same of the services that keep something under lock, with what their signatures and their actions begin with.
const VAULTS: [(&str, &str); 3] =
    [("AmazonSSM.", "ssm"), ("AmazonEC2ContainerRegistry_V20150921.", "ecr"), ("secretsmanager.", "secretsmanager")];

/// An operation, as far as the request names one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// What tests set and read.
    Control,
    /// A token of the metadata service.
    Token,
    /// A container's credentials.
    Container,
    /// Anything else of the metadata service.
    Metadata,
    /// An action of STS.
    Sts(String),
    /// An action of CloudWatch Logs.
    Logs(String),
    /// An action of SSM, ECR or Secrets Manager: the service's prefix and the action.
    Vault(&'static str, String),
}

impl Operation {
    /// Classifies a request; whatever is not an API call is the metadata service's.
    pub(super) fn of(request: &Request<Bytes>) -> Self {
        let path = request.uri().path();
        if path.starts_with("/_emulator/") {
            return Self::Control;
        }
        if request.method() == Method::POST && path == "/" {
            let target = header(request, "x-amz-target");
            let vault = |target: &str| {
                VAULTS.iter().find_map(|(prefix, service)| Some((*service, target.strip_prefix(prefix)?.to_string())))
            };
            if let Some((service, action)) = target.and_then(vault) {
                return Self::Vault(service, action);
            }
            return match target {
                Some(target) => Self::Logs(target.strip_prefix(LOGS_TARGET).unwrap_or(target).to_string()),
                None => Self::Sts(form(request.body(), "Action").unwrap_or_default().into_owned()),
            };
        }
        if path.starts_with(container::PREFIX) {
            return Self::Container;
        }
        // Dated paths included: `/2021-03-23/api/token`.
        if request.method() == Method::PUT && path.ends_with("/api/token") {
            return Self::Token;
        }
        Self::Metadata
    }

    /// The name that faults, counters and people use. An action that IAM would not know is `unknown`, so that
    /// what callers send can't make the counters grow.
    pub(super) fn name(&self) -> String {
        let known = |action: &str| {
            let word = action.len() <= 64 && action.bytes().all(|byte| byte.is_ascii_alphabetic());
            if word && !action.is_empty() { action.to_string() } else { "unknown".to_string() }
        };
        match self {
            Self::Control => "emulator".into(),
            Self::Container => "container:get".into(),
            Self::Token => "imds:token".into(),
            Self::Metadata => "imds:get".into(),
            Self::Sts(action) => format!("sts:{}", known(action)),
            Self::Logs(action) => format!("logs:{}", known(action)),
            Self::Vault(service, action) => format!("{service}:{}", known(action)),
        }
    }
}

/// A header's text, if it is there and is text.
pub(super) fn header<'a>(request: &'a Request<Bytes>, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

/// A field of an `application/x-www-form-urlencoded` body or query.
pub(super) fn form<'a>(text: &'a [u8], name: &str) -> Option<Cow<'a, str>> {
    url::form_urlencoded::parse(text).find_map(|(key, value)| (key == name).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(method: &str, path: &str, target: Option<&str>, body: &'static str) -> String {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(target) = target {
            request = request.header("x-amz-target", target);
        }
        Operation::of(&request.body(Bytes::from(body)).unwrap()).name()
    }

    #[test]
    fn requests_are_told_apart_by_method_path_target_and_action() {
        assert_eq!(name("PUT", "/latest/api/token", None, ""), "imds:token");
        assert_eq!(name("PUT", "/2021-03-23/api/token", None, ""), "imds:token");
        assert_eq!(name("GET", "/latest/meta-data/", None, ""), "imds:get");
        assert_eq!(name("POST", "/", Some("Logs_20140328.PutLogEvents"), "{}"), "logs:PutLogEvents");
        assert_eq!(name("POST", "/", None, "Version=2011-06-15&Action=GetCallerIdentity"), "sts:GetCallerIdentity");
        assert_eq!(name("POST", "/", None, "hello"), "sts:unknown");
        assert_eq!(name("GET", "/v2/credentials/emulated", None, ""), "container:get");
        assert_eq!(name("POST", "/", Some("Other.Thing/1"), ""), "logs:unknown");
        assert_eq!(name("GET", "/_emulator/state", None, ""), "emulator");
    }
}

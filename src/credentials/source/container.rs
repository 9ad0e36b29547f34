//! The credentials that ECS, EKS and others serve to a container: which address is asked, with which token, and what
//! the answer means. Not the wire (`exchange`).
//!
//! `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` wins over `…_FULL_URI`, and `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE` over
//! `…_TOKEN` (FACTS, container protocol). The token goes in clear, hence plain HTTP only to this machine's own addresses.

use std::net::IpAddr;
use std::time::Duration;

use aws_credential_types::Credentials;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};
use zeroize::Zeroizing;

use super::exchange::{Exchange, Failure};
use super::secret_file::read;
use super::variables::{AUTHORIZATION, AUTHORIZATION_FILE, Environment, FULL_URI, RELATIVE_URI};
use super::{Fetched, Fetching, Source};
use crate::clock::{self, Clock};
use crate::credentials::Error;

/// Where relative addresses are: ECS's agent.
const ECS: &str = "http://169.254.170.2";

/// Beside loopback, what plain HTTP may go to: ECS's agent, and EKS's on IPv4 and IPv6 (FACTS, container protocol).
const LINK_LOCAL: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// How long one fetch may take, retries included (as for IMDS).
const WHOLE_OPERATION: Duration = Duration::from_secs(3);

/// The longest token: EKS's are JWTs of a kilobyte or two.
const LONGEST_TOKEN: u64 = 16 << 10;

/// The role's name where the endpoint does not tell.
const NAMELESS: &str = "container";

/// The protocol's answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    access_key_id: Zeroizing<String>,
    secret_access_key: Zeroizing<String>,
    token: Option<Zeroizing<String>>,
    expiration: String,
    role_arn: Option<String>,
    account_id: Option<String>,
}

/// Asks the endpoint that the variables name.
#[derive(Debug)]
pub(super) struct Container {
    environment: Environment,
    exchange: Exchange,
}

impl Container {
    pub(super) fn new(environment: &Environment, clock: Clock) -> Self {
        Self { environment: environment.clone(), exchange: Exchange::new(clock) }
    }

    /// The variable that says where to ask.
    fn variable(&self) -> &'static str {
        if self.environment.relative_uri.is_some() { RELATIVE_URI } else { FULL_URI }
    }

    async fn ask(&self) -> Result<Fetched, Error> {
        let url = endpoint(&self.environment)?;
        let address = format!("{}{}", url.origin().ascii_serialization(), url.path());
        let failed = |failure: Failure| Error::Endpoint {
            address: address.clone(),
            variable: self.variable(),
            reason: failure.reason(),
            cure: failure.cure(self.variable()),
        };
        let until = Instant::now() + WHOLE_OPERATION;
        let mut attempt = 0;
        loop {
            attempt += 1;
            // Read anew for each attempt, too: it may have been refused because it had just been rotated.
            let token = self.authorization().await?;
            let answer = timeout_at(until, self.exchange.get(&url, token)).await;
            let late = |_| Err(Failure::NoAnswer(format!("nothing within {} s", WHOLE_OPERATION.as_secs())));
            let failure = match answer.unwrap_or_else(late).and_then(|body| parse(&body)) {
                Ok(fetched) => return Ok(fetched),
                Err(failure) => failure,
            };
            let wait = failure.wait(attempt).map(|wait| Instant::now() + wait.mul_f64(fastrand::f64()));
            let Some(next) = wait.filter(|next| *next < until) else { return Err(failed(failure)) };
            tokio::time::sleep_until(next).await;
        }
    }

    /// What goes into the `Authorization` header, if anything.
    async fn authorization(&self) -> Result<Option<HeaderValue>, Error> {
        let (variable, whose, text) = match (&self.environment.authorization_file, &self.environment.authorization) {
            (Some(path), _) => {
                let whose = format!("names {}, which", path.display());
                let text = read(path.clone(), LONGEST_TOKEN).await.map_err(|error| Error::Variable {
                    variable: AUTHORIZATION_FILE,
                    reason: format!("{whose} can't be read: {error}"),
                    cure: format!("ls -l {}: the token must be there, for this user to read", path.display()),
                })?;
                (AUTHORIZATION_FILE, whose, text)
            }
            (None, Some(text)) => (AUTHORIZATION, "is set, and".to_owned(), text.clone()),
            (None, None) => return Ok(None),
        };
        let broken = |reason: &str, cure: &str| Error::Variable {
            variable,
            reason: format!("{whose} {reason}"),
            cure: cure.to_owned(),
        };
        if text.contains(['\r', '\n']) {
            return Err(broken("holds a line break, which no header can", "write it without: printf %s TOKEN >FILE"));
        }
        let header = HeaderValue::from_str(&text).ok().filter(|_| !text.is_empty());
        let mut header = header.ok_or_else(|| broken("holds no token", "write the token there, and nothing else"))?;
        header.set_sensitive(true);
        Ok(Some(header))
    }
}

impl Source for Container {
    fn describe(&self) -> String {
        let is_set = self.environment.relative_uri.is_some() || self.environment.full_uri.is_some();
        if is_set {
            format!("container ({} is set)", self.variable())
        } else {
            "container (as `source` says)".to_owned()
        }
    }

    fn fetch(&self) -> Fetching<'_> {
        Box::pin(self.ask())
    }
}

/// Where to ask.
fn endpoint(environment: &Environment) -> Result<Url, Error> {
    let broken = |variable: &'static str, reason: String, cure: &str| Error::Variable {
        variable,
        reason,
        cure: cure.to_owned(),
    };
    if let Some(path) = &environment.relative_uri {
        let cure = "ECS sets it; it begins with a `/`";
        let is_path = path.starts_with('/') && !path.starts_with("//");
        let url = Url::parse(&format!("{ECS}{path}")).ok().filter(|_| is_path);
        return url.ok_or_else(|| broken(RELATIVE_URI, "is no path".to_owned(), cure));
    }
    let Some(text) = &environment.full_uri else {
        let reason = format!("is not set, nor is {RELATIVE_URI}, and source = \"container\" needs one");
        return Err(broken(FULL_URI, reason, "remove `source`, or set it in the service's environment"));
    };
    let cure = "name an address that begins with http:// and is this machine's own";
    let url = Url::parse(text).map_err(|error| broken(FULL_URI, format!("is no URL: {error}"), cure))?;
    match url.host() {
        _ if url.scheme() != "http" => {
            Err(broken(FULL_URI, format!("begins with {}://, and only http:// is spoken here", url.scheme()), cure))
        }
        Some(host) if is_own(&host) => Ok(url),
        host => {
            let host = host.map(|host| host.to_string()).unwrap_or_default();
            let own = "loopback, 169.254.170.2, 169.254.170.23 and fd00:ec2::23";
            let reason = format!("names the host {host}; plain http may go to {own} only, since it carries a token");
            Err(broken(FULL_URI, reason, cure))
        }
    }
}

/// Whether what is sent there stays on this machine. `localhost` is loopback here whatever anybody says of it.
fn is_own(host: &Host<&str>) -> bool {
    let address = match host {
        Host::Domain(name) => return *name == "localhost",
        Host::Ipv4(address) => IpAddr::V4(*address),
        Host::Ipv6(address) => IpAddr::V6(*address),
    };
    address.is_loopback() || LINK_LOCAL.iter().any(|known| known.parse() == Ok(address))
}

/// What the endpoint answered. Nothing of it is quoted: it may be secret.
fn parse(body: &[u8]) -> Result<Fetched, Failure> {
    let mut document: Document = serde_json::from_slice(body).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Failure::BadDocument(format!("it is not the JSON that belongs there ({place})"))
    })?;
    if document.access_key_id.is_empty() || document.secret_access_key.is_empty() {
        return Err(Failure::BadDocument("it holds no keys".to_owned()));
    }
    let end = clock::expiration(&document.expiration)
        .ok_or_else(|| Failure::BadDocument("its Expiration is no time".to_owned()))?;
    // Moved, not copied: the SDK wipes its own strings, and what is left here is empty.
    let credentials = Credentials::new(
        std::mem::take(&mut *document.access_key_id),
        std::mem::take(&mut *document.secret_access_key),
        document.token.as_mut().map(|token| std::mem::take(&mut **token)),
        Some(end.into()),
        "container",
    );
    let name = document.role_arn.as_deref().and_then(|arn| arn.rsplit('/').next()).filter(|name| !name.is_empty());
    let role = name.unwrap_or(NAMELESS).to_owned();
    let Document { role_arn, account_id, .. } = document;
    Ok(Fetched { role_arn, account_id, ..Fetched::new(role, credentials, Some(end)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint_of(variables: &[(&str, &str)]) -> Result<String, String> {
        let environment = Environment::read(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        });
        endpoint(&environment).map(|url| url.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_relative_address_is_at_ecs_and_wins() {
        let both = [(RELATIVE_URI, "/v2/credentials/1?id=2"), (FULL_URI, "http://127.0.0.1:1/")];
        assert_eq!(endpoint_of(&both).unwrap(), "http://169.254.170.2/v2/credentials/1?id=2");
        for path in ["v2", "//evil.example/", "@evil.example/"] {
            let error = endpoint_of(&[(RELATIVE_URI, path)]).unwrap_err();
            assert!(error.starts_with(RELATIVE_URI), "{path}: {error}");
        }
    }

    #[test]
    fn plain_http_goes_to_this_machines_own_addresses_only() {
        for good in [
            "http://127.0.0.1:1339/role/app",
            "http://127.9.9.9/",
            "http://[::1]:80/x",
            "http://localhost:8080/x",
            "http://169.254.170.2/x",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1/credentials",
        ] {
            assert!(endpoint_of(&[(FULL_URI, good)]).is_ok(), "{good}");
        }
        for bad in [
            "http://169.254.169.254/",
            "http://10.0.0.1/",
            "http://example.com/",
            "http://localhost.example.com/",
            "http://127.0.0.1@example.com/",
            "https://127.0.0.1/",
            "file:///etc/passwd",
            "x",
        ] {
            let error = endpoint_of(&[(FULL_URI, bad)]).unwrap_err();
            assert!(error.starts_with(FULL_URI), "{bad}: {error}");
        }
    }

    #[test]
    fn an_answer_is_taken_as_it_was_issued() {
        let body = br#"{"AccessKeyId":"ASIA1","SecretAccessKey":"hunter2","Token":"tokentext",
            "Expiration":"2026-11-22T18:00:00Z","RoleArn":"arn:aws:iam::123456789012:role/team/task","AccountId":"1"}"#;
        let fetched = parse(body).unwrap();
        assert_eq!((fetched.role.as_str(), fetched.account_id.as_deref()), ("task", Some("1")));
        assert_eq!(fetched.expiration, Some("2026-11-22T18:00:00Z".parse().unwrap()));
        assert!(!format!("{fetched:?}").contains("hunter2"));
        let never = String::from_utf8_lossy(body).replace("2026-11-22T18:00:00Z", "9999-12-31T23:59:59Z");
        let fetched = parse(never.as_bytes()).unwrap();
        assert!(fetched.expiration.is_some() && fetched.credentials.expiry().is_some());
        for broken in ["{}", "[]", "", "{\"AccessKeyId\":\"\",\"SecretAccessKey\":\"\",\"Expiration\":\"x\"}"] {
            assert!(parse(broken.as_bytes()).is_err(), "{broken}");
        }
    }
}

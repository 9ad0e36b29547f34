//! A role assumed with an OIDC token that somebody keeps fresh in a file: CI runners, Kubernetes. The call is not signed.
//! Not the token's making.

use std::time::Duration;

use aws_types::SdkConfig;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::secret_file::read;
use super::sts::{self, Call};
use super::variables::{Environment, ROLE_ARN, TOKEN_FILE};
use super::{FETCH, Fetched, Fetching, Source};
use crate::credentials::Error;
use crate::credentials::request::Kind;

/// The action.
pub(in crate::credentials) const ACTION: &str = "sts:AssumeRoleWithWebIdentity";

/// How the session is called where nobody says.
const SESSION: &str = "imds-agent";

/// The longest token that STS takes (`AssumeRoleWithWebIdentity`).
const LONGEST_TOKEN: u64 = 20_000;

/// How long a fetch waits for a region that IMDS is about to tell.
const ABOUT_TO: Duration = Duration::from_secs(2);

/// Asks STS for a session with what is in the file then.
#[derive(Debug)]
pub(super) struct WebIdentity {
    environment: Environment,
    sdk: watch::Receiver<Option<SdkConfig>>,
}

impl WebIdentity {
    pub(super) fn new(environment: &Environment, sdk: watch::Receiver<Option<SdkConfig>>) -> Self {
        Self { environment: environment.clone(), sdk }
    }

    fn role_arn(&self) -> Result<&str, Error> {
        let broken = |reason: String| Error::Variable {
            variable: ROLE_ARN,
            reason,
            cure: format!("set it beside {TOKEN_FILE}: the ARN of the role that trusts the token's issuer"),
        };
        let arn = self.environment.role_arn.as_deref();
        let arn = arn.ok_or_else(|| broken(format!("is not set, and {TOKEN_FILE} is")))?;
        match Kind::Role.fault(arn) {
            Some(fault) => Err(broken(format!("is {arn:?}: {fault}"))),
            None => Ok(arn),
        }
    }

    /// The token, read anew each time: whoever writes it rotates it.
    async fn token(&self) -> Result<Zeroizing<String>, Error> {
        let path = self.environment.token_file.clone().unwrap_or_default();
        let broken = |reason: String| Error::Variable {
            variable: TOKEN_FILE,
            reason: format!("names {}, which {reason}", path.display()),
            cure: format!("ls -l {}: the token must be there, for this user to read", path.display()),
        };
        if path.as_os_str().is_empty() {
            let reason = "is not set, and source = \"web_identity\" needs it".to_owned();
            let cure = format!("set it, and {ROLE_ARN}, in the service's environment");
            return Err(Error::Variable { variable: TOKEN_FILE, reason, cure });
        }
        let text =
            read(path.clone(), LONGEST_TOKEN).await.map_err(|error| broken(format!("can't be read: {error}")))?;
        let token = Zeroizing::new(text.trim().to_owned());
        if token.is_empty() {
            return Err(broken("is empty".to_owned()));
        }
        Ok(token)
    }

    async fn ask(&self) -> Result<Fetched, Error> {
        let token = self.token().await?;
        let role_arn = self.role_arn()?;
        let sdk = sts::known(&self.sdk, ABOUT_TO).await?;
        let session = self.environment.session_name.as_deref().unwrap_or(SESSION);
        let operation = aws_sdk_sts::Client::new(&sdk)
            .assume_role_with_web_identity()
            .role_arn(role_arn)
            .role_session_name(session)
            .web_identity_token(token.as_str())
            .send();
        let region = sdk.region().map_or("", AsRef::as_ref);
        let call = Call { action: ACTION, resource: role_arn, further: Vec::new(), external_id: None, region };
        let answer = call.answer(operation).await?;
        let fetched = call.fetched(answer.credentials, answer.assumed_role_user)?;
        let role = role_arn.rsplit('/').next().unwrap_or(role_arn).to_owned();
        Ok(Fetched { role, role_arn: Some(role_arn.to_owned()), ..fetched })
    }
}

impl Source for WebIdentity {
    fn describe(&self) -> String {
        match self.environment.token_file {
            Some(_) => format!("web_identity ({TOKEN_FILE} is set)"),
            None => "web_identity (as `source` says)".to_owned(),
        }
    }

    /// The call has a deadline of its own, which names STS.
    fn patience(&self) -> Duration {
        2 * ABOUT_TO + FETCH
    }

    fn fetch(&self) -> Fetching<'_> {
        Box::pin(self.ask())
    }
}

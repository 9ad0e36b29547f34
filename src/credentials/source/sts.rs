//! What calls of STS have in common: how long one may take, what its failure is called, and what is in its answer. Not
//! which call.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::types::{AssumedRoleUser, Credentials as SessionCredentials};
use aws_types::SdkConfig;
use tokio::sync::watch;

use super::{FETCH, Fetched};
use crate::clock;
use crate::credentials::{Error, Refusal};
use crate::fault;

/// A call of STS, as its failure names it.
#[derive(Debug)]
pub(in crate::credentials) struct Call<'a> {
    pub(in crate::credentials) action: &'static str,
    pub(in crate::credentials) resource: &'a str,
    /// The further actions that it needs.
    pub(in crate::credentials) further: Vec<&'static str>,
    pub(in crate::credentials) external_id: Option<String>,
    pub(in crate::credentials) region: &'a str,
}

impl Call<'_> {
    /// The answer, or why there is none.
    pub(in crate::credentials) async fn answer<T, E>(
        &self,
        operation: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> Result<T, Error>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        match tokio::time::timeout(FETCH, operation).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(SdkError::ServiceError(error))) => Err(Error::Refused(Box::new(Refusal {
                action: self.action,
                resource: self.resource.to_owned(),
                code: error.err().code().unwrap_or("an error without a code").to_owned(),
                text: error.err().message().unwrap_or_default().to_owned(),
                further: self.further.clone(),
                external_id: self.external_id.clone(),
            }))),
            Ok(Err(error)) => Err(self.unreachable(fault::chain(&error))),
            Err(_) => Err(self.unreachable(format!("no answer within {} s", FETCH.as_secs()))),
        }
    }

    /// The credentials in an answer.
    pub(in crate::credentials) fn fetched(
        &self,
        credentials: Option<SessionCredentials>,
        user: Option<AssumedRoleUser>,
    ) -> Result<Fetched, Error> {
        let issued = credentials.ok_or_else(|| self.unreachable("its answer holds no credentials".to_owned()))?;
        let end = clock::expiration_of(issued.expiration.secs())
            .ok_or_else(|| self.unreachable("its answer holds an expiration that is no time".to_owned()))?;
        let SessionCredentials { access_key_id, secret_access_key, session_token, .. } = issued;
        let keys = Credentials::new(access_key_id, secret_access_key, Some(session_token), Some(end.into()), "STS");
        let arn = user.map(|user| user.arn);
        let account_id = self.resource.split(':').nth(4).map(str::to_owned);
        Ok(Fetched { arn, account_id, ..Fetched::new(String::new(), keys, Some(end)) })
    }

    fn unreachable(&self, reason: String) -> Error {
        Error::Unreachable { region: self.region.to_owned(), action: self.action, reason }
    }
}

/// How to call AWS; waits a little for a region that is about to be known.
pub(in crate::credentials) async fn known(
    sdk: &watch::Receiver<Option<SdkConfig>>,
    patience: Duration,
) -> Result<SdkConfig, Error> {
    let mut sdk = sdk.clone();
    let known = tokio::time::timeout(patience, sdk.wait_for(Option::is_some)).await;
    let known = known.ok().and_then(Result::ok).and_then(|sdk| sdk.clone());
    known.ok_or_else(|| Error::Variable {
        variable: "AWS_REGION",
        reason: "is not set, nor is `region` in the configuration, and the metadata service has not told it: STS's \
                 address is not known"
            .to_owned(),
        cure: "set region = \"…\" in the configuration, or see what is wrong with IMDS".to_owned(),
    })
}

//! Static keys from the environment, which never expire. Only when the configuration asks for them by name: they shadow
//! roles, and `auto` is for roles.

use aws_credential_types::Credentials;

use super::variables::{ACCESS_KEY_ID, Environment, SECRET_ACCESS_KEY};
use super::{Fetched, Fetching, Source};
use crate::credentials::Error;

/// The keys, as they were when the daemon started.
#[derive(Debug)]
pub(super) struct StaticKeys(Environment);

impl StaticKeys {
    pub(super) fn new(environment: &Environment) -> Self {
        Self(environment.clone())
    }

    fn keys(&self) -> Result<Credentials, Error> {
        let missing = |variable| Error::Variable {
            variable,
            reason: "is not set, and source = \"environment\" needs it".to_owned(),
            cure: "set it in the service's environment; better, give the instance a role and remove `source`"
                .to_owned(),
        };
        let key = self.0.access_key_id.clone().ok_or_else(|| missing(ACCESS_KEY_ID))?;
        let secret = self.0.secret_access_key.as_ref().ok_or_else(|| missing(SECRET_ACCESS_KEY))?;
        let token = self.0.session_token.as_ref().map(|token| token.to_string());
        Ok(Credentials::new(key, secret.to_string(), token, None, "environment"))
    }
}

impl Source for StaticKeys {
    fn describe(&self) -> String {
        format!("environment ({ACCESS_KEY_ID}, as `source` says)")
    }

    fn fetch(&self) -> Fetching<'_> {
        Box::pin(async { Ok(Fetched::new("environment".to_owned(), self.keys()?, None)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn fetch(variables: &[(&str, &str)]) -> Result<Fetched, Error> {
        let environment = Environment::read(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        });
        StaticKeys::new(&environment).fetch().await
    }

    #[tokio::test]
    async fn keys_never_expire_and_are_never_printed() {
        let keys = [(ACCESS_KEY_ID, "AKIA1"), (SECRET_ACCESS_KEY, "hunter2"), ("AWS_SESSION_TOKEN", "tokentext")];
        let fetched = fetch(&keys).await.unwrap();
        assert_eq!((fetched.credentials.access_key_id(), fetched.expiration), ("AKIA1", None));
        assert_eq!(fetched.credentials.session_token(), Some("tokentext"));
        let printed = format!("{fetched:?}");
        assert!(!printed.contains("hunter2") && !printed.contains("tokentext"), "{printed}");
    }

    #[tokio::test]
    async fn a_missing_half_is_named() {
        let error = fetch(&[(ACCESS_KEY_ID, "AKIA1")]).await.unwrap_err();
        assert!(error.to_string().starts_with("AWS_SECRET_ACCESS_KEY is not set"), "{error}");
        assert!(error.hint().is_some());
    }
}

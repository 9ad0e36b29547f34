//! What the environment says about where credentials come from, read once. Not what it means: that is each source's.

use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

/// Where the OIDC token is.
pub(super) const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";

/// Which role the OIDC token is for.
pub(super) const ROLE_ARN: &str = "AWS_ROLE_ARN";

/// How the session of a web identity is called.
const SESSION_NAME: &str = "AWS_ROLE_SESSION_NAME";

/// The path at ECS's endpoint.
pub(super) const RELATIVE_URI: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";

/// The whole address of another endpoint.
pub(super) const FULL_URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";

/// What goes into the `Authorization` header of either.
pub(super) const AUTHORIZATION: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";

/// Where what goes there is, if it changes.
pub(super) const AUTHORIZATION_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";

/// The static keys.
pub(super) const ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
pub(super) const SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";

/// The variables; an empty one counts as not set.
#[derive(Clone, Default)]
pub struct Environment {
    pub(super) token_file: Option<PathBuf>,
    pub(super) role_arn: Option<String>,
    pub(super) session_name: Option<String>,
    pub(super) relative_uri: Option<String>,
    pub(super) full_uri: Option<String>,
    pub(super) authorization: Option<Zeroizing<String>>,
    pub(super) authorization_file: Option<PathBuf>,
    pub(super) access_key_id: Option<String>,
    pub(super) secret_access_key: Option<Zeroizing<String>>,
    pub(super) session_token: Option<Zeroizing<String>>,
}

impl fmt::Debug for Environment {
    /// Which are set, and nothing of what they say: most of it is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = [
            (TOKEN_FILE, self.token_file.is_some()),
            (ROLE_ARN, self.role_arn.is_some()),
            (RELATIVE_URI, self.relative_uri.is_some()),
            (FULL_URI, self.full_uri.is_some()),
            (AUTHORIZATION, self.authorization.is_some()),
            (AUTHORIZATION_FILE, self.authorization_file.is_some()),
            (ACCESS_KEY_ID, self.access_key_id.is_some()),
            (SECRET_ACCESS_KEY, self.secret_access_key.is_some()),
        ];
        f.debug_set().entries(set.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name)).finish()
    }
}

impl Environment {
    /// Reads the process's environment.
    #[must_use]
    pub fn from_process() -> Self {
        Self::read(|name| std::env::var(name).ok())
    }

    /// The same from given variables.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let text = |name: &str| variable(name).filter(|value| !value.is_empty());
        Self {
            token_file: text(TOKEN_FILE).map(PathBuf::from),
            role_arn: text(ROLE_ARN),
            session_name: text(SESSION_NAME),
            relative_uri: text(RELATIVE_URI),
            full_uri: text(FULL_URI),
            authorization: text(AUTHORIZATION).map(Zeroizing::new),
            authorization_file: text(AUTHORIZATION_FILE).map(PathBuf::from),
            access_key_id: text(ACCESS_KEY_ID),
            secret_access_key: text(SECRET_ACCESS_KEY).map(Zeroizing::new),
            session_token: text(SESSION_TOKEN).map(Zeroizing::new),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_variables_say_is_never_printed() {
        let printed = format!("{:?}", Environment::read(|_| Some("hunter2".to_owned())));
        assert!(printed.contains(FULL_URI) && !printed.contains("hunter2"), "{printed}");
    }
}

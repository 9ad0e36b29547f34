//! Which place the base credentials come from, and why: what the configuration names, or the first whose variables are
//! set. Not what is done there.

use std::sync::Arc;

use aws_types::SdkConfig;
use tokio::sync::watch;

use super::container::Container;
use super::environment::StaticKeys;
use super::instance::Instance;
use super::variables::{self, Environment};
use super::web_identity::WebIdentity;
use super::{Source, SourceKind};
use crate::clock::Clock;
use crate::imds::ImdsClient;

impl Environment {
    /// What `auto` means here. Web identity comes before a container's endpoint, as in AWS's SDKs, and both before the
    /// instance: who sets their variables means this process, and not all that run on the instance.
    #[must_use]
    pub fn resolve(&self, kind: SourceKind) -> SourceKind {
        match kind {
            SourceKind::Auto if self.token_file.is_some() => SourceKind::WebIdentity,
            SourceKind::Auto if self.relative_uri.is_some() || self.full_uri.is_some() => SourceKind::Container,
            SourceKind::Auto => SourceKind::Instance,
            named => named,
        }
    }
}

/// Where the base credentials come from, as `kind` and the environment say.
#[must_use]
pub fn base_source(
    kind: SourceKind,
    environment: &Environment,
    imds: ImdsClient,
    sdk: watch::Receiver<Option<SdkConfig>>,
    clock: &Clock,
) -> Arc<dyn Source> {
    match environment.resolve(kind) {
        SourceKind::WebIdentity => Arc::new(WebIdentity::new(environment, sdk)),
        SourceKind::Container => Arc::new(Container::new(environment, clock.clone())),
        SourceKind::Environment => Arc::new(StaticKeys::new(environment)),
        SourceKind::Instance | SourceKind::Auto => {
            let why = match kind {
                SourceKind::Auto => format!("neither {} nor a container's variables are set", variables::TOKEN_FILE),
                _ => "as `source` says".to_owned(),
            };
            Arc::new(Instance { imds, why })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imds;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::read(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn described(kind: SourceKind, variables: &[(&str, &str)]) -> String {
        let settings = imds::Settings { endpoint: Some("http://127.0.0.1:9".to_owned()), ..imds::Settings::default() };
        let imds = ImdsClient::new(&settings, &imds::Environment::default(), &Clock::system()).unwrap();
        let (_, sdk) = watch::channel(None);
        base_source(kind, &environment(variables), imds, sdk, &Clock::system()).describe()
    }

    const WEB: (&str, &str) = ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/token");
    const RELATIVE: (&str, &str) = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/1");
    const FULL: (&str, &str) = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9/x");
    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKIA1"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];

    #[test]
    fn auto_takes_the_first_whose_variables_are_set_and_says_why() {
        let auto = |variables: &[(&str, &str)]| described(SourceKind::Auto, variables);
        assert_eq!(auto(&[FULL, WEB, RELATIVE]), "web_identity (AWS_WEB_IDENTITY_TOKEN_FILE is set)");
        assert_eq!(auto(&[FULL, RELATIVE]), "container (AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is set)");
        assert_eq!(auto(&[FULL]), "container (AWS_CONTAINER_CREDENTIALS_FULL_URI is set)");
        let instance = auto(&KEYS);
        assert!(instance.starts_with("instance (") && instance.contains("variables are set"), "{instance}");
        assert!(auto(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "")]).starts_with("instance ("), "empty is unset");
    }

    #[test]
    fn static_keys_are_used_only_when_they_are_asked_for_by_name() {
        assert!(described(SourceKind::Environment, &KEYS).starts_with("environment (AWS_ACCESS_KEY_ID"));
        assert!(described(SourceKind::Instance, &[WEB, FULL]).starts_with("instance ("));
    }
}

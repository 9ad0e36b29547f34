//! What the process's environment says, read once and handed to the rooms: so that tests and the demonstration can
//! say something else. Not the directories, which commands without a daemon need too.

use super::Notifier;
use crate::{aws, credentials, imds};

/// The environment, as far as the daemon heeds it.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// About the metadata service.
    pub imds: imds::Environment,
    /// About where credentials come from.
    pub credentials: credentials::Environment,
    /// About AWS's endpoints, proxies and certificates.
    pub aws: aws::Environment,
    /// `AWS_REGION`, else `AWS_DEFAULT_REGION`; used where the configuration says `"auto"`, and before IMDS's.
    pub region: Option<String>,
    /// How systemd is told.
    pub notifier: Notifier,
}

/// A variable that can't be used. It counts as configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// About the metadata service.
    #[error("the environment says about the instance metadata service what can't be used")]
    Imds(#[source] imds::Error),
    /// About AWS.
    #[error("the environment says about AWS's services what can't be used")]
    Aws(#[source] aws::Error),
}

impl Error {
    /// What cures it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Imds(error) => error.hint(),
            Self::Aws(error) => Some(error.hint()),
        }
    }
}

impl Environment {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// When a variable has a value that can't be used; the error names both.
    pub fn from_process() -> Result<Self, Error> {
        Self::read(&|name| std::env::var(name).ok())
    }

    /// The same from given variables.
    ///
    /// # Errors
    /// When one has a value that can't be used.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, Error> {
        Ok(Self {
            imds: imds::Environment::of(variable).map_err(Error::Imds)?,
            credentials: credentials::Environment::read(variable),
            aws: aws::Environment::read(variable).map_err(Error::Aws)?,
            region: region(variable),
            notifier: Notifier::from_process(),
        })
    }
}

fn region(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().filter_map(variable).find(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aws_region_comes_first_and_an_empty_one_counts_as_none() {
        let both = |name: &str| Some(if name == "AWS_REGION" { "eu-west-1" } else { "us-east-1" }.to_owned());
        assert_eq!(region(both).as_deref(), Some("eu-west-1"));
        let empty = |name: &str| Some(if name == "AWS_REGION" { "" } else { "us-east-1" }.to_owned());
        assert_eq!(region(empty).as_deref(), Some("us-east-1"));
        assert_eq!(region(|_| None), None);
    }
}

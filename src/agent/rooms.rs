//! The rooms that a configuration furnishes: built from nothing at the start, and at a reload from those in use, of which
//! everything stays that the new configuration does not concern. Not their tasks, and not the change from one to the
//! next.

use std::path::PathBuf;
use std::sync::Arc;

use aws_credential_types::provider::SharedCredentialsProvider;
use tokio::sync::watch;

use super::identity::{Identity, Wanted, tags_named_in};
use super::{Environment, Error};
use crate::clock::Clock;
use crate::config::Config;
use crate::credentials::{CredentialCache, RoleSettings, Roles, SourceKind, Stage, base_source};
use crate::endpoints::Endpoints;
use crate::imds::ImdsClient;
use crate::logs::{LogShipper, Place, Receiver, sink};

/// What no configuration changes.
pub(super) struct Ground {
    pub(super) environment: Environment,
    pub(super) clock: Clock,
    pub(super) state_dir: PathBuf,
    /// Where credentials are had, whatever the configuration.
    pub(super) endpoints: Endpoints,
    /// What sockets receive, whatever the configuration.
    pub(super) receiver: Receiver,
}

/// The rooms, and what they were furnished from.
pub(super) struct Rooms {
    pub(super) config: Config,
    pub(super) imds: ImdsClient,
    pub(super) roles: Roles,
    pub(super) identity: Arc<Identity>,
    /// Where logs go.
    pub(super) sink: Arc<dyn sink::Sink>,
    /// The one and only, whatever the configuration: it is told of another one.
    pub(super) shipper: LogShipper,
}

impl Rooms {
    /// Builds the rooms and hands each what it needs of the others. What `before` has and `config` does not concern is
    /// shared with it.
    ///
    /// # Errors
    /// When IMDS can't be asked as configured.
    pub(super) fn furnish(config: Config, before: Option<&Self>, ground: &Ground) -> Result<Self, Error> {
        let Ground { clock, state_dir, receiver, .. } = ground;
        let Base { imds, credentials, identity } = Base::furnish(&config, before, ground)?;
        let stage = Stage { names: identity.names(), sdk: identity.sdk() };
        let before_roles = before.map(|before| &before.roles);
        let roles = Roles::furnish(&config.credentials, credentials.clone(), stage, before_roles);
        let sink: Arc<dyn sink::Sink> = match before {
            Some(same) if Arc::ptr_eq(&same.identity, &identity) => same.sink.clone(),
            _ => {
                let cache = credentials.clone();
                let rejected = Arc::new(move |key_id: &str| cache.rejected(key_id));
                Arc::new(sink::CloudWatch::new(identity.sdk(), clock.clone(), rejected))
            }
        };
        let shipper = before.map_or_else(
            || {
                let place = Place { state_dir: state_dir.clone() };
                LogShipper::new(config.logs.clone(), place, sink.clone(), identity.names(), clock.clone())
                    .with(receiver)
            },
            |before| before.shipper.clone(),
        );
        Ok(Self { config, imds, roles, identity, sink, shipper })
    }

    /// Whether `config` asks the same IMDS, if perhaps in another way: then the instance is the same.
    fn asks_where(&self, config: &Config) -> bool {
        let place = |config: &Config| (config.imds.endpoint.clone(), config.imds.endpoint_mode);
        place(&self.config) == place(config)
    }

    /// Whether both ask the same IMDS for the same things, with the same credentials.
    pub(super) fn shares_identity(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.identity, &other.identity)
    }

    /// Whether both keep the same credentials fresh.
    pub(super) fn shares_credentials(&self, other: &Self) -> bool {
        self.roles.shares_caches(&other.roles)
    }

    /// Whether both ship the same logs in the same way.
    pub(super) fn ships_the_same(&self, other: &Self) -> bool {
        self.config.logs == other.config.logs && Arc::ptr_eq(&self.sink, &other.sink)
    }

    /// Tells the shipper what these rooms want shipped; returns when it does.
    pub(super) async fn change_shipper(&self) {
        self.shipper.change(self.config.logs.clone(), self.sink.clone(), self.identity.names()).await;
    }
}

/// What the other rooms stand on: the instance, and the base credentials.
struct Base {
    imds: ImdsClient,
    credentials: CredentialCache,
    identity: Arc<Identity>,
}

impl Base {
    fn furnish(config: &Config, before: Option<&Rooms>, ground: &Ground) -> Result<Self, Error> {
        let Ground { environment, clock, .. } = ground;
        let same_imds = before.filter(|before| before.config.imds == config.imds);
        let imds = match same_imds {
            Some(same) => same.imds.clone(),
            None => ImdsClient::new(&config.imds, &environment.imds, clock).map_err(Error::Imds)?,
        };
        let wanted = wanted(config, environment);
        let kind = config.credentials.source;
        let same_base = same_imds.filter(|before| before.config.credentials.source == kind);
        let same_all = same_base.filter(|before| before.identity.wants(&wanted));
        if let Some(same) = same_all {
            let (credentials, identity) = (same.roles.base().cache.clone(), same.identity.clone());
            return Ok(Self { imds, credentials, identity });
        }
        let sdk = watch::Sender::new(None);
        // Only a web identity is exchanged for credentials by AWS itself, in the region that the identity tells.
        let asks_aws = environment.credentials.resolve(kind) == SourceKind::WebIdentity;
        let source = || base_source(kind, &environment.credentials, imds.clone(), sdk.subscribe(), clock);
        let credentials = match (same_base, before) {
            (Some(same), _) if !asks_aws => same.roles.base().cache.clone(),
            (_, Some(before)) => before.roles.base().cache.succeeded_by(source()),
            (_, None) => CredentialCache::new(source(), clock.clone()),
        };
        let identity = Identity::new(
            imds.clone(),
            environment.aws.clone(),
            (SharedCredentialsProvider::new(credentials.clone()), sdk),
            clock.clone(),
            wanted,
            before.filter(|before| before.asks_where(config)).map(|before| &*before.identity),
        );
        Ok(Self { imds, credentials, identity: Arc::new(identity) })
    }
}

fn wanted(config: &Config, environment: &Environment) -> Wanted {
    Wanted {
        region: config.region.clone().or_else(|| environment.region.clone()),
        variables: config.variables.clone(),
        tags: tags_named_in(
            config
                .logs
                .targets()
                .flat_map(|target| [&target.log_group, &target.log_stream])
                .chain(config.credentials.roles.iter().flat_map(RoleSettings::templates)),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aws, imds};

    fn ground() -> Ground {
        let environment = Environment { aws: aws::Environment::default(), ..Environment::default() };
        let (directory, clock) = (tempfile::tempdir().unwrap(), Clock::system());
        let receiver = Receiver::open(directory.path(), directory.path(), 1 << 20, clock.clone()).unwrap();
        let endpoints = Endpoints::new(directory.path(), clock.clone());
        Ground { environment, clock, state_dir: PathBuf::from("/nonexistent"), endpoints, receiver }
    }

    /// A configuration that asks nobody.
    fn quiet() -> Config {
        let endpoint = Some("http://127.0.0.1:9".to_owned());
        Config { imds: imds::Settings { endpoint, ..imds::Settings::default() }, ..Config::default() }
    }

    /// Whether the identity outlives the change of `quiet()` to `config`, and whether the same is shipped.
    fn outlive(config: Config) -> (bool, bool) {
        let ground = ground();
        let before = Rooms::furnish(quiet(), None, &ground).unwrap();
        let after = Rooms::furnish(config, Some(&before), &ground).unwrap();
        (after.shares_identity(&before), after.ships_the_same(&before))
    }

    #[tokio::test]
    async fn what_a_configuration_does_not_concern_stays() {
        assert_eq!(outlive(quiet()), (true, true));
        let mut logs = quiet();
        logs.logs.memory_limit *= 2;
        assert_eq!(outlive(logs), (true, false));
        assert_eq!(outlive(Config { region: Some("eu-west-1".to_owned()), ..quiet() }), (false, false));
        let variables = [("environment".to_owned(), "prod".to_owned())].into();
        assert_eq!(outlive(Config { variables, ..quiet() }), (false, false));
        let imds = imds::Settings { v1_fallback: true, ..quiet().imds };
        assert_eq!(outlive(Config { imds, ..quiet() }), (false, false));
    }
}

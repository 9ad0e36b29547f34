//! How every SDK client of ours is built: retries off (each room decides), no identity cache (ours is the cache), our
//! clock for signing, our HTTP client for proxy and CA bundle, and AWS's own environment variables. Not the calls.

mod ask;
mod http;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::identity::{
    IdentityFuture, ResolveCachedIdentity, ResolveIdentity, SharedIdentityResolver,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::client::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use aws_types::app_name::AppName;
use aws_types::region::Region;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use url::Url;

pub use self::ask::Proxy;
use crate::clock::Clock;
use crate::fault::shell_word;

/// How long one call may take, connection and body included: a full batch over a slow link, and no longer than a
/// waiting stream can bear.
const CALL: Duration = Duration::from_secs(30);

/// What the environment says about AWS's endpoints, proxies and certificates.
///
/// `HTTP_PROXY` is not read: AWS's APIs are HTTPS, and a plain HTTP endpoint is one on this machine.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    region: Option<String>,
    endpoints: Endpoints,
    use_fips: Option<bool>,
    use_dual_stack: Option<bool>,
    ca_bundle: Option<PathBuf>,
    /// May hold a password; hence no derived `Debug`.
    https_proxy: Option<String>,
    no_proxy: Option<String>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("aws::Environment")
            .field("region", &self.region)
            .field("endpoints", &self.endpoints)
            .field("https_proxy", &self.https_proxy.is_some())
            .field("no_proxy", &self.no_proxy)
            .field("ca_bundle", &self.ca_bundle)
            .finish_non_exhaustive()
    }
}

/// The cure where a server's certificate was not accepted; `reason` is the whole chain of errors, in which rustls says so.
#[must_use]
pub fn certificate_hint(reason: &str) -> Option<&'static str> {
    reason.contains("invalid peer certificate").then_some(
        "this machine does not trust the certificate of the endpoint, or of a proxy that opens TLS. UnknownIssuer: name a \
         PEM file with its authority as AWS_CA_BUNDLE (`systemctl edit imds-agent`, Environment=AWS_CA_BUNDLE=FILE), or \
         update ca-certificates. Expired, NotValidYet: look at this machine's clock. NotValidForName: look at the endpoint",
    )
}

/// The services whose endpoints are overridden by variables of their own: by what those end in, and by the SDKs' name.
const SERVICES: [(&str, &str); 5] = [
    ("AWS_ENDPOINT_URL_STS", "STS"),
    ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "CloudWatch Logs"),
    ("AWS_ENDPOINT_URL_SSM", "SSM"),
    ("AWS_ENDPOINT_URL_ECR", "ECR"),
    ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "Secrets Manager"),
];

/// `AWS_ENDPOINT_URL`, and what overrides it for one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Endpoints {
    all: Option<String>,
    /// By the SDKs' name of the service.
    of: BTreeMap<&'static str, String>,
}

/// The SDK's clients ask for their own override by their service's name.
impl LoadServiceConfig for Endpoints {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        (key.env() == "AWS_ENDPOINT_URL").then(|| self.of.get(key.service_id()).cloned())?
    }
}

/// A setting of the environment that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value that means nothing.
    #[error("{name} is {value:?}, but must be {expected}")]
    Value {
        /// The variable.
        name: &'static str,
        /// What it says.
        value: String,
        /// What it may say.
        expected: &'static str,
    },
    /// `HTTPS_PROXY` that can't be used; it is not quoted, since it may hold a password.
    #[error("HTTPS_PROXY can't be used: {reason}")]
    Proxy {
        /// Why.
        reason: String,
    },
    /// `AWS_CA_BUNDLE` that can't be read.
    #[error("AWS_CA_BUNDLE names {}, which can't be read", path.display())]
    CaBundle {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `AWS_CA_BUNDLE` that holds something else than certificates.
    #[error("AWS_CA_BUNDLE names {}, which is not a file of PEM certificates: {reason}", path.display())]
    NotCertificates {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl Error {
    /// What cures it.
    #[must_use]
    pub fn hint(&self) -> String {
        let set = "where the service gets it: systemctl edit imds-agent";
        let (path, look) = match self {
            Self::Value { name, .. } => return format!("correct {name}, or take it away, {set}"),
            Self::Proxy { .. } => return format!("correct HTTPS_PROXY, or take it away, {set}"),
            Self::CaBundle { path, .. } => (path, "namei -l"),
            Self::NotCertificates { path, .. } => (path, "openssl storeutl -noout -certs"),
        };
        let path = shell_word(&path.to_string_lossy());
        format!(
            "AWS_CA_BUNDLE must name a file of PEM certificates that the agent's user can read: {look} {path}; or name \
             another, or take it away, {set}"
        )
    }
}

impl Environment {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// When a variable's value can't be used; the error names both.
    pub fn from_process() -> Result<Self, Error> {
        Self::read(&|name| std::env::var(name).ok())
    }

    /// What [`Environment::from_process`] reads, from given variables. An empty one counts as unset.
    pub(crate) fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let endpoint = |name| variable(name).map(|value| check_endpoint(name, value)).transpose();
        let switch = |name| variable(name).map(|value| parse_switch(name, value)).transpose();
        let mut of = BTreeMap::new();
        for (name, service) in SERVICES {
            of.extend(endpoint(name)?.map(|url| (service, url)));
        }
        let environment = Self {
            region: variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")),
            endpoints: Endpoints { all: endpoint("AWS_ENDPOINT_URL")?, of },
            use_fips: switch("AWS_USE_FIPS_ENDPOINT")?,
            use_dual_stack: switch("AWS_USE_DUALSTACK_ENDPOINT")?,
            ca_bundle: variable("AWS_CA_BUNDLE").map(PathBuf::from),
            https_proxy: variable("HTTPS_PROXY").or_else(|| variable("https_proxy")),
            no_proxy: variable("NO_PROXY").or_else(|| variable("no_proxy")),
        };
        http::proxy(environment.https_proxy.as_deref(), None)?;
        Ok(environment)
    }

    /// `AWS_REGION`, or else `AWS_DEFAULT_REGION`.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// The endpoint that a variable sets for the service that the SDKs call `service`, and that variable.
    #[must_use]
    pub fn endpoint(&self, service: &str) -> Option<(&'static str, &str)> {
        let own = SERVICES.iter().find(|(_, name)| *name == service);
        let own = own.and_then(|(variable, name)| Some((*variable, self.endpoints.of.get(name)?.as_str())));
        own.or_else(|| Some(("AWS_ENDPOINT_URL", self.endpoints.all.as_deref()?)))
    }

    /// `AWS_USE_FIPS_ENDPOINT`.
    #[must_use]
    pub fn use_fips(&self) -> bool {
        self.use_fips == Some(true)
    }

    /// `AWS_USE_DUALSTACK_ENDPOINT`.
    #[must_use]
    pub fn use_dual_stack(&self) -> bool {
        self.use_dual_stack == Some(true)
    }

    /// The configuration for all SDK clients in `region`. Per-service endpoint overrides travel in it: a client made
    /// with `Client::new(&config)` picks its own. Neither certificates nor connections are loaded here; the first HTTPS
    /// request does that, so that starting is quick and a plain HTTP endpoint needs none.
    ///
    /// # Errors
    /// When the CA bundle can't be read.
    pub fn sdk_config(
        &self,
        region: &str,
        provider: SharedCredentialsProvider,
        clock: &Clock,
    ) -> Result<SdkConfig, Error> {
        let mut builder = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .credentials_provider(provider)
            .identity_cache(NoIdentityCache)
            .time_source(SigningTime(clock.clone()))
            // One correction of the clock is enough, and ours also serves those who do not sign.
            .disable_clock_skew_correction(true)
            .sleep_impl(TokioSleep::new())
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(CALL).build())
            // It wraps every body to watch its pace; the timeout above is our watch.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .http_client(self.client(clock)?)
            .service_config(self.endpoints.clone());
        // Always accepted: the name has only letters and a dash.
        builder.set_app_name(AppName::new("imds-agent").ok());
        builder.set_endpoint_url(self.endpoints.all.clone());
        builder.set_use_fips(self.use_fips);
        builder.set_use_dual_stack(self.use_dual_stack);
        Ok(builder.build())
    }
}

impl Environment {
    /// Whether what [`Environment::sdk_config`] will read is there.
    ///
    /// # Errors
    /// When the CA bundle can't be read.
    pub fn check(&self) -> Result<(), Error> {
        self.ca_bundle().map(|_| ())
    }

    fn ca_bundle(&self) -> Result<Option<Vec<u8>>, Error> {
        self.ca_bundle.as_deref().map(http::read_ca_bundle).transpose()
    }

    fn client(&self, clock: &Clock) -> Result<http::Client, Error> {
        let proxy = http::proxy(self.https_proxy.as_deref(), self.no_proxy.as_deref())?;
        Ok(http::Client::new(proxy, self.ca_bundle()?, clock.clone()))
    }
}

fn check_endpoint(name: &'static str, value: String) -> Result<String, Error> {
    match Url::parse(&value) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(value),
        _ => Err(Error::Value { name, value, expected: "a URL that starts with http:// or https://" }),
    }
}

fn parse_switch(name: &'static str, value: String) -> Result<bool, Error> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Error::Value { name, value, expected: "true or false" }),
    }
}

/// The corrected clock, as the SDKs' signers want it.
#[derive(Debug)]
struct SigningTime(Clock);

impl TimeSource for SigningTime {
    fn now(&self) -> SystemTime {
        self.0.system_time()
    }
}

/// Asks the provider for every request: the provider is a cache already, and a second one would go on sending a key
/// that AWS has just called expired.
#[derive(Debug)]
struct NoIdentityCache;

impl ResolveCachedIdentity for NoIdentityCache {
    fn resolve_cached_identity<'a>(
        &'a self,
        resolver: SharedIdentityResolver,
        components: &'a RuntimeComponents,
        config: &'a ConfigBag,
    ) -> IdentityFuture<'a> {
        IdentityFuture::new(async move { resolver.resolve_identity(components, config).await })
    }
}

/// What ARNs in `region` begin with (AWS General Reference, "Amazon Resource Names").
#[must_use]
pub fn partition(region: &str) -> &'static str {
    let partitions = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-isof-", "aws-iso-f"),
        ("eusc-", "aws-eusc"),
    ];
    partitions.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("aws", |(_, partition)| partition)
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Environment, Error> {
        Environment::read(&|name| {
            variables.iter().find(|(candidate, _)| *candidate == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn config(environment: &Environment) -> SdkConfig {
        let provider = SharedCredentialsProvider::new(Credentials::for_tests());
        environment.sdk_config("eu-west-1", provider, &Clock::system()).unwrap()
    }

    #[test]
    fn an_endpoint_of_one_service_is_found_by_that_service_alone() {
        let environment =
            read(&[("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:2")])
                .unwrap();
        let config = config(&environment);
        let load = |service| {
            let key = ServiceConfigKey::builder().service_id(service).env("AWS_ENDPOINT_URL").profile("endpoint_url");
            config.service_config().unwrap().load_config(key.build().unwrap())
        };
        assert_eq!(load("STS").as_deref(), Some("http://127.0.0.1:2"));
        assert_eq!(load("CloudWatch Logs"), None);
        assert_eq!(config.endpoint_url(), Some("http://127.0.0.1:1"));
    }

    #[test]
    fn retries_are_ours_and_signing_uses_the_corrected_clock() {
        let clock = Clock::stopped("2026-11-22T12:00:00Z".parse().unwrap());
        let provider = SharedCredentialsProvider::new(Credentials::for_tests());
        let config = Environment::default().sdk_config("eu-west-1", provider, &clock).unwrap();
        assert_eq!(config.retry_config().unwrap().max_attempts(), 1);
        clock.observe_date("Sun, 22 Nov 2026 13:00:00 GMT");
        assert_eq!(config.time_source().unwrap().now(), clock.system_time());
        assert_eq!(config.use_fips(), None);
    }

    #[test]
    fn aws_region_comes_before_aws_default_region_and_empty_is_unset() {
        let region = |variables: &[(&str, &str)]| read(variables).unwrap().region().map(str::to_owned);
        assert_eq!(region(&[("AWS_DEFAULT_REGION", "b"), ("AWS_REGION", "a")]).as_deref(), Some("a"));
        assert_eq!(region(&[("AWS_DEFAULT_REGION", "b"), ("AWS_REGION", "")]).as_deref(), Some("b"));
        assert_eq!(region(&[]), None);
    }

    #[test]
    fn a_value_that_means_nothing_is_an_error_that_names_it() {
        for (name, value) in [
            ("AWS_USE_FIPS_ENDPOINT", "yes"),
            ("AWS_USE_DUALSTACK_ENDPOINT", "1"),
            ("AWS_ENDPOINT_URL", "127.0.0.1:9"),
            ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "ftp://x"),
        ] {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
        assert_eq!(read(&[("AWS_USE_FIPS_ENDPOINT", "True")]).unwrap().use_fips, Some(true));
    }

    #[test]
    fn a_proxys_password_is_never_printed() {
        let good = read(&[("HTTPS_PROXY", "http://user:hunter2@127.0.0.1:3128")]).unwrap();
        assert!(!format!("{good:?} {:?}", config(&good)).contains("hunter2"));
        let error = read(&[("HTTPS_PROXY", "socks9://user:hunter2@127.0.0.1")]).unwrap_err();
        assert!(!format!("{error:?} {error}").contains("hunter2"), "{error}");
    }
}

//! What AWS's own switches say about IMDS: the `AWS_EC2_METADATA_*` variables and the `ec2_metadata_*` keys of the
//! profile file. They come before our configuration. Not the configuration, and not what is made of the two: that is
//! [`Target::resolve`]'s, below.

use std::path::PathBuf;

use url::Url;

use super::error::{Error, Problem};
use super::{EndpointMode, Settings};

/// Where IMDS listens on IPv4 (FACTS, IMDSv2: endpoints).
const IPV4_ENDPOINT: &str = "http://169.254.169.254";

/// Where IMDS listens on IPv6, on Nitro and when enabled.
const IPV6_ENDPOINT: &str = "http://[fd00:ec2::254]";

/// What the environment and the profile file say about IMDS (FACTS: they come before the configuration).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    disabled: bool,
    v1_disabled: bool,
    endpoint: Option<Endpoint>,
    endpoint_mode: Option<EndpointMode>,
}

/// An endpoint and the name of the setting it came from, for the error message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    setting: String,
    url: String,
}

impl Environment {
    /// Reads the process's environment and the AWS profile file.
    ///
    /// # Errors
    /// When a variable has a value that AWS's SDKs refuse too; the error names it.
    pub fn from_process() -> Result<Self, Error> {
        Self::of(&|name| std::env::var(name).ok())
    }

    /// The same from given variables, and the profile file that they name.
    ///
    /// # Errors
    /// When a setting has a value that can't be used.
    pub(crate) fn of(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, Error> {
        Self::read(variable, profile_file(variable).as_deref())
    }

    /// The setting that says where IMDS is instead of at its own address, if one does.
    #[must_use]
    pub fn endpoint_setting(&self) -> Option<&str> {
        self.endpoint.as_ref().map(|endpoint| endpoint.setting.as_str())
    }

    /// As with `AWS_EC2_METADATA_DISABLED=true`, for tests of what then must not happen.
    #[cfg(test)]
    pub(crate) fn switched_off() -> Self {
        Self { disabled: true, ..Self::default() }
    }

    /// What [`Environment::from_process`] reads, from given variables and the profile file's text.
    fn read(variable: &dyn Fn(&str) -> Option<String>, profile_file: Option<&str>) -> Result<Self, Error> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let profile = variable("AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
        let key = |name: &str| profile_file.and_then(|text| profile_key(text, &profile, name));
        let either = |variable_name: &str, key_name: &str| {
            variable(variable_name)
                .map(|value| (variable_name.to_owned(), value))
                .or_else(|| key(key_name).map(|value| (format!("{key_name} in profile {profile}"), value)))
        };
        // As AWS's SDKs read it: anything but "true" leaves IMDS on.
        let is_true = |value: String| value.eq_ignore_ascii_case("true");
        let mode = either("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ec2_metadata_service_endpoint_mode");
        Ok(Self {
            disabled: variable("AWS_EC2_METADATA_DISABLED").is_some_and(is_true),
            v1_disabled: either("AWS_EC2_METADATA_V1_DISABLED", "ec2_metadata_v1_disabled")
                .is_some_and(|(_, value)| is_true(value)),
            endpoint: either("AWS_EC2_METADATA_SERVICE_ENDPOINT", "ec2_metadata_service_endpoint")
                .map(|(setting, url)| Endpoint { setting, url }),
            endpoint_mode: mode.map(|(name, value)| parse_mode(name, value)).transpose()?,
        })
    }
}

fn parse_mode(name: String, value: String) -> Result<EndpointMode, Error> {
    if value.eq_ignore_ascii_case("ipv4") {
        Ok(EndpointMode::Ipv4)
    } else if value.eq_ignore_ascii_case("ipv6") {
        Ok(EndpointMode::Ipv6)
    } else {
        Err(Problem::Setting { name, value, expected: "IPv4 or IPv6".to_owned() }.into())
    }
}

/// The text of `AWS_CONFIG_FILE`, or of `~/.aws/config`. A file that is not there says nothing; one that can't be read
/// is worth a warning, and no reason to stay down.
fn profile_file(variable: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let path = match variable("AWS_CONFIG_FILE").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(variable("HOME")?).join(".aws/config"),
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "can't read the AWS profile file, going on without it");
            None
        }
    }
}

/// `key` of `profile` in the text of an AWS config file: `[default]` or `[profile NAME]`, `key = value`, comments after
/// `#` or `;`. Indented lines belong to nested tables (`s3 =`), which hold no key of ours.
fn profile_key(text: &str, profile: &str, key: &str) -> Option<String> {
    let mut inside = false;
    let mut found = None;
    for line in text.lines().filter(|line| !line.starts_with([' ', '\t', '#', ';'])) {
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            let mut words = header.split_whitespace();
            inside = match (words.next(), words.next()) {
                (Some("default"), None) => profile == "default",
                (Some("profile"), Some(name)) => name.trim_matches(['"', '\'']) == profile,
                _ => false,
            };
        } else if inside && let Some((name, value)) = line.split_once('=') {
            let value = value.split(" #").next().unwrap_or_default().split(" ;").next().unwrap_or_default().trim();
            if name.trim().eq_ignore_ascii_case(key) && !value.is_empty() {
                found = Some(value.to_owned());
            }
        }
    }
    found
}

/// Where and how to ask, decided once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// No request may be sent at all.
    pub(super) disabled: bool,
    /// The addresses to try, in order; never empty.
    pub(super) endpoints: Vec<Url>,
    /// Whether to ask without a token where there is no version 2.
    pub(super) v1_fallback: bool,
}

impl Target {
    /// Environment before profile file before our configuration before the default; within each an endpoint wins over
    /// a mode (FACTS, IMDSv2: environment).
    pub(super) fn resolve(settings: &Settings, environment: &Environment) -> Result<Self, Error> {
        let mode = environment.endpoint_mode.unwrap_or(settings.endpoint_mode);
        let configured = settings.endpoint.as_ref().filter(|_| environment.endpoint_mode.is_none());
        let endpoints = match (&environment.endpoint, configured) {
            (Some(endpoint), _) => vec![parse_endpoint(&endpoint.setting, &endpoint.url)?],
            (None, Some(url)) => vec![parse_endpoint("imds.endpoint", url)?],
            (None, None) => {
                let addresses: &[&str] = match mode {
                    EndpointMode::Ipv4 => &[IPV4_ENDPOINT],
                    EndpointMode::Ipv6 => &[IPV6_ENDPOINT],
                    EndpointMode::Auto => &[IPV4_ENDPOINT, IPV6_ENDPOINT],
                };
                addresses.iter().map(|url| parse_endpoint("imds.endpoint_mode", url)).collect::<Result<_, _>>()?
            }
        };
        Ok(Self {
            disabled: environment.disabled,
            endpoints,
            v1_fallback: settings.v1_fallback && !environment.v1_disabled,
        })
    }
}

fn parse_endpoint(setting: &str, text: &str) -> Result<Url, Error> {
    Url::parse(text.trim()).ok().filter(|url| url.scheme() == "http" && url.has_host()).ok_or_else(|| {
        let expected = "a URL that starts with http:// and names a host".to_owned();
        Problem::Setting { name: setting.to_owned(), value: text.to_owned(), expected }.into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)], profile_file: &str) -> Result<Environment, Error> {
        let lookup = |name: &str| {
            variables.iter().find(|(candidate, _)| *candidate == name).map(|(_, value)| (*value).to_owned())
        };
        Environment::read(&lookup, Some(profile_file))
    }

    fn endpoints(settings: &Settings, variables: &[(&str, &str)], profile_file: &str) -> Vec<String> {
        let target = Target::resolve(settings, &read(variables, profile_file).unwrap()).unwrap();
        target.endpoints.iter().map(|url| url.as_str().trim_end_matches('/').to_owned()).collect()
    }

    const PROFILES: &str = "[default]\nec2_metadata_service_endpoint = http://127.0.0.1:1 # local\n\
        s3 =\n  ec2_metadata_service_endpoint = http://127.0.0.1:9\n\
        [profile six]\nec2_metadata_service_endpoint_mode=ipv6\n[services six]\nec2_metadata_v1_disabled = true\n";

    #[test]
    fn with_nothing_said_the_well_known_address_of_the_mode_is_asked() {
        let mode = |endpoint_mode| Settings { endpoint_mode, ..Settings::default() };
        assert_eq!(endpoints(&mode(EndpointMode::Ipv4), &[], ""), [IPV4_ENDPOINT]);
        assert_eq!(endpoints(&mode(EndpointMode::Ipv6), &[], ""), [IPV6_ENDPOINT]);
        assert_eq!(endpoints(&mode(EndpointMode::Auto), &[], ""), [IPV4_ENDPOINT, IPV6_ENDPOINT]);
    }

    #[test]
    fn the_environment_comes_before_the_profile_file_before_the_configuration() {
        let configured = Settings { endpoint: Some("http://127.0.0.1:3".to_owned()), ..Settings::default() };
        assert_eq!(endpoints(&configured, &[], ""), ["http://127.0.0.1:3"]);
        assert_eq!(endpoints(&configured, &[], PROFILES), ["http://127.0.0.1:1"]);
        let variable = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:2/")];
        assert_eq!(endpoints(&configured, &variable, PROFILES), ["http://127.0.0.1:2"]);
    }

    #[test]
    fn an_endpoint_wins_over_a_mode_and_a_mode_of_aws_over_our_endpoint() {
        let mode = ("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "iPv6");
        assert_eq!(endpoints(&Settings::default(), &[mode], PROFILES), ["http://127.0.0.1:1"]);
        let configured = Settings { endpoint: Some("http://127.0.0.1:3".to_owned()), ..Settings::default() };
        assert_eq!(endpoints(&configured, &[mode], ""), [IPV6_ENDPOINT]);
        assert_eq!(endpoints(&configured, &[("AWS_PROFILE", "six")], PROFILES), [IPV6_ENDPOINT]);
    }

    #[test]
    fn a_mode_that_aws_does_not_know_is_an_error_that_names_the_value() {
        let error = read(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ipv5")], "").unwrap_err().to_string();
        assert!(error.contains("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE") && error.contains("ipv5"), "{error}");
    }

    #[test]
    fn an_endpoint_that_can_not_be_asked_is_an_error_that_names_the_value() {
        for bad in ["https://169.254.169.254", "169.254.169.254", "unix:/run/x", "http://"] {
            let environment = read(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", bad)], "").unwrap();
            let error = Target::resolve(&Settings::default(), &environment).unwrap_err().to_string();
            assert!(error.contains("AWS_EC2_METADATA_SERVICE_ENDPOINT") && error.contains(bad), "{error}");
        }
    }

    #[test]
    fn switches_are_true_in_any_case_and_nothing_else() {
        for (value, off) in [("true", true), ("TRUE", true), ("false", false), ("1", false), ("", false)] {
            let environment = read(&[("AWS_EC2_METADATA_DISABLED", value)], "").unwrap();
            assert_eq!(Target::resolve(&Settings::default(), &environment).unwrap().disabled, off, "{value}");
        }
    }

    #[test]
    fn v1_needs_the_configuration_and_the_absence_of_awss_veto() {
        let allowed = Settings { v1_fallback: true, ..Settings::default() };
        let resolve = |settings: &Settings, variables: &[(&str, &str)], file: &str| {
            Target::resolve(settings, &read(variables, file).unwrap()).unwrap().v1_fallback
        };
        assert!(resolve(&allowed, &[], ""));
        assert!(!resolve(&Settings::default(), &[], ""));
        assert!(!resolve(&allowed, &[("AWS_EC2_METADATA_V1_DISABLED", "True")], ""));
        assert!(!resolve(&allowed, &[], "[default]\nec2_metadata_v1_disabled = true\n"));
        assert!(resolve(&allowed, &[("AWS_PROFILE", "six")], PROFILES), "a services section is no profile");
    }
}

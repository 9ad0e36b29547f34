//! Where an API is asked: what the environment says, or else the SDK's rules for the region. Not whether anybody answers.

use aws_sdk_cloudwatchlogs::config::endpoint::{self as logs, ResolveEndpoint as _};
use aws_sdk_sts::config::endpoint::{self as sts, ResolveEndpoint as _};
use url::Url;

use crate::aws::Environment;
use crate::fault::chain;

/// An API of AWS's that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::doctor) enum Api {
    Sts,
    Logs,
    Ssm,
    Ecr,
    SecretsManager,
}

impl Api {
    /// As the SDKs call it.
    pub(in crate::doctor) fn name(self) -> &'static str {
        match self {
            Self::Sts => "STS",
            Self::Logs => "CloudWatch Logs",
            Self::Ssm => "SSM",
            Self::Ecr => "ECR",
            Self::SecretsManager => "Secrets Manager",
        }
    }

    /// As its signatures and its denials call it.
    pub(in crate::doctor) fn prefix(self) -> &'static str {
        match self {
            Self::Sts => "sts",
            Self::Logs => "logs",
            Self::Ssm => "ssm",
            Self::Ecr => "ecr",
            Self::SecretsManager => "secretsmanager",
        }
    }

    /// The name of its VPC endpoint in `region`.
    pub(in crate::doctor) fn vpc_endpoint(self, region: &str) -> String {
        let service = if self == Self::Ecr { "ecr.api" } else { self.prefix() };
        format!("com.amazonaws.{region}.{service}")
    }
}

/// Where an API is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::doctor) struct Endpoint {
    pub(in crate::doctor) url: String,
    pub(super) host: String,
    pub(super) port: u16,
    /// The variable that says so, if one does.
    pub(super) variable: Option<&'static str>,
}

impl Endpoint {
    /// Where `api` is asked in `region`, or why that can't be said.
    pub(in crate::doctor) async fn of(api: Api, region: &str, aws: &Environment) -> Result<Self, String> {
        let (variable, url) = match aws.endpoint(api.name()) {
            Some((variable, url)) => (Some(variable), url.to_owned()),
            None => (None, resolved(api, region, aws).await?),
        };
        let parsed = Url::parse(&url).map_err(|error| format!("{url}: {error}"))?;
        let host = parsed.host_str().ok_or_else(|| format!("{url} has no host"))?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let port = parsed.port_or_known_default().unwrap_or(443);
        Ok(Self { url, host, port, variable })
    }

    pub(super) fn is_tls(&self) -> bool {
        self.url.starts_with("https:")
    }
}

/// By the SDK's rules. It has none here for services that it has no client for: theirs are as those of Logs, with another
/// name in front.
async fn resolved(api: Api, region: &str, aws: &Environment) -> Result<String, String> {
    if api == Api::Sts {
        let params =
            sts::Params::builder().region(region).use_fips(aws.use_fips()).use_dual_stack(aws.use_dual_stack());
        let params = params.use_global_endpoint(false).build().map_err(|error| chain(&error))?;
        let endpoint = sts::DefaultResolver::new().resolve_endpoint(&params).await;
        return endpoint.map(|endpoint| endpoint.url().to_owned()).map_err(|error| error.to_string());
    }
    let params = logs::Params::builder().region(region).use_fips(aws.use_fips()).use_dual_stack(aws.use_dual_stack());
    let params = params.build().map_err(|error| chain(&error))?;
    let endpoint = logs::DefaultResolver::new().resolve_endpoint(&params).await.map_err(|error| error.to_string())?;
    let (_, domain) = endpoint.url().split_once('.').ok_or("the SDK resolves to a host without a domain")?;
    let fips = if aws.use_fips() { "-fips" } else { "" };
    Ok(match api {
        Api::Logs | Api::Sts => endpoint.url().to_owned(),
        Api::Ecr if !aws.use_fips() => format!("https://api.ecr.{domain}"),
        api => format!("https://{}{fips}.{domain}", api.prefix()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn url(api: Api, region: &str, variables: &[(&str, &str)]) -> String {
        let aws = Environment::read(&|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        });
        Endpoint::of(api, region, &aws.unwrap()).await.unwrap().url
    }

    #[tokio::test]
    async fn each_api_is_asked_where_the_sdk_would_ask_it() {
        for (api, region, expected) in [
            (Api::Logs, "eu-west-1", "https://logs.eu-west-1.amazonaws.com"),
            (Api::Sts, "eu-west-1", "https://sts.eu-west-1.amazonaws.com"),
            (Api::Sts, "us-east-1", "https://sts.us-east-1.amazonaws.com"),
            (Api::Ssm, "cn-north-1", "https://ssm.cn-north-1.amazonaws.com.cn"),
            (Api::Ecr, "eu-west-1", "https://api.ecr.eu-west-1.amazonaws.com"),
        ] {
            assert_eq!(url(api, region, &[]).await, expected);
        }
        let fips = [("AWS_USE_FIPS_ENDPOINT", "true")];
        assert_eq!(url(Api::Logs, "us-east-1", &fips).await, "https://logs-fips.us-east-1.amazonaws.com");
        assert_eq!(url(Api::Ecr, "us-east-1", &fips).await, "https://ecr-fips.us-east-1.amazonaws.com");
    }

    #[tokio::test]
    async fn a_service_s_own_variable_comes_before_the_one_for_all() {
        let variables = [("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_ENDPOINT_URL_SSM", "http://127.0.0.1:2")];
        assert_eq!(url(Api::Ssm, "eu-west-1", &variables).await, "http://127.0.0.1:2");
        assert_eq!(url(Api::Ecr, "eu-west-1", &variables).await, "http://127.0.0.1:1");
    }
}

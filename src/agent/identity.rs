//! Which instance and region this is: asks IMDS until it answers, fills in the names for templates, and builds the SDK
//! configuration once the region is known. Not IMDS's protocol, and not the credentials.

use std::sync::Mutex;
use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::SdkConfig;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::aws;
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::fault::{Warning, chain};
use crate::heartbeat::{Heartbeat, LONGEST_SLEEP};
use crate::imds::{IdentityDocument, ImdsClient};
use crate::template::Names;

/// Between questions while IMDS does not answer. Logs flow within 10 s of IMDS coming up, so the waits stay well below.
const RETRY: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(4));

/// Asks, publishes, and is asked by `status` what is amiss.
pub(super) struct Identity {
    imds: ImdsClient,
    aws: aws::Environment,
    provider: SharedCredentialsProvider,
    clock: Clock,
    /// The region that the configuration or the environment fixes.
    fixed_region: Option<String>,
    names: watch::Sender<Names>,
    sdk: watch::Sender<Option<SdkConfig>>,
    warning: Mutex<Option<Warning>>,
}

impl Identity {
    /// Knows what can be known without IMDS: the host's name, the `variables`, and the region if it is fixed.
    pub(super) fn new(
        imds: ImdsClient,
        aws: aws::Environment,
        provider: SharedCredentialsProvider,
        clock: Clock,
        fixed_region: Option<String>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let names = watch::Sender::new(names_without_imds(variables, host_name(), fixed_region.as_deref()));
        let sdk = watch::Sender::new(None);
        let identity = Self { imds, aws, provider, clock, fixed_region, names, sdk, warning: Mutex::default() };
        if let Some(region) = identity.fixed_region.clone() {
            identity.publish_sdk(&region);
        }
        identity
    }

    /// The names known so far, and those to come.
    pub(super) fn names(&self) -> watch::Receiver<Names> {
        self.names.subscribe()
    }

    /// How to call AWS, once the region is known.
    pub(super) fn sdk(&self) -> watch::Receiver<Option<SdkConfig>> {
        self.sdk.subscribe()
    }

    /// What a person should know.
    pub(super) fn warning(&self) -> Option<Warning> {
        self.warning.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Asks until IMDS has answered and AWS can be called, then rests until `stop`.
    pub(super) async fn run(&self, stop: CancellationToken, heartbeat: Heartbeat) {
        let mut attempt = 0;
        while !stop.is_cancelled() {
            heartbeat.beat();
            attempt += 1;
            let wait = if self.learn().await { LONGEST_SLEEP } else { RETRY.half_jitter(attempt) };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Whether all is known. Asks IMDS only for what is not.
    async fn learn(&self) -> bool {
        if !self.names.borrow().contains_key("instance_id") {
            match self.imds.identity_document().await {
                Ok(document) => self.publish(&document),
                // IMDS's own snapshot says what is wrong and how to cure it.
                Err(error) => tracing::debug!(error = chain(&error), "the identity document is not known yet"),
            }
        }
        let region = self.names.borrow().get("region").cloned();
        let wanted = self.sdk.borrow().is_none();
        if let Some(region) = region.filter(|_| wanted) {
            self.publish_sdk(&region);
        }
        self.names.borrow().contains_key("instance_id") && self.sdk.borrow().is_some()
    }

    fn publish(&self, document: &IdentityDocument) {
        tracing::info!(instance_id = document.instance_id, region = document.region, "the instance is known");
        self.names.send_modify(|names| add_instance(names, document, self.fixed_region.as_deref()));
    }

    fn publish_sdk(&self, region: &str) {
        let warning = match self.aws.sdk_config(region, self.provider.clone(), &self.clock) {
            Ok(sdk) => {
                self.sdk.send_replace(Some(sdk));
                None
            }
            Err(error) => Some(Warning {
                code: "aws_client".to_owned(),
                message: format!("AWS can't be called: {}", chain(&error)),
                hint: None,
            }),
        };
        let mut shown = self.warning.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(warning) = warning.as_ref().filter(|warning| shown.as_ref() != Some(*warning)) {
            tracing::warn!(error = warning.message, "the AWS client can't be built, it is tried again");
        }
        *shown = warning;
    }
}

fn names_without_imds(
    variables: impl IntoIterator<Item = (String, String)>,
    host_name: Option<String>,
    region: Option<&str>,
) -> Names {
    let mut names: Names = variables.into_iter().collect();
    names.extend(host_name.map(|name| ("hostname".to_owned(), name)));
    names.extend(region.map(|region| ("region".to_owned(), region.to_owned())));
    names
}

/// Adds what the document says. An empty value is one that is not known: a stream is never named by half.
fn add_instance(names: &mut Names, document: &IdentityDocument, fixed_region: Option<&str>) {
    let known = [
        ("instance_id", document.instance_id.as_str()),
        ("region", fixed_region.unwrap_or(&document.region)),
        ("availability_zone", &document.availability_zone),
        ("account_id", &document.account_id),
        ("instance_type", &document.instance_type),
        ("image_id", &document.image_id),
        ("private_ip", document.private_ip.as_deref().unwrap_or_default()),
    ];
    let known = known.into_iter().filter(|(_, value)| !value.is_empty());
    names.extend(known.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

/// The kernel's own word for it (`uname -n`); never from DNS, which may hang.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> IdentityDocument {
        IdentityDocument {
            instance_id: "i-1".to_owned(),
            region: "eu-west-1".to_owned(),
            account_id: "123456789012".to_owned(),
            ..IdentityDocument::default()
        }
    }

    #[test]
    fn a_fixed_region_comes_before_the_instances_own() {
        let mut names = names_without_imds([], None, Some("us-east-1"));
        add_instance(&mut names, &document(), Some("us-east-1"));
        assert_eq!(names["region"], "us-east-1");
        let mut names = names_without_imds([], None, None);
        assert!(!names.contains_key("region"));
        add_instance(&mut names, &document(), None);
        assert_eq!(names["region"], "eu-west-1");
    }

    #[test]
    fn what_the_document_leaves_out_stays_unknown() {
        let mut names = Names::new();
        add_instance(&mut names, &document(), None);
        let known: Vec<_> = names.keys().map(String::as_str).collect();
        assert_eq!(known, ["account_id", "instance_id", "region"]);
    }

    #[test]
    fn variables_and_the_hosts_name_are_known_from_the_start() {
        let variables = [("environment".to_owned(), "prod".to_owned())];
        let names = names_without_imds(variables, Some("web-1".to_owned()), None);
        assert_eq!((names["environment"].as_str(), names["hostname"].as_str()), ("prod", "web-1"));
    }

    #[test]
    fn the_host_has_a_name_of_one_line() {
        assert!(host_name().is_none_or(|name| !name.contains('\n')));
    }
}

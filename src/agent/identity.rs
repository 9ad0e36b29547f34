//! Which instance and region this is: asks IMDS until it answers, fills in the names for templates, and builds the SDK
//! configuration once the region is known. Not IMDS's protocol, and not the credentials.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::SdkConfig;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::supervisor::pause;
use crate::aws;
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::fault::{Warning, chain};
use crate::heartbeat::{Heartbeat, LONGEST_SLEEP};
use crate::imds::{IdentityDocument, ImdsClient, Problem};
use crate::template::{Names, Template};

/// Between questions while IMDS does not answer. Logs flow within 10 s of IMDS coming up, so the waits stay well below.
const RETRY: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(4));

/// Between questions for a tag that is not there: it may never come, and at rest IMDS sees 3 requests an hour at most.
const RETRY_TAGS: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(30));

/// For how long a name with a fallback waits for what IMDS may still tell: longer than a whole operation that fails
/// with all its retries, several times over, and short enough that lines do not wait for a service that is not there.
const PATIENCE: Duration = Duration::from_secs(15);

/// What stands in the identity document; the region is apart, since it may be fixed.
const OF_INSTANCE: [&str; 6] =
    ["instance_id", "availability_zone", "account_id", "instance_type", "image_id", "private_ip"];

/// The warnings' codes.
const AWS_CLIENT: &str = "aws_client";
const TAG_UNKNOWN: &str = "tag_unknown";

/// What is fixed before IMDS is asked, and what it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The region that the configuration or the environment fixes.
    pub(super) region: Option<String>,
    /// The `[variables]`.
    pub(super) variables: BTreeMap<String, String>,
    /// The keys of the tags that templates name.
    pub(super) tags: Vec<String>,
}

/// How much is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    TooLittle,
    AllButTags,
    All,
}

/// Asks, publishes, and is asked by `status` what is amiss.
pub(super) struct Identity {
    imds: ImdsClient,
    aws: aws::Environment,
    provider: SharedCredentialsProvider,
    clock: Clock,
    wanted: Wanted,
    since: Instant,
    /// Whether IMDS has told what it knows of the instance, which may not be all.
    described: AtomicBool,
    names: watch::Sender<Names>,
    sdk: watch::Sender<Option<SdkConfig>>,
    warnings: Mutex<BTreeMap<&'static str, Warning>>,
}

impl Identity {
    /// Knows what can be known without asking: the host's name, the variables, the region if it is fixed, and what the
    /// same IMDS told `before`. Who is to call AWS hears of it by `sdk`.
    pub(super) fn new(
        imds: ImdsClient,
        aws: aws::Environment,
        (provider, sdk): (SharedCredentialsProvider, watch::Sender<Option<SdkConfig>>),
        clock: Clock,
        wanted: Wanted,
        before: Option<&Self>,
    ) -> Self {
        let mut known = names_without_imds(&wanted, host_name());
        if let Some(before) = before {
            before.hand_over(&wanted, &mut known);
        }
        let region = known.get("region").map(str::to_owned);
        let names = watch::Sender::new(known);
        let (since, described, warnings) = (Instant::now(), AtomicBool::new(false), Mutex::default());
        let identity = Self { imds, aws, provider, clock, wanted, since, described, names, sdk, warnings };
        if let Some(region) = region {
            identity.publish_sdk(&region);
        }
        identity
    }

    /// Whether this is what it wants to know.
    pub(super) fn wants(&self, wanted: &Wanted) -> bool {
        self.wanted == *wanted
    }

    /// Tells a successor that asks the same IMDS what that has told: the instance is the same.
    fn hand_over(&self, wanted: &Wanted, names: &mut Names) {
        let known = self.names.borrow();
        let region_is_the_instances = wanted.region.is_none() && self.wanted.region.is_none();
        let still_holds = |name: &str| {
            OF_INSTANCE.contains(&name)
                || (name == "region" && region_is_the_instances)
                || name.strip_prefix(TAG).is_some_and(|key| wanted.tags.iter().any(|tag| tag == key))
        };
        names.extend(
            known.iter().filter(|(name, _)| still_holds(name)).map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        if known.is_complete() && wanted.tags.iter().all(|tag| self.wanted.tags.contains(tag)) {
            names.complete();
        }
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
    pub(super) fn warnings(&self) -> Vec<Warning> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Asks until IMDS has answered and AWS can be called, then rests until `stop`.
    pub(super) async fn run(&self, stop: CancellationToken, heartbeat: Heartbeat) {
        let lose_patience = async {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep_until(self.since + PATIENCE) => self.wait_no_longer(),
            }
        };
        tokio::join!(self.ask(&stop, &heartbeat), lose_patience);
    }

    async fn ask(&self, stop: &CancellationToken, heartbeat: &Heartbeat) {
        let (mut before, mut attempt) = (Known::TooLittle, 0);
        while !stop.is_cancelled() {
            heartbeat.beat();
            let known = self.learn().await;
            attempt = if known == before { attempt + 1 } else { 1 };
            before = known;
            let wait = match known {
                Known::TooLittle => RETRY.half_jitter(attempt),
                Known::AllButTags => RETRY_TAGS.half_jitter(attempt),
                Known::All => LONGEST_SLEEP,
            };
            pause(wait, stop, heartbeat).await;
        }
    }

    /// Fallbacks stand in for what is not known by now. What comes later still takes its place.
    fn wait_no_longer(&self) {
        self.names.send_if_modified(|names| {
            let news = !names.is_complete();
            names.complete();
            news
        });
    }

    /// Asks IMDS for what is not known, and for nothing else.
    async fn learn(&self) -> Known {
        if !self.is_described() {
            match self.imds.identity_document().await {
                // Tags come in the same instant as the rest: a name's fallback is for a tag that is not there, not for
                // one that was not asked for yet.
                Ok(document) => {
                    let tags = self.ask_for_tags().await;
                    self.publish(&document, tags);
                }
                Err(error) => {
                    // IMDS's own snapshot says what is wrong and how to cure it.
                    tracing::debug!(error = chain(&error), "the identity document is not known yet");
                    if matches!(error.problem(), Problem::Disabled | Problem::Off { .. }) {
                        self.wait_no_longer();
                    }
                }
            }
        } else if self.missing_tags().next().is_some() {
            let tags = self.ask_for_tags().await;
            self.names.send_if_modified(|names| tags.enter(names));
        }
        let region = self.names.borrow().get("region").map(str::to_owned);
        let has_sdk = self.sdk.borrow().is_some();
        if let Some(region) = region.filter(|_| !has_sdk) {
            self.publish_sdk(&region);
        }
        if !self.is_described() || self.sdk.borrow().is_none() {
            Known::TooLittle
        } else if self.missing_tags().next().is_some() {
            Known::AllButTags
        } else {
            Known::All
        }
    }

    fn is_described(&self) -> bool {
        self.described.load(Ordering::Relaxed)
    }

    fn knows(&self, name: &str) -> bool {
        self.names.borrow().get(name).is_some()
    }

    fn missing_tags(&self) -> impl Iterator<Item = &String> {
        self.wanted.tags.iter().filter(|key| !self.knows(&tag_name(key)))
    }

    /// Those of the missing tags that IMDS gives (FACTS 1: `tags/instance/KEY`, only if that is enabled).
    async fn ask_for_tags(&self) -> Tags {
        let mut tags = Tags { found: Vec::new(), answered: true };
        let mut warning = None;
        for key in self.missing_tags() {
            match self.imds.get(&format!("/latest/meta-data/tags/instance/{key}")).await {
                Ok(value) => tags.found.push((tag_name(key), value)),
                Err(error) => {
                    tags.answered &= matches!(error.problem(), Problem::NotFound { .. });
                    warning = Some(tag_warning(key, &chain(&error)));
                }
            }
        }
        self.warn(TAG_UNKNOWN, warning);
        tags
    }

    fn publish(&self, document: &IdentityDocument, tags: Tags) {
        tracing::info!(instance_id = document.instance_id, region = document.region, "the instance is known");
        self.names.send_modify(|names| {
            names.extend(instance_names(document, self.wanted.region.as_deref()));
            tags.enter(names);
        });
        self.described.store(true, Ordering::Relaxed);
    }

    fn publish_sdk(&self, region: &str) {
        let warning = match self.aws.sdk_config(region, self.provider.clone(), &self.clock) {
            Ok(sdk) => {
                self.sdk.send_replace(Some(sdk));
                None
            }
            Err(error) => Some(Warning {
                code: AWS_CLIENT.to_owned(),
                message: format!("AWS can't be called: {}", chain(&error)),
                hint: Some(error.hint()),
            }),
        };
        self.warn(AWS_CLIENT, warning);
    }

    /// Sets or clears the warning with that code; says so when it changes.
    fn warn(&self, code: &'static str, warning: Option<Warning>) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        match warning {
            Some(warning) if warnings.get(code) != Some(&warning) => {
                let Warning { message: reason, hint, .. } = &warning;
                tracing::warn!(code, reason, hint, "something is not known, or can't be used");
                warnings.insert(code, warning);
            }
            Some(_) => {}
            None => {
                warnings.remove(code);
            }
        }
    }
}

/// What IMDS said of the tags that names need.
struct Tags {
    found: Vec<(String, String)>,
    /// Whether those that were not found are not there, as far as IMDS knows.
    answered: bool,
}

impl Tags {
    /// Enters them into the names; whether that changed anything.
    fn enter(self, names: &mut Names) -> bool {
        let news = !self.found.is_empty() || (self.answered && !names.is_complete());
        names.extend(self.found);
        if self.answered {
            names.complete();
        }
        news
    }
}

/// What stands before the key of a tag in the names.
const TAG: &str = "tag:";

fn tag_name(key: &str) -> String {
    format!("{TAG}{key}")
}

fn tag_warning(key: &str, reason: &str) -> Warning {
    Warning {
        code: TAG_UNKNOWN.to_owned(),
        message: format!("the tag {key}, which a name in the configuration needs, is not known: {reason}"),
        hint: Some(
            "tag the instance, and: aws ec2 modify-instance-metadata-options --instance-id INSTANCE_ID \
             --instance-metadata-tags enabled; or give the name a fallback: {tag:KEY|none}"
                .to_owned(),
        ),
    }
}

/// The keys of the tags that `templates` name, each once.
pub(super) fn tags_named_in<'a>(templates: impl IntoIterator<Item = &'a Template>) -> Vec<String> {
    let mut keys: Vec<String> = templates
        .into_iter()
        .flat_map(|template| template.text().split("{tag:").skip(1))
        .filter_map(|rest| rest.split(['|', '}']).next().map(str::to_owned))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn names_without_imds(wanted: &Wanted, host_name: Option<String>) -> Names {
    let mut names = Names::from_iter(wanted.variables.clone());
    names.extend(host_name.map(|name| ("hostname".to_owned(), name)));
    names.extend(wanted.region.as_ref().map(|region| ("region".to_owned(), region.clone())));
    names
}

/// What the document says. An empty value is one that is not known: a stream is never named by half.
fn instance_names(document: &IdentityDocument, fixed_region: Option<&str>) -> BTreeMap<String, String> {
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
    known.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The kernel's own word for it (`uname -n`); never from DNS, which may hang.
fn host_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_str().ok()?.to_owned();
    Some(name).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::{Emulator, Options};
    use crate::imds;

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
        assert_eq!(instance_names(&document(), Some("us-east-1"))["region"], "us-east-1");
        assert_eq!(instance_names(&document(), None)["region"], "eu-west-1");
        let wanted = Wanted { region: Some("us-east-1".to_owned()), ..Wanted::default() };
        assert_eq!(names_without_imds(&wanted, None).get("region"), Some("us-east-1"));
        assert_eq!(names_without_imds(&Wanted::default(), None).get("region"), None);
    }

    #[test]
    fn what_the_document_leaves_out_stays_unknown() {
        let names = instance_names(&document(), None);
        let known: Vec<_> = names.keys().map(String::as_str).collect();
        assert_eq!(known, ["account_id", "instance_id", "region"]);
    }

    #[tokio::test]
    async fn an_instance_whose_id_is_not_told_is_described_once_and_its_name_waits() {
        let options = Options { instance_id: String::new(), ..Options::default() };
        let emulator = Emulator::start(options).await.unwrap();
        let settings = imds::Settings { endpoint: Some(emulator.url()), ..imds::Settings::default() };
        let clock = Clock::system();
        let client = ImdsClient::new(&settings, &imds::Environment::default(), &clock).unwrap();
        let keys = aws_credential_types::Credentials::new("AKIA", "secret", None, None, "test");
        let provider = SharedCredentialsProvider::new(keys);
        let identity = Identity::new(
            client,
            aws::Environment::default(),
            (provider, watch::Sender::new(None)),
            clock,
            Wanted::default(),
            None,
        );
        assert!(identity.learn().await == Known::All, "there is nothing more to come");
        assert_eq!(identity.names().borrow().get("instance_id"), None);
        assert_eq!(identity.names().borrow().get("region"), Some("eu-west-1"));
        let names = identity.names();
        identity.learn().await;
        assert!(!names.has_changed().unwrap(), "what is known is not told again");
    }

    #[test]
    fn variables_and_the_hosts_name_are_known_from_the_start() {
        let variables = [("environment".to_owned(), "prod".to_owned())].into();
        let names = names_without_imds(&Wanted { variables, ..Wanted::default() }, Some("web-1".to_owned()));
        assert_eq!((names.get("environment"), names.get("hostname")), (Some("prod"), Some("web-1")));
    }

    #[test]
    fn a_tag_that_is_not_there_is_a_warning_with_the_cure() {
        let warning = tag_warning("Name", "404");
        assert!(warning.message.contains("the tag Name"), "{warning:?}");
        assert!(warning.hint.is_some_and(|hint| hint.contains("--instance-metadata-tags enabled")));
    }

    #[test]
    fn the_host_has_a_name_of_one_line() {
        assert!(host_name().is_none_or(|name| !name.contains('\n')));
    }
}

//! Roles and base sources against the emulator's STS, IMDS and container endpoint, in one process. Not the schedule: that
//! is tested where it is decided, in `refresh`.

#![cfg(feature = "emulator")]

use std::collections::BTreeMap;
use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::SdkConfig;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::caller::Rules;
use crate::clock::Clock;
use crate::emulator::{Change, Denial, Door, Effect, Emulator, Fault, Options, Policy};
use crate::heartbeat::Heartbeat;
use crate::imds::{self, ImdsClient};
use crate::template::{Names, Template};

/// Longer than anything here takes on a loaded machine.
const SOON: Duration = Duration::from_mins(1);

fn arn(role: &str) -> String {
    format!("arn:aws:iam::123456789012:role/{role}")
}

/// A role called `name` whose ARN is that of `role`, a template.
fn settings(name: &str, role: &str) -> RoleSettings {
    let template = |text: &str| Template::parse(text, &["environment"]).unwrap();
    RoleSettings {
        name: name.to_owned(),
        role_arn: template(&arn(role)),
        duration: Duration::from_hours(1),
        session_name: template("{instance_id|imds-agent}"),
        external_id: None,
        policy: None,
        policy_arns: Vec::new(),
        tags: BTreeMap::new(),
        source_identity: None,
        region: None,
        allow: Rules::default(),
    }
}

fn names(environment: &str) -> Names {
    let pairs = [("environment", environment), ("instance_id", "i-1")];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Everything that roles need, at an emulator of their own.
struct Rig {
    emulator: Emulator,
    clock: Clock,
    imds: ImdsClient,
    base: CredentialCache,
    names: watch::Sender<Names>,
    sdk: watch::Sender<Option<SdkConfig>>,
}

impl Rig {
    async fn new() -> Self {
        Self::with(SourceKind::Auto, |_| None).await
    }

    /// With a base source that reads these variables, in which `URL` stands for the emulator.
    async fn with(kind: SourceKind, variable: impl Fn(&str) -> Option<String>) -> Self {
        let emulator = Emulator::start(Options::default()).await.unwrap();
        let url = emulator.url();
        let clock = Clock::stopped(jiff::Timestamp::now());
        let imds_settings = imds::Settings { endpoint: Some(url.clone()), ..imds::Settings::default() };
        let imds = ImdsClient::new(&imds_settings, &imds::Environment::default(), &clock).unwrap();
        let sdk = watch::Sender::new(None);
        let environment = Environment::read(|name| variable(name).map(|value| value.replace("URL", &url)));
        let source = base_source(kind, &environment, imds.clone(), sdk.subscribe(), &clock);
        let base = CredentialCache::new(source, clock.clone());
        let aws = crate::aws::Environment::read(&|name| (name == "AWS_ENDPOINT_URL").then(|| url.clone())).unwrap();
        let provider = SharedCredentialsProvider::new(base.clone());
        sdk.send_replace(Some(aws.sdk_config("eu-west-1", provider, &clock).unwrap()));
        Self { emulator, clock, imds, base, names: watch::Sender::new(names("prod")), sdk }
    }

    fn stage(&self) -> Stage {
        Stage { names: self.names.subscribe(), sdk: self.sdk.subscribe() }
    }

    fn roles(&self, roles: &[RoleSettings], before: Option<&Roles>) -> Roles {
        let settings = Settings { roles: roles.to_vec(), ..Settings::default() };
        Roles::furnish(&settings, self.base.clone(), self.stage(), before)
    }

    /// The cache of one role.
    fn role(&self, settings: RoleSettings) -> CredentialCache {
        let name = settings.name.clone();
        self.roles(&[settings], None).named(&name).unwrap().cache.clone()
    }

    fn calls(&self, role: &str) -> u64 {
        self.emulator.counts().role(&arn(role)).calls
    }
}

#[tokio::test]
async fn five_hundred_who_ask_at_once_make_one_call_a_role() {
    let rig = Rig::new().await;
    let roles = rig.roles(&[settings("a", "app-{environment}"), settings("b", "b"), settings("c", "c")], None);
    let waiters: Vec<_> = (0..1500)
        .map(|number| {
            let cache = roles.named(["a", "b", "c"][number % 3]).unwrap().cache.clone();
            tokio::spawn(async move { cache.wait_for(SOON).await.map(|issued| issued.role_arn) })
        })
        .collect();
    for (number, waiter) in waiters.into_iter().enumerate() {
        let role = ["app-prod", "b", "c"][number % 3];
        assert_eq!(waiter.await.unwrap().unwrap(), Some(arn(role)));
    }
    assert_eq!([rig.calls("app-prod"), rig.calls("b"), rig.calls("c")], [1, 1, 1]);
    assert_eq!(roles.named("a").unwrap().cache.snapshot().served, 500);
}

#[tokio::test]
async fn a_session_is_asked_for_with_all_that_is_configured() {
    let rig = Rig::new().await;
    let template = |text: &str| Some(Template::parse(text, &["environment"]).unwrap());
    let cache = rig.role(RoleSettings {
        duration: Duration::from_mins(15),
        external_id: template("tenant-{environment}"),
        policy: Some("{\"Statement\":[]}".to_owned()),
        policy_arns: template("arn:aws:iam::aws:policy/ReadOnlyAccess").into_iter().collect(),
        tags: [("environment".to_owned(), template("{environment}").unwrap())].into(),
        source_identity: template("{instance_id}"),
        ..settings("app", "app")
    });
    let issued = cache.wait_for(SOON).await.unwrap();
    let life = issued.expiration.unwrap().duration_since(rig.clock.now()).as_secs();
    assert!((890..=901).contains(&life), "{life}");
    assert_eq!((issued.role_arn, issued.account_id.as_deref()), (Some(arn("app")), Some("123456789012")));
    let asked = rig.emulator.counts().role(&arn("app")).last;
    assert_eq!((asked.session_name.as_str(), asked.duration_seconds), ("i-1", 900));
    assert_eq!(asked.external_id.as_deref(), Some("tenant-prod"));
    assert_eq!(asked.policy.as_deref(), Some("{\"Statement\":[]}"));
    assert_eq!(asked.policy_arns, ["arn:aws:iam::aws:policy/ReadOnlyAccess"]);
    assert_eq!((asked.tags["environment"].as_str(), asked.source_identity.as_deref()), ("prod", Some("i-1")));
    let arn = cache.snapshot().arn;
    assert_eq!(arn.as_deref(), Some("arn:aws:sts::123456789012:assumed-role/app/i-1"));
}

#[tokio::test]
async fn a_role_with_a_region_of_its_own_is_asked_for_there() {
    let rig = Rig::new().await;
    let cache = rig.role(RoleSettings { region: Some("us-east-1".to_owned()), ..settings("app", "app") });
    // The emulator is another region's, and says whose signature it got.
    let error = cache.refresh_now().await.unwrap_err().to_string();
    assert!(error.contains("us-east-1"), "{error}");
}

#[tokio::test]
async fn a_denial_is_remembered_with_awss_words_and_the_statement_that_is_missing() {
    let rig = Rig::new().await;
    let denial = Denial { policy: Policy::ResourceBased, ..Denial::default() };
    rig.emulator.set_fault(Fault::on("sts:AssumeRole", Effect::Deny(denial)).role(&arn("app")));
    let roles = rig.roles(&[settings("app", "app"), settings("other", "other")], None);
    let cache = &roles.named("app").unwrap().cache;
    for _ in 0..50 {
        let error = cache.wait_for(Duration::from_millis(20)).await.unwrap_err();
        assert!(matches!(error, Error::Waited { .. }), "{error}");
    }
    let other = roles.named("other").unwrap().cache.wait_for(SOON).await;
    assert!(other.is_ok(), "one denied role delays no other");
    let denied = loop {
        match cache.hand_out().unwrap_err() {
            Error::NotYet => tokio::time::sleep(Duration::from_millis(10)).await,
            error => break error,
        }
    };
    assert!(denied.to_string().contains("is not authorized to perform: sts:AssumeRole"), "{denied}");
    let hint = denied.hint().unwrap();
    assert!(hint.contains("in the trust policy of") && hint.contains("role/emulated-role"), "{hint}");
    assert_eq!(rig.calls("app"), 1, "AWS is not asked again so soon");
    let next = cache.snapshot().next_refresh.unwrap().duration_since(rig.clock.now()).as_secs();
    assert!((20..=33).contains(&next), "{next}");
    rig.emulator.clear_faults();
    cache.refresh_now().await.unwrap();
    assert_eq!((rig.calls("app"), cache.snapshot().state), (2, State::Fresh), "who may can ask at once");
}

#[tokio::test]
async fn sts_that_is_slow_throttled_or_gone_is_tried_again_and_what_is_held_is_served() {
    let rig = Rig::new().await;
    let fault = |effect, times| Fault::on("sts:AssumeRole", effect).times(times);
    rig.emulator.set_fault(fault(Effect::Throttle { retry_after_ms: None }, 1));
    rig.emulator.set_fault(fault(Effect::Close, 1));
    rig.emulator.set_fault(fault(Effect::Delay { ms: 300 }, 3));
    let cache = rig.role(settings("app", "app"));
    let first = cache.wait_for(SOON).await.unwrap();
    assert_eq!((rig.calls("app"), cache.snapshot().failures), (3, 2));
    rig.emulator.set_door(Door::Refuse);
    let error = cache.refresh_now().await.unwrap_err();
    assert!(error.to_string().contains("can't ask STS in eu-west-1 (sts:AssumeRole)"), "{error}");
    assert!(error.hint().unwrap().contains("sts.eu-west-1.amazonaws.com"));
    let held = cache.hand_out().unwrap();
    assert_eq!(held.credentials.access_key_id(), first.credentials.access_key_id());
    assert_eq!((held.expiration, cache.snapshot().state), (first.expiration, State::Stale));
}

#[tokio::test]
async fn what_expired_while_everything_is_down_is_never_handed_out() {
    let rig = Rig::new().await;
    let cache = rig.role(settings("app", "app"));
    cache.wait_for(SOON).await.unwrap();
    rig.emulator.set_door(Door::Refuse);
    rig.clock.advance(Duration::from_hours(1) + Duration::from_secs(5));
    cache.refresh_now().await.unwrap_err();
    let error = cache.hand_out().unwrap_err();
    assert!(matches!(error, Error::Expired { reason: Some(_), .. }), "{error}");
    assert!(error.to_string().contains("can't ask STS") && error.hint().is_some(), "{error}");
    assert_eq!(cache.snapshot().state, State::Expired);
    rig.emulator.set_door(Door::Open);
    cache.wait_for(SOON).await.unwrap();
}

#[tokio::test]
async fn another_instance_role_drops_what_the_old_one_had_assumed() {
    let rig = Rig::new().await;
    let cache = rig.role(settings("app", "app"));
    let old = cache.wait_for(SOON).await.unwrap();
    rig.emulator.change(&Change { role_name: Some("successor".to_owned()), ..Change::default() });
    assert!(cache.hand_out().is_ok(), "nobody knows yet");
    rig.base.refresh_now().await.unwrap();
    let now = cache.hand_out();
    assert!(matches!(now, Err(Error::NotYet)), "what the old role had assumed is gone: {now:?}");
    let new = cache.wait_for(SOON).await.unwrap();
    assert_ne!(new.credentials.access_key_id(), old.credentials.access_key_id());
    assert_eq!(rig.calls("app"), 2);
}

#[tokio::test]
async fn base_keys_that_sts_calls_expired_are_fetched_anew() {
    let rig = Rig::new().await;
    rig.emulator.set_fault(Fault::on("sts:AssumeRole", Effect::Expired).times(1));
    let cache = rig.role(settings("app", "app"));
    cache.wait_for(SOON).await.unwrap();
    assert_eq!(rig.calls("app"), 2);
    let mut changes = rig.base.changes();
    let (base, stop) = (rig.base.clone(), CancellationToken::new());
    tokio::spawn(async move { base.run(stop, Heartbeat::new()).await });
    while rig.base.snapshot().refreshes < 2 {
        changes.changed().await.unwrap();
    }
}

#[tokio::test]
async fn without_base_credentials_a_role_says_so_with_their_reason() {
    let rig = Rig::new().await;
    rig.emulator.change(&Change { role_name: Some(String::new()), ..Change::default() });
    let cache = rig.role(settings("app", "app"));
    let error = cache.refresh_now().await.unwrap_err();
    assert!(error.to_string().starts_with("there are no base credentials to assume the role with: "), "{error}");
    assert!(error.hint().unwrap().contains("associate-iam-instance-profile"));
    assert_eq!(rig.calls("app"), 0);
}

#[tokio::test]
async fn a_name_that_imds_has_not_told_is_waited_for_and_named() {
    let rig = Rig::new().await;
    rig.names.send_replace(Names::default());
    let cache = rig.role(settings("app", "app-{environment}"));
    let error = cache.refresh_now().await.unwrap_err();
    assert_eq!(error.to_string(), "waiting for {environment}, which role_arn of role app needs");
    rig.names.send_replace(names("dev"));
    assert_eq!(cache.wait_for(SOON).await.unwrap().role_arn, Some(arn("app-dev")));
}

#[tokio::test]
async fn another_configuration_keeps_the_roles_that_it_does_not_concern() {
    let rig = Rig::new().await;
    let before = rig.roles(&[settings("same", "same"), settings("other", "a"), settings("gone", "gone")], None);
    for role in before.all() {
        role.cache.wait_for(SOON).await.unwrap();
    }
    let opened = RoleSettings { allow: Rules(Vec::new()), ..settings("same", "same") };
    let after = rig.roles(&[settings("other", "b"), opened], Some(&before));
    let cache = |roles: &Roles, name: &str| roles.named(name).unwrap().cache.clone();
    assert!(cache(&after, "same").is(&cache(&before, "same")), "who may have it is no reason to ask AWS");
    assert_eq!(after.named("same").unwrap().allow, Rules(Vec::new()));
    assert!(matches!(cache(&after, "other").hand_out(), Err(Error::NotYet)), "another ARN is another role");
    assert!(after.named("gone").is_none() && !after.shares_caches(&before));
    assert!(before.shares_caches(&before.clone()));
}

#[tokio::test]
async fn a_changed_variable_never_hands_out_another_environments_credentials() {
    let mut rig = Rig::new().await;
    let both = [settings("app", "app-{environment}"), settings("fixed", "fixed")];
    let before = rig.roles(&both, None);
    for role in before.all() {
        role.cache.wait_for(SOON).await.unwrap();
    }
    rig.names = watch::Sender::new(names("dev"));
    let after = rig.roles(&both, Some(&before));
    let app = &after.named("app").unwrap().cache;
    assert!(matches!(app.hand_out(), Err(Error::NotYet)), "prod's are gone");
    assert_eq!(app.wait_for(SOON).await.unwrap().role_arn, Some(arn("app-dev")));
    assert!(after.named("fixed").unwrap().cache.hand_out().is_ok(), "what means the same is served meanwhile");
}

#[tokio::test]
async fn static_keys_are_handed_out_without_an_end() {
    let rig = Rig::with(SourceKind::Environment, |name| match name {
        "AWS_ACCESS_KEY_ID" => Some("AKIAEXAMPLE".to_owned()),
        "AWS_SECRET_ACCESS_KEY" => Some("hunter2".to_owned()),
        _ => None,
    })
    .await;
    let issued = rig.base.wait_for(SOON).await.unwrap();
    assert_eq!((issued.credentials.access_key_id(), issued.expiration), ("AKIAEXAMPLE", None));
    let snapshot = rig.base.snapshot();
    assert_eq!((snapshot.state, snapshot.expiration), (State::Fresh, None));
    rig.clock.advance(Duration::from_hours(24 * 365));
    assert!(rig.base.hand_out().is_ok());
}

#[tokio::test]
async fn a_web_identity_is_exchanged_with_the_token_that_is_in_its_file_then() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    let rig = Rig::with(SourceKind::Auto, |name| match name {
        "AWS_WEB_IDENTITY_TOKEN_FILE" => Some(path.clone()),
        "AWS_ROLE_ARN" => Some(arn("runner")),
        _ => None,
    })
    .await;
    rig.emulator.change(&Change { web_identity_token: Some("second".to_owned()), ..Change::default() });
    let empty = rig.base.refresh_now().await.unwrap_err();
    assert!(
        empty.to_string().starts_with("AWS_WEB_IDENTITY_TOKEN_FILE names") && empty.to_string().ends_with("is empty")
    );
    std::fs::write(file.path(), "first\n").unwrap();
    let wrong = rig.base.refresh_now().await.unwrap_err();
    assert!(wrong.to_string().contains("InvalidIdentityToken") && wrong.hint().is_some(), "{wrong}");
    std::fs::write(file.path(), "second\n").unwrap();
    let issued = rig.base.refresh_now().await.unwrap();
    assert_eq!((issued.role_arn, issued.account_id.as_deref()), (Some(arn("runner")), Some("123456789012")));
    let snapshot = rig.base.snapshot();
    assert_eq!(
        (snapshot.role.as_str(), snapshot.source.as_str()),
        ("runner", "web_identity (AWS_WEB_IDENTITY_TOKEN_FILE is set)")
    );
    assert_eq!(rig.emulator.counts().role(&arn("runner")).last.session_name, "imds-agent");
    let derived = rig.role(settings("app", "app")).wait_for(SOON).await;
    assert!(derived.is_ok(), "{derived:?}");
    std::fs::remove_file(file.path()).unwrap();
    let gone = rig.base.refresh_now().await.unwrap_err();
    assert!(gone.to_string().contains("can't be read") && rig.base.hand_out().is_ok(), "{gone}");
}

#[tokio::test]
async fn a_containers_endpoint_is_asked_with_the_token_that_is_in_its_file_then() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    let rig = Rig::with(SourceKind::Auto, |name| match name {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI" => Some("URL/v2/credentials/emulated".to_owned()),
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE" => Some(path.clone()),
        "AWS_CONTAINER_AUTHORIZATION_TOKEN" => Some("not this one".to_owned()),
        _ => None,
    })
    .await;
    rig.emulator.change(&Change { container_token: Some("hunter2".to_owned()), ..Change::default() });
    std::fs::write(file.path(), "hunter2\n").unwrap();
    let broken = rig.base.refresh_now().await.unwrap_err();
    assert!(broken.to_string().contains("holds a line break") && broken.hint().unwrap().contains("printf"), "{broken}");
    std::fs::write(file.path(), "hunter1").unwrap();
    let refused = rig.base.refresh_now().await.unwrap_err();
    let said = refused.to_string();
    assert!(said.contains("AWS_CONTAINER_CREDENTIALS_FULL_URI") && said.contains("answers 403"), "{said}");
    assert!(!format!("{said}{refused:?}{:?}", refused.hint()).contains("hunter1"), "{said}");
    assert_eq!(rig.emulator.counts().of("container:get"), 1, "a refusal is an answer");
    std::fs::write(file.path(), "hunter2").unwrap();
    rig.emulator.set_fault(Fault::on("container:get", Effect::Status { code: 503, body: String::new() }).times(2));
    let issued = rig.base.refresh_now().await.unwrap();
    assert_eq!(issued.role_arn, Some(arn("emulated-task-role")));
    let snapshot = rig.base.snapshot();
    assert_eq!((snapshot.role.as_str(), snapshot.refreshes), ("emulated-task-role", 1));
    assert_eq!(snapshot.source, "container (AWS_CONTAINER_CREDENTIALS_FULL_URI is set)");
    assert_eq!(rig.emulator.counts().of("imds:get"), 0, "{:?}", rig.imds.snapshot());
}

#[tokio::test]
async fn an_endpoint_that_is_no_credentials_endpoint_is_named_and_not_quoted() {
    let rig = Rig::with(SourceKind::Container, |name| {
        (name == "AWS_CONTAINER_CREDENTIALS_FULL_URI").then(|| "URL/v2/credentials/emulated".to_owned())
    })
    .await;
    let body = "{\"SecretAccessKey\": \"hunter2\"}".to_owned();
    rig.emulator.set_fault(Fault::on("container:get", Effect::Status { code: 200, body }));
    let error = rig.base.refresh_now().await.unwrap_err().to_string();
    assert!(error.contains("no credentials document") && !error.contains("hunter2"), "{error}");
    rig.emulator.clear_faults();
    rig.emulator.set_fault(Fault::on("container:get", Effect::Redirect { to: "http://127.0.0.1:9/".to_owned() }));
    let error = rig.base.refresh_now().await.unwrap_err().to_string();
    assert!(error.contains("answers 302"), "{error}");
}

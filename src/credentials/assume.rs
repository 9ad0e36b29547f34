//! A role that is assumed with the base credentials, through STS. Not what is asked for (`request`), nor when.

use std::fmt;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sts::types::{PolicyDescriptorType, Tag};
use aws_types::SdkConfig;
use aws_types::region::Region;
use tokio::sync::watch;

use super::budget::Budget;
use super::request::Request;
use super::source::sts::{self, Call};
use super::source::{FETCH, Fetched, Fetching, Source};
use super::{CredentialCache, Error, Pace, RoleSettings};
use crate::template::Names;

/// How long a fetch waits for what IMDS is about to tell before it says what it waits for: at the start of the daemon
/// both are asked for at the same time.
const ABOUT_TO: Duration = Duration::from_secs(2);

/// How long a role waits for all that goes before its call: the base credentials, and its turn behind three hundred others
/// at five calls a second. No wait is for ever.
const TURN: Duration = Duration::from_secs(75);

/// What is known of where we are, and how AWS is called.
#[derive(Clone)]
pub struct Stage {
    /// What fills the holes in names.
    pub names: watch::Receiver<Names>,
    /// How to call AWS, once the region is known.
    pub sdk: watch::Receiver<Option<SdkConfig>>,
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").finish_non_exhaustive()
    }
}

impl Stage {
    /// Whether both hear of the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.names.same_channel(&other.names)
    }
}

/// Asks STS for sessions of one role.
#[derive(Debug)]
pub(super) struct Assumed {
    pub(super) settings: RoleSettings,
    pub(super) base: CredentialCache,
    pub(super) stage: Stage,
    pub(super) budget: Budget,
}

impl Source for Assumed {
    fn name(&self) -> Option<&str> {
        Some(&self.settings.name)
    }

    fn pace(&self) -> Pace {
        Pace::HalfLife
    }

    fn describe(&self) -> String {
        let text = self.settings.role_arn.text();
        let arn = self.settings.role_arn.fill(&self.stage.names.borrow()).unwrap_or_else(|_| text.to_owned());
        format!("assume_role ({arn}, with the base credentials)")
    }

    fn patience(&self) -> Duration {
        TURN + FETCH
    }

    fn stands_on(&self, base: &str) -> bool {
        self.base.is_of(base)
    }

    fn upstream(&self) -> Option<watch::Receiver<u64>> {
        Some(self.base.changes())
    }

    fn fetch(&self) -> Fetching<'_> {
        Box::pin(async move {
            let request = self.request().await?;
            let sdk = sts::known(&self.stage.sdk, ABOUT_TO).await?;
            let (base, keys) = self.base.lend().await.map_err(|error| Error::Base(Box::new(error)))?;
            self.budget.admit().await;
            let (key, sdk) = (keys.access_key_id().to_owned(), signed_with(&self.settings, keys, &sdk));
            match assume(&request, &sdk).await {
                Ok(fetched) => Ok(Fetched {
                    role: self.settings.name.clone(),
                    role_arn: Some(request.role_arn),
                    derived_from: Some(base),
                    ..fetched
                }),
                Err(error) => {
                    if matches!(&error, Error::Refused(refusal) if refusal.rejects_credentials()) {
                        self.base.rejected(&key);
                    }
                    Err(error)
                }
            }
        })
    }
}

impl Assumed {
    /// What to ask for; waits a little for names that are about to be known.
    async fn request(&self) -> Result<Request, Error> {
        let mut names = self.stage.names.clone();
        let filled =
            names.wait_for(|names| !matches!(Request::fill(&self.settings, names), Err(Error::Waiting { .. })));
        // Whether they came, or nobody is left to tell them: what there is decides.
        let _ = tokio::time::timeout(ABOUT_TO, filled).await;
        Request::fill(&self.settings, &self.stage.names.borrow())
    }
}

/// How to call STS where the role says, with these very keys: the base cache might hold others a moment later.
fn signed_with(settings: &RoleSettings, keys: Credentials, sdk: &SdkConfig) -> SdkConfig {
    let mut builder = sdk.to_builder().credentials_provider(SharedCredentialsProvider::new(keys));
    if let Some(region) = &settings.region {
        builder = builder.region(Region::new(region.clone()));
    }
    builder.build()
}

/// Tries roles by the request that the daemon would make, at the daemon's pace, and keeps nothing of what it gets.
#[derive(Clone)]
pub struct Trials {
    names: Names,
    keys: Credentials,
    sdk: SdkConfig,
    budget: Budget,
}

impl fmt::Debug for Trials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trials").finish_non_exhaustive()
    }
}

impl Trials {
    /// With the base credentials `keys`, calling AWS as `sdk` says.
    #[must_use]
    pub fn new(names: Names, keys: Credentials, sdk: SdkConfig) -> Self {
        Self { names, keys, sdk, budget: Budget::default() }
    }

    /// Assumes a role and drops the session; returns its ARN.
    ///
    /// # Errors
    /// As the daemon would have it.
    pub async fn assume(&self, role: &RoleSettings) -> Result<String, Error> {
        let request = Request::fill(role, &self.names)?;
        self.budget.admit().await;
        let fetched = assume(&request, &signed_with(role, self.keys.clone(), &self.sdk)).await?;
        Ok(fetched.arn.unwrap_or(request.role_arn))
    }
}

async fn assume(request: &Request, sdk: &SdkConfig) -> Result<Fetched, Error> {
    let policy = |arn: &String| PolicyDescriptorType::builder().arn(arn).build();
    let tag = |(key, value): &(String, String)| Tag::builder().key(key).value(value).build().ok();
    let some = |list: Vec<_>| Some(list).filter(|list| !list.is_empty());
    let tags: Vec<Tag> = request.tags.iter().filter_map(tag).collect();
    let seconds = i32::try_from(request.duration.as_secs()).unwrap_or(i32::MAX);
    let operation = aws_sdk_sts::Client::new(sdk)
        .assume_role()
        .role_arn(&request.role_arn)
        .role_session_name(&request.session_name)
        .duration_seconds(seconds)
        .set_external_id(request.external_id.clone())
        .set_policy(request.policy.clone())
        .set_policy_arns(some(request.policy_arns.iter().map(policy).collect()))
        .set_tags(Some(tags).filter(|tags| !tags.is_empty()))
        .set_source_identity(request.source_identity.clone())
        .send();
    let call = Call {
        action: "sts:AssumeRole",
        resource: &request.role_arn,
        further: request.further_actions(),
        external_id: request.external_id.clone(),
        region: sdk.region().map_or("", AsRef::as_ref),
    };
    let answer = call.answer(operation).await?;
    call.fetched(answer.credentials, answer.assumed_role_user)
}

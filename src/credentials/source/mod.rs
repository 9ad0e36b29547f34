//! Where a role's credentials come from: the contract, and one file for each place. Not when they are fetched
//! (`refresh`), nor who gets them (`cache`).

mod choice;
mod container;
mod environment;
mod exchange;
mod instance;
mod secret_file;
pub(super) mod sts;
mod variables;
mod web_identity;

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use aws_credential_types::Credentials;
use jiff::Timestamp;
use tokio::sync::watch;

pub use self::choice::base_source;
pub use self::variables::Environment;
pub(super) use self::web_identity::ACTION as WITH_WEB_IDENTITY;
use super::{Error, Pace, SourceKind};

/// How long a fetch may take: three operations of IMDS (the role's name, why there is none, the document), or one call
/// of STS on a slow link.
pub(super) const FETCH: Duration = Duration::from_secs(10);

/// What a fetch brought.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Whose they are; it may be another role than last time.
    pub role: String,
    /// The keys.
    pub credentials: Credentials,
    /// When they expire, exactly as issued; `None` for keys that never do.
    pub expiration: Option<Timestamp>,
    /// The role's ARN, where the issuer tells.
    pub role_arn: Option<String>,
    /// The ARN of the session, where the issuer tells.
    pub arn: Option<String>,
    /// The account, where the issuer tells.
    pub account_id: Option<String>,
    /// The base role that these are derived from.
    pub derived_from: Option<String>,
}

impl Fetched {
    /// Credentials of which nothing else is known.
    #[must_use]
    pub fn new(role: String, credentials: Credentials, expiration: Option<Timestamp>) -> Self {
        Self { role, credentials, expiration, role_arn: None, arn: None, account_id: None, derived_from: None }
    }
}

/// A fetch under way.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Fetched, Error>> + Send + 'a>>;

/// Where credentials come from.
///
/// An implementation asks anew each time: it must neither cache, nor extend an expiration, nor fall back to something
/// older when it fails. It need not retry beyond what one answer takes, nor check whether what it got has expired; the
/// cache does that. It may be cancelled, and is never asked twice at once.
pub trait Source: fmt::Debug + Send + Sync {
    /// What `status` says of it: `instance (…)`.
    fn describe(&self) -> String;

    /// Fetches once.
    fn fetch(&self) -> Fetching<'_>;

    /// The role's name, where it is known before the first fetch.
    fn name(&self) -> Option<&str> {
        None
    }

    /// When what it brings is renewed.
    fn pace(&self) -> Pace {
        Pace::BeforeTheEnd
    }

    /// How long one fetch may take.
    fn patience(&self) -> Duration {
        FETCH
    }

    /// Whether what was derived from the base role `base` is still what is wanted.
    fn stands_on(&self, _base: &str) -> bool {
        true
    }

    /// Changes when [`Source::stands_on`] may have; `None` where it never does.
    fn upstream(&self) -> Option<watch::Receiver<u64>> {
        None
    }
}

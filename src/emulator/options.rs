//! What an emulator starts with, and what may be changed while it runs. Not faults: those are in `fault`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU8;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The most that EC2 takes, and farther than any client is: no limit.
const LONGEST_WAY: NonZeroU8 = NonZeroU8::new(64).unwrap();

/// How an emulator starts. Everything has a default; change what a test is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// The instance's id.
    pub instance_id: String,
    /// The region of the instance, of STS and of CloudWatch Logs; signatures must be scoped to it.
    pub region: String,
    /// The availability zone.
    pub availability_zone: String,
    /// The account's twelve digits.
    pub account_id: String,
    /// The instance type.
    pub instance_type: String,
    /// The AMI's id.
    pub image_id: String,
    /// The primary private address.
    pub private_ip: Ipv4Addr,
    /// The role of the instance profile; `None`: no profile is attached.
    pub role_name: Option<String>,
    /// The instance's tags, as `tags/instance/KEY` shows them; empty: tags are not enabled in the metadata.
    pub tags: BTreeMap<String, String>,
    /// The user data, if there is any.
    pub user_data: Option<String>,
    /// How many hops the answer to a token request may go (`--http-put-response-hop-limit`, 1 to 64).
    pub hop_limit: NonZeroU8,
    /// How long the role's credentials live. They rotate after a sixth of that, as IMDS does (6 h, about hourly).
    pub credentials_lifetime: Duration,
    /// How long each `PutLogEvents` takes before it is looked at.
    pub put_latency: Duration,
    /// The role that a container gets by `/v2/credentials/emulated`.
    pub container_role: String,
    /// What its `Authorization` header must be; `None`: whoever asks gets the credentials.
    pub container_token: Option<String>,
    /// The one token that `AssumeRoleWithWebIdentity` takes; `None`: any.
    pub web_identity_token: Option<String>,
    /// External ids that `AssumeRole` demands, by role ARN. Other roles of any account may be assumed without.
    pub external_ids: BTreeMap<String, String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            instance_id: "i-0e00000000000e001".into(),
            region: "eu-west-1".into(),
            availability_zone: "eu-west-1a".into(),
            account_id: "123456789012".into(),
            instance_type: "t3.micro".into(),
            image_id: "ami-0e00000000000e001".into(),
            private_ip: Ipv4Addr::new(10, 0, 0, 17),
            role_name: Some("emulated-role".into()),
            tags: BTreeMap::from([("Name".into(), "emulated".into())]),
            user_data: None,
            hop_limit: LONGEST_WAY,
            credentials_lifetime: Duration::from_hours(6),
            put_latency: Duration::ZERO,
            container_role: "emulated-task-role".into(),
            container_token: None,
            web_identity_token: None,
            external_ids: BTreeMap::new(),
        }
    }
}

/// What may be changed while the emulator runs; a field that is absent stays as it is.
/// As JSON it is the body of `POST /_emulator/settings`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Change {
    /// How long role credentials live; IMDS issues new ones at the next request.
    pub credentials_lifetime_seconds: Option<u64>,
    /// How long the sessions of `AssumeRole` live from now on, whatever was asked for: shorter than STS would have it.
    pub session_lifetime_seconds: Option<u64>,
    /// Whether IMDS goes on serving the same credentials, even after they have expired.
    pub freeze_credentials: Option<bool>,
    /// The instance's role; an empty string detaches the instance profile.
    pub role_name: Option<String>,
    /// How far the emulator's clock is ahead of the machine's, in seconds; negative: behind.
    pub clock_skew_seconds: Option<i64>,
    /// How many hops the answer to a token request may go, 1 to 64.
    pub hop_limit: Option<NonZeroU8>,
    /// Whether IMDS is off: it answers 403 to everything, as with `--http-endpoint disabled`.
    pub imds_off: Option<bool>,
    /// Whether IMDS answers without a token too (`--http-tokens optional`).
    pub imds_v1: Option<bool>,
    /// How long each `PutLogEvents` takes before it is looked at, in milliseconds.
    pub put_latency_ms: Option<u64>,
    /// What becomes of gzip'd bodies.
    pub gzip: Option<Gzip>,
    /// The role that a container gets.
    pub container_role: Option<String>,
    /// What a container's `Authorization` header must be; an empty string: anything.
    pub container_token: Option<String>,
    /// The one token that `AssumeRoleWithWebIdentity` takes; an empty string: any.
    pub web_identity_token: Option<String>,
    /// SSM parameters added, replaced or (`null`) removed, by name. All of them are `SecureString`s.
    pub parameters: BTreeMap<String, Option<String>>,
    /// Secrets of Secrets Manager added, replaced or (`null`) removed, by name.
    pub secrets: BTreeMap<String, Option<String>>,
    /// Leaves added to, replaced in or (`null`) taken from the metadata, by path below `/latest/`.
    pub metadata: BTreeMap<String, Option<String>>,
}

/// What CloudWatch Logs does with bodies of `Content-Encoding: gzip`, which AWS takes without saying so anywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gzip {
    /// They are unpacked.
    #[default]
    Accepted,
    /// They are refused, as by a server that knows the header (415).
    Unsupported,
    /// They are taken for plain JSON that is broken, as by a server that does not look at the header.
    Unreadable,
}

/// What happens to connections, before any request is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// They are accepted.
    #[default]
    Open,
    /// They are refused, and those that exist are closed: nothing listens.
    Refuse,
    /// They are never established, and those that exist never answer: packets are dropped.
    Hang,
}

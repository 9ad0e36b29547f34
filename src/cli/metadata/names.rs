//! The names that people know things by, and how each is asked for. Not how it is printed.

use serde_json::{Map, Value};

use super::path::Path;
use crate::imds::{Error, ImdsClient, Problem};

/// A thing that has a name of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// What one path says.
    At(&'static str),
    /// A field of the identity document.
    Account,
    /// The role's name, or why there is none.
    Role,
    /// The instance profile's name.
    Profile,
    /// All tags, by key.
    Tags,
}

/// All names, in the order in which they are shown.
pub(super) const NAMES: [(&str, Name); 14] = [
    ("instance-id", Name::At("instance-id")),
    ("region", Name::At("placement/region")),
    ("availability-zone", Name::At("placement/availability-zone")),
    ("account-id", Name::Account),
    ("instance-type", Name::At("instance-type")),
    ("image-id", Name::At("ami-id")),
    ("iam-role", Name::Role),
    ("instance-profile", Name::Profile),
    ("local-ipv4", Name::At("local-ipv4")),
    ("public-ipv4", Name::At("public-ipv4")),
    ("hostname", Name::At("hostname")),
    ("mac", Name::At("mac")),
    ("partition", Name::At("services/partition")),
    ("tags", Name::Tags),
];

/// Where the tags are, if the instance's metadata options have them.
const TAGS: &str = "tags/instance";

impl Name {
    /// The thing called `text`.
    pub(super) fn of(text: &str) -> Option<Self> {
        NAMES.iter().find(|(name, _)| *name == text).map(|(_, thing)| *thing)
    }

    /// What the metadata service says of it.
    ///
    /// # Errors
    /// As IMDS answers.
    pub(super) async fn ask(self, imds: &ImdsClient) -> Result<Value, Error> {
        Ok(match self {
            Self::At(path) => get(imds, path).await?.into(),
            Self::Account => imds.identity_document().await?.account_id.into(),
            Self::Role => imds.role_name().await?.into(),
            Self::Profile => profile(imds).await?.into(),
            Self::Tags => tags(imds).await?.into(),
        })
    }
}

async fn get(imds: &ImdsClient, path: &str) -> Result<String, Error> {
    imds.get(&format!("/latest/meta-data/{path}")).await
}

/// The name, as AWS's commands take it; its ARN is at `iam/info`.
async fn profile(imds: &ImdsClient) -> Result<String, Error> {
    let info = match imds.iam_info().await {
        Err(error) if matches!(error.problem(), Problem::NotFound { .. }) => {
            return Err(Problem::NoInstanceProfile.into());
        }
        answer => answer?,
    };
    let arn = info.instance_profile_arn.ok_or(Problem::NoInstanceProfile)?;
    Ok(arn.rsplit('/').next().unwrap_or_default().to_owned())
}

async fn tags(imds: &ImdsClient) -> Result<Map<String, Value>, Error> {
    let mut tags = Map::new();
    for key in get(imds, TAGS).await?.lines() {
        tags.insert(key.to_owned(), get(imds, &format!("{TAGS}/{key}")).await?.into());
    }
    Ok(tags)
}

/// Where what has no value can be looked up instead, and why it may be missing.
pub(super) fn hint_for_absent(path: &Path) -> Option<&'static str> {
    let path = path.to_string();
    if path.contains("/tags/instance") {
        Some(
            "aws ec2 modify-instance-metadata-options --instance-id INSTANCE_ID --instance-metadata-tags enabled; the \
             instance may also have no such tag",
        )
    } else if path.ends_with("/public-ipv4") {
        Some("this instance has no public address")
    } else {
        None
    }
}

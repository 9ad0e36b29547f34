//! What checks found out that later ones build on. Each fact is told once, by one check.

use std::sync::OnceLock;

use aws_credential_types::Credentials;
use aws_types::SdkConfig;

use crate::imds::{IdentityDocument, ImdsClient};
use crate::status::Report;

/// What is known so far; a fact that is not there was not found out.
#[derive(Default)]
pub(in crate::doctor) struct Facts {
    /// What the running daemon says of itself (`daemon`).
    pub(in crate::doctor) report: OnceLock<Report>,
    /// Whether this machine is an EC2 instance, by what its firmware says (`ec2`).
    pub(in crate::doctor) is_ec2: OnceLock<bool>,
    /// The instance's id, by what its firmware says, which it does on Nitro (`ec2`).
    pub(in crate::doctor) firmware_id: OnceLock<String>,
    /// A client of the metadata service that has a token (`imds-token`).
    pub(in crate::doctor) imds: OnceLock<ImdsClient>,
    /// Which instance this is (`imds-identity`).
    pub(in crate::doctor) identity: OnceLock<IdentityDocument>,
    /// The region in use (`region`).
    pub(in crate::doctor) region: OnceLock<String>,
    /// The base credentials, fetched just now (`credentials`).
    pub(in crate::doctor) credentials: OnceLock<Credentials>,
    /// The name of the base role, where there is one (`credentials`).
    pub(in crate::doctor) role: OnceLock<String>,
    /// How AWS is asked, with the base credentials (`region`, `credentials`).
    pub(in crate::doctor) sdk: OnceLock<SdkConfig>,
    /// The ARN that STS knows the base credentials by (`sts-identity`).
    pub(in crate::doctor) caller: OnceLock<String>,
    /// The log groups of which AWS said what is denied (`logs-permissions`).
    pub(in crate::doctor) denied_groups: OnceLock<Vec<String>>,
}

//! Where in a network this instance is, for cures that name its VPC, subnet and security groups. Asked only when
//! something can't be reached.

use std::time::Duration;

use crate::imds::ImdsClient;

/// IMDS is asked at most twice at once and ten times a second; a cure that says `VPC_ID` is better than none.
const PATIENCE: Duration = Duration::from_millis(900);

/// The ids, or words in their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) vpc: String,
    pub(super) subnet: String,
    /// The first one; several are as good for a cure.
    pub(super) security_group: String,
}

/// What IMDS says of the first interface.
pub(super) async fn of(imds: Option<&ImdsClient>) -> Place {
    let told = async {
        let imds = imds?;
        let mac = imds.get("/latest/meta-data/mac").await.ok()?;
        let path = |leaf: &str| format!("/latest/meta-data/network/interfaces/macs/{}/{leaf}", mac.trim());
        let vpc = imds.get(&path("vpc-id")).await.ok()?;
        let subnet = imds.get(&path("subnet-id")).await.ok()?;
        let groups = imds.get(&path("security-group-ids")).await.ok()?;
        let security_group = groups.lines().next()?.to_owned();
        Some(Place { vpc: vpc.trim().to_owned(), subnet: subnet.trim().to_owned(), security_group })
    };
    tokio::time::timeout(PATIENCE, told).await.ok().flatten().unwrap_or_else(|| Place {
        vpc: "VPC_ID".to_owned(),
        subnet: "SUBNET_ID".to_owned(),
        security_group: "SECURITY_GROUP_ID".to_owned(),
    })
}

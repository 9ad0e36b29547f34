//! The metadata tree: which leaf or directory a path names, and what is in it. Pure text. Not tokens nor HTTP.

use std::collections::BTreeMap;

use super::options::Options;

/// Leaves by path below `/latest/`, such as `meta-data/instance-id`; directories are what lies between.
pub(super) type Leaves = BTreeMap<String, String>;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A leaf's text.
    Leaf(String),
    /// A directory's names, one a line, those of directories with a slash.
    Listing(String),
}

/// The leaves that stay the same while the instance runs.
pub(super) fn fixed(options: &Options) -> Leaves {
    let ip = options.private_ip;
    let hostname = format!("ip-{}.{}.compute.internal", ip.to_string().replace('.', "-"), options.region);
    let (partition, domain) = partition(&options.region);
    // A locally administered address that follows from the IP address.
    let [_, b, c, d] = ip.octets();
    let mac = format!("02:00:5e:{b:02x}:{c:02x}:{d:02x}");
    let interface = format!("meta-data/network/interfaces/macs/{mac}");
    let mut leaves: Leaves = [
        ("meta-data/ami-id", options.image_id.clone()),
        ("meta-data/ami-launch-index", "0".into()),
        ("meta-data/hostname", hostname.clone()),
        ("meta-data/instance-action", "none".into()),
        ("meta-data/instance-id", options.instance_id.clone()),
        ("meta-data/instance-life-cycle", "on-demand".into()),
        ("meta-data/instance-type", options.instance_type.clone()),
        ("meta-data/local-hostname", hostname),
        ("meta-data/local-ipv4", ip.to_string()),
        ("meta-data/mac", mac.clone()),
        ("meta-data/placement/availability-zone", options.availability_zone.clone()),
        ("meta-data/placement/region", options.region.clone()),
        ("meta-data/services/domain", domain.into()),
        ("meta-data/services/partition", partition.into()),
        ("dynamic/instance-identity/document", identity_document(options)),
    ]
    .map(|(path, text)| (path.to_string(), text))
    .into();
    leaves.insert(format!("{interface}/mac"), mac);
    leaves.insert(format!("{interface}/local-ipv4s"), ip.to_string());
    leaves.insert(format!("{interface}/owner-id"), options.account_id.clone());
    for (key, value) in &options.tags {
        leaves.insert(format!("meta-data/tags/instance/{key}"), value.clone());
    }
    if let Some(user_data) = &options.user_data {
        leaves.insert("user-data".into(), user_data.clone());
    }
    leaves
}

/// The partition and the DNS suffix of a region.
pub(super) fn partition(region: &str) -> (&'static str, &'static str) {
    if region.starts_with("cn-") {
        ("aws-cn", "amazonaws.com.cn")
    } else if region.starts_with("us-gov-") {
        ("aws-us-gov", "amazonaws.com")
    } else {
        ("aws", "amazonaws.com")
    }
}

fn identity_document(options: &Options) -> String {
    let document = serde_json::json!({
        "accountId": options.account_id,
        "architecture": "x86_64",
        "availabilityZone": options.availability_zone,
        "billingProducts": null,
        "devpayProductCodes": null,
        "marketplaceProductCodes": null,
        "imageId": options.image_id,
        "instanceId": options.instance_id,
        "instanceType": options.instance_type,
        "kernelId": null,
        "pendingTime": "2026-11-01T00:00:00Z",
        "privateIp": options.private_ip,
        "ramdiskId": null,
        "region": options.region,
        "version": "2017-09-30",
    });
    format!("{document:#}")
}

/// What `path` (below `/latest/`, decoded) names among `leaves`.
pub(super) fn find(leaves: &Leaves, path: &str) -> Option<Found> {
    if let Some(text) = leaves.get(path) {
        return Some(Found::Leaf(text.clone()));
    }
    let directory = path.trim_end_matches('/');
    let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
    let mut names: Vec<String> = Vec::new();
    for below in leaves.range(prefix.clone()..).map_while(|(leaf, _)| leaf.strip_prefix(&prefix)) {
        let name = match below.split_once('/') {
            Some((directory, _)) => format!("{directory}/"),
            None => below.to_string(),
        };
        if names.last() != Some(&name) {
            names.push(name);
        }
    }
    (!names.is_empty()).then(|| Found::Listing(names.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> Option<String> {
        find(&fixed(&Options::default()), path).map(|found| match found {
            Found::Leaf(text) | Found::Listing(text) => text,
        })
    }

    #[test]
    fn a_leaf_is_its_text_and_a_directory_its_names() {
        assert_eq!(text("meta-data/placement/region").as_deref(), Some("eu-west-1"));
        let listing = Some("availability-zone\nregion");
        assert_eq!(text("meta-data/placement/").as_deref(), listing);
        assert_eq!(text("meta-data/placement").as_deref(), listing, "with or without the slash");
        assert_eq!(text("").as_deref(), Some("dynamic/\nmeta-data/"));
        assert_eq!(text("meta-data/tags/instance/Name").as_deref(), Some("emulated"));
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for path in ["meta-data/plac", "meta-data/instance-id/x", "meta-data/spot/instance-action", "user-data"] {
            assert_eq!(text(path), None, "{path}");
        }
    }

    #[test]
    fn the_partition_follows_the_region() {
        assert_eq!(partition("cn-north-1"), ("aws-cn", "amazonaws.com.cn"));
        assert_eq!(partition("us-gov-west-1").0, "aws-us-gov");
    }
}

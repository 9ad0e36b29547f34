//! The metadata tree: which leaf or directory a path names, and what is in it. Pure text. Not tokens nor HTTP.

use std::collections::BTreeMap;

use super::options::Options;

/// Leaves by path below `/latest/`, such as `meta-data/instance-id`; directories are what lies between. A path that is
/// both is a directory with a listing of its own, as `public-keys/` is.
pub(super) type Leaves = BTreeMap<String, String>;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A leaf's text.
    Leaf(String),
    /// A directory's names, one a line, those of directories with a slash.
    Listing(String),
}

/// The key pair of the instance; its private half was never kept.
const PUBLIC_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPsQw6hgrLi3/tg9OaEZS0Ux1E2agKX/UhkqrQCkro+5 emulated";

/// The leaves that stay the same while the instance runs: those that agents, SDKs and cloud-init (which reads all of
/// them) make use of.
pub(super) fn fixed(options: &Options) -> Leaves {
    let ip = options.private_ip;
    let hostname = format!("ip-{}.{}.compute.internal", ip.to_string().replace('.', "-"), options.region);
    let (partition, domain) = partition(&options.region);
    // A locally administered address that follows from the IP address.
    let [_, b, c, d] = ip.octets();
    let mac = format!("02:00:5e:{b:02x}:{c:02x}:{d:02x}");
    let mut leaves: Leaves = [
        ("meta-data/ami-id", options.image_id.clone()),
        ("meta-data/ami-launch-index", "0".into()),
        ("meta-data/ami-manifest-path", "(unknown)".into()),
        ("meta-data/block-device-mapping/ami", "/dev/xvda".into()),
        ("meta-data/block-device-mapping/root", "/dev/xvda".into()),
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
        ("meta-data/profile", "default-hvm".into()),
        ("meta-data/public-keys", "0=emulated".into()),
        ("meta-data/public-keys/0/openssh-key", PUBLIC_KEY.into()),
        ("meta-data/reservation-id", "r-0e00000000000e001".into()),
        ("meta-data/security-groups", "default".into()),
        ("meta-data/services/domain", domain.into()),
        ("meta-data/services/partition", partition.into()),
        ("dynamic/instance-identity/document", identity_document(options)),
    ]
    .map(|(path, text)| (path.to_string(), text))
    .into();
    leaves.extend(interface(options, &mac));
    for (key, value) in &options.tags {
        leaves.insert(format!("meta-data/tags/instance/{key}"), value.clone());
    }
    if let Some(user_data) = &options.user_data {
        leaves.insert("user-data".into(), user_data.clone());
    }
    leaves
}

/// The leaves of the only network interface.
fn interface(options: &Options, mac: &str) -> impl Iterator<Item = (String, String)> {
    let ip = options.private_ip;
    let [a, b, c, _] = ip.octets();
    let vpc = format!("{a}.{b}.0.0/16");
    let directory = format!("meta-data/network/interfaces/macs/{mac}");
    [
        ("device-number", "0".into()),
        ("interface-id", "eni-0e00000000000e001".into()),
        ("local-ipv4s", ip.to_string()),
        ("mac", mac.to_string()),
        ("owner-id", options.account_id.clone()),
        ("security-group-ids", "sg-0e00000000000e001".into()),
        ("security-groups", "default".into()),
        ("subnet-id", "subnet-0e00000000000e001".into()),
        ("subnet-ipv4-cidr-block", format!("{a}.{b}.{c}.0/24")),
        ("vpc-id", "vpc-0e00000000000e001".into()),
        ("vpc-ipv4-cidr-block", vpc.clone()),
        ("vpc-ipv4-cidr-blocks", vpc),
    ]
    .into_iter()
    .map(move |(name, text)| (format!("{directory}/{name}"), text))
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
    // IMDS does not mind a slash behind a leaf, and botocore asks for the availability zone with one.
    let directory = path.trim_end_matches('/');
    if let Some(text) = leaves.get(directory) {
        return Some(Found::Leaf(text.clone()));
    }
    let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
    let mut names: Vec<String> = Vec::new();
    for below in leaves.range(prefix.clone()..).map_while(|(leaf, _)| leaf.strip_prefix(&prefix)) {
        let name = match below.split_once('/') {
            Some((directory, _)) => format!("{directory}/"),
            None => below.to_string(),
        };
        if names.last().is_some_and(|last| name.strip_suffix('/') == Some(last)) {
            // It has a listing of its own.
            names.pop();
        }
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
        assert_eq!(text("meta-data/placement/availability-zone/").as_deref(), Some("eu-west-1a"));
        let listing = Some("availability-zone\nregion");
        assert_eq!(text("meta-data/placement/").as_deref(), listing);
        assert_eq!(text("meta-data/placement").as_deref(), listing, "with or without the slash");
        assert_eq!(text("").as_deref(), Some("dynamic/\nmeta-data/"));
        assert_eq!(text("meta-data/tags/instance/Name").as_deref(), Some("emulated"));
    }

    #[test]
    fn public_keys_are_listed_by_number_and_name() {
        assert_eq!(text("meta-data/public-keys/").as_deref(), Some("0=emulated"));
        assert_eq!(text("meta-data/public-keys/0/").as_deref(), Some("openssh-key"));
        assert_eq!(text("meta-data/public-keys/0/openssh-key").as_deref(), Some(PUBLIC_KEY));
        let listing = text("meta-data/").unwrap();
        let keys: Vec<&str> = listing.lines().filter(|line| line.starts_with("public-keys")).collect();
        assert_eq!(keys, ["public-keys/"]);
    }

    #[test]
    fn every_name_that_a_listing_shows_can_be_read() {
        fn crawl(leaves: &Leaves, directory: &str, read: &mut usize) {
            let Some(Found::Listing(names)) = find(leaves, directory) else { panic!("{directory} is no directory") };
            for name in names.lines().filter(|name| *name != "public-keys/") {
                if name.ends_with('/') {
                    crawl(leaves, &format!("{directory}{name}"), read);
                } else {
                    assert!(matches!(find(leaves, &format!("{directory}{name}")), Some(Found::Leaf(_))));
                    *read += 1;
                }
            }
        }
        let leaves = fixed(&Options { user_data: Some("#cloud-config".into()), ..Options::default() });
        let mut read = 0;
        crawl(&leaves, "", &mut read);
        assert_eq!(read, leaves.len() - 2, "all but the listing and the key of public-keys");
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

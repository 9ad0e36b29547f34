//! What stands for the names in braces on this host, as the daemon would have it: from the configuration, the host, and
//! the metadata service. Not a check.

use super::visit::Host;
use crate::template::{Names, Template};

/// What is known of them now. With `complete` there is nothing more to come: fallbacks stand in.
pub(super) async fn known<'a>(host: &Host, templates: impl IntoIterator<Item = &'a Template>) -> Names {
    let mut names: Names = host.config().variables.into_iter().collect();
    names.insert("hostname", rustix::system::uname().nodename().to_string_lossy());
    if let Some(identity) = host.facts.identity.get() {
        for (name, value) in [
            ("instance_id", Some(&identity.instance_id)),
            ("region", Some(&identity.region)),
            ("availability_zone", Some(&identity.availability_zone)),
            ("account_id", Some(&identity.account_id)),
            ("instance_type", Some(&identity.instance_type)),
            ("image_id", Some(&identity.image_id)),
            ("private_ip", identity.private_ip.as_ref()),
        ] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                names.insert(name, value.clone());
            }
        }
    }
    if let Some(region) = host.facts.region.get() {
        names.insert("region", region.clone());
    }
    if let Some(imds) = host.facts.imds.get() {
        let tags = templates.into_iter().flat_map(Template::names).filter(|name| name.starts_with("tag:"));
        let mut tags: Vec<&str> = tags.collect();
        tags.sort_unstable();
        tags.dedup();
        for name in tags {
            let key = name.trim_start_matches("tag:");
            if let Ok(value) = imds.get(&format!("/latest/meta-data/tags/instance/{key}")).await {
                names.insert(name, value);
            }
        }
    }
    names.complete();
    names
}

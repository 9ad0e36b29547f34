//! Which region is in use, who says so, and whether that is where the instance is. Not whether AWS answers there.

use super::visit::{Check, Finding, Found, Host, look};

pub(super) const CHECK: Check = Check {
    name: "region",
    title: "the region is known, and is the instance's own",
    needs: &[],
    after: &["imds-identity"],
    look: |host| look(async move { check(&host) }),
};

fn check(host: &Host) -> Found {
    let config = host.config();
    let of_instance =
        host.facts.identity.get().map(|identity| identity.region.as_str()).filter(|text| !text.is_empty());
    let said = Said {
        configured: config.region.as_deref(),
        environment: host.ground.region.as_deref(),
        instance: of_instance,
    };
    // Where there is no metadata service, that is the fault, and not what it does not tell.
    let (region, finding) = said.judge(host.facts.imds.get().is_some());
    if let Some(region) = region {
        let _ = host.facts.region.set(region.to_owned());
        return finding.into();
    }
    Found::stop(finding)
}

/// The region as each of those who may say it says it, in the order of who comes first.
struct Said<'a> {
    configured: Option<&'a str>,
    environment: Option<&'a str>,
    instance: Option<&'a str>,
}

impl<'a> Said<'a> {
    /// The region in use, and what is to be said of it; where nobody says one, that is a fault if one is `expected`.
    fn judge(&self, expected: bool) -> (Option<&'a str>, Finding) {
        let (region, who) = match (self.configured, self.environment, self.instance) {
            (Some(region), _, _) => (region, "`region` in the configuration"),
            (None, Some(region), _) => (region, "AWS_REGION"),
            (None, None, Some(region)) => (region, "the metadata service"),
            (None, None, None) => return (None, unknown(expected)),
        };
        let evidence = format!("{who} says {region}");
        if !is_region(region) {
            let zone_of = region.strip_suffix(|c: char| c.is_ascii_lowercase()).filter(|text| is_region(text));
            let why = zone_of.map(|_| "that is an availability zone");
            let cure = format!("export AWS_REGION={}", zone_of.or(self.instance).unwrap_or("REGION"));
            let finding = Finding::fault(format!("{region:?} is no region")).evidence(evidence);
            return (None, finding.why_if_known(why).cure(cure));
        }
        let finding = match self.instance.filter(|instance| *instance != region) {
            None => Finding::ok(format!("{region}, by {who}")),
            Some(instance) => differs(region, who, instance),
        };
        (Some(region), finding.evidence(evidence))
    }
}

fn unknown(expected: bool) -> Finding {
    let finding =
        if expected { Finding::fault("the region is not known") } else { Finding::note("no region is known") };
    finding
        .evidence("neither `region` in the configuration, nor AWS_REGION, nor the metadata service says one")
        .cure("export AWS_REGION=REGION, or in the configuration: region = \"REGION\"")
}

fn differs(region: &str, who: &str, instance: &str) -> Finding {
    let cure = if who == "AWS_REGION" {
        format!("if that is not meant: export AWS_REGION={instance}")
    } else {
        "if that is not meant: in the configuration, region = \"auto\"".to_owned()
    };
    if partition(region) == partition(instance) {
        return Finding::warning(format!("the region in use is {region}, and the instance is in {instance}"))
            .why(format!("{who} comes before the metadata service: logs go to {region}"))
            .cure(cure);
    }
    let (ours, theirs) = (partition(instance), partition(region));
    Finding::fault(format!("the region in use, {region}, is in another partition than the instance, {instance}"))
        .why(format!("the instance's credentials are of partition {ours}, and {theirs} knows none of them"))
        .cure(cure)
}

/// The partition of a region: what its ARNs begin with.
pub(super) fn partition(region: &str) -> &'static str {
    match region.split('-').next().unwrap_or_default() {
        "cn" => "aws-cn",
        "eusc" => "aws-eusc",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ if region.starts_with("us-iso-") => "aws-iso",
        _ if region.starts_with("us-isob-") => "aws-iso-b",
        _ => "aws",
    }
}

/// `eu-west-1`, `us-gov-east-1`: two or more words and a number.
fn is_region(text: &str) -> bool {
    let Some((words, number)) = text.rsplit_once('-') else { return false };
    let word = |word: &str| word.len() >= 2 && word.bytes().all(|byte| byte.is_ascii_lowercase());
    words.contains('-')
        && words.split('-').all(word)
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Outcome;

    fn judge<'a>(
        configured: Option<&'a str>,
        environment: Option<&'a str>,
        instance: Option<&'a str>,
    ) -> (Option<&'a str>, Finding) {
        Said { configured, environment, instance }.judge(true)
    }

    #[test]
    fn the_configuration_comes_before_the_environment_before_the_instance() {
        let (a, b, c) = (Some("eu-west-1"), Some("eu-west-2"), Some("eu-west-3"));
        assert_eq!(judge(a, b, c).0, a);
        assert_eq!(judge(None, b, c).0, b);
        assert_eq!(judge(None, None, c).0, c);
        assert_eq!(judge(None, None, c).1.outcome, Outcome::Ok);
    }

    #[test]
    fn another_region_than_the_instances_is_a_warning_and_another_partition_a_fault() {
        assert_eq!(judge(None, Some("us-east-1"), Some("eu-west-1")).1.outcome, Outcome::Warning);
        let (_, finding) = judge(None, Some("us-east-1"), Some("cn-north-1"));
        assert_eq!(finding.outcome, Outcome::Fault);
        assert_eq!(finding.cure.unwrap(), "if that is not meant: export AWS_REGION=cn-north-1");
    }

    #[test]
    fn a_zone_is_no_region_and_its_region_is_the_cure() {
        let (region, finding) = judge(None, Some("eu-west-1a"), None);
        assert_eq!((region, finding.outcome), (None, Outcome::Fault));
        assert_eq!(finding.cure.unwrap(), "export AWS_REGION=eu-west-1");
    }

    #[test]
    fn where_none_is_expected_none_is_a_note() {
        let none = Said { configured: None, environment: None, instance: None };
        assert_eq!((none.judge(true).1.outcome, none.judge(false).1.outcome), (Outcome::Fault, Outcome::Note));
    }
}

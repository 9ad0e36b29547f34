//! Whether the metadata service tells which instance this is, and means this one.

use std::sync::Arc;

use super::visit::{Check, Finding, Found, Host, look};
use crate::imds::IdentityDocument;

pub(super) const CHECK: Check = Check {
    name: "imds-identity",
    title: "the metadata service tells which instance this is",
    needs: &["imds-token"],
    after: &["ec2"],
    look: |host| look(check(host)),
};

async fn check(host: Arc<Host>) -> Found {
    let Some(client) = host.facts.imds.get() else {
        return Found::stop(Finding::unseen("there is no token to ask with"));
    };
    let identity = match client.identity_document().await {
        Ok(identity) => identity,
        Err(error) => {
            let finding = Finding::fault("the metadata service does not tell which instance this is");
            let cure = error.cure(host.instance_id());
            return finding.evidence(error.to_string()).why_if_known(error.why()).cure_if_known(cure).into();
        }
    };
    let is_elsewhere = host.ground.imds.endpoint_setting().is_some() || host.config().imds.endpoint.is_some();
    let firmware = host.facts.firmware_id.get().filter(|_| !is_elsewhere);
    let finding = judge(&identity, firmware.map(String::as_str), &client.snapshot().endpoint);
    let _ = host.facts.identity.set(identity);
    finding.into()
}

fn judge(identity: &IdentityDocument, firmware: Option<&str>, endpoint: &str) -> Finding {
    let IdentityDocument { instance_id, region, account_id, instance_type, .. } = identity;
    if let Some(firmware) = firmware.filter(|firmware| !instance_id.is_empty() && firmware != instance_id) {
        return Finding::fault(format!("what answers as metadata service is that of another instance, {instance_id}"))
            .evidence(format!("{endpoint} says {instance_id}, the firmware says {firmware}"))
            .why("a proxy or a NAT rule catches the metadata address: credentials would be that other machine's")
            .cure("sudo nft list ruleset | grep -n 169.254.169.254; sudo iptables -t nat -S | grep 169.254; env | grep -i _proxy");
    }
    let missing = [("instance id", instance_id), ("region", region), ("account id", account_id)];
    let missing: Vec<&str> = missing.into_iter().filter(|(_, value)| value.is_empty()).map(|(name, _)| name).collect();
    let told = format!("{instance_id}, {instance_type}, in {region}, account {account_id}");
    if missing.is_empty() {
        Finding::ok(told)
    } else {
        Finding::warning(format!("the metadata service does not tell this machine's {}", missing.join(", ")))
            .evidence(format!("{endpoint}/latest/dynamic/instance-identity/document: {told}"))
            .why("this is not EC2's own service; names in the configuration that need those wait for ever")
            .cure("give them another name, or a fallback: {account_id|none}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Outcome;

    fn identity(instance_id: &str) -> IdentityDocument {
        let text = |text: &str| text.to_owned();
        IdentityDocument {
            instance_id: text(instance_id),
            region: text("eu-west-1"),
            account_id: text("123456789012"),
            ..IdentityDocument::default()
        }
    }

    #[test]
    fn another_instances_metadata_are_a_fault_and_not_this_ones() {
        let judged = |firmware| judge(&identity("i-0a"), firmware, "http://127.0.0.1").outcome;
        assert_eq!(
            (judged(Some("i-0a")), judged(None), judged(Some("i-0b"))),
            (Outcome::Ok, Outcome::Ok, Outcome::Fault)
        );
    }

    #[test]
    fn what_is_not_told_is_named() {
        let finding =
            judge(&IdentityDocument { account_id: String::new(), ..identity("i-0a") }, None, "http://127.0.0.1");
        assert!(finding.outcome == Outcome::Warning && finding.summary.ends_with("account id"), "{finding:?}");
    }
}

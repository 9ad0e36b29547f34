//! The further permissions that `[[doctor.probe]]` names, each tried by a call that only reads, and whose answer is
//! dropped unseen. Not what these services are for.

mod signed;

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use self::signed::Call;
use super::reach::{self, Api};
use super::refused::Failure;
use super::region::partition;
use super::visit::{Check, Finding, Found, Host, look};
use crate::denial;
use crate::fault::shell_word;
use crate::policy::{Place, Probe};

pub(super) const CHECK: Check = Check {
    name: "probes",
    title: "what [[doctor.probe]] names is allowed, and is there",
    needs: &["credentials"],
    after: &["configuration", "region", "imds-identity", "sts-identity"],
    look: |host| look(check(host)),
};

/// What can be tried without any effect: the service, the action, its `X-Amz-Target`, and what a call names its thing by.
const KINDS: [(Api, &str, &str, Option<&str>); 5] = [
    (Api::Ssm, "GetParameter", "AmazonSSM", Some("Name")),
    (Api::Ssm, "GetParametersByPath", "AmazonSSM", Some("Path")),
    (Api::Ecr, "GetAuthorizationToken", "AmazonEC2ContainerRegistry_V20150921", None),
    (Api::SecretsManager, "DescribeSecret", "secretsmanager", Some("SecretId")),
    (Api::SecretsManager, "GetSecretValue", "secretsmanager", Some("SecretId")),
];

/// What services call a thing that is not there.
const MISSING: [&str; 2] = ["ParameterNotFound", "ResourceNotFoundException"];

async fn check(host: Arc<Host>) -> Found {
    let probes = host.config().doctor.probes;
    if probes.is_empty() {
        return Finding::ok("no [[doctor.probe]] is configured").into();
    }
    let mut looks = JoinSet::new();
    for (index, probe) in probes.into_iter().enumerate() {
        let host = host.clone();
        looks.spawn(async move { (index, tried(&host, &probe).await.about(subject(&probe))) });
    }
    let mut findings = Vec::new();
    while let Some(Ok(finding)) = looks.join_next().await {
        findings.push(finding);
    }
    findings.sort_by_key(|(index, _)| *index);
    Found::all(findings.into_iter().map(|(_, finding)| finding).collect())
}

/// `ssm:GetParameter of /app/password`
fn subject(probe: &Probe) -> String {
    format!("{}:{} of {}", probe.service, probe.action, probe.resource)
}

async fn tried(host: &Arc<Host>, probe: &Probe) -> Finding {
    let kind = KINDS.iter().find(|(api, action, ..)| api.prefix() == probe.service && *action == probe.action);
    let Some((api, action, target, member)) = kind else {
        return Finding::note(format!("{} can't be tried without an effect", subject(probe)))
            .cure("imds-agent policy   # has its statement");
    };
    let (Some(keys), Some(region)) = (host.facts.credentials.get(), host.facts.region.get()) else {
        return Finding::unseen("there is nothing to sign a request with, or no region to send it to");
    };
    // A thing in another region is asked for there.
    let of_arn = probe.resource.strip_prefix("arn:").and_then(|rest| rest.split(':').nth(2));
    let region = of_arn.filter(|region| !region.is_empty()).unwrap_or(region);
    let target = format!("{target}.{action}");
    let call = Call { api: *api, region, target, body: body(*member, &probe.resource) };
    match call.make(&host.ground, keys).await {
        Ok(()) => Finding::ok(format!("{} is allowed, and is there", subject(probe))),
        Err(failure) => failed(host, probe, *api, region, &failure).await,
    }
}

/// What a call names; of a parameter, the plain value is asked for, since that is what applications do.
fn body(member: Option<&str>, resource: &str) -> Value {
    let Some(member) = member else { return json!({}) };
    let mut body = json!({ member: resource });
    if matches!(member, "Name" | "Path") {
        body["WithDecryption"] = true.into();
    }
    body
}

async fn failed(host: &Arc<Host>, probe: &Probe, api: Api, region: &str, failure: &Failure) -> Finding {
    let of_caller = host.facts.caller.get().and_then(|arn| arn.split(':').nth(4)).map(str::to_owned);
    let of_instance = || host.facts.identity.get().map(|identity| identity.account_id.clone());
    let place = Place {
        partition: partition(region).to_owned(),
        region: Some(region.to_owned()),
        account: of_caller.or_else(of_instance).filter(|account| !account.is_empty()),
    };
    let permission = probe.permission(&place);
    match failure {
        Failure::Unanswered { reason } => match reach::look(host, api).await {
            Ok(_) => Finding::unseen(format!("{} gave no answer", api.name())).evidence(reason.clone()),
            Err(finding) => finding,
        },
        Failure::Refused { code, message } if MISSING.contains(&code.as_str()) => {
            Finding::fault(format!("{} is not there, in the region {region}", probe.resource))
                .evidence(format!("{}: {code}: {message}", permission.action))
                .why("the role may ask for it; it has another name, is in another region, or was never made")
                .cure(made(api, &probe.resource, region))
        }
        // SSM says the former of a key that the caller may not use, without naming the action.
        Failure::Refused { message, .. }
            if message.contains("ciphertext refers to") || message.contains("kms:Decrypt") =>
        {
            let resource = place_of_keys(&place);
            let call = denial::Call { action: "kms:Decrypt", resource: &resource, ..denial::Call::default() };
            let what = format!("{} may be read, but the key that encrypts it may not be used", probe.resource);
            failure.finding(what, &call)
        }
        _ => {
            let (action, resource) = (&permission.action, &permission.resource);
            failure.finding(
                format!("{} is not allowed", subject(probe)),
                &denial::Call { action, resource, ..denial::Call::default() },
            )
        }
    }
}

fn place_of_keys(place: &Place) -> String {
    let account = place.account.as_deref().unwrap_or("*");
    format!("arn:{}:kms:{}:{account}:key/*", place.partition, place.region.as_deref().unwrap_or("*"))
}

/// How it is made, with its value asked for and not in the shell's history.
fn made(api: Api, resource: &str, region: &str) -> String {
    let name = shell_word(resource);
    match api {
        Api::SecretsManager => format!(
            "aws secretsmanager create-secret --region {region} --name {name} --secret-string file:///dev/stdin"
        ),
        _ => format!(
            "aws ssm put-parameter --region {region} --name {name} --type SecureString --value file:///dev/stdin"
        ),
    }
}

//! `[[doctor.probe]]`: what a host needs at its start from SSM, Secrets Manager and ECR.

use super::examine;
use crate::harness::{Change, Denial, Effect, Emulator, Fault, Host};

const PARAMETER: &str = "/sandbox/go-mysql-api/db/password";

/// A host that needs a parameter, a secret and a token, all of which are there.
fn with_probes() -> (Host, Emulator) {
    let (host, emulator) = Host::with_emulator();
    let probe = |service: &str, action: &str, resource: &str| {
        format!("[[doctor.probe]]\nservice = \"{service}\"\naction = \"{action}\"\nresource = \"{resource}\"\n\n")
    };
    host.configure(&format!(
        "{}\n{}{}{}",
        host.one_source(""),
        probe("ssm", "GetParameter", PARAMETER),
        probe("secretsmanager", "GetSecretValue", "app/db"),
        probe("ecr", "GetAuthorizationToken", "*")
    ));
    let some = |name: &str| [(name.to_owned(), Some("hunter2".to_owned()))].into();
    emulator.change(&Change { parameters: some(PARAMETER), secrets: some("app/db"), ..Change::default() });
    (host, emulator)
}

#[test]
fn what_is_allowed_and_there_is_well_and_no_value_is_shown() {
    let (host, _emulator) = with_probes();
    let diagnosis = examine(&host, &["--only", "probes"]);
    assert_eq!(diagnosis.all("probes", "ok").len(), 3, "{:?}", diagnosis.with("fault"));
    assert!(!format!("{:?}", diagnosis.with("ok")).contains("hunter2"));
}

#[test]
fn each_denied_probe_has_the_statement_it_lacks() {
    for (action, resource) in [
        ("ssm:GetParameter", format!("arn:aws:ssm:eu-west-1:123456789012:parameter{PARAMETER}")),
        ("secretsmanager:GetSecretValue", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:app/db-".to_owned()),
        ("ecr:GetAuthorizationToken", "*".to_owned()),
    ] {
        let (host, emulator) = with_probes();
        emulator.set_fault(Fault::on(action, Effect::Deny(Denial::default())));
        let diagnosis = examine(&host, &["--only", "probes"]);
        let action = format!("\"Action\": \"{action}\"");
        diagnosis.says("probes", "fault", &["is not allowed", &action, &format!("\"Resource\": \"{resource}")]);
        assert_eq!(diagnosis.all("probes", "ok").len(), 2);
    }
}

#[test]
fn a_key_that_may_not_be_used_is_told_from_a_parameter_that_may_not_be_read() {
    let (host, emulator) = with_probes();
    emulator.set_fault(Fault::on("kms:Decrypt", Effect::Deny(Denial::default())));
    let diagnosis = examine(&host, &["--only", "probes"]);
    let denied = diagnosis.all("probes", "fault");
    assert_eq!(denied.len(), 2, "{denied:?}");
    for finding in denied {
        let cure = finding["cure"].as_str().unwrap_or_default();
        assert!(cure.contains("\"Action\": \"kms:Decrypt\"") && cure.contains(":key/"), "{finding}");
    }
    emulator.clear_faults();
    let text = "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you \
                are not allowed to access.";
    let effect = Effect::Error { status: 400, code: "AccessDeniedException".to_owned(), message: text.to_owned() };
    emulator.set_fault(Fault::on("ssm:GetParameter", effect));
    let diagnosis = examine(&host, &["--only", "probes"]);
    diagnosis.says("probes", "fault", &["may be read, but the key that encrypts it", "\"Action\": \"kms:Decrypt\""]);
}

#[test]
fn a_parameter_that_is_not_there_is_a_fault_with_its_name() {
    let (host, emulator) = with_probes();
    emulator.change(&Change { parameters: [(PARAMETER.to_owned(), None)].into(), ..Change::default() });
    let cure = format!("aws ssm put-parameter --region eu-west-1 --name '{PARAMETER}'");
    examine(&host, &["--only", "probes"]).says("probes", "fault", &[PARAMETER, "is not there", &cure]);
}

#[test]
fn a_throttled_probe_is_no_fault() {
    let (host, emulator) = with_probes();
    emulator.set_fault(Fault::on("ssm:*", Effect::Throttle { retry_after_ms: None }));
    let diagnosis = examine(&host, &["--only", "probes"]);
    assert_eq!(diagnosis.with("fault"), [""; 0]);
    assert_eq!(diagnosis.all("probes", "unseen").len(), 1);
}

#[test]
fn what_can_t_be_tried_without_an_effect_is_not_tried() {
    let (host, emulator) = Host::with_emulator();
    host.configure("[[doctor.probe]]\nservice = \"sqs\"\naction = \"SendMessage\"\nresource = \"jobs\"\n");
    examine(&host, &["--only", "probes"]).says("probes", "note", &["can't be tried", "imds-agent policy"]);
    assert!(emulator.counts().operations.keys().all(|operation| !operation.starts_with("sqs")));
}

#[test]
fn a_service_that_can_t_be_reached_is_told_by_the_way_to_it() {
    let (mut host, _emulator) = with_probes();
    host.set("AWS_ENDPOINT_URL_SSM", "http://127.0.0.1:9");
    let parts = ["SSM can't be reached", "Connection refused", "AWS_ENDPOINT_URL_SSM"];
    examine(&host, &["--only", "probes"]).says("probes", "fault", &parts);
}

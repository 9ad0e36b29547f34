//! The metadata service and what it tells: each row of what can be wrong with it, and its cure.

use super::examine;
use crate::harness::{Change, Denial, Effect, Emulator, Fault, Host, free_address};

/// A host whose emulator has one fault.
fn with_fault(fault: Fault) -> (Host, Emulator) {
    let (host, emulator) = Host::with_emulator();
    emulator.set_fault(fault);
    (host, emulator)
}

#[test]
fn a_metadata_service_that_is_switched_off_is_switched_on_by_the_cure() {
    let (host, _emulator) = with_fault(Fault::on("imds:token", Effect::Deny(Denial::default())));
    let diagnosis = examine(&host, &["--only", "imds-token"]);
    diagnosis.says("imds-token", "fault", &["switched off", "403", "--http-endpoint enabled --http-tokens required"]);
}

#[test]
fn a_token_request_that_is_never_answered_is_the_hop_limit() {
    let (host, _emulator) = with_fault(Fault::on("imds:token", Effect::Hang));
    let diagnosis = examine(&host, &["--only", "imds-token"]);
    diagnosis.says(
        "imds-token",
        "fault",
        &[
            "never answers",
            "hop limit is too low",
            "modify-instance-metadata-options",
            "--http-put-response-hop-limit 2",
        ],
    );
}

#[test]
fn a_page_instead_of_a_token_is_somebody_else() {
    let page = Effect::Status { code: 200, body: "<html>Welcome</html>".to_owned() };
    let (host, _emulator) = with_fault(Fault::on("imds:token", page));
    let diagnosis = examine(&host, &["--only", "imds-token"]);
    diagnosis.says("imds-token", "fault", &["something else", "not the metadata service", "proxy"]);
}

#[test]
fn a_redirect_instead_of_a_token_is_somebody_else() {
    let (host, _emulator) =
        with_fault(Fault::on("imds:token", Effect::Redirect { to: "http://127.0.0.1:9/".to_owned() }));
    examine(&host, &["--only", "imds-token"]).says("imds-token", "fault", &["something else", "302"]);
}

#[test]
fn a_service_without_version_2_is_told_from_one_that_is_off() {
    let none = Effect::Status { code: 404, body: String::new() };
    let (host, _emulator) = with_fault(Fault::on("imds:token", none));
    examine(&host, &["--only", "imds-token"]).says("imds-token", "fault", &["no IMDSv2", "imds.v1_fallback = true"]);
}

#[test]
fn a_token_that_is_given_and_then_refused_is_a_fault_of_its_own() {
    let (host, _emulator) = with_fault(Fault::on("imds:get", Effect::Expired));
    examine(&host, &["--only", "imds-token"]).says(
        "imds-token",
        "fault",
        &["refuses a token, or the one it gave", "401"],
    );
}

#[test]
fn a_throttled_metadata_service_is_asked_too_often_by_somebody() {
    let (host, _emulator) = with_fault(Fault::on("imds:token", Effect::Throttle { retry_after_ms: None }));
    examine(&host, &["--only", "imds-token"]).says("imds-token", "fault", &["429", "linklocal_allowance_exceeded"]);
}

#[test]
fn a_dead_endpoint_that_somebody_named_is_a_fault() {
    let host = Host::new(&format!("http://{}", free_address()));
    let diagnosis = examine(&host, &["--only", "imds-token"]);
    diagnosis.says("imds-route", "fault", &["can't be connected to", "refused", "nobody listens there"]);
}

#[test]
fn a_metadata_service_that_is_disabled_by_the_environment_is_enabled_by_the_cure() {
    let (mut host, _emulator) = Host::with_emulator();
    host.set("AWS_EC2_METADATA_DISABLED", "true");
    examine(&host, &["--only", "imds-token"]).says("imds-token", "fault", &["unset AWS_EC2_METADATA_DISABLED"]);
}

#[test]
fn a_fallback_to_version_1_is_warned_of_whether_it_is_needed_or_not() {
    let (host, emulator) = Host::with_emulator();
    host.configure("[imds]\nv1_fallback = true\n");
    let diagnosis = examine(&host, &["--only", "imds-token"]);
    diagnosis.says("imds-token", "warning", &["is not needed", "remove v1_fallback"]);
    emulator.change(&Change { imds_v1: Some(true), ..Change::default() });
    emulator.set_fault(Fault::on("imds:token", Effect::Status { code: 404, body: String::new() }));
    let diagnosis = examine(&host, &["--only", "imds-token"]);
    diagnosis.says("imds-token", "warning", &["has no IMDSv2", "--http-tokens required"]);
}

#[test]
fn what_needs_a_token_has_no_point_without_one() {
    let (host, _emulator) = with_fault(Fault::on("imds:token", Effect::Deny(Denial::default())));
    let diagnosis = examine(&host, &[]);
    diagnosis.says("imds-identity", "skipped", &["before imds-token is well"]);
    let faults = diagnosis.with("fault");
    assert_eq!(faults.len(), 1, "what follows from it is no fault of its own: {faults:?}");
}

#[test]
fn an_instance_without_a_profile_gets_one_by_the_cure() {
    let (host, emulator) = Host::with_emulator();
    emulator.change(&Change { role_name: Some(String::new()), ..Change::default() });
    examine(&host, &["--only", "credentials"]).says(
        "credentials",
        "fault",
        &["no instance profile", "associate-iam-instance-profile --instance-id i-0e00000000000e001"],
    );
}

#[test]
fn a_profile_that_was_created_anew_is_attached_anew() {
    let absent = Effect::Status { code: 404, body: String::new() };
    let (host, emulator) = with_fault(Fault::on("imds:get", absent).path("/latest/meta-data/iam/security-credentials"));
    let info = r#"{"Code": "InstanceProfileNotFound", "Message": "Instance Profile of i-0 does not exist"}"#;
    let info = Effect::Status { code: 200, body: info.to_owned() };
    emulator.set_fault(Fault::on("imds:get", info).path("/latest/meta-data/iam/info"));
    examine(&host, &["--only", "credentials"]).says(
        "credentials",
        "fault",
        &[
            "InstanceProfileNotFound",
            "re-created under the same name",
            "disassociate-iam-instance-profile",
            "Name=instance-id,Values=i-0e00000000000e001",
        ],
    );
}

#[test]
fn an_empty_profile_gets_a_role_by_the_cure() {
    let empty = Effect::Status { code: 200, body: String::new() };
    let (host, _emulator) = with_fault(Fault::on("imds:get", empty).path("/latest/meta-data/iam/security-credentials"));
    examine(&host, &["--only", "credentials"]).says(
        "credentials",
        "fault",
        &["does not contain a role", "add-role-to-instance-profile --instance-profile-name emulated-role"],
    );
}

#[test]
fn a_role_that_ec2_may_not_assume_gets_its_trust_policy_by_the_cure() {
    let failure = r#"{"Code": "AssumeRoleUnauthorizedAccess", "Message": "EC2 cannot assume the role emulated-role"}"#;
    let failure = Effect::Status { code: 200, body: failure.to_owned() };
    let path = "/latest/meta-data/iam/security-credentials/emulated-role";
    let (host, _emulator) = with_fault(Fault::on("imds:get", failure).path(path));
    examine(&host, &["--only", "credentials"]).says(
        "credentials",
        "fault",
        &["EC2 cannot assume", "update-assume-role-policy --role-name emulated-role", "ec2.amazonaws.com"],
    );
}

#[test]
fn expired_credentials_that_are_not_renewed_are_a_fault() {
    let (host, emulator) = Host::with_emulator();
    emulator.change(&Change { freeze_credentials: Some(true), ..Change::default() });
    // They are issued when they are asked for.
    examine(&host, &["--only", "credentials"]);
    emulator.expire_credentials();
    let diagnosis = examine(&host, &["--only", "credentials"]);
    diagnosis.says("credentials", "fault", &["emulated-role expired", "timedatectl"]);
}

#[test]
fn another_region_than_the_instances_is_a_warning_that_names_both() {
    let (mut host, _emulator) = Host::with_emulator();
    host.set("AWS_REGION", "us-east-1");
    let diagnosis = examine(&host, &["--only", "region"]);
    diagnosis.says("region", "warning", &["us-east-1", "eu-west-1", "AWS_REGION"]);
}

#[test]
fn credentials_of_a_container_are_told_from_the_instances() {
    let (mut host, emulator) = Host::with_emulator();
    host.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("{}/v2/credentials/emulated", emulator.url()));
    let diagnosis = examine(&host, &["--only", "credentials"]);
    diagnosis.says("credentials", "ok", &["container (AWS_CONTAINER_CREDENTIALS_FULL_URI is set)"]);
    host.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("http://{}/x", free_address()));
    let diagnosis = examine(&host, &["--only", "credentials"]);
    diagnosis.says("credentials", "fault", &["AWS_CONTAINER_CREDENTIALS_FULL_URI"]);
}

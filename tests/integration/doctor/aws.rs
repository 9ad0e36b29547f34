//! What AWS says: who we are, which roles can be assumed, what CloudWatch Logs allows; each denial with its cure.

use super::examine;
use crate::harness::{Change, Denial, Effect, Emulator, Fault, Host, Policy, append, numbered};

const ROLE: &str = "arn:aws:iam::123456789012:role/app-task";

/// A host with one role and one source, and an emulator with one fault.
fn with_fault(fault: Fault) -> (Host, Emulator) {
    let (host, emulator) = with_role("");
    emulator.set_fault(fault);
    (host, emulator)
}

fn with_role(more: &str) -> (Host, Emulator) {
    let (host, emulator) = Host::with_emulator();
    host.configure(&format!(
        "{}\n[[role]]\nname = \"app\"\nrole_arn = \"{ROLE}\"\nallow = [{{ user = \"root\" }}]\n{more}\n",
        host.one_source("")
    ));
    (host, emulator)
}

fn denied_by(policy: Policy) -> Effect {
    Effect::Deny(Denial { policy, ..Denial::default() })
}

fn forbidden_by(policy: Policy, arn: Option<&str>) -> Effect {
    Effect::Deny(Denial { policy, explicit: true, policy_arn: arn.map(str::to_owned) })
}

fn error(code: &str, message: &str) -> Effect {
    Effect::Error { status: 400, code: code.to_owned(), message: message.to_owned() }
}

#[test]
fn expired_credentials_are_told_from_those_that_aws_never_knew() {
    let (host, emulator) = with_fault(Fault::on("sts:GetCallerIdentity", Effect::Expired));
    let diagnosis = examine(&host, &["--only", "sts-identity"]);
    diagnosis.says("sts-identity", "fault", &["ExpiredToken", "have expired"]);
    emulator.clear_faults();
    let text = "The security token included in the request is invalid.";
    emulator.set_fault(Fault::on("sts:GetCallerIdentity", error("InvalidClientTokenId", text)));
    let diagnosis = examine(&host, &["--only", "sts-identity"]);
    diagnosis.says("sts-identity", "fault", &["InvalidClientTokenId", "does not know the credentials"]);
}

#[test]
fn a_signature_that_is_refused_for_its_time_is_the_clock() {
    let text = "Signature expired: 20261122T100000Z is now earlier than 20261122T101000Z (20261122T102500Z - 15 min.)";
    let (host, _emulator) = with_fault(Fault::on("sts:GetCallerIdentity", error("SignatureDoesNotMatch", text)));
    let diagnosis = examine(&host, &["--only", "sts-identity"]);
    diagnosis.says("sts-identity", "fault", &["clock is more than a few minutes off", "chronyc makestep"]);
}

#[test]
fn a_clock_that_is_an_hour_off_makes_no_signature_wrong() {
    let (host, emulator) = with_role("");
    emulator.change(&Change { clock_skew_seconds: Some(3600), ..Change::default() });
    let diagnosis = examine(&host, &["--only", "sts-identity,roles,logs-permissions"]);
    assert_eq!(diagnosis.with("fault"), [""; 0]);
    diagnosis.says("sts-identity", "ok", &["assumed-role/emulated-role"]);
}

#[test]
fn a_role_that_can_be_assumed_is_well_and_its_session_is_what_the_configuration_says() {
    let (host, emulator) = with_role("duration = \"30m\"\nsource_identity = \"me\"\ntags = { team = \"web\" }");
    examine(&host, &["--only", "roles"]).says("roles", "ok", &["app", "assumed-role/app-task"]);
    let asked = emulator.counts().roles[ROLE].last.clone();
    assert_eq!((asked.duration_seconds, asked.source_identity.as_deref()), (1800, Some("me")));
    assert_eq!(asked.tags["team"], "web");
}

#[test]
fn a_role_that_the_identity_side_denies_gets_its_statement_there() {
    let (host, _emulator) = with_fault(Fault::on("sts:AssumeRole", denied_by(Policy::IdentityBased)));
    let parts = [
        "none of its own policies allows it",
        &format!("{{\"Effect\": \"Allow\", \"Action\": \"sts:AssumeRole\", \"Resource\": \"{ROLE}\"}}"),
        "aws iam put-role-policy --role-name emulated-role",
    ];
    examine(&host, &["--only", "roles"]).says("roles", "fault", &parts);
}

#[test]
fn a_role_that_does_not_trust_us_gets_the_statement_of_its_trust_policy() {
    let (host, _emulator) = with_fault(Fault::on("sts:AssumeRole", denied_by(Policy::ResourceBased)));
    let parts = [
        "trust policy does not allow it",
        &format!("in the trust policy of {ROLE}"),
        "\"Principal\": {\"AWS\": \"arn:aws:iam::123456789012:role/emulated-role\"}",
        "aws iam get-role --role-name app-task --query Role.AssumeRolePolicyDocument",
    ];
    examine(&host, &["--only", "roles"]).says("roles", "fault", &parts);
}

#[test]
fn a_role_that_is_missing_is_said_to_be_denied_or_missing() {
    let sentence = format!(
        "User: arn:aws:sts::123456789012:assumed-role/emulated-role/i-1 is not authorized to perform: sts:AssumeRole on \
         resource: {ROLE}"
    );
    let refused = Effect::Error { status: 403, code: "AccessDenied".to_owned(), message: sentence };
    let (host, _emulator) = with_fault(Fault::on("sts:AssumeRole", refused));
    examine(&host, &["--only", "roles"]).says("roles", "fault", &["there is no such role", "aws iam get-role"]);
}

#[test]
fn an_external_id_that_is_asked_for_and_not_sent_is_named_with_its_key() {
    let emulator = Emulator::demanding(ROLE, "the-right-one");
    let host = Host::new(&emulator.url());
    let role = |more: &str| {
        host.configure(&format!(
            "[[role]]\nname = \"app\"\nrole_arn = \"{ROLE}\"\n{more}allow = [{{ user = \"root\" }}]\n"
        ));
        examine(&host, &["--only", "roles"])
    };
    role("").says("roles", "fault", &["asks for an external id", "in role app: external_id ="]);
    role("external_id = \"a-wrong-one\"\n").says("roles", "fault", &["the external id a-wrong-one is not the one"]);
    role("external_id = \"the-right-one\"\n").says("roles", "ok", &["app can be assumed"]);
}

#[test]
fn a_session_longer_than_the_role_allows_is_cured_at_the_role_or_here() {
    let text = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
    let (host, _emulator) = with_fault(Fault::on("sts:AssumeRole", error("ValidationError", text)));
    let cure = "aws iam update-role --role-name app-task --max-session-duration 3600";
    examine(&host, &["--only", "roles"]).says("roles", "fault", &[cure, "`duration` of role app"]);
}

#[test]
fn tags_that_are_denied_are_named_with_their_action() {
    let (host, emulator) = with_role("tags = { team = \"web\" }");
    let sentence = format!(
        "User: arn:aws:sts::123456789012:assumed-role/emulated-role/i-1 is not authorized to perform: sts:TagSession on \
         resource: {ROLE} because no identity-based policy allows the sts:TagSession action"
    );
    emulator.set_fault(Fault::on("sts:AssumeRole", error("AccessDenied", &sentence)));
    examine(&host, &["--only", "roles"]).says("roles", "fault", &["sts:TagSession", "\"Action\": \"sts:TagSession\""]);
}

#[test]
fn a_region_where_sts_is_switched_off_is_named() {
    let text = "STS is not activated in this region for account:123456789012.";
    let (host, _emulator) = with_fault(Fault::on("sts:AssumeRole", error("RegionDisabledException", text)));
    examine(&host, &["--only", "roles"]).says("roles", "fault", &["not switched on", "`region` of the role"]);
}

#[test]
fn a_role_whose_name_can_t_be_filled_is_not_seen_and_says_what_is_missing() {
    let (host, _emulator) = with_role("session_name = \"{tag:Team}\"");
    let text = examine(&host, &["--only", "roles"]);
    text.says("roles", "unseen", &["{tag:Team} is not known"]);
}

#[test]
fn one_role_that_is_denied_does_not_hide_that_another_is_well() {
    let (host, emulator) = with_role(
        "[[role]]\nname = \"other\"\nrole_arn = \"arn:aws:iam::123456789012:role/other\"\nallow = [{ user = \"root\" }]",
    );
    emulator.set_fault(Fault::on("sts:AssumeRole", denied_by(Policy::IdentityBased)).role(ROLE));
    let diagnosis = examine(&host, &["--only", "roles"]);
    diagnosis.says("roles", "fault", &["app"]);
    diagnosis.says("roles", "ok", &["other"]);
}

#[test]
fn a_throttled_sts_is_no_fault_of_the_role() {
    let (host, _emulator) = with_fault(Fault::on("sts:AssumeRole", Effect::Throttle { retry_after_ms: None }));
    let diagnosis = examine(&host, &["--only", "roles"]);
    diagnosis.says("roles", "unseen", &["too many such requests"]);
    assert_eq!(diagnosis.with("fault"), [""; 0]);
}

#[test]
fn a_service_control_policy_is_named_and_only_an_administrator_can_change_it() {
    let arn = "arn:aws:organizations::111122223333:policy/o-abc/service_control_policy/p-123";
    let (host, _emulator) = with_fault(Fault::on("logs:PutLogEvents", forbidden_by(Policy::ServiceControl, Some(arn))));
    let parts = ["service control policy", arn, "only an administrator of your organisation", "--policy-id 'p-123'"];
    examine(&host, &["--only", "logs-permissions"]).says("logs-permissions", "fault", &parts);
}

#[test]
fn each_kind_of_policy_that_denies_has_a_cure_of_its_own() {
    for (effect, parts) in [
        (
            denied_by(Policy::PermissionsBoundary),
            ["permissions boundary does not allow it", "in the permissions boundary"],
        ),
        (denied_by(Policy::Session), ["the policy that the session was begun with", "in the session policy"]),
        (denied_by(Policy::VpcEndpoint), ["VPC endpoint", "in the policy of the VPC endpoint for logs"]),
        (denied_by(Policy::ServiceControl), ["of the organisation", "only an administrator of your organisation"]),
        (forbidden_by(Policy::IdentityBased, None), ["has a Deny for it", "a Deny stands above every Allow"]),
        (forbidden_by(Policy::ResourceBased, None), ["has a Deny for it", "a Deny stands above every Allow"]),
    ] {
        let (host, _emulator) = with_fault(Fault::on("logs:PutLogEvents", effect));
        examine(&host, &["--only", "logs-permissions"]).says("logs-permissions", "fault", &parts);
    }
}

/// A host that asks for all there is of a group.
fn with_group_settings() -> (Host, Emulator) {
    let (host, emulator) = Host::with_emulator();
    host.configure(&host.one_source("retention_in_days = 14"));
    (host, emulator)
}

#[test]
fn each_permission_that_is_missing_is_named_with_its_statement_before_the_group_exists() {
    let group = "arn:aws:logs:eu-west-1:123456789012:log-group:/test/app:*";
    for (action, resource) in [
        ("logs:PutLogEvents", group),
        ("logs:CreateLogStream", group),
        ("logs:PutRetentionPolicy", group),
        ("logs:DescribeLogGroups", "arn:aws:logs:eu-west-1:123456789012:log-group:*"),
    ] {
        let (host, emulator) = with_group_settings();
        emulator.set_fault(Fault::on(action, denied_by(Policy::IdentityBased)));
        let statement = format!("{{\"Effect\": \"Allow\", \"Action\": \"{action}\", \"Resource\": \"{resource}\"}}");
        let diagnosis = examine(&host, &["--only", "logs-permissions"]);
        diagnosis.says("logs-permissions", "fault", &[&statement, "/test/app", "--role-name emulated-role"]);
    }
}

#[test]
fn each_permission_that_is_missing_is_named_once_the_group_exists() {
    let (host, emulator) = with_group_settings();
    append(&host.log("app.log"), &numbered(0, 10, 50));
    let agent = host.start();
    agent.wait_until_delivered(10);
    examine(&host, &["--only", "logs-permissions"]).says(
        "logs-permissions",
        "ok",
        &["PutLogEvents, DescribeLogGroups, PutRetentionPolicy, CreateLogStream, CreateLogGroup"],
    );
    // What is there need not be made, nor what is set be set: that is no fault, but it is worth knowing.
    for (action, outcome) in [
        ("logs:PutLogEvents", "fault"),
        ("logs:CreateLogStream", "fault"),
        ("logs:CreateLogGroup", "warning"),
        ("logs:PutRetentionPolicy", "warning"),
        ("logs:DescribeLogGroups", "fault"),
    ] {
        emulator.set_fault(Fault::on(action, denied_by(Policy::IdentityBased)));
        let diagnosis = examine(&host, &["--only", "logs-permissions"]);
        diagnosis.says("logs-permissions", outcome, &[&format!("\"Action\": \"{action}\""), "put-role-policy"]);
        emulator.clear_faults();
    }
}

#[test]
fn a_group_that_the_daemon_may_not_create_is_told_with_what_the_daemon_was_told() {
    let (host, emulator) = Host::with_emulator();
    emulator.set_fault(Fault::on("logs:CreateLogGroup", denied_by(Policy::IdentityBased)));
    append(&host.log("app.log"), &numbered(0, 10, 50));
    let agent = host.start();
    agent.wait_until("the group is denied", |report| {
        report.destination("/test/app", "app").is_some_and(|place| place["state"] == "denied")
    });
    let diagnosis = examine(&host, &["--only", "daemon-state,logs-permissions"]);
    diagnosis.says("daemon-state", "fault", &["/test/app is denied", "\"Action\": \"logs:CreateLogGroup\""]);
    diagnosis.says("logs-permissions", "note", &["CreateLogGroup was not tried: that would create the group"]);
}

#[test]
fn what_is_denied_is_told_once_although_the_daemon_was_told_too() {
    let (host, emulator) = Host::with_emulator();
    emulator.set_fault(Fault::on("logs:PutLogEvents", denied_by(Policy::IdentityBased)));
    append(&host.log("app.log"), &numbered(0, 10, 50));
    let agent = host.start();
    agent.wait_until("the events are denied", |report| {
        report.destination("/test/app", "app").is_some_and(|place| place["state"] == "denied")
    });
    let diagnosis = examine(&host, &[]);
    diagnosis.says("logs-permissions", "fault", &["\"Action\": \"logs:PutLogEvents\""]);
    assert_eq!(diagnosis.with("fault").len(), 1, "{:?}", diagnosis.with("fault"));
}

#[test]
fn looking_at_permissions_leaves_nothing_behind() {
    let (host, emulator) = with_group_settings();
    examine(&host, &[]);
    assert!(emulator.groups().is_empty(), "no group was made: {:?}", emulator.groups());
    append(&host.log("app.log"), &numbered(0, 10, 50));
    let agent = host.start();
    agent.wait_until_delivered(10);
    agent.stop_in_order();
    let before = (emulator.groups(), emulator.streams());
    examine(&host, &[]);
    assert_eq!((emulator.groups().len(), emulator.streams()), (before.0.len(), before.1));
}

#[test]
fn a_throttled_answer_is_no_fault() {
    let (host, _emulator) = with_fault(Fault::on("logs:*", Effect::Throttle { retry_after_ms: None }));
    let diagnosis = examine(&host, &["--only", "logs-permissions"]);
    assert_eq!(diagnosis.with("fault"), [""; 0]);
    diagnosis.says("logs-permissions", "unseen", &["no question of permissions"]);
}

#[test]
fn a_key_that_cloudwatch_may_not_use_gets_the_statement_of_its_policy() {
    let (host, emulator) = Host::with_emulator();
    let key = "arn:aws:kms:eu-west-1:123456789012:key/0e000000-0000-4000-8000-000000000001";
    host.configure(&host.one_source(&format!("kms_key_id = \"{key}\"")));
    examine(&host, &["--only", "kms"]).says("kms", "note", &[key, "in the key policy of"]);
    let text = "The specified KMS key does not exist or is not allowed to be used with LogGroup \
                'arn:aws:logs:eu-west-1:123456789012:log-group:/test/app'";
    emulator.set_fault(Fault::on("logs:CreateLogGroup", error("InvalidParameterException", text)));
    append(&host.log("app.log"), &numbered(0, 10, 50));
    let agent = host.start();
    agent.wait_until("the key is refused", |report| {
        report.destination("/test/app", "app").is_some_and(|place| !place["last_error"].is_null())
    });
    let diagnosis = examine(&host, &["--only", "kms,logs-permissions"]);
    let parts = [
        "can't use the key",
        "\"Principal\": {\"Service\": \"logs.eu-west-1.amazonaws.com\"}",
        "\"kms:EncryptionContext:aws:logs:arn\": \"arn:aws:logs:eu-west-1:123456789012:log-group:/test/app\"",
        "aws kms get-key-policy --region eu-west-1 --key-id",
    ];
    diagnosis.says("kms", "fault", &parts);
    assert_eq!(diagnosis.with("fault").len(), 1, "{:?}", diagnosis.with("fault"));
}

#[test]
fn a_group_with_another_key_than_the_configurations_is_a_warning() {
    let (host, _emulator) = Host::with_emulator();
    append(&host.log("app.log"), &numbered(0, 10, 50));
    let agent = host.start();
    agent.wait_until_delivered(10);
    let key = "arn:aws:kms:eu-west-1:123456789012:key/0e000000-0000-4000-8000-000000000001";
    host.configure(&host.one_source(&format!("kms_key_id = \"{key}\"")));
    let cure = "aws logs associate-kms-key --log-group-name '/test/app'";
    examine(&host, &["--only", "kms"]).says("kms", "warning", &["not encrypted with the key", cure]);
}

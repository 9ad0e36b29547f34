//! The systems that must work on this, when they do not: each failure, set on a host that was well, is answered by the
//! right cure in one run of the doctor, who names nothing else. Not each check by itself.

use super::{Diagnosis, examine};
use crate::harness::{Change, Denial, Effect, Emulator, Fault, Host, Policy, append, numbered};

/// How long a person waits (the doctor's promise); it is what the checks' own patience adds up to, not how fast they are.
const PROMISED: f64 = 10.0;

/// Asserts that one run says what is wrong, and calls nothing else a fault.
#[track_caller]
fn assert_answered(diagnosis: &Diagnosis, check: &str, parts: &[&str]) {
    diagnosis.says(check, "fault", parts);
    assert_eq!(diagnosis.with("fault").len(), 1, "what follows from a fault is none: {:?}", diagnosis.with("fault"));
    assert!(diagnosis.seconds() < PROMISED, "{} s", diagnosis.seconds());
}

fn metadata(path: &str, code: u16, body: &str) -> Fault {
    Fault::on("imds:get", Effect::Status { code, body: body.to_owned() }).path(path)
}

/// Scenario A: a backend behind an Auto Scaling group, whose logs do not arrive.
#[test]
fn an_instance_that_can_t_write_to_cloudwatch_is_told_why_whatever_the_cause() {
    let roles = "/latest/meta-data/iam/security-credentials";
    let untrusted =
        r#"{"Code": "AssumeRoleUnauthorizedAccess", "Message": "EC2 cannot assume the role emulated-role"}"#;
    let scp = "arn:aws:organizations::111122223333:policy/o-abc/service_control_policy/p-123";
    let denied = Effect::Deny(Denial::default());
    let forbidden =
        Effect::Deny(Denial { policy: Policy::ServiceControl, explicit: true, policy_arn: Some(scp.to_owned()) });
    let group = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/ec2/ollama-chat-prod:*";
    let statement =
        |action: &str| format!("{{\"Effect\": \"Allow\", \"Action\": \"{action}\", \"Resource\": \"{group}\"}}");
    let rows: [(Fault, &str, &[&str]); 8] = [
        (
            metadata("/latest/meta-data/iam", 404, ""),
            "credentials",
            &["associate-iam-instance-profile --instance-id i-0e00000000000e001"],
        ),
        (
            metadata(roles, 200, ""),
            "credentials",
            &["add-role-to-instance-profile --instance-profile-name emulated-role"],
        ),
        (
            metadata(&format!("{roles}/emulated-role"), 200, untrusted),
            "credentials",
            &["update-assume-role-policy --role-name emulated-role", "ec2.amazonaws.com"],
        ),
        (Fault::on("imds:token", denied.clone()), "imds-token", &["--http-endpoint enabled --http-tokens required"]),
        (Fault::on("imds:token", Effect::Hang), "imds-token", &["--http-put-response-hop-limit 2"]),
        (Fault::on("logs:PutLogEvents", denied.clone()), "logs-permissions", &[&statement("logs:PutLogEvents")]),
        (Fault::on("logs:CreateLogStream", denied), "logs-permissions", &[&statement("logs:CreateLogStream")]),
        (Fault::on("logs:PutLogEvents", forbidden), "logs-permissions", &["only an administrator", scp]),
    ];
    let emulator = Emulator::start();
    let host = Host::new(&emulator.url());
    host.configure(&format!(
        "[logs]\nlog_group = \"/aws/ec2/ollama-chat-prod\"\n\n[[logs.file]]\ninclude = [\"{}\"]\n\
         log_stream = \"backend-{{instance_id}}\"\n",
        host.log("app.log").display()
    ));
    for (fault, check, parts) in rows {
        emulator.clear_faults();
        assert_eq!(examine(&host, &[]).with("fault"), [""; 0], "before it is set");
        emulator.set_fault(fault);
        assert_answered(&examine(&host, &[]), check, parts);
    }
}

/// Scenario C: a manager of workers whose static keys are to be replaced by a role.
#[test]
fn static_keys_that_shadow_the_role_are_found_and_so_is_what_the_role_lacks() {
    let (mut host, emulator) = Host::with_emulator();
    host.configure(&format!(
        "{}\n[[role]]\nname = \"workers\"\nrole_arn = \"arn:aws:iam::123456789012:role/worker-manager\"\n\
         allow = [{{ user = \"root\" }}]\n",
        host.one_source("")
    ));
    emulator.set_fault(Fault::on("sts:AssumeRole", Effect::Deny(Denial::default())));
    let parts = ["workers", "\"Action\": \"sts:AssumeRole\"", "role/worker-manager"];
    assert_answered(&examine(&host, &[]), "roles", &parts);
    emulator.clear_faults();
    // As they stand in the application's .env.
    host.set("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE");
    host.set("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    let diagnosis = examine(&host, &[]);
    let told = [diagnosis.with("fault"), diagnosis.with("warning")].concat().join("\n");
    assert!(told.contains("static-keys") && told.contains("AWS_ACCESS_KEY_ID"), "{told}");
    assert!(!told.contains("wJalrXUtnFEMI"), "{told}");
}

/// Scenario D: an API that reads its database's password, pulls its image and ships its log.
#[test]
fn the_authentication_of_an_api_is_tested_by_one_command_for_each_thing_it_needs() {
    let parameter = "/sandbox/go-mysql-api/db/password";
    let emulator = Emulator::start();
    let host = Host::new(&emulator.url());
    host.configure(&format!(
        "[logs]\nlog_group = \"/aws/ec2/sandbox-go-mysql-api/application\"\nlog_stream = \"{{instance_id}}\"\n\
         retention_in_days = 14\n\n[[logs.file]]\ninclude = [\"{}\"]\n\n\
         [[doctor.probe]]\nservice = \"ssm\"\naction = \"GetParameter\"\nresource = \"{parameter}\"\n\n\
         [[doctor.probe]]\nservice = \"ecr\"\naction = \"GetAuthorizationToken\"\nresource = \"*\"\n",
        host.log("app.log").display()
    ));
    let value = [(parameter.to_owned(), Some("hunter2".to_owned()))].into();
    emulator.change(&Change { parameters: value, ..Change::default() });
    append(&host.log("app.log"), &numbered(0, 10, 50));
    let agent = host.start();
    agent.wait_until_delivered(10);
    let well = examine(&host, &[]);
    assert_eq!((well.with("fault"), well.with("warning")), (Vec::new(), Vec::new()));
    for (operation, check) in [
        ("sts:GetCallerIdentity", "sts-identity"),
        ("ssm:GetParameter", "probes"),
        ("ecr:GetAuthorizationToken", "probes"),
        ("logs:PutLogEvents", "logs-permissions"),
    ] {
        emulator.set_fault(Fault::on(operation, Effect::Deny(Denial::default())));
        assert_answered(&examine(&host, &[]), check, &[&format!("\"Action\": \"{operation}\"")]);
        emulator.clear_faults();
    }
    emulator.set_fault(Fault::on("kms:Decrypt", Effect::Deny(Denial::default())));
    assert_answered(&examine(&host, &[]), "probes", &["\"Action\": \"kms:Decrypt\""]);
}

/// Scenario E: a matrix of roles, each of which fails for a reason of its own.
#[test]
fn each_role_of_a_matrix_is_tried_and_each_failure_has_its_own_reason() {
    let emulator = Emulator::start();
    let host = Host::new(&emulator.url());
    let services = ["s3", "sqs", "bedrock", "ses", "sns"];
    let role = |service: &&str| {
        format!(
            "[[role]]\nname = \"{service}\"\nrole_arn = \"arn:aws:iam::123456789012:role/llm-{{environment}}-{service}\"\n\
             duration = \"1h\"\nsource_identity = \"llm-{{environment}}\"\nallow = [{{ user = \"root\" }}]\n\n"
        )
    };
    let roles: String = services.iter().map(role).collect();
    let config = format!("[variables]\nenvironment = \"dev\"\n\n{roles}");
    host.configure(&config);
    assert_eq!(examine(&host, &[]).all("roles", "ok").len(), services.len());
    let arn = |service: &str| format!("arn:aws:iam::123456789012:role/llm-dev-{service}");
    let by = |policy| Effect::Deny(Denial { policy, ..Denial::default() });
    let long = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
    let long = Effect::Error { status: 400, code: "ValidationError".to_owned(), message: long.to_owned() };
    for (service, effect) in [
        ("s3", by(Policy::IdentityBased)),
        ("sqs", by(Policy::ResourceBased)),
        ("bedrock", long),
        ("ses", by(Policy::Session)),
    ] {
        emulator.set_fault(Fault::on("sts:AssumeRole", effect).role(&arn(service)));
    }
    let diagnosis = examine(&host, &[]);
    assert_eq!(diagnosis.all("roles", "ok").len(), 1, "{:?}", diagnosis.with("fault"));
    let faults = diagnosis.all("roles", "fault");
    for (subject, part) in [
        ("s3", "in a policy of arn:aws:iam::123456789012:role/emulated-role"),
        ("sqs", "in the trust policy of arn:aws:iam::123456789012:role/llm-dev-sqs"),
        ("bedrock", "--max-session-duration 3600"),
        ("ses", "in the session policy"),
    ] {
        let fault = faults.iter().find(|fault| fault["subject"] == subject).unwrap_or_else(|| panic!("{subject}"));
        assert!(fault["cure"].as_str().is_some_and(|cure| cure.contains(part)), "{fault:#}");
    }
    assert!(diagnosis.seconds() < PROMISED);
}

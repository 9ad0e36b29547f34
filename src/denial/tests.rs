//! Denials as people meet them, each with what is to be said of it; and what no text may do to the parser.

use super::*;

const WEB: &str = "arn:aws:sts::123456789012:assumed-role/web/i-0123456789abcdef0";
const GROUP: &str = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/ec2/app";

/// The denial in `text`, its cause, and all of its cure.
fn explained(text: &str) -> (Denial, String, String) {
    let explanation = explain(text);
    let denial = explanation.denial.unwrap_or_else(|| panic!("no denial in {text}"));
    (denial.clone(), explanation.cause.unwrap(), denial.hint().unwrap_or_default())
}

fn command(text: &str) -> String {
    explain(text).steps.into_iter().find_map(|step| step.command).unwrap_or_default()
}

#[test]
fn the_cli_s_line_becomes_the_missing_statement_and_the_command_that_adds_it() {
    let text = format!(
        "An error occurred (AccessDeniedException) when calling the PutLogEvents operation: User: {WEB} is not \
         authorized to perform: logs:PutLogEvents on resource: {GROUP}:log-stream:i-1 because no identity-based policy \
         allows the logs:PutLogEvents action"
    );
    let (denial, cause, hint) = explained(&text);
    assert_eq!((denial.by, denial.explicit, denial.caller.as_deref()), (Policy::Identity, false, Some(WEB)));
    assert!(cause.starts_with("role web may not logs:PutLogEvents on arn:"), "{cause}");
    let statement =
        format!("{{\"Effect\": \"Allow\", \"Action\": \"logs:PutLogEvents\", \"Resource\": \"{GROUP}:*\"}}");
    assert_eq!(hint, format!("in a policy of arn:aws:iam::123456789012:role/web: {statement}"));
    assert_eq!(
        command(&text),
        format!(
            "aws iam put-role-policy --role-name web --policy-name allow-logs-PutLogEvents --policy-document \
             '{{\"Version\": \"2012-10-17\", \"Statement\": [{statement}]}}'"
        )
    );
}

#[test]
fn a_terraform_frame_and_a_terminal_s_colours_are_taken_off() {
    let text = "\u{1b}[31m╷\u{1b}[0m\n│ Error: creating S3 Bucket (b): operation error S3: CreateBucket, https response error \
                StatusCode: 403, RequestID: X, api error AccessDenied: User:\n│ arn:aws:iam::123456789012:user/ci is not \
                authorized to perform:\n│ s3:CreateBucket on resource: \"arn:aws:s3:::b\" because no identity-based policy \
                allows\n│ the s3:CreateBucket action\n│ \n╵";
    let (denial, cause, hint) = explained(text);
    assert_eq!(denial.resource.as_deref(), Some("arn:aws:s3:::b"));
    assert!(cause.starts_with("user ci may not s3:CreateBucket"), "{cause}");
    assert!(hint.starts_with("in a policy of arn:aws:iam::123456789012:user/ci: {"), "{hint}");
    assert!(command(text).starts_with("aws iam put-user-policy --user-name ci "));
}

#[test]
fn only_the_organisation_s_administrator_can_change_its_policies() {
    let deny = format!(
        "User: {WEB} is not authorized to perform: s3:PutObject on resource: arn:aws:s3:::b/k with an explicit deny in \
         a service control policy: arn:aws:organizations::999999999999:policy/o-1/service_control_policy/p-7"
    );
    let (_, cause, hint) = explained(&deny);
    assert!(cause.contains("the service control policy (arn:aws:organizations"), "{cause}");
    assert!(hint.contains("only an administrator of your organisation") && !hint.contains("Effect"), "{hint}");
    assert_eq!(command(&deny), "aws organizations describe-policy --policy-id 'p-7'");
    for kind in ["service control", "resource control"] {
        let missing = format!(
            "User: {WEB} is not authorized to perform: s3:PutObject on resource: arn:aws:s3:::b/k because no {kind} \
             policy allows the s3:PutObject action"
        );
        let (_, _, hint) = explained(&missing);
        assert!(hint.contains("only an administrator") && hint.contains("\"s3:PutObject\""), "{hint}");
    }
}

#[test]
fn each_policy_around_the_caller_s_own_has_a_cure_of_its_own() {
    for (kind, words) in [
        ("permissions boundary", "in the permissions boundary of role web, beside an Allow"),
        ("session policy", "in the session policy that role web was assumed with"),
        ("VPC endpoint policy", "in the policy of the VPC endpoint for sqs"),
        ("resource-based policy", "in the queue policy of arn:aws:sqs:eu-west-1:123456789012:q"),
    ] {
        let (_, _, hint) = explained(&format!(
            "User: {WEB} is not authorized to perform: sqs:SendMessage on resource: arn:aws:sqs:eu-west-1:123456789012:q \
             because no {kind} allows the sqs:SendMessage action"
        ));
        assert!(hint.starts_with(words) && hint.contains("{\"Effect\": \"Allow\""), "{hint}");
        let (_, _, hint) = explained(&format!(
            "User: {WEB} is not authorized to perform: sqs:SendMessage on resource: arn:aws:sqs:eu-west-1:123456789012:q \
             with an explicit deny in a {kind}"
        ));
        assert!(hint.contains("a Deny stands above every Allow") && !hint.contains("Effect"), "{hint}");
    }
}

#[test]
fn a_boundary_with_a_deny_is_shown_by_a_command() {
    let text = format!(
        "User: {WEB} is not authorized to perform: s3:GetObject with an explicit deny in a permissions boundary"
    );
    assert_eq!(command(&text), "aws iam get-role --role-name web --query Role.PermissionsBoundary");
}

#[test]
fn another_account_s_resource_needs_both_sides() {
    let (_, _, hint) = explained(&format!(
        "User: {WEB} is not authorized to perform: kms:Decrypt on resource: \
         arn:aws:kms:eu-west-1:210987654321:key/k because no identity-based policy allows the kms:Decrypt action"
    ));
    assert!(
        hint.contains("\nthe key policy of arn:aws:kms:eu-west-1:210987654321:key/k must allow it as well"),
        "{hint}"
    );
}

#[test]
fn ec2_s_denial_is_decoded_by_a_command() {
    let old = "An error occurred (UnauthorizedOperation) when calling the RunInstances operation: You are not authorized \
               to perform this operation. Encoded authorization failure message: 4GIOHlTkIaWHQD0Q0m6XSnuUMCm-abc";
    let (denial, cause, hint) = explained(old);
    assert_eq!(denial.action.as_deref(), Some("ec2:RunInstances"));
    assert!(cause.contains("may not ec2:RunInstances"), "{cause}");
    assert!(hint.contains("--encoded-message '4GIOHlTkIaWHQD0Q0m6XSnuUMCm-abc'"), "{hint}");
}

#[test]
fn s3_s_two_words_are_explained_as_far_as_the_operation_is_known() {
    let (denial, _, hint) =
        explained("An error occurred (AccessDenied) when calling the GetObject operation: Access Denied");
    assert_eq!(denial.action.as_deref(), Some("s3:GetObject"));
    assert!(hint.contains("\"s3:GetObject\"") && hint.contains("s3:ListBucket"), "{hint}");
    let (denial, cause, _) = explained("<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>");
    assert_eq!(denial.action, None);
    assert!(cause.contains("neither what nor why"), "{cause}");
}

#[test]
fn a_head_request_s_bare_answer_is_a_denial_where_aws_gave_it() {
    for text in [
        "An error occurred (403) when calling the HeadObject operation: Forbidden",
        "operation error S3: HeadObject, https response error StatusCode: 403, RequestID: X, api error Forbidden: Forbidden",
    ] {
        assert_eq!(explained(text).0.action.as_deref(), Some("s3:GetObject"), "{text}");
    }
    assert_eq!(explain("GET /healthz 403 Forbidden").cause, None);
}

#[test]
fn a_resource_that_aws_only_names_becomes_the_arn_of_a_policy() {
    let (_, _, hint) = explained(&format!(
        "User: {WEB} is not authorized to perform: secretsmanager:GetSecretValue on resource: prod/db because no \
         identity-based policy allows the secretsmanager:GetSecretValue action"
    ));
    assert!(hint.contains("\"arn:aws:secretsmanager:*:123456789012:secret:prod/db-??????\""), "{hint}");
    let (_, _, hint) = explained(&format!(
        "User: {WEB} is not authorized to perform: states:StartExecution on resource: mine because no identity-based \
         policy allows the states:StartExecution action"
    ));
    assert!(hint.contains("\"Resource\": \"*\"") && hint.contains("narrow the *"), "{hint}");
}

#[test]
fn assuming_a_role_needs_both_sides_unless_aws_says_which() {
    let (_, _, hint) = explained(&format!(
        "AccessDenied: User: {WEB} is not authorized to perform: sts:AssumeRole on resource: \
         arn:aws:iam::123456789012:role/app"
    ));
    assert!(hint.contains("in a policy of ") && hint.contains("\nin the trust policy of arn:aws:iam"), "{hint}");
    let (denial, _, hint) = explained("AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity");
    assert_eq!(denial.action.as_deref(), Some("sts:AssumeRoleWithWebIdentity"));
    assert!(hint.contains("identity provider"), "{hint}");
}

#[test]
fn a_key_that_may_not_be_used_is_known_though_kms_does_not_name_the_action() {
    let (denial, _, hint) = explained(
        "An error occurred (AccessDeniedException) when calling the Decrypt operation: The ciphertext refers to a \
         customer master key that does not exist, does not exist in this region, or you are not allowed to access.",
    );
    assert_eq!(denial.action.as_deref(), Some("kms:Decrypt"));
    assert!(hint.contains("in the key policy of"), "{hint}");
}

#[test]
fn errors_that_are_no_denial_have_a_cause_and_a_cure_too() {
    for (text, cause) in [
        (
            "An error occurred (ExpiredToken) when calling the ListBuckets operation: The provided token has expired.",
            "expired",
        ),
        (
            "An error occurred (AuthFailure) when calling the DescribeInstances operation: AWS was not able to validate \
          the provided access credentials",
            "does not know the credentials",
        ),
        (
            "{\"__type\":\"UnrecognizedClientException\",\"message\":\"The security token included in the request is \
          invalid.\"}",
            "does not know the credentials",
        ),
        ("SignatureDoesNotMatch: The request signature we calculated does not match", "signature"),
        ("SignatureDoesNotMatch: Signature expired: 20261122T101500Z is now earlier than 20261122T102000Z", "clock"),
        ("OptInRequired: You are not subscribed to this service", "not signed up"),
        ("botocore.exceptions.NoCredentialsError: Unable to locate credentials", "no credentials"),
    ] {
        let explanation = explain(text);
        assert!(explanation.cause.as_deref().is_some_and(|said| said.contains(cause)), "{text}: {explanation:?}");
        assert!(explanation.denial.is_none() && explanation.steps.len() == 1, "{explanation:?}");
    }
}

#[test]
fn a_text_without_a_known_error_is_shown_whole_and_harmless() {
    let explanation = explain("NoSuchBucket: the\u{7} bucket\u{202e} is\nnot here");
    assert_eq!(explanation.cause, None);
    assert_eq!(explanation.text, "NoSuchBucket: the\\u{7} bucket\\u{202e} is not here");
    let long = explain(&"é".repeat(LONGEST));
    assert!(long.was_cut && long.text.len() == LONGEST);
}

#[test]
fn what_a_text_holds_can_not_leave_its_word_in_a_command() {
    let text = "User: arn:aws:sts::123456789012:assumed-role/web/';reboot;' is not authorized to perform: s3:GetObject on \
                resource: arn:aws:s3:::b/'$(reboot)';reboot;'x because no identity-based policy allows the s3:GetObject \
                action. Encoded authorization failure message: x';reboot;y";
    let steps = explain(text).steps;
    assert_eq!(steps.len(), 2, "{steps:?}");
    for command in steps.into_iter().filter_map(|step| step.command) {
        let script = format!("aws() {{ :; }}; reboot() {{ exit 9; }}; {command}");
        let shell = std::process::Command::new("sh").args(["-c", &script]).output().expect("a shell");
        assert!(shell.status.success() && shell.stderr.is_empty(), "{command}: {shell:?}");
    }
}

#[test]
fn no_text_is_too_strange() {
    let samples: [&[u8]; 5] = [
        b"An error occurred (AccessDenied) when calling the GetObject operation (reached max retries: 4): User: arn:aws:sts::123456789012:assumed-role/web/i is not authorized to perform: s3:GetObject on resource: arn:aws:s3:::b/k with an explicit deny in a service control policy: arn:aws:organizations::1:policy/p",
        b"operation error CloudWatch Logs: PutLogEvents, https response error StatusCode: 400, api error AccessDeniedException: User: arn is not authorized to perform: logs:PutLogEvents on resource: arn:aws:logs:r:1:log-group:g:log-stream:s because no VPC endpoint policy allows the logs:PutLogEvents action",
        b"{\"Records\":[{\"eventSource\":\"ec2.amazonaws.com\",\"eventName\":\"RunInstances\",\"errorCode\":\"Client.UnauthorizedOperation\",\"errorMessage\":\"no. Encoded authorization failure message: abc\"}]}",
        b"<Error><Code>AccessDenied</Code><Message>Access Denied &amp; so on</Message></Error>",
        "\u{1b}[31m│ Service: AWSLogs; (Service: AWSLogs; Error Code: AccessDenied; code: Some(\"x\")".as_bytes(),
    ];
    crate::fuzz::hostile(&samples, |input| {
        let explanation = explain(&String::from_utf8_lossy(input));
        assert!(!explanation.text.contains(char::is_control));
        for step in explanation.steps {
            let statement = step.statement.map_or_else(|| "{}".to_owned(), |statement| statement.to_string());
            serde_json::from_str::<serde_json::Value>(&statement).expect("JSON");
        }
    });
}

//! Needs become statements, documents of each format, and a judgement of existing policies.

use super::*;

fn place() -> Place {
    Place {
        partition: "aws".to_owned(),
        region: Some("eu-west-1".to_owned()),
        account: Some("123456789012".to_owned()),
    }
}

fn needs() -> Needs {
    let plain = ("/aws/ec2/app".to_owned(), Group::default());
    let full = Group { has_retention: true, is_compared: true, has_tags: true, has_key: true };
    let role = Role {
        name: "app".to_owned(),
        arn: "arn:aws:iam::123456789012:role/app-prod".to_owned(),
        has_tags: true,
        external_id: Some("null-1${x}".to_owned()),
        ..Role::default()
    };
    let other =
        Role { name: "other".to_owned(), arn: "arn:aws:iam::123456789012:role/o".to_owned(), ..Role::default() };
    let probe = Probe { service: "ssm".to_owned(), action: "GetParameter".to_owned(), resource: "/db".to_owned() };
    Needs {
        place: place(),
        trust: Trust::Instance,
        groups: [plain, ("/aws/ec2/full".to_owned(), full)].into(),
        roles: vec![role, other],
        probes: vec![probe],
    }
}

fn only_logs() -> Needs {
    Needs {
        roles: Vec::new(),
        probes: Vec::new(),
        groups: [("/aws/ec2/app".to_owned(), Group::default())].into(),
        ..needs()
    }
}

fn pairs(needs: &Needs) -> Vec<String> {
    needs.permissions().iter().map(|Permission { action, resource }| format!("{action} {resource}")).collect()
}

#[test]
fn a_group_that_asks_for_nothing_needs_three_actions_on_itself() {
    let group = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/ec2/app:*";
    let wanted = ["CreateLogGroup", "CreateLogStream", "PutLogEvents"].map(|action| format!("logs:{action} {group}"));
    assert_eq!(pairs(&only_logs()), wanted);
}

#[test]
fn what_a_group_asks_for_is_allowed_on_that_group_alone() {
    let pairs = pairs(&needs());
    let of = |action: &str| pairs.iter().filter_map(|pair| pair.strip_prefix(action)).collect::<Vec<_>>();
    let full = " arn:aws:logs:eu-west-1:123456789012:log-group:/aws/ec2/full";
    for action in ["logs:PutRetentionPolicy", "logs:AssociateKmsKey"] {
        assert_eq!(of(action), [format!("{full}:*")], "{action}");
    }
    assert_eq!(of("logs:TagResource"), [full.to_owned(), format!("{full}:*")]);
    assert_eq!(of("logs:DescribeLogGroups"), [" arn:aws:logs:eu-west-1:123456789012:log-group:*"]);
    assert_eq!(of("sts:TagSession"), [" arn:aws:iam::123456789012:role/app-prod"]);
    assert_eq!(of("sts:AssumeRole").len(), 2);
    assert_eq!(of("ssm:GetParameter"), [" arn:aws:ssm:eu-west-1:123456789012:parameter/db"]);
}

#[test]
fn a_document_has_no_two_statements_of_one_name_and_reads_as_what_it_is() {
    let needs = needs();
    let statements = needs.statements();
    let mut names: Vec<_> = statements.iter().map(|statement| statement.sid.clone()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), statements.len());
    assert_eq!(serde_json::from_str::<Value>(&pretty(&statements)).unwrap(), needs.document());
    assert_eq!(serde_json::from_str::<Value>(&pretty(&[])).unwrap()["Statement"], json!([]));
}

#[test]
fn trust_is_that_of_where_the_role_comes_from() {
    let china = Place { partition: "aws-cn".to_owned(), ..Place::default() };
    let principal = |trust: Trust, place: &Place| trust.statement(place).principal.unwrap();
    assert_eq!(principal(Trust::Instance, &place()), json!({ "Service": "ec2.amazonaws.com" }));
    assert_eq!(principal(Trust::Instance, &china), json!({ "Service": "ec2.amazonaws.com.cn" }));
    assert_eq!(principal(Trust::Task, &china), json!({ "Service": "ecs-tasks.amazonaws.com" }));
    let federated = Trust::WebIdentity.statement(&place());
    assert!(federated.condition.is_some() && federated.actions == ["sts:AssumeRoleWithWebIdentity"]);
    let trust = needs().roles[0].trust(&json!("arn:aws:iam::123456789012:role/web"));
    assert_eq!(trust.actions, ["sts:AssumeRole", "sts:TagSession"]);
    assert_eq!(trust.condition.unwrap(), json!({ "StringEquals": { "sts:ExternalId": "null-1${x}" } }));
}

#[test]
fn terraform_gets_balanced_blocks_in_which_no_text_is_an_expression() {
    let text = terraform(&needs(), "web");
    for (open, close) in [('{', '}'), ('[', ']'), ('(', ')')] {
        assert_eq!(text.matches(open).count(), text.matches(close).count(), "{text}");
    }
    assert!(text.contains("AWS = aws_iam_role.imds_agent.arn") && !text.contains('\0'), "{text}");
    assert!(text.contains("\"null-1$${x}\"") && text.contains("\"sts:ExternalId\" ="), "{text}");
    assert!(text.contains("resource \"aws_iam_instance_profile\""), "{text}");
    let task = Needs { trust: Trust::Task, ..only_logs() };
    assert!(!terraform(&task, "web").contains("instance_profile"));
}

#[test]
fn cloudformation_refers_to_the_role_and_to_nothing_that_a_text_names() {
    let text = cloudformation(&needs(), "web");
    assert!(text.contains("RoleName: \"web\"") && text.contains("Type: AWS::IAM::InstanceProfile"), "{text}");
    assert!(text.contains("${Role.Arn}") && text.contains("null-1${!x}"), "{text}");
    assert!(text.contains("  TrustOfRole2:\n"), "{text}");
    assert!(!cloudformation(&only_logs(), "web").contains("Outputs"));
}

/// The policy that people attach today (AWS Managed Policy Reference).
const AGENT_SERVER: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Sid":"CWACloudWatchServerPermissions","Effect":"Allow","Action":["cloudwatch:PutMetricData","ec2:DescribeVolumes",
     "ec2:DescribeTags","logs:PutLogEvents","logs:PutRetentionPolicy","logs:DescribeLogStreams",
     "logs:DescribeLogGroups","logs:CreateLogStream","logs:CreateLogGroup","xray:PutTraceSegments"],"Resource":"*"},
    {"Sid":"CWASSMServerPermissions","Effect":"Allow","Action":["ssm:GetParameter"],
     "Resource":"arn:aws:ssm:*:*:parameter/AmazonCloudWatch-*"}]}"#;

fn compared(needs: &Needs, policy: &str) -> Comparison {
    compare(needs, &Document::parse(policy).unwrap())
}

#[test]
fn the_policy_of_amazon_s_agent_lacks_nothing_and_grants_much_beyond() {
    let comparison = compared(&only_logs(), AGENT_SERVER);
    assert_eq!(comparison.lacking, Vec::new());
    let beyond =
        |action: &str| comparison.beyond.iter().find(|beyond| beyond.action == action).map(|found| &found.reason);
    assert_eq!(beyond("xray:PutTraceSegments").map(String::as_str), Some("it is not needed"));
    assert!(beyond("logs:PutLogEvents").is_some_and(|reason| reason.starts_with("it is allowed on *, and needed on")));
    assert_eq!(comparison.beyond.len(), 11);
}

#[test]
fn the_policy_that_is_printed_lacks_nothing_and_grants_nothing_beyond() {
    assert_eq!(compared(&needs(), &pretty(&needs().statements())), Comparison::default());
}

#[test]
fn what_is_lacking_is_told_from_what_is_denied() {
    let statement =
        |effect: &str, action: &str, resource: &str| format!("{{\"Effect\":\"{effect}\",{action},{resource}}}");
    let all = statement("Allow", "\"Action\":\"*\"", "\"Resource\":\"*\"");
    let lacks = |more: &[String]| {
        let policy = format!("{{\"Statement\":[{}]}}", more.join(","));
        compared(&only_logs(), &policy).lacking
    };
    assert_eq!(lacks(std::slice::from_ref(&all)), []);
    for (deny, count) in [
        (statement("Deny", "\"Action\":\"logs:Put*\"", "\"Resource\":\"*\""), 1),
        (statement("Deny", "\"Action\":\"LOGS:PUTLOGEVENTS\"", "\"Resource\":\"*:log-group:/aws/*\""), 1),
        (statement("Deny", "\"NotAction\":\"logs:PutLogEvents\"", "\"Resource\":\"*\""), 2),
        (statement("Deny", "\"NotAction\":\"logs:*\"", "\"Resource\":\"*\""), 0),
        (statement("Deny", "\"Action\":\"*\"", "\"NotResource\":\"arn:aws:logs:*\""), 0),
        (statement("Deny", "\"Action\":\"*\"", "\"NotResource\":\"arn:aws:logs:us-east-1:*\""), 3),
        (statement("Deny", "\"Action\":\"s3:*\"", "\"Resource\":\"*\""), 0),
    ] {
        let lacking = lacks(&[all.clone(), deny.clone()]);
        assert_eq!(lacking.len(), count, "{deny}");
        assert!(lacking.iter().all(|one| one.denied_by.as_deref() == Some("statement 2")));
    }
    for (allow, count) in [
        (statement("Allow", "\"NotAction\":\"iam:*\"", "\"Resource\":\"*\""), 0),
        (statement("Allow", "\"NotAction\":\"logs:P*\"", "\"Resource\":\"*\""), 1),
        (statement("Allow", "\"Action\":\"logs:*\"", "\"Resource\":\"arn:aws:logs:*:*:log-group:/aws/ec2/app:*\""), 0),
        (statement("Allow", "\"Action\":\"logs:*\"", "\"Resource\":\"arn:aws:logs:*:*:log-group:/aws/ec2/app\""), 3),
        (statement("Allow", "\"Action\":\"logs:*\"", "\"Resource\":\"arn:aws:logs:us-east-1:*\""), 3),
        (statement("Allow", "\"Action\":\"logs:Create*\"", "\"NotResource\":\"arn:aws:s3:::*\""), 1),
    ] {
        let lacking = lacks(std::slice::from_ref(&allow));
        assert_eq!(lacking.len(), count, "{allow}");
        assert!(lacking.iter().all(|one| one.denied_by.is_none()));
    }
}

#[test]
fn the_statements_to_add_make_up_for_all_that_is_lacking() {
    let comparison = compared(&needs(), AGENT_SERVER);
    assert!(comparison.lacking.len() > 3);
    let both = format!(
        "{{\"Statement\":[{{\"Effect\":\"Allow\",\"Action\":[\"logs:*\"],\"Resource\":\"*\"}},{}]}}",
        comparison.statements().iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    );
    assert_eq!(compared(&needs(), &both).lacking, []);
}

#[test]
fn a_condition_is_said_and_not_judged() {
    let policy = r#"{"Statement":[
        {"Sid":"Here","Effect":"Allow","Action":"logs:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"true"}}},
        {"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:SourceVpc":"vpc-1"}}}]}"#;
    let comparison = compared(&only_logs(), policy);
    assert_eq!(comparison.lacking, []);
    assert_eq!(comparison.conditional, ["statement \"Here\"", "statement 2"]);
}

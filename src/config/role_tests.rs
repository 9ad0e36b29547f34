//! `[[role]]` and `[credentials]`: what is read, and what is refused where it stands. Not what becomes of roles.

use std::fmt::Write as _;
use std::time::Duration;

use super::tests::{assert_only_fault, faults, parse};
use crate::caller::Rules;
use crate::credentials::SourceKind;
use crate::template::Template;

/// A role with `more` keys, which begin in line 5.
fn role(more: &str) -> String {
    let arn = "arn:aws:iam::123456789012:role/app";
    format!("[[role]]\nname = \"app\"\nrole_arn = \"{arn}\"\nallow = [{{ user = \"app\" }}]\n{more}\n")
}

#[test]
fn every_key_of_a_role_reaches_its_setting() {
    let config = parse(
        r#"
[variables]
environment = "prod"
[credentials]
source = "web_identity"
allow = [{ group = "admin" }]
[[role]]
name = "app.1_x-y"
role_arn = "arn:aws:iam::123456789012:role/team/app-{environment}-task-role"
duration = "15m"
session_name = "deploy-{instance_id}"
external_id = "tenant/{environment}"
policy = '''
{ "Version": "2012-10-17",
  "Statement": [] }'''
policy_arns = ["arn:aws:iam::aws:policy/ReadOnlyAccess"]
tags = { team = "llm", environment = "{environment}" }
source_identity = "{instance_id}"
region = "eu-central-1"
allow = [{ user = "app" }, { group = "web", unit = "web.service" }]
"#,
    )
    .unwrap();
    assert_eq!(config.credentials.source, SourceKind::WebIdentity);
    assert_eq!(config.credentials.allow.0[0].group.as_deref(), Some("admin"));
    let role = &config.credentials.roles[0];
    assert_eq!((role.name.as_str(), role.duration), ("app.1_x-y", Duration::from_mins(15)));
    assert_eq!(role.role_arn.text(), "arn:aws:iam::123456789012:role/team/app-{environment}-task-role");
    assert_eq!(role.policy.as_deref(), Some(r#"{"Statement":[],"Version":"2012-10-17"}"#));
    assert_eq!(role.tags["environment"].text(), "{environment}");
    assert_eq!(role.external_id.as_ref().map(Template::text), Some("tenant/{environment}"));
    assert_eq!((role.policy_arns.len(), role.region.as_deref(), role.allow.0.len()), (1, Some("eu-central-1"), 2));
}

#[test]
fn a_role_lives_an_hour_and_is_called_after_the_instance_unless_something_else_is_said() {
    let config = parse(&role("")).unwrap();
    let role = &config.credentials.roles[0];
    assert_eq!((role.duration, role.session_name.text()), (Duration::from_hours(1), "{instance_id|imds-agent}"));
    assert_eq!(config.credentials.allow, Rules::default(), "the base credentials are root's");
}

#[test]
fn a_role_without_its_name_its_arn_or_its_callers_is_refused_with_an_example() {
    let faults = faults("[[role]]\n");
    for (key, part) in [("name", "`name`"), ("role_arn", "`role_arn`"), ("allow", "`allow`")] {
        assert!(faults.iter().any(|fault| fault.contains(part)), "{key}: {faults:#?}");
    }
    let text = parse("[[role]]\n").unwrap_err().to_string();
    assert!(text.contains("allow = [{ user = \"app\" }]") && text.contains("nobody has a role by default"), "{text}");
    assert_only_fault(&role("").replace("[{ user = \"app\" }]", "[]"), "1:1", "nobody may have this role");
}

#[test]
fn a_session_longer_than_an_hour_is_refused_with_the_reason() {
    let longer = role("duration = \"2h\"");
    assert_only_fault(&longer, "5:12", "`duration` must be at most 1h, not 2h");
    assert!(parse(&longer).unwrap_err().to_string().contains("chained sessions at one hour"));
    assert_only_fault(&role("duration = \"10m\""), "5:12", "`duration` must be at least 15m");
}

#[test]
fn names_are_unique_and_can_be_part_of_a_path() {
    let twice = role("") + &role("");
    let faults = faults(&twice);
    assert!(faults.len() == 1 && faults[0].contains("\"app\" is the `name` of two roles"), "{faults:#?}");
    let long = "x".repeat(65);
    for name in ["", ".", "..", "../app", ".hidden", "a b", "a/b", "é", &long] {
        assert_only_fault(&role("").replacen("\"app\"", &format!("\"{name}\""), 1), "2:8", "`name` can't be");
    }
}

#[test]
fn an_arn_that_can_be_none_is_refused_before_anybody_is_asked() {
    let with = |arn: &str| role("").replace("arn:aws:iam::123456789012:role/app", arn);
    for (arn, part) in [
        ("app", "arn:aws:iam::123456789012:role/NAME"),
        ("arn:aws:iam::1234:role/app", "twelve digits"),
        ("arn:azure:iam::123456789012:role/app", "no partition"),
        ("arn:aws:iam::123456789012:user/app", "is no role"),
        ("arn:aws:iam::{account_id}:rolle/app", "is no role"),
    ] {
        assert_only_fault(&with(arn), "3:12", part);
    }
    for arn in ["arn:aws-us-gov:iam::{account_id}:role/app", "{tag:Role}", "arn:aws:iam::123456789012:role/{hostname}"]
    {
        assert!(parse(&with(arn)).is_ok(), "{arn}");
    }
    assert_only_fault(&with("arn:aws:iam::123456789012:role/{unit}"), "3:12", "a role has no {unit}");
    assert_only_fault(&with("arn:aws:iam::123456789012:role/{enviroment}"), "3:45", "unknown name `enviroment`");
}

#[test]
fn a_variable_that_makes_no_arn_is_refused() {
    let text = role("").replace("role/app", "{kind}/app");
    assert!(parse(&format!("[variables]\nkind = \"role\"\n{text}")).is_ok());
    assert_only_fault(&format!("[variables]\nkind = \"user\"\n{text}"), "5:12", "is no role");
}

#[test]
fn what_names_a_session_is_held_to_the_limits_of_sts() {
    let (long, too_long_id) = ("x".repeat(65), "x".repeat(1225));
    for (line, part) in [
        ("session_name = \"a b\"", "can't hold ' '"),
        ("session_name = \"x\"", "2 to 64 characters"),
        (&format!("session_name = \"{long}\""), "2 to 64 characters, not 65"),
        ("source_identity = \"a/b\"", "can't hold '/'"),
        ("external_id = \"x\"", "2 to 1224 characters"),
        (&format!("external_id = \"{too_long_id}\""), "2 to 1224 characters, not 1225"),
        ("external_id = \"a b\"", "can't hold ' '"),
    ] {
        let faults = faults(&role(line));
        assert!(faults.len() == 1 && faults[0].starts_with("5:") && faults[0].contains(part), "{line}: {faults:#?}");
    }
}

#[test]
fn a_policy_is_json_or_a_file_that_holds_it() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("policy.json");
    let line = format!("policy = \"{}\"", file.display());
    assert_only_fault(&role(&line), "5:10", "no such file");
    std::fs::write(&file, "{ \"Statement\": [] }\n").unwrap();
    let config = parse(&role(&line)).unwrap();
    assert_eq!(config.credentials.roles[0].policy.as_deref(), Some(r#"{"Statement":[]}"#));
    std::fs::write(&file, "{ \"Statement\": [ }").unwrap();
    assert_only_fault(&role(&line), "5:10", "is not JSON: expected value at line 1");
    for (value, part) in [
        ("policy.json".to_owned(), "neither JSON nor the absolute path"),
        ("{}".to_owned(), "has no \"Statement\""),
        (format!("{{\"Statement\": [], \"Id\": \"{}\"}}", "x".repeat(2048)), "at most 2048 characters"),
    ] {
        assert_only_fault(&role(&format!("policy = '{value}'")), "5:10", part);
    }
}

#[test]
fn a_policys_indentation_does_not_count_but_the_managed_ones_do() {
    let policy = format!("{{\"Statement\": [],{}\"Id\": \"{}\"}}", " ".repeat(3000), "x".repeat(1990));
    let policy = format!("policy = '{policy}'\n");
    assert!(parse(&role(&policy)).is_ok());
    let arns = "policy_arns = [\"arn:aws:iam::aws:policy/ReadOnlyAccess\"]";
    assert_only_fault(&role(&(policy + arns)), "6:15", "at most 2048 characters together");
}

#[test]
fn managed_policies_and_tags_are_held_to_their_limits() {
    let arns: Vec<String> = (0..11).map(|n| format!("\"arn:aws:iam::aws:policy/p{n}\"")).collect();
    assert_only_fault(&role(&format!("policy_arns = [{}]", arns.join(", "))), "5:15", "at most 10 policies, not 11");
    assert_only_fault(&role("policy_arns = [\"ReadOnlyAccess\"]"), "5:16", "policy/NAME");
    let many = (0..51).fold(String::new(), |mut tags, n| {
        let _ = write!(tags, "k{n:02} = \"v\", ");
        tags
    });
    let faults_of_many = faults(&role(&format!("tags = {{ {} }}", many.trim_end_matches(", "))));
    assert!(faults_of_many[0].contains("50 tags at most"), "{faults_of_many:#?}");
    for (tags, part) in [
        ("\"aws:x\" = \"v\"", "AWS's own"),
        ("\"a*b\" = \"v\"", "can't hold '*'"),
        ("Team = \"a\", team = \"b\"", "another case"),
        ("team = \"a;b\"", "can't hold ';'"),
        (&format!("team = \"{}\"", "x".repeat(257)), "0 to 256 characters"),
    ] {
        let faults = faults(&role(&format!("tags = {{ {tags} }}")));
        assert!(faults.len() == 1 && faults[0].contains(part), "{tags}: {faults:#?}");
    }
}

#[test]
fn what_is_in_effect_parses_back_to_the_same() {
    let home = tempfile::tempdir().unwrap();
    let main = home.path().join("config.toml");
    let text = role("tags = { team = \"x\" }\npolicy = '{\"Statement\": []}'\nexternal_id = \"tenant\"");
    std::fs::write(&main, &text).unwrap();
    let shown = super::effective(Some(&main)).unwrap();
    assert_eq!(parse(&shown.to_toml()).unwrap(), parse(&text).unwrap());
    assert_eq!(shown.to_json()["role"][0]["tags"]["team"], "x");
}

#[test]
fn a_policys_file_is_kept_with_the_configuration_that_names_it() {
    let home = tempfile::tempdir().unwrap();
    let (main, file, state) = (home.path().join("config.toml"), home.path().join("p.json"), home.path().join("state"));
    std::fs::create_dir(&state).unwrap();
    std::fs::write(&file, "{\"Statement\": []}").unwrap();
    std::fs::write(&main, role(&format!("policy = \"{}\"", file.display()))).unwrap();
    let loaded = super::load(Some(&main)).unwrap();
    super::last_good::keep(&state, Some(&main), &loaded, jiff::Timestamp::now()).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(super::load(Some(&main)).is_err());
    assert_eq!(super::last_good::recall(&state, Some(&main)).unwrap().0.config, loaded.config);
}

//! What the documents of IMDS mean. Pure: bytes go in, values or problems come out. Bodies are never quoted in a
//! problem, since they may hold secrets. Not the requests.

use aws_credential_types::Credentials;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::Problem;
use crate::clock;

/// The path under which roles are listed.
pub(super) const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// The path of the instance profile.
pub(super) const IAM_INFO: &str = "/latest/meta-data/iam/info";

/// The path of the identity document.
pub(super) const IDENTITY: &str = "/latest/dynamic/instance-identity/document";

/// What `Code` says when all is well. A document without `Code` counts as a success too.
const SUCCESS: &str = "Success";

/// The longest role name IAM allows.
const LONGEST_ROLE_NAME: usize = 64;

/// `dynamic/instance-identity/document`. A field that is empty is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub struct IdentityDocument {
    /// `i-…`
    pub instance_id: String,
    /// `eu-west-1`
    pub region: String,
    /// Twelve digits.
    pub account_id: String,
    /// `eu-west-1a`
    pub availability_zone: String,
    /// `t3.micro`
    pub instance_type: String,
    /// `ami-…`
    pub image_id: String,
    /// The primary private IPv4 address.
    pub private_ip: Option<String>,
}

/// `iam/info`: which instance profile is attached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IamInfo {
    /// `Success`, or the code of what is wrong with the profile.
    pub code: Option<String>,
    /// What is wrong, in words.
    pub message: Option<String>,
    /// The profile's ARN, whose fifth field is the account's id.
    pub instance_profile_arn: Option<String>,
}

impl IamInfo {
    /// The account that the profile belongs to, which is the instance's.
    pub(super) fn account_id(&self) -> Option<&str> {
        let account = self.instance_profile_arn.as_deref()?.split(':').nth(4)?;
        Some(account).filter(|account| account.bytes().all(|byte| byte.is_ascii_digit()))
    }
}

/// A role's credentials, exactly as issued.
#[derive(Clone, Debug)]
pub struct RoleCredentials {
    /// The keys; their secret parts are never printed, and wiped when dropped.
    pub credentials: Credentials,
    /// When they expire.
    pub expiration: Timestamp,
}

/// `iam/security-credentials/ROLE`, as it is on the wire.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RoleDocument {
    code: Option<String>,
    message: Option<String>,
    access_key_id: Option<Zeroizing<String>>,
    secret_access_key: Option<Zeroizing<String>>,
    token: Option<Zeroizing<String>>,
    expiration: Option<String>,
}

/// Parses the identity document.
pub(super) fn identity(body: &[u8]) -> Result<IdentityDocument, Problem> {
    json(IDENTITY, body)
}

/// Parses `iam/info`.
pub(super) fn iam_info(body: &[u8]) -> Result<IamInfo, Problem> {
    json(IAM_INFO, body)
}

/// Parses the list of roles: the first line, or `None` where there is no role.
pub(super) fn role_name(body: &[u8]) -> Result<Option<String>, Problem> {
    let text = text(ROLES, body)?;
    let Some(name) = text.lines().map(str::trim).find(|line| !line.is_empty()) else {
        return Ok(None);
    };
    // IAM's alphabet for role names; anything else must not become part of a path.
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    if name.len() > LONGEST_ROLE_NAME || !name.chars().all(allowed) {
        return Err(bad(ROLES, "this is not the name of a role"));
    }
    Ok(Some(name.to_owned()))
}

/// Whether `Code` says that all is well. Look-alikes write it as they like; AWS's SDKs don't mind.
pub(super) fn is_success(code: &str) -> bool {
    code.eq_ignore_ascii_case(SUCCESS)
}

/// Parses the credentials of `role`.
pub(super) fn role_credentials(role: &str, body: &[u8]) -> Result<RoleCredentials, Problem> {
    let path = format!("{ROLES}{role}");
    let document: RoleDocument = json(&path, body)?;
    if let Some(code) = document.code.filter(|code| !is_success(code)) {
        let message = document.message.unwrap_or_default();
        return Err(Problem::RoleFailure { role: Some(role.to_owned()), code, message });
    }
    let given = |name: &str, value: Option<Zeroizing<String>>| {
        value.filter(|value| !value.is_empty()).ok_or_else(|| bad(&path, &format!("{name} is missing")))
    };
    let mut key = given("AccessKeyId", document.access_key_id)?;
    let mut secret = given("SecretAccessKey", document.secret_access_key)?;
    let mut token = given("Token", document.token)?;
    let expiration: Timestamp = document
        .expiration
        .as_deref()
        .and_then(clock::expiration)
        .ok_or_else(|| bad(&path, "Expiration is missing or not a time"))?;
    // Moved, not copied: the SDK wipes its own strings, and what is left here is empty.
    let credentials = Credentials::new(
        std::mem::take(&mut *key),
        std::mem::take(&mut *secret),
        Some(std::mem::take(&mut *token)),
        Some(expiration.into()),
        "instance role",
    );
    Ok(RoleCredentials { credentials, expiration })
}

/// Parses a value of one word, such as an id or an address. What it becomes part of must not be named after a page.
pub(super) fn value(path: &str, body: &[u8]) -> Result<String, Problem> {
    let text = text(path, body)?;
    let value = text.trim();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if value.is_empty() || !value.chars().all(allowed) {
        return Err(bad(path, "it is not one word"));
    }
    Ok(value.to_owned())
}

/// The region of an availability zone: its name without the letter at its end. A local zone's name has more in between
/// (`us-west-2-lax-1a`), and a look-alike's may be anything (`nova`): those don't tell.
pub(super) fn region_of(zone: &str) -> Option<&str> {
    let region = zone.strip_suffix(|c: char| c.is_ascii_lowercase())?;
    let number = &region[region.find(|c: char| c.is_ascii_digit())?..];
    number.bytes().all(|byte| byte.is_ascii_digit()).then_some(region)
}

/// Parses a plain text.
pub(super) fn text(path: &str, body: &[u8]) -> Result<String, Problem> {
    std::str::from_utf8(body).map(str::to_owned).map_err(|_| bad(path, "it is not UTF-8"))
}

fn json<'a, T: Deserialize<'a>>(path: &str, body: &'a [u8]) -> Result<T, Problem> {
    // serde_json's own message may quote a value.
    serde_json::from_slice(body).map_err(|error| {
        bad(path, &format!("it is not the JSON that belongs there (line {}, column {})", error.line(), error.column()))
    })
}

fn bad(path: &str, reason: &str) -> Problem {
    Problem::BadDocument { path: path.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"Code":"Success","LastUpdated":"2026-11-22T06:00:00Z","Type":"AWS-HMAC",
        "AccessKeyId":"ASIAEXAMPLE","SecretAccessKey":"wJalr\/secret","Token":"IQoJ-token",
        "Expiration":"2026-11-22T12:00:00Z"}"#;

    #[test]
    fn credentials_are_taken_as_they_were_issued() {
        let RoleCredentials { credentials, expiration } = role_credentials("web", GOOD.as_bytes()).unwrap();
        assert_eq!(credentials.access_key_id(), "ASIAEXAMPLE");
        assert_eq!(credentials.secret_access_key(), "wJalr/secret");
        assert_eq!(credentials.session_token(), Some("IQoJ-token"));
        assert_eq!(expiration, "2026-11-22T12:00:00Z".parse().unwrap());
        assert_eq!(credentials.expiry(), Some(expiration.into()));
        let printed = format!("{credentials:?}");
        assert!(!printed.contains("wJalr") && !printed.contains("IQoJ"), "{printed}");
    }

    #[test]
    fn credentials_that_never_expire_are_taken() {
        let body = GOOD.replace("2026-11-22T12:00:00Z", "9999-12-31T23:59:59Z");
        let expiration = role_credentials("web", body.as_bytes()).unwrap().expiration;
        assert_eq!(expiration, "9999-12-30T22:00:00Z".parse().unwrap());
    }

    #[test]
    fn a_document_without_a_code_counts_as_a_success() {
        let body = GOOD.replace("\"Code\":\"Success\",", "");
        assert!(!body.contains("Code"));
        assert!(role_credentials("web", body.as_bytes()).is_ok());
    }

    #[test]
    fn success_is_success_in_whatever_letters() {
        assert!(role_credentials("web", GOOD.replace("\"Success\"", "\"SUCCESS\"").as_bytes()).is_ok());
    }

    #[test]
    fn a_code_that_is_not_success_is_a_failure_with_its_meaning() {
        let body = br#"{"Code":"AssumeRoleUnauthorizedAccess","Message":"EC2 cannot assume the role web."}"#;
        let problem = role_credentials("web", body).unwrap_err();
        let text = problem.to_string();
        assert!(text.contains("role web") && text.contains("EC2 cannot assume the role web."), "{text}");
        assert!(matches!(problem, Problem::RoleFailure { code, .. } if code == "AssumeRoleUnauthorizedAccess"));
    }

    #[test]
    fn no_problem_ever_quotes_the_body() {
        for body in [
            GOOD.replace("\"IQoJ-token\"", "\"\""),
            GOOD.replace("2026-11-22T12:00:00Z", "wJalr-secret"),
            GOOD.replace('}', ""),
            "\"wJalr-secret\"".to_owned(),
        ] {
            let text = format!("{:?}", role_credentials("web", body.as_bytes()).unwrap_err());
            assert!(!text.contains("wJalr") && !text.contains("IQoJ"), "{text}");
        }
    }

    #[test]
    fn a_role_name_can_not_become_another_path() {
        assert_eq!(role_name(b"web-role_1\n").unwrap().as_deref(), Some("web-role_1"));
        assert_eq!(role_name(b" \n").unwrap(), None);
        for bad in ["../../identity-credentials/ec2", "<html>", "a b", &"x".repeat(65)] {
            assert!(role_name(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_identity_document_needs_its_fields() {
        let body = br#"{"accountId":"123456789012","architecture":"x86_64","availabilityZone":"eu-west-1a",
            "imageId":"ami-1","instanceId":"i-1","instanceType":"t3.micro","privateIp":"10.0.0.5",
            "region":"eu-west-1","ramdiskId":null,"version":"2017-09-30"}"#;
        let document = identity(body).unwrap();
        assert_eq!((document.instance_id.as_str(), document.private_ip.as_deref()), ("i-1", Some("10.0.0.5")));
        assert!(identity(b"{}").is_err());
        assert!(identity(b"<html></html>").is_err());
    }

    #[test]
    fn a_value_is_one_word() {
        assert_eq!(value(IDENTITY, b" i-0abc\n").unwrap(), "i-0abc");
        for bad in ["", "\n", "<html>", "a b", "a/b", "a\nb"] {
            assert!(value(IDENTITY, bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_a_plain_zones_name_tells_the_region() {
        assert_eq!(region_of("eu-west-1a"), Some("eu-west-1"));
        assert_eq!(region_of("us-gov-east-1c"), Some("us-gov-east-1"));
        for zone in ["", "a", "nova", "us-west-2-lax-1a", "us-east-1-wl1-bos-wlz-1", "eu-west-1"] {
            assert_eq!(region_of(zone), None, "{zone}");
        }
    }

    #[test]
    fn the_profiles_arn_tells_the_account() {
        let account = |arn: &str| {
            let info = IamInfo { instance_profile_arn: Some(arn.to_owned()), ..IamInfo::default() };
            info.account_id().map(str::to_owned)
        };
        let arn = "arn:aws-cn:iam::123456789012:instance-profile/team/web";
        assert_eq!(account(arn).as_deref(), Some("123456789012"));
        assert_eq!(account("arn:aws:iam"), None);
        assert_eq!(account("arn:aws:iam::me:instance-profile/web"), None);
        assert_eq!(IamInfo::default().account_id(), None);
    }

    #[test]
    fn nothing_hostile_makes_a_document_panic() {
        let samples: [&[u8]; 6] = [
            br#"{"Code":"Success","LastUpdated":"2026-11-22T08:00:00Z","Type":"AWS-HMAC","AccessKeyId":"AKIAEXAMPLE","SecretAccessKey":"s","Token":"t","Expiration":"2026-11-22T14:00:00Z"}"#,
            br#"{"Code":"InstanceProfileNotFound","Message":"gone","LastUpdated":"2026-11-22T08:00:00Z"}"#,
            br#"{"accountId":"123456789012","region":"eu-west-1","availabilityZone":"eu-west-1a","instanceId":"i-0123456789abcdef0","instanceType":"t3.micro","imageId":"ami-1","privateIp":"10.0.0.1"}"#,
            br#"{"Code":"Success","InstanceProfileArn":"arn:aws:iam::123456789012:instance-profile/p","InstanceProfileId":"AIPA"}"#,
            b"my-role\n",
            b"eu-west-1a",
        ];
        crate::fuzz::hostile(&samples, |body| {
            let _ = (identity(body).is_ok(), role_name(body).is_ok(), role_credentials("r", body).is_ok());
            let _ = (iam_info(body).map(|info| info.account_id().map(str::len)), text("p", body).is_ok());
            let _ = value("p", body).map(|zone| region_of(&zone).map(str::len));
        });
    }
}

//! The fixed answers of the sink: enough of IMDS and STS for an agent to have an identity. Not the counting.

use std::time::{Duration, SystemTime};

/// As long as real ones live.
const CREDENTIALS_LIFETIME: Duration = Duration::from_hours(6);

/// The metadata service's answer to a path, or `None` for its 404.
pub(super) fn metadata(path: &str) -> Option<String> {
    Some(match path {
        "/latest/api/token" => "a-token".to_owned(),
        "/latest/meta-data/iam/security-credentials/" => "figures".to_owned(),
        "/latest/meta-data/iam/security-credentials/figures" => credentials(),
        "/latest/meta-data/instance-id" => "i-0f00000000000f001".to_owned(),
        "/latest/meta-data/placement/region" => "eu-west-1".to_owned(),
        "/latest/dynamic/instance-identity/document" => {
            r#"{"accountId":"123456789012","architecture":"x86_64","availabilityZone":"eu-west-1a","imageId":"ami-0f00000000000f001",
               "instanceId":"i-0f00000000000f001","instanceType":"t3.micro","pendingTime":"2026-11-22T00:00:00Z",
               "privateIp":"10.0.0.17","region":"eu-west-1","version":"2017-09-30"}"#
                .to_owned()
        }
        _ => return None,
    })
}

fn second(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).expect("now is a time").strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn credentials() -> String {
    let now = SystemTime::now();
    format!(
        r#"{{"Code":"Success","LastUpdated":"{}","Type":"AWS-HMAC","AccessKeyId":"ASIAFIGURES000000001",
            "SecretAccessKey":"a-secret-that-nobody-checks","Token":"a-session-token","Expiration":"{}"}}"#,
        second(now),
        second(now + CREDENTIALS_LIFETIME)
    )
}

/// STS's answer to `GetCallerIdentity`.
pub(super) const CALLER_IDENTITY: &str = "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
    <GetCallerIdentityResult><Arn>arn:aws:sts::123456789012:assumed-role/figures/i-0f00000000000f001</Arn>\
    <UserId>AROAFIGURES:i-0f00000000000f001</UserId><Account>123456789012</Account></GetCallerIdentityResult>\
    <ResponseMetadata><RequestId>00000000-0000-0000-0000-000000000000</RequestId></ResponseMetadata>\
    </GetCallerIdentityResponse>";

/// As long as chained sessions live at most.
const SESSION_LIFETIME: Duration = Duration::from_hours(1);

/// STS's answer to `AssumeRole`; every role's session is the same.
pub(super) fn assumed_role() -> String {
    format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
         <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/app/figures</Arn>\
         <AssumedRoleId>AROAFIGURES:figures</AssumedRoleId></AssumedRoleUser>\
         <Credentials><AccessKeyId>ASIAFIGURES000000002</AccessKeyId>\
         <SecretAccessKey>another-secret-that-nobody-checks</SecretAccessKey><SessionToken>{}</SessionToken>\
         <Expiration>{}</Expiration></Credentials></AssumeRoleResult>\
         <ResponseMetadata><RequestId>00000000-0000-0000-0000-000000000000</RequestId></ResponseMetadata>\
         </AssumeRoleResponse>",
        // As long as STS's own are.
        "x".repeat(700),
        second(SystemTime::now() + SESSION_LIFETIME)
    )
}

//! What the daemon hands out, and how it is written for whom: as `credential_process` wants it, for a shell, for
//! `docker run --env-file`, as JSON. Not whom it is handed to.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt::Write as _;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Who is to read it.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// What `credential_process` in AWS's configuration files wants
    Process,
    /// Lines for a shell: eval "$(imds-agent credentials --format env)"
    Env,
    /// The daemon's own answer, with the role and the region
    Json,
    /// Lines for docker run --env-file
    DockerEnv,
}

/// Credentials, by the names of the container protocol, and what the daemon adds on its own socket. There is no way to
/// print it by accident.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::cli) struct HandedOut {
    pub(in crate::cli) access_key_id: String,
    pub(in crate::cli) secret_access_key: String,
    /// Absent from a user's keys, which are for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) expiration: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) region: Option<String>,
    /// Where the same is on the container door.
    #[serde(skip_serializing)]
    pub(in crate::cli) endpoint: Option<String>,
    /// Where the token for that is.
    #[serde(skip_serializing)]
    pub(in crate::cli) token_file: Option<String>,
}

/// The names of the region; the first counts where both are read.
pub(in crate::cli) const REGION_VARIABLES: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

/// The variables that AWS's tools read, and their values: those without are to be unset.
pub(in crate::cli) type Variables<'h> = Vec<(&'static str, Option<&'h str>)>;

impl HandedOut {
    /// # Errors
    /// When it is not what the daemon hands out, in words.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        // serde's own words may quote what was found.
        let handed: Self = serde_json::from_str(text).map_err(|error| format!("no credentials in it ({error:.60})"))?;
        let texts = handed.variables(handed.region.as_deref());
        match texts.iter().find(|(_, value)| value.is_some_and(|value| value.chars().any(char::is_control))) {
            Some((name, _)) => Err(format!("a control character for {name}")),
            None => Ok(handed),
        }
    }

    /// The credentials themselves, as variables.
    pub(in crate::cli) fn variables<'h>(&'h self, region: Option<&'h str>) -> Variables<'h> {
        let mut variables: Variables<'h> = vec![
            ("AWS_ACCESS_KEY_ID", Some(&self.access_key_id)),
            ("AWS_SECRET_ACCESS_KEY", Some(&self.secret_access_key)),
            ("AWS_SESSION_TOKEN", self.token.as_deref()),
            // boto3 and the CLI fail by it in time, with a reason, instead of being refused.
            ("AWS_CREDENTIAL_EXPIRATION", self.expiration.as_deref()),
        ];
        // boto3 and the CLI read the second one only.
        variables.extend(region.iter().flat_map(|&region| REGION_VARIABLES.map(|name| (name, Some(region)))));
        variables
    }

    pub(super) fn written(&self, format: Format, region: Option<&str>) -> String {
        match format {
            Format::Process => self.for_credential_process(),
            Format::Env => for_shell(&self.variables(region)),
            Format::DockerEnv => for_docker(&self.variables(region)),
            // Plain text: serialising it to memory can't fail.
            Format::Json => serde_json::to_string_pretty(self).unwrap_or_default() + "\n",
        }
    }

    fn for_credential_process(&self) -> String {
        let texts = [
            ("AccessKeyId", Some(&self.access_key_id)),
            ("SecretAccessKey", Some(&self.secret_access_key)),
            ("SessionToken", self.token.as_ref()),
            ("Expiration", self.expiration.as_ref()),
            ("AccountId", self.account_id.as_ref()),
        ];
        let mut document = Map::from_iter([("Version".to_owned(), Value::from(1))]);
        for (name, text) in texts {
            document.extend(text.map(|text| (name.to_owned(), Value::from(text.as_str()))));
        }
        format!("{:#}\n", Value::Object(document))
    }
}

/// The region for whoever gets the credentials: the caller's own choice, else the daemon's.
pub(in crate::cli) fn region(
    variable: impl Fn(&str) -> Option<OsString>,
    handed: Option<&str>,
) -> Option<Cow<'_, str>> {
    let chosen = |name| variable(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty());
    REGION_VARIABLES.into_iter().find_map(chosen).map(Cow::Owned).or(handed.map(Cow::Borrowed))
}

fn for_shell(variables: &Variables<'_>) -> String {
    let mut text = String::new();
    for (name, value) in variables {
        let _ = match value {
            Some(value) => writeln!(text, "export {name}='{}'", value.replace('\'', r"'\''")),
            // Left over from others, it would make these invalid.
            None => writeln!(text, "unset {name}"),
        };
    }
    text
}

/// Docker takes all that stands behind the equals sign, quotes included.
fn for_docker(variables: &Variables<'_>) -> String {
    let given = variables.iter().filter_map(|(name, value)| value.map(|value| format!("{name}={value}\n")));
    given.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handed(more: &str) -> HandedOut {
        let text = format!(
            "{{\"AccessKeyId\":\"ASIA1\",\"SecretAccessKey\":\"s/e+c\",\"RoleArn\":\"arn:aws:iam::1:role/app\",\
             \"Region\":\"eu-west-1\",\"Endpoint\":\"http://127.0.0.1:1339/role/app\",\"TokenFile\":\"/run/t\"{more}}}"
        );
        HandedOut::parse(&text).unwrap_or_else(|reason| panic!("{reason}"))
    }

    const SESSION: &str = r#","Token":"t'o$k","Expiration":"2026-11-22T12:00:00Z","AccountId":"123456789012""#;

    #[test]
    fn credential_process_gets_exactly_its_keys() {
        let document: Value = serde_json::from_str(&handed(SESSION).written(Format::Process, None)).unwrap();
        let expected = serde_json::json!({
            "Version": 1, "AccessKeyId": "ASIA1", "SecretAccessKey": "s/e+c", "SessionToken": "t'o$k",
            "Expiration": "2026-11-22T12:00:00Z", "AccountId": "123456789012",
        });
        assert_eq!(document, expected);
        let for_good: Value = serde_json::from_str(&handed("").written(Format::Process, None)).unwrap();
        assert_eq!(for_good.as_object().unwrap().len(), 3, "{for_good}");
    }

    #[test]
    fn a_shell_reads_back_what_was_handed_out_and_forgets_what_was_not() {
        let script = handed(SESSION).written(Format::Env, Some("eu-west-1"));
        let script = format!("AWS_DEFAULT_REGION=old\n{script}printf %s \"$AWS_SESSION_TOKEN,$AWS_DEFAULT_REGION\"");
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "t'o$k,eu-west-1");
        let script = handed("").written(Format::Env, None);
        assert!(script.contains("\nunset AWS_SESSION_TOKEN\n") && !script.contains("REGION"), "{script}");
    }

    #[test]
    fn docker_gets_values_without_quotes_and_no_empty_ones() {
        assert_eq!(
            handed(SESSION).written(Format::DockerEnv, None),
            "AWS_ACCESS_KEY_ID=ASIA1\nAWS_SECRET_ACCESS_KEY=s/e+c\nAWS_SESSION_TOKEN=t'o$k\n\
             AWS_CREDENTIAL_EXPIRATION=2026-11-22T12:00:00Z\n"
        );
    }

    #[test]
    fn json_is_the_container_protocols_with_the_region() {
        let document: Value = serde_json::from_str(&handed(SESSION).written(Format::Json, None)).unwrap();
        assert_eq!((&document["Token"], &document["Region"]), (&"t'o$k".into(), &"eu-west-1".into()));
        assert!(document.get("Endpoint").is_none() && document.get("TokenFile").is_none(), "{document}");
    }

    #[test]
    fn a_value_that_could_become_another_line_is_refused() {
        let text = "{\"AccessKeyId\":\"a\\nLD_PRELOAD=x\",\"SecretAccessKey\":\"s\"}";
        assert!(HandedOut::parse(text).is_err_and(|reason| reason.contains("AWS_ACCESS_KEY_ID")));
        assert!(HandedOut::parse("{\"AccessKeyId\":7}").is_err());
    }

    #[test]
    fn the_callers_own_region_comes_before_the_daemons() {
        let environment = |known: &'static str| move |name: &str| (name == known).then(|| OsString::from("us-east-1"));
        assert_eq!(region(environment("AWS_DEFAULT_REGION"), Some("eu-west-1")).as_deref(), Some("us-east-1"));
        assert_eq!(region(environment("HOME"), Some("eu-west-1")).as_deref(), Some("eu-west-1"));
    }
}

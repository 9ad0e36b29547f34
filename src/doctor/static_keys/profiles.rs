//! Which profiles of AWS's own files have credentials, and in which lines. Pure. Their values are looked at, and go
//! nowhere.

/// A profile with credentials of its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) name: String,
    /// The lines, from 1, of its keys.
    pub(super) lines: Vec<usize>,
    /// Whether they are static keys; otherwise something that gives other credentials than the instance's role.
    pub(super) is_static: bool,
}

/// What static keys are called.
const STATIC: [&str; 3] = ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"];

/// What else comes before the instance's role (SDKs and Tools Reference Guide, "Settings reference").
const OTHER: [&str; 4] = ["credential_process", "sso_account_id", "sso_session", "web_identity_token_file"];

/// The profiles in `text` that have credentials which are not the agent's doing.
pub(super) fn with_credentials(text: &str) -> Vec<Profile> {
    let mut profiles: Vec<Profile> = Vec::new();
    let mut name = None;
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(heading) = line.trim().strip_prefix('[') {
            name = profile_name(heading);
            continue;
        }
        let (Some(name), Some((key, value))) = (&name, line.split_once('=')) else { continue };
        // What is indented belongs to another setting.
        let key = key.trim_end();
        let is_static = STATIC.contains(&key);
        if value.trim().is_empty() || !(is_static || OTHER.contains(&key)) || is_ours(key, value) {
            continue;
        }
        match profiles.iter_mut().find(|profile| profile.name == *name) {
            Some(profile) => {
                profile.lines.push(number);
                profile.is_static |= is_static;
            }
            None => profiles.push(Profile { name: name.clone(), lines: vec![number], is_static }),
        }
    }
    profiles
}

/// `default`, `app` (credentials) and `profile app` (config); other sections hold no credentials.
fn profile_name(heading: &str) -> Option<String> {
    let words: Vec<&str> = heading.split(']').next().unwrap_or_default().split_whitespace().collect();
    match words[..] {
        [name] | ["profile", name] => Some(name.trim_matches(['"', '\'']).to_owned()),
        _ => None,
    }
}

/// A `credential_process` that asks the agent is what we tell people to write.
fn is_ours(key: &str, value: &str) -> bool {
    let program = value.split_whitespace().next().unwrap_or_default();
    key == "credential_process" && program.rsplit('/').next() == Some("imds-agent")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profiles(text: &str) -> Vec<(String, Vec<usize>, bool)> {
        with_credentials(text).into_iter().map(|profile| (profile.name, profile.lines, profile.is_static)).collect()
    }

    #[test]
    fn profiles_with_keys_are_found_with_the_lines_of_the_keys() {
        let text = "[default]\naws_access_key_id = AKIA\nregion = x\naws_secret_access_key=s\n\n[app]\n\
                    aws_access_key_id=AKIA\n[empty]\naws_access_key_id =\n";
        let expected = [("default".to_owned(), vec![2, 4], true), ("app".to_owned(), vec![7], true)];
        assert_eq!(profiles(text), expected);
    }

    #[test]
    fn what_else_comes_before_the_role_is_told_from_keys_and_from_our_own_doing() {
        let text = "[profile sso]\nsso_session = x\n[sso-session x]\nsso_account_id = 1\n[profile ours]\n\
                    credential_process = /usr/bin/imds-agent credentials --role app\n[default]\n\
                    role_arn = r\ncredential_source = Ec2InstanceMetadata\ns3 =\n  credential_process = x\n";
        assert_eq!(profiles(text), [("sso".to_owned(), vec![2], false)]);
    }
}

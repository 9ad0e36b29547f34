//! What AWS's own files have for the default profile: most SDKs look there before they ask a container's address. Not
//! what is in it: that there is something is enough to say so.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The files, by the variable that names another and by their place at home (SDKs and Tools Reference Guide, "Location of
/// the shared config and credentials files").
const FILES: [(&str, &str); 2] =
    [("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"), ("AWS_CONFIG_FILE", ".aws/config")];

/// The keys by which a profile has credentials.
const KEYS: [&str; 7] = [
    "aws_access_key_id",
    "credential_process",
    "credential_source",
    "role_arn",
    "sso_account_id",
    "sso_session",
    "web_identity_token_file",
];

/// More than any such file has.
const LONGEST: u64 = 1 << 20;

/// The file, and the key in it, that would come before the role.
pub(super) fn shadow(variable: impl Fn(&str) -> Option<OsString>) -> Option<(PathBuf, &'static str)> {
    let home = variable("HOME").map(PathBuf::from);
    FILES.into_iter().find_map(|(name, at_home)| {
        let path = variable(name).map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(at_home)))?;
        let key = key_of_default(&text(&path))?;
        Some((path, key))
    })
}

/// What can't be read, the command's SDK can't read either.
fn text(path: &Path) -> String {
    let mut text = String::new();
    let _ = File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    text
}

fn key_of_default(text: &str) -> Option<&'static str> {
    let mut is_default = false;
    for line in text.lines() {
        if let Some(heading) = line.trim().strip_prefix('[') {
            let name = heading.split(']').next().unwrap_or_default().trim();
            is_default = name == "default" || name.split_whitespace().eq(["profile", "default"]);
        } else if is_default && let Some((name, _)) = line.split_once('=') {
            // What is indented belongs to another setting.
            let found = KEYS.into_iter().find(|key| name.trim_end() == *key);
            if found.is_some() {
                return found;
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_default_profiles_own_credentials_are_in_the_way() {
        for (text, key) in [
            ("[default]\naws_access_key_id = AKIA\n", Some("aws_access_key_id")),
            ("[profile other]\nrole_arn=x\n[profile default]\nregion = r\nrole_arn=y\n", Some("role_arn")),
            ("[ default ] # mine\ncredential_process=x", Some("credential_process")),
            ("[default]\nregion = eu-west-1\ns3 =\n  role_arn = x\n[profile app]\naws_access_key_id = AKIA\n", None),
            ("aws_access_key_id = AKIA\n", None),
            ("", None),
        ] {
            assert_eq!(key_of_default(text), key, "{text}");
        }
    }

    #[test]
    fn the_files_are_looked_for_where_sdks_look() {
        let home = tempfile::tempdir().unwrap();
        let at_home = |name: &str| (name == "HOME").then(|| home.path().as_os_str().to_owned());
        assert_eq!(shadow(at_home), None);
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        let file = home.path().join(".aws/credentials");
        std::fs::write(&file, "[default]\naws_access_key_id = AKIA\n").unwrap();
        assert_eq!(shadow(at_home), Some((file, "aws_access_key_id")));
        let elsewhere = |name: &str| (name != "AWS_CONFIG_FILE").then(|| OsString::from("/nowhere"));
        assert_eq!(shadow(elsewhere), None);
    }
}

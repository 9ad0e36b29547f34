//! A path of the metadata service, normalised, so that one thing has one name; and what this command does not read, under
//! whatever name. Pure. Not the asking.

use std::fmt;

/// What is asked for when a path does not say: almost everything is there.
const METADATA: &str = "meta-data";

/// The trees of a version.
const TREES: [&str; 3] = [METADATA, "dynamic", "user-data"];

/// The version that is asked where none is named.
const LATEST: &str = "latest";

/// A path below the endpoint: `/latest/meta-data/instance-id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    version: String,
    /// From the tree on; never empty.
    names: Vec<String>,
}

/// Why a path is not asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("`{path}` is not a path of the metadata service: {reason}")]
    NotAPath { path: String, reason: &'static str },
    #[error("this command does not show credentials ({path})")]
    Credentials { path: Path },
    #[error("only root may see the user data: it often holds secrets")]
    UserData,
}

impl Refused {
    /// What to do instead.
    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotAPath { .. } => None,
            Self::Credentials { .. } => {
                Some("a program gets its role by `imds-agent exec` or `imds-agent credentials`")
            }
            Self::UserData => Some("sudo imds-agent metadata user-data"),
        }
    }
}

impl Path {
    /// Reads what a person wrote: with or without `/latest/` and `meta-data/`, slashes and dots in excess.
    ///
    /// # Errors
    /// When it can't be a path.
    pub(super) fn parse(text: &str) -> Result<Self, Refused> {
        let bad = |reason| Refused::NotAPath { path: text.escape_debug().to_string(), reason };
        // They would be taken apart or decoded on the way, and name something else there than here.
        if text.contains(|c: char| c.is_control() || "?#%\\".contains(c)) {
            return Err(bad("`?`, `#`, `%`, `\\` and control characters are in none"));
        }
        let mut names: Vec<String> = Vec::new();
        for name in text.split('/').filter(|name| !name.is_empty() && *name != ".") {
            if name == ".." {
                names.pop().ok_or_else(|| bad("it leads out of the metadata"))?;
            } else {
                names.push(name.to_owned());
            }
        }
        let version = match names.first() {
            Some(first) if is_version(first) => names.remove(0),
            _ => LATEST.to_owned(),
        };
        if names.first().is_none_or(|first| !TREES.contains(&first.as_str())) {
            names.insert(0, METADATA.to_owned());
        }
        Ok(Self { version, names })
    }

    /// Whether this may be read and shown, as `is_root` or not.
    ///
    /// # Errors
    /// When it may not.
    pub(super) fn check(&self, is_root: bool) -> Result<(), Refused> {
        let names: Vec<String> = self.names.iter().map(|name| name.to_ascii_lowercase()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match names.as_slice() {
            // The list of roles is no secret, what is below it is.
            ["meta-data", "iam", "security-credentials" | "security-credentials-extended", _, ..]
            | ["meta-data", "identity-credentials", ..] => Err(Refused::Credentials { path: self.clone() }),
            ["user-data", ..] if !is_root => Err(Refused::UserData),
            _ => Ok(()),
        }
    }

    /// Whether a tree shows it: what may not be read by everybody is left out for everybody.
    pub(super) fn is_shown_in_a_tree(&self) -> bool {
        self.check(false).is_ok()
    }

    /// What is called `name` in this directory.
    pub(super) fn join(&self, name: &str) -> Self {
        let mut below = self.clone();
        below.names.push(name.to_owned());
        below
    }

    /// Whether it has this name at its end.
    pub(super) fn ends_with(&self, name: &str) -> bool {
        self.names.last().is_some_and(|last| last == name)
    }

    /// The same as a directory, whose listing is wanted.
    pub(super) fn as_directory(&self) -> String {
        format!("{self}/")
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/{}", self.version, self.names.join("/"))
    }
}

/// `latest`, `1.0`, `2021-07-15`.
fn is_version(name: &str) -> bool {
    let is_date = name.split('-').map(str::len).eq([4, 2, 2]) && name.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    name == LATEST || name == "1.0" || is_date
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(text: &str) -> String {
        Path::parse(text).unwrap().to_string()
    }

    #[test]
    fn one_thing_has_one_name() {
        for text in [
            "placement/region",
            "/placement//region/",
            "meta-data/placement/region",
            "latest/meta-data/placement/region",
            "/latest/meta-data/./mac/../placement/region",
        ] {
            assert_eq!(normal(text), "/latest/meta-data/placement/region", "{text}");
        }
        assert_eq!(normal(""), "/latest/meta-data");
        assert_eq!(normal("dynamic/instance-identity/document"), "/latest/dynamic/instance-identity/document");
        assert_eq!(normal("2021-07-15/meta-data/mac"), "/2021-07-15/meta-data/mac");
        assert_eq!(normal("tags/instance/My Key"), "/latest/meta-data/tags/instance/My Key");
    }

    #[test]
    fn what_would_be_read_otherwise_there_is_no_path() {
        for text in ["..", "a/../..", "a%2e%2e/b", "a?b", "a#b", "a\\b", "a\nb"] {
            assert!(matches!(Path::parse(text), Err(Refused::NotAPath { .. })), "{text}");
        }
    }

    #[test]
    fn credentials_are_refused_under_every_name() {
        for text in [
            "iam/security-credentials/web",
            "/latest/meta-data/iam//security-credentials/./web",
            "iam/info/../security-credentials/web",
            "2021-07-15/meta-data/iam/security-credentials/web",
            "IAM/Security-Credentials/web",
            "iam/security-credentials-extended/web",
            "identity-credentials/ec2/security-credentials/ec2-instance",
            "identity-credentials",
        ] {
            let refused = Path::parse(text).unwrap().check(true);
            assert!(matches!(refused, Err(Refused::Credentials { .. })), "{text}");
        }
        for text in ["iam/security-credentials/", "iam/info", "instance-id"] {
            assert_eq!(Path::parse(text).unwrap().check(false), Ok(()), "{text}");
        }
    }

    #[test]
    fn user_data_is_for_root_and_in_no_tree() {
        let path = Path::parse("/latest/user-data").unwrap();
        assert_eq!(path.check(false), Err(Refused::UserData));
        assert_eq!(path.check(true), Ok(()));
        assert!(!path.is_shown_in_a_tree());
    }
}

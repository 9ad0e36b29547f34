//! Who called, from the ARN that AWS names: the role behind a session, a user, the root user. Not whether that exists.

/// Who a policy has to be changed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Principal {
    /// A session of a role.
    Role { arn: String, name: String },
    /// A role that IAM Identity Center made from a permission set.
    PermissionSet { name: String },
    /// An IAM user.
    User { arn: String, name: String },
    /// The account's root user, for whom policies of the account do not count.
    Root,
    /// Anything else, as AWS put it.
    Other(String),
}

/// What IAM Identity Center's roles begin with (its User Guide, "Referencing permission sets in resource policies").
const RESERVED: &str = "AWSReservedSSO_";

impl Principal {
    pub(super) fn of(caller: &str) -> Self {
        Self::read(caller).unwrap_or_else(|| Self::Other(caller.to_owned()))
    }

    fn read(caller: &str) -> Option<Self> {
        let mut fields = caller.strip_prefix("arn:")?.splitn(5, ':');
        let (partition, service, _region) = (fields.next()?, fields.next()?, fields.next()?);
        let (account, resource) = (fields.next()?, fields.next()?);
        if service == "iam" && resource == "root" {
            return Some(Self::Root);
        }
        let (kind, rest) = resource.split_once('/')?;
        let name = match kind {
            "assumed-role" => rest.split('/').next()?,
            _ => rest.rsplit('/').next()?,
        };
        let is_plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c));
        let name = Some(name).filter(|_| is_plain)?.to_owned();
        match (service, kind) {
            ("sts", "assumed-role") if name.starts_with(RESERVED) => {
                // AWSReservedSSO_NAME_HASH
                let set = name[RESERVED.len()..].rsplit_once('_').map_or(&name[RESERVED.len()..], |(set, _)| set);
                Some(Self::PermissionSet { name: set.to_owned() })
            }
            // A path that the role may have is not in its session's ARN.
            ("sts", "assumed-role") => {
                Some(Self::Role { arn: format!("arn:{partition}:iam::{account}:role/{name}"), name })
            }
            ("iam", "role") => Some(Self::Role { arn: caller.to_owned(), name }),
            ("iam", "user") => Some(Self::User { arn: caller.to_owned(), name }),
            _ => None,
        }
    }

    /// As a sentence begins with it.
    pub(super) fn who(&self) -> String {
        match self {
            Self::Role { name, .. } => format!("role {name}"),
            Self::PermissionSet { name } => format!("the role of the permission set {name}"),
            Self::User { name, .. } => format!("user {name}"),
            Self::Root => "the account's root user".to_owned(),
            Self::Other(text) => text.clone(),
        }
    }

    /// What a policy would name.
    pub(super) fn arn(&self) -> Option<&str> {
        match self {
            Self::Role { arn, .. } | Self::User { arn, .. } => Some(arn),
            Self::PermissionSet { .. } | Self::Root | Self::Other(_) => None,
        }
    }
}

/// The account in an ARN.
pub(super) fn account(arn: &str) -> Option<&str> {
    let account = arn.strip_prefix("arn:")?.split(':').nth(3)?;
    (account.len() == 12 && account.bytes().all(|digit| digit.is_ascii_digit())).then_some(account)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_known_by_its_role_and_what_is_strange_stays_as_it_is() {
        let role = Principal::of("arn:aws-cn:sts::123456789012:assumed-role/web/i-1");
        assert_eq!((role.arn(), role.who().as_str()), (Some("arn:aws-cn:iam::123456789012:role/web"), "role web"));
        let user = Principal::of("arn:aws:iam::123456789012:user/team/me");
        assert_eq!((user.who().as_str(), user.arn()), ("user me", Some("arn:aws:iam::123456789012:user/team/me")));
        let set =
            Principal::of("arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Power_User_0123456789abcdef/me@x");
        assert_eq!(set, Principal::PermissionSet { name: "Power_User".to_owned() });
        assert_eq!(Principal::of("arn:aws:iam::123456789012:root"), Principal::Root);
        for strange in
            ["anonymous", "", "arn:", "arn:aws:sts::1:assumed-role/$(id)/x", "arn:aws:sts::1:federated-user/x"]
        {
            assert_eq!(Principal::of(strange), Principal::Other(strange.to_owned()));
        }
    }
}

//! Why IMDS did not give what was asked for, told apart by cause, with the command that cures it (FACTS, IMDSv2: what
//! IMDS says). Not the retry table: that is `retry`'s.

use super::State;

/// What IMDS answers in `Code` when the instance profile was deleted, or re-created under the same name.
const PROFILE_NOT_FOUND: &str = "InstanceProfileNotFound";

/// What IMDS answers in `Code` when EC2 may not assume the role.
const ASSUME_ROLE_UNAUTHORIZED: &str = "AssumeRoleUnauthorizedAccess";

/// Why IMDS did not give what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Error {
    problem: Problem,
    instance_id: Option<String>,
}

impl Error {
    /// `problem` on this instance, if it is known which that is.
    pub(super) fn new(problem: Problem, instance_id: Option<String>) -> Self {
        Self { problem, instance_id }
    }

    /// What went wrong.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// What cures it, with this host's own values where they are known, and why that.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let cure = self.cure(None)?;
        Some(match self.problem.why() {
            Some(why) => format!("{why}: {cure}"),
            None => cure,
        })
    }

    /// Why it is so, where the words of the error don't say.
    #[must_use]
    pub fn why(&self) -> Option<&'static str> {
        self.problem.why()
    }

    /// What cures it; `instance_id` is what others than IMDS say of it, where IMDS did not.
    #[must_use]
    pub fn cure(&self, instance_id: Option<&str>) -> Option<String> {
        self.problem.cure(self.instance_id.as_deref().or(instance_id).unwrap_or("INSTANCE_ID"))
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::new(problem, None)
    }
}

/// What went wrong, told apart from its siblings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A setting of the environment or the configuration that can't be used.
    #[error("{name} is {value:?}, but must be {expected}")]
    Setting {
        /// Its name.
        name: String,
        /// What it says.
        value: String,
        /// What it may say.
        expected: String,
    },
    /// `AWS_EC2_METADATA_DISABLED` is true: nothing is sent.
    #[error("the metadata service is not asked, because AWS_EC2_METADATA_DISABLED is true")]
    Disabled,
    /// IMDS refuses tokens with 403: it is switched off in the instance's metadata options.
    #[error("the metadata service at {endpoint} is switched off for this instance (403 for the token)")]
    Off {
        /// Where.
        endpoint: String,
    },
    /// It accepts the connection and never answers. For the token that is the hop limit's signature.
    #[error("the metadata service at {endpoint} accepts the connection but does not answer {asked}")]
    Blocked {
        /// Where.
        endpoint: String,
        /// What was asked for: `the token request`, or a path.
        asked: String,
    },
    /// Nothing listens there, or there is no route.
    #[error("no metadata service at {endpoint}: {reason}")]
    Absent {
        /// Where.
        endpoint: String,
        /// What the connection failed with.
        reason: String,
    },
    /// It asks us to slow down (429).
    #[error("the metadata service at {endpoint} asks us to slow down (429)")]
    Throttled {
        /// Where.
        endpoint: String,
    },
    /// Something else answers there: a proxy, a captive portal, another service.
    #[error("what answers at {endpoint} is not the metadata service: {reason}")]
    NotImds {
        /// Where.
        endpoint: String,
        /// What gave it away.
        reason: String,
    },
    /// The token, or the request for one, was refused.
    #[error("the metadata service at {endpoint} refused {asked} with {status}")]
    TokenRefused {
        /// Where.
        endpoint: String,
        /// `the token request`, or the path that was asked with a token.
        asked: String,
        /// 400, 401, 404 or 405.
        status: u16,
    },
    /// There is nothing at that path (404).
    #[error("the metadata service has nothing at {path} (404)")]
    NotFound {
        /// The path.
        path: String,
    },
    /// A status that is neither an answer nor a known refusal.
    #[error("the metadata service answered {asked} with {status}")]
    BadStatus {
        /// What was asked for.
        asked: String,
        /// The status.
        status: u16,
    },
    /// A 200 whose body is not what belongs there. The body itself is never shown: it may hold secrets.
    #[error("the metadata service's answer for {path} can't be used: {reason}")]
    BadDocument {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The instance has no instance profile.
    #[error("no instance profile is attached to this instance (there is no iam/ in its metadata)")]
    NoInstanceProfile,
    /// The instance's profile holds no role.
    #[error("the instance profile {profile} does not contain a role")]
    EmptyProfile {
        /// The profile's name, or its ARN if that has no name.
        profile: String,
    },
    /// A document that says, with HTTP 200, that IMDS has no credentials.
    #[error("IMDS has no credentials{}: {code}: {message}", for_role(role.as_deref()))]
    RoleFailure {
        /// The role, when it is known.
        role: Option<String>,
        /// `Code`
        code: String,
        /// `Message`
        message: String,
    },
}

fn for_role(role: Option<&str>) -> String {
    role.map(|role| format!(" for role {role}")).unwrap_or_default()
}

impl Problem {
    /// What `status` calls it, or `None` where IMDS works and this is its answer.
    pub(super) fn state(&self) -> Option<State> {
        match self {
            Self::Disabled | Self::Off { .. } => Some(State::Off),
            Self::Blocked { .. } => Some(State::Blocked),
            Self::Absent { .. } => Some(State::Absent),
            Self::Throttled { .. } => Some(State::Throttled),
            Self::NotImds { .. } => Some(State::NotImds),
            Self::Setting { .. } | Self::TokenRefused { .. } | Self::BadStatus { .. } | Self::BadDocument { .. } => {
                Some(State::Failing)
            }
            Self::NotFound { .. } | Self::NoInstanceProfile | Self::EmptyProfile { .. } | Self::RoleFailure { .. } => {
                None
            }
        }
    }

    fn why(&self) -> Option<&'static str> {
        match self {
            Self::Off { .. } => Some("the instance's metadata options say so"),
            Self::Blocked { asked, .. } if asked == TOKEN_REQUEST => Some(
                "inside a container or another network namespace the hop limit is too low; on the host itself a \
                 firewall rule drops what goes to or comes from the metadata address",
            ),
            Self::Blocked { .. } => Some(
                "packets to the metadata address are dropped, by a firewall rule or because the interface's allowance \
                 is used up",
            ),
            Self::Throttled { .. } => Some(
                "something on this instance asks for metadata too often; the agent itself stays under 10 requests a second",
            ),
            Self::TokenRefused { status: 404 | 405, .. } => Some("there is no IMDSv2 at that address"),
            Self::RoleFailure { code, .. } if code == PROFILE_NOT_FOUND => {
                Some("the instance profile was deleted, or re-created under the same name")
            }
            Self::RoleFailure { code, .. } if code == ASSUME_ROLE_UNAUTHORIZED => Some(
                "EC2 may not assume the role: it was deleted and re-created, or its trust policy lacks \
                 ec2.amazonaws.com; the next rotation after the cure brings credentials",
            ),
            _ => None,
        }
    }

    fn cure(&self, instance_id: &str) -> Option<String> {
        let options = format!("aws ec2 modify-instance-metadata-options --instance-id {instance_id}");
        let associate =
            format!("aws ec2 associate-iam-instance-profile --instance-id {instance_id} --iam-instance-profile Name=");
        Some(match self {
            Self::Setting { expected, .. } => format!("set it to {expected}, or unset it"),
            Self::Disabled => {
                "unset AWS_EC2_METADATA_DISABLED for this process (in the unit: UnsetEnvironment=)".to_owned()
            }
            Self::Off { .. } => format!("{options} --http-endpoint enabled --http-tokens required"),
            Self::Blocked { asked, .. } if asked == TOKEN_REQUEST => {
                format!("{options} --http-put-response-hop-limit 2")
            }
            Self::Absent { endpoint, .. } => format!(
                "if this is an EC2 instance, check its route and firewall to {endpoint}; elsewhere set imds.endpoint"
            ),
            Self::Blocked { .. } | Self::Throttled { .. } => {
                "see linklocal_allowance_exceeded in `ethtool -S INTERFACE`".to_owned()
            }
            Self::NotImds { .. } => "check AWS_EC2_METADATA_SERVICE_ENDPOINT and imds.endpoint, and that no proxy or \
                 NAT rule catches the metadata address"
                .to_owned(),
            Self::TokenRefused { status: 404 | 405, .. } => {
                "if the host really has only version 1, set imds.v1_fallback = true".to_owned()
            }
            Self::TokenRefused { .. } | Self::BadStatus { .. } | Self::BadDocument { .. } | Self::NotFound { .. } => {
                return None;
            }
            Self::NoInstanceProfile => format!("{associate}PROFILE"),
            Self::EmptyProfile { profile } => {
                format!("aws iam add-role-to-instance-profile --instance-profile-name {profile} --role-name ROLE")
            }
            Self::RoleFailure { code, .. } if code == PROFILE_NOT_FOUND => format!(
                "aws ec2 disassociate-iam-instance-profile --association-id $(aws ec2 describe-iam-instance-profile-associations \
                 --filters Name=instance-id,Values={instance_id} --query \
                 'IamInstanceProfileAssociations[0].AssociationId' --output text) && {associate}PROFILE"
            ),
            Self::RoleFailure { code, role, .. } if code == ASSUME_ROLE_UNAUTHORIZED => format!(
                "aws iam update-assume-role-policy --role-name {} --policy-document \
                 '{{\"Version\":\"2012-10-17\",\"Statement\":[{{\"Effect\":\"Allow\",\"Principal\":{{\"Service\":\
                 \"ec2.amazonaws.com\"}},\"Action\":\"sts:AssumeRole\"}}]}}'",
                role.as_deref().unwrap_or("ROLE")
            ),
            Self::RoleFailure { .. } => format!(
                "aws ec2 describe-iam-instance-profile-associations --filters \
                 Name=instance-id,Values={instance_id}"
            ),
        })
    }
}

/// What the request for a token is called in messages.
pub(super) const TOKEN_REQUEST: &str = "the token request";

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(problem: Problem) -> String {
        Error::new(problem, Some("i-0abc".to_owned())).hint().unwrap()
    }

    fn role_failure(code: &str) -> Problem {
        Problem::RoleFailure { role: Some("web".to_owned()), code: code.to_owned(), message: "m".to_owned() }
    }

    #[test]
    fn every_row_of_the_cure_table_has_its_command_with_the_instances_own_id() {
        let endpoint = || "http://127.0.0.1".to_owned();
        let blocked = Problem::Blocked { endpoint: endpoint(), asked: TOKEN_REQUEST.to_owned() };
        for (problem, command) in [
            (Problem::NoInstanceProfile, "associate-iam-instance-profile --instance-id i-0abc"),
            (role_failure(PROFILE_NOT_FOUND), "Values=i-0abc"),
            (
                Problem::EmptyProfile { profile: "p".to_owned() },
                "add-role-to-instance-profile --instance-profile-name p",
            ),
            (role_failure(ASSUME_ROLE_UNAUTHORIZED), "update-assume-role-policy --role-name web"),
            (Problem::Off { endpoint: endpoint() }, "--instance-id i-0abc --http-endpoint enabled"),
            (blocked, "--instance-id i-0abc --http-put-response-hop-limit 2"),
        ] {
            let hint = hint(problem);
            assert!(hint.contains(command), "{hint}");
        }
    }

    #[test]
    fn an_unknown_instance_id_is_left_for_the_reader_to_fill_in() {
        let hint = Error::from(Problem::NoInstanceProfile).hint().unwrap();
        assert!(hint.contains("--instance-id INSTANCE_ID"), "{hint}");
    }

    #[test]
    fn an_answer_about_the_role_is_no_fault_of_imds() {
        assert_eq!(role_failure("X").state(), None);
        assert_eq!(Problem::NoInstanceProfile.state(), None);
        assert_eq!(Problem::NotFound { path: "/x".to_owned() }.state(), None);
    }
}

//! Errors of AWS that are no question of a policy, or not only: what each means, and what cures it (the "Common errors" of
//! the services' API references). Not denials, which have their own sentence.

use super::Step;

/// What AWS calls a denial; to a HEAD request S3 can say no more than HTTP does.
const DENIALS: [&str; 12] = [
    "403",
    "AccessDenied",
    "AccessDeniedException",
    "AccessDeniedFault",
    "AuthorizationError",
    "AuthorizationErrorException",
    "Forbidden",
    "NotAuthorized",
    "NotAuthorizedException",
    "UnauthorizedAccess",
    "UnauthorizedException",
    "UnauthorizedOperation",
];

/// An error whose meaning does not depend on its text.
#[derive(Debug)]
pub(super) struct Known {
    /// What AWS calls it; where services do not give it a code, what its text has.
    names: &'static [&'static str],
    pub(super) cause: &'static str,
    cure: &'static str,
    command: Option<&'static str>,
}

impl Known {
    pub(super) fn step(&self) -> Step {
        Step { what: self.cure.to_owned(), statement: None, command: self.command.map(str::to_owned) }
    }
}

/// The narrower before the wider: the first whose name is there counts.
const KNOWN: [Known; 16] = [
    Known {
        names: &["MaxSessionDuration"],
        cause: "the session that is asked for is longer than the role allows",
        cure: "shorten the duration, or let the role's sessions be longer",
        command: Some("aws iam update-role --role-name NAME --max-session-duration 3600"),
    },
    Known {
        names: &["role chaining"],
        cause: "a role that is assumed with another role's credentials has sessions of at most an hour",
        cure: "set `duration` to 1h or less",
        command: None,
    },
    Known {
        names: &["RegionDisabledException"],
        cause: "STS is not switched on for this account in this region",
        cure: "use a region where it is (`region` of the role), or switch it on in the account settings of IAM",
        command: None,
    },
    Known {
        names: &["MalformedPolicyDocument", "PackedPolicyTooLarge"],
        cause: "the session policy or the tags that were sent are not accepted as they are",
        cure: "correct, or shorten, `policy`, `policy_arns` or `tags` in the [[role]] table",
        command: None,
    },
    Known {
        names: &["InvalidIdentityToken", "IDPCommunicationError", "IDPRejectedClaim"],
        cause: "STS does not accept the identity provider's token",
        cure: "the token in AWS_WEB_IDENTITY_TOKEN_FILE must be renewed by whoever writes it, and its issuer and \
               audience must be those of the IAM identity provider that the role trusts",
        command: Some("aws iam list-open-id-connect-providers"),
    },
    Known {
        names: &[
            "ExpiredToken",
            "ExpiredTokenException",
            "InvalidToken",
            "security token included in the request is expired",
            "authorization token has expired",
        ],
        cause: "the credentials that signed the request have expired",
        cure: "get new ones: whoever holds copies of a role's credentials has to fetch them again; through the agent \
               they stay fresh (credential_process, or its endpoints). If they are new, look at the machine's clock",
        command: Some("imds-agent credentials refresh"),
    },
    Known {
        names: &["RequestExpired", "RequestTimeTooSkewed", "Signature expired", "Signature not yet current"],
        cause: "the machine's clock is more than a few minutes off",
        cure: "set the clock, and keep it right by NTP (169.254.169.123 on EC2)",
        command: Some("chronyc makestep"),
    },
    Known {
        names: &["SignatureDoesNotMatch", "InvalidSignatureException"],
        cause: "the signature is not the one that AWS computes: the secret key is not that of the key id, or something \
                between here and AWS changed the request, or the clock is off",
        cure: "look for half-changed keys in the environment and in ~/.aws/credentials, for a proxy that rewrites \
               requests, and at the clock (timedatectl)",
        command: Some("aws configure list"),
    },
    Known {
        names: &[
            "InvalidClientTokenId",
            "UnrecognizedClientException",
            "InvalidAccessKeyId",
            "AuthFailure",
            "security token included in the request is invalid",
            "MissingAuthenticationToken",
            "IncompleteSignature",
        ],
        cause: "AWS does not know the credentials that signed the request: a deleted or mistyped key, a session token \
                left out or from other keys, or a region that is not switched on for the account",
        cure: "see which credentials are used and where they come from (keys in the environment or in \
               ~/.aws/credentials go before a role's), and whether the region is switched on",
        command: Some("aws configure list && aws account list-regions"),
    },
    Known {
        names: &["OptInRequired", "SubscriptionRequiredException", "NotSignedUp"],
        cause: "the account has not signed up for this service, or the region is not switched on for it",
        cure: "the account's administrator switches the region on, or signs up for the service",
        command: Some("aws account enable-region --region-name REGION"),
    },
    Known {
        names: &["Unable to locate credentials", "NoCredentialProviders", "failed to refresh cached credentials"],
        cause: "the SDK found no credentials at all",
        cure: "give the process a role: the agent's endpoint or credential_process, or an instance profile; this finds \
               what is in the way",
        command: Some("imds-agent doctor"),
    },
    Known {
        names: &["no basic auth credentials"],
        cause: "the container tool has not logged in to the ECR registry",
        cure: "log in with the role's credentials; that needs ecr:GetAuthorizationToken on *",
        command: Some(
            "aws ecr get-login-password | docker login --username AWS --password-stdin \
             ACCOUNT.dkr.ecr.REGION.amazonaws.com",
        ),
    },
    Known {
        names: &["Access to KMS is not allowed", "KMSAccessDeniedException", "KMS.AccessDeniedException"],
        cause: "the service may not use the KMS key on the caller's behalf",
        cure: "allow kms:Decrypt (to write: kms:GenerateDataKey too) on that key, in a policy of the caller's role and \
               in the key policy",
        command: None,
    },
    Known {
        names: &["KMS key does not exist or is not allowed to be used", "KMS Key Id could not be found"],
        cause: "CloudWatch Logs may not use the KMS key for this log group, or there is no such key in this region",
        cure: "in the key policy allow kms:Encrypt*, kms:Decrypt*, kms:ReEncrypt*, kms:GenerateDataKey* and \
               kms:Describe* to the service logs.REGION.amazonaws.com, for the log group's ARN (condition on \
               kms:EncryptionContext:aws:logs:arn)",
        command: None,
    },
    Known {
        names: &["RequestLimitExceeded", "ThrottlingException", "TooManyRequestsException", "Rate exceeded"],
        cause: "too many requests in a short time: a quota, not a permission",
        cure: "ask less often, with backoff, or have the quota raised",
        command: Some("aws service-quotas list-service-quotas --service-code SERVICE"),
    },
    Known {
        names: &["Roles may not be assumed by root accounts"],
        cause: "the account's root user can't assume roles",
        cure: "use the credentials of a role or of an IAM user",
        command: None,
    },
];

/// Whether `code` says that a policy is in the way.
#[must_use]
pub fn is_denial(code: &str) -> bool {
    DENIALS.contains(&code)
}

/// What is known of an error by its code, or else by its words.
pub(super) fn known(code: Option<&str>, text: &str) -> Option<&'static Known> {
    let is_code = |known: &&Known| code.is_some_and(|code| known.names.contains(&code));
    let is_said = |known: &&Known| known.names.iter().any(|name| name.contains(' ') && text.contains(name));
    // The text says more than the code: a ValidationError is many things.
    let in_text = |known: &&Known| known.names.contains(&"MaxSessionDuration") && text.contains("MaxSessionDuration");
    KNOWN.iter().find(in_text).or_else(|| KNOWN.iter().find(is_said)).or_else(|| KNOWN.iter().find(is_code))
}

/// The first word of `text` that is a code of AWS's.
pub(super) fn find(text: &str) -> Option<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    // What is everybody's word is no code of AWS's where it stands alone.
    words
        .filter(|word| !["403", "Forbidden"].contains(word))
        .find(|word| is_denial(word) || KNOWN.iter().any(|known| known.names.contains(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_known_by_its_code_or_by_its_words() {
        let cause = |code: Option<&str>, text: &str| known(code, text).map(|known| known.cause).unwrap_or_default();
        assert!(cause(Some("ExpiredTokenException"), "").contains("expired"));
        assert!(cause(Some("ValidationError"), "exceeds the MaxSessionDuration set for this role").contains("longer"));
        assert!(
            cause(Some("ValidationError"), "1 hour session limit for roles assumed by role chaining").contains("hour")
        );
        assert!(cause(Some("InvalidSignatureException"), "Signature expired: 2026 is now earlier").contains("clock"));
        assert!(cause(Some("InvalidSignatureException"), "does not match").contains("secret key"));
        assert!(cause(None, "fatal: Unable to locate credentials").contains("no credentials"));
        assert_eq!(cause(Some("NoSuchBucket"), "The bucket"), "");
    }

    #[test]
    fn a_code_is_found_among_other_words() {
        assert_eq!(find("it said: UnauthorizedOperation: no"), Some("UnauthorizedOperation"));
        assert_eq!(find("MyAccessDeniedHandler ran"), None);
    }
}

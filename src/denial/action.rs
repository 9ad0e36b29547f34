//! What AWS's services call things in policies: a service's prefix, the action behind an operation, and a resource's ARN
//! as a policy names it (Service Authorization Reference). Only what differs from the rule is listed. Not who may what.

/// Prefixes by what SDKs call a service, in lower case without `amazon`, `aws`, and spaces.
const SERVICES: [(&str, &str); 12] = [
    ("cloudwatchlogs", "logs"),
    ("securitytokenservice", "sts"),
    ("simplesystemsmanagement", "ssm"),
    ("simplesystemsmanager", "ssm"),
    ("simplestorageservice", "s3"),
    ("identitymanagement", "iam"),
    ("elasticcontainerregistry", "ecr"),
    ("ecr", "ecr"),
    ("simplequeueservice", "sqs"),
    ("simplenotificationservice", "sns"),
    ("bedrockruntime", "bedrock"),
    ("costexplorer", "ce"),
];

/// Operations by which a service is known, where the SDK does not say it.
const OPERATIONS: [(&str, &str); 26] = [
    ("PutLogEvents", "logs"),
    ("CreateLogGroup", "logs"),
    ("CreateLogStream", "logs"),
    ("DescribeLogGroups", "logs"),
    ("DescribeLogStreams", "logs"),
    ("PutRetentionPolicy", "logs"),
    ("AssumeRole", "sts"),
    ("AssumeRoleWithWebIdentity", "sts"),
    ("GetParameter", "ssm"),
    ("GetParameters", "ssm"),
    ("GetParametersByPath", "ssm"),
    ("PutParameter", "ssm"),
    ("GetSecretValue", "secretsmanager"),
    ("GetAuthorizationToken", "ecr"),
    ("BatchGetImage", "ecr"),
    ("Decrypt", "kms"),
    ("Encrypt", "kms"),
    ("GenerateDataKey", "kms"),
    ("PutMetricData", "cloudwatch"),
    ("RunInstances", "ec2"),
    ("DescribeInstances", "ec2"),
    ("PassRole", "iam"),
    ("ReceiveMessage", "sqs"),
    ("SendMessage", "sqs"),
    ("InvokeModel", "bedrock"),
    ("InvokeModelWithResponseStream", "bedrock"),
];

/// S3's operations whose action has another name, or which no other service has.
const S3: [(&str, &str); 17] = [
    ("GetObject", "GetObject"),
    ("HeadObject", "GetObject"),
    ("PutObject", "PutObject"),
    ("CreateMultipartUpload", "PutObject"),
    ("UploadPart", "PutObject"),
    ("CompleteMultipartUpload", "PutObject"),
    ("CopyObject", "PutObject"),
    ("AbortMultipartUpload", "AbortMultipartUpload"),
    ("DeleteObject", "DeleteObject"),
    ("DeleteObjects", "DeleteObject"),
    ("ListObjects", "ListBucket"),
    ("ListObjectsV2", "ListBucket"),
    ("HeadBucket", "ListBucket"),
    ("ListBuckets", "ListAllMyBuckets"),
    ("CreateBucket", "CreateBucket"),
    ("GetBucketLocation", "GetBucketLocation"),
    ("GetBucketPolicy", "GetBucketPolicy"),
];

/// Actions that can't be limited to a resource.
const ON_ALL: [&str; 12] = [
    "cloudwatch:PutMetricData",
    "ecr:GetAuthorizationToken",
    "kms:CreateKey",
    "kms:ListAliases",
    "kms:ListKeys",
    "s3:ListAllMyBuckets",
    "secretsmanager:ListSecrets",
    "ssm:DescribeParameters",
    "sts:DecodeAuthorizationMessage",
    "sts:GetCallerIdentity",
    "sqs:ListQueues",
    "sns:ListTopics",
];

/// The action that `operation` of `service`, as SDKs call both, needs.
pub(super) fn of_operation(service: Option<&str>, operation: &str) -> Option<String> {
    if operation.is_empty() || !operation.chars().all(|c| c.is_ascii_alphanumeric()) {
        return None;
    }
    let service = service.map(prefix).or_else(|| found(&OPERATIONS, operation).map(str::to_owned));
    let s3 = found(&S3, operation).filter(|_| service.as_deref().is_none_or(|service| service == "s3"));
    match (s3, service) {
        (Some(action), _) => Some(format!("s3:{action}")),
        (None, Some(service)) => Some(format!("{service}:{operation}")),
        (None, None) => None,
    }
}

fn found(list: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    list.iter().find(|(known, _)| *known == name).map(|(_, found)| *found)
}

/// `CloudWatch Logs`, `AmazonCloudWatchLogs`, `AWSLogs` → `logs`.
fn prefix(service: &str) -> String {
    let plain: String = service.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let plain = plain.strip_prefix("amazon").or_else(|| plain.strip_prefix("aws")).unwrap_or(&plain);
    SERVICES.iter().find(|(name, _)| *name == plain).map_or(plain, |(_, prefix)| prefix).to_owned()
}

/// The service's prefix in `action`.
pub(super) fn service(action: &str) -> &str {
    action.split(':').next().unwrap_or_default()
}

/// What stands before a resource's name in the ARNs of a service, by which it can be named alone (Service Authorization
/// Reference, "Resource types").
const KINDS: [(&str, &str); 9] = [
    ("dynamodb", "table/"),
    ("ecr", "repository/"),
    ("kms", "key/"),
    ("lambda", "function:"),
    ("s3", ""),
    ("secretsmanager", "secret:"),
    ("sns", ""),
    ("sqs", ""),
    ("ssm", "parameter/"),
];

/// What follows the account in the ARN of what `service` calls `name`; `None` where a name alone does not say what is
/// meant.
#[must_use]
pub fn in_arn(service: &str, name: &str) -> Option<String> {
    let (_, kind) = KINDS.iter().find(|(known, _)| *known == service)?;
    // The name's own slash is the one behind the kind: `/a/b` → `parameter/a/b`.
    let name = if kind.ends_with('/') { name.trim_start_matches('/') } else { name };
    Some(format!("{kind}{name}"))
}

/// Whether `action` can't be limited to a resource.
pub(super) fn is_on_all(action: &str) -> bool {
    ON_ALL.contains(&action) || action.starts_with("ec2:Describe")
}

/// `resource` as a policy that allows `action` names it; `*` where nothing else would do.
#[must_use]
pub fn in_policy(action: &str, resource: &str) -> String {
    if is_on_all(action) || resource.is_empty() {
        return "*".to_owned();
    }
    let fields: Vec<&str> = resource.splitn(6, ':').collect();
    let ["arn", partition, service, region, account, rest] = fields[..] else {
        return resource.to_owned();
    };
    let stem = format!("arn:{partition}:{service}:{region}:{account}");
    match service {
        "logs" => match rest.strip_prefix("log-group:") {
            // Where groups are listed, the permission is on all of them.
            _ if action == "logs:DescribeLogGroups" => format!("{stem}:log-group:*"),
            // Tags are the group's own (CloudWatch Logs User Guide, "Overview of managing access permissions").
            Some(group) if action.ends_with("TagResource") || action == "logs:ListTagsForResource" => {
                format!("{stem}:log-group:{}", group.split(':').next().unwrap_or_default())
            }
            // Otherwise a policy names a group, and all that is in it, by `:*` behind it.
            Some(group) => format!("{stem}:log-group:{}:*", group.split(':').next().unwrap_or_default()),
            None => resource.to_owned(),
        },
        // What lists or describes names its whole account.
        _ if rest == "*" => "*".to_owned(),
        // A secret's ARN ends with six characters that its name does not have.
        "secretsmanager" if rest.starts_with("secret:") && !has_suffix(rest) => format!("{resource}-??????"),
        _ => resource.to_owned(),
    }
}

/// Whether a secret's ARN has the `-` and six characters at its end.
fn has_suffix(secret: &str) -> bool {
    secret.ends_with('*')
        || secret.rsplit_once('-').is_some_and(|(_, end)| {
            (end.len() == 6 && end.bytes().all(|byte| byte.is_ascii_alphanumeric())) || end == "??????"
        })
}

/// What the policy of a resource is called that `action` is about, where such resources have one.
pub(super) fn policy_of_resource(action: &str) -> Option<&'static str> {
    Some(match service(action) {
        "sts" => "trust policy",
        "kms" => "key policy",
        "s3" => "bucket policy",
        "sqs" => "queue policy",
        "sns" => "topic policy",
        "ecr" => "repository policy",
        "secretsmanager" | "lambda" | "events" | "dynamodb" | "kinesis" | "glue" | "execute-api" | "backup"
        | "elasticfilesystem" | "es" | "logs" => "resource policy",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_known_by_the_names_that_each_sdk_gives_their_service() {
        for (service, operation, action) in [
            (Some("CloudWatch Logs"), "PutLogEvents", "logs:PutLogEvents"),
            (Some("AWSLogs"), "PutLogEvents", "logs:PutLogEvents"),
            (Some("AmazonEC2"), "RunInstances", "ec2:RunInstances"),
            (Some("AWSSecurityTokenService"), "AssumeRole", "sts:AssumeRole"),
            (Some("S3"), "HeadObject", "s3:GetObject"),
            (Some("Amazon S3"), "ListObjectsV2", "s3:ListBucket"),
            (Some("DynamoDB"), "GetItem", "dynamodb:GetItem"),
            (None, "ListBuckets", "s3:ListAllMyBuckets"),
            (None, "GetParameter", "ssm:GetParameter"),
        ] {
            assert_eq!(of_operation(service, operation).as_deref(), Some(action), "{service:?}");
        }
        assert_eq!(of_operation(None, "SomethingElse"), None);
        assert_eq!(of_operation(Some("S3"), "no (operation)"), None);
    }

    #[test]
    fn resources_are_named_as_policies_name_them() {
        let logs = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/ec2/app";
        for (action, said, named) in [
            ("logs:PutLogEvents", format!("{logs}:log-stream:i-1"), format!("{logs}:*")),
            ("logs:TagResource", format!("{logs}:*"), logs.to_owned()),
            ("logs:CreateLogGroup", logs.to_owned(), format!("{logs}:*")),
            (
                "logs:DescribeLogGroups",
                "arn:aws:logs:eu-west-1:123456789012:log-group::log-stream:".to_owned(),
                "arn:aws:logs:eu-west-1:123456789012:log-group:*".to_owned(),
            ),
            ("ssm:DescribeParameters", "arn:aws:ssm:eu-west-1:123456789012:*".to_owned(), "*".to_owned()),
            ("ecr:GetAuthorizationToken", "*".to_owned(), "*".to_owned()),
            ("s3:GetObject", "arn:aws:s3:::b/k".to_owned(), "arn:aws:s3:::b/k".to_owned()),
            ("sqs:SendMessage", "https://queue".to_owned(), "https://queue".to_owned()),
            ("ec2:RunInstances", String::new(), "*".to_owned()),
        ] {
            assert_eq!(in_policy(action, &said), named, "{action}");
        }
        let secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db";
        assert_eq!(in_policy("secretsmanager:GetSecretValue", secret), format!("{secret}-??????"));
        assert_eq!(in_policy("secretsmanager:GetSecretValue", &format!("{secret}-a1B2c3")), format!("{secret}-a1B2c3"));
    }
}

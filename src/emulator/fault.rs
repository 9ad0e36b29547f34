//! The fault plan: which requests go wrong, how often, and how. Pure: requests in, verdicts out. Not the doing: that is
//! `exchange`'s. What concerns connections before any request is [`Door`](super::Door).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Requests that go wrong. Of several faults that match, delays add up and the first that is no delay decides.
/// As JSON it is the body of `POST /_emulator/faults`:
/// `{"operation": "logs:PutLogEvents", "group": "/app", "times": 3, "effect": {"throttle": {"retry_after_ms": 500}}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// `imds:token`, `imds:get`, `logs:PutLogEvents`, `sts:AssumeRole`…, `logs:*`, or `*`.
    pub operation: String,
    /// Only metadata paths that begin with this: `/latest/meta-data/iam`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Only this log group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Only this log stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Only this role, by its ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// How many matching requests pass unharmed first.
    #[serde(default)]
    pub after: u64,
    /// How many requests it hits; `None`: all that follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// What happens to them.
    pub effect: Effect,
}

/// What happens to a request that a fault hits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// An answer of this status and text, whatever the request was.
    Status {
        /// The HTTP status.
        code: u16,
        /// The body, as it is.
        #[serde(default)]
        body: String,
    },
    /// An error in the service's own form (JSON for logs, XML for STS).
    Error {
        /// The HTTP status.
        status: u16,
        /// The error's name: `ServiceUnavailableException`.
        code: String,
        /// Its text.
        #[serde(default)]
        message: String,
    },
    /// `ThrottlingException` (STS: `Throttling`; IMDS: 429).
    Throttle {
        /// The `x-amz-retry-after` header, in milliseconds.
        #[serde(default)]
        retry_after_ms: Option<u64>,
    },
    /// `AccessDeniedException` (STS: `AccessDenied`; IMDS: 403), naming caller, action and resource.
    Deny(Denial),
    /// The caller's credentials count as expired (IMDS: its token does, 401).
    Expired,
    /// The request is read and never answered.
    Hang,
    /// The connection is closed before anything is done.
    Close,
    /// Everything is done, and the connection closed without an answer.
    LostReply,
    /// The answer's body arrives in small pieces.
    SlowBody {
        /// How many bytes at a time.
        bytes: usize,
        /// The pause before each piece, in milliseconds.
        every_ms: u64,
    },
    /// Everything is done, and the answer is not HTTP.
    Garbage,
    /// A redirect (302) to this URL.
    Redirect {
        /// The `Location` header.
        to: String,
    },
    /// The request is looked at this much later.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
}

/// How a denial is worded (AWS names one reason only).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Denial {
    /// The kind of policy that denies.
    pub policy: Policy,
    /// Whether it has a `Deny` that matches; otherwise it merely has no `Allow`.
    pub explicit: bool,
    /// The policy's ARN, which AWS puts at the end of explicit denials lately.
    pub policy_arn: Option<String>,
}

/// The kinds of policy that IAM's denials name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The role's own.
    #[default]
    IdentityBased,
    /// The resource's.
    ResourceBased,
    /// The organisation's SCP.
    ServiceControl,
    /// The organisation's RCP.
    ResourceControl,
    /// The role's boundary.
    PermissionsBoundary,
    /// The session's.
    Session,
    /// The VPC endpoint's.
    VpcEndpoint,
}

impl Denial {
    /// AWS's sentence (IAM User Guide, "Troubleshoot access denied error messages").
    pub(super) fn sentence(&self, caller: &str, action: &str, resource: &str) -> String {
        let (article, noun) = match self.policy {
            Policy::IdentityBased => ("an", "identity-based policy"),
            Policy::ResourceBased => ("a", "resource-based policy"),
            Policy::ServiceControl => ("a", "service control policy"),
            Policy::ResourceControl => ("a", "resource control policy"),
            Policy::PermissionsBoundary => ("a", "permissions boundary"),
            Policy::Session => ("a", "session policy"),
            Policy::VpcEndpoint => ("a", "VPC endpoint policy"),
        };
        let reason = if self.explicit {
            format!("with an explicit deny in {article} {noun}")
        } else {
            format!("because no {noun} allows the {action} action")
        };
        let policy_arn = self.policy_arn.as_ref().map(|arn| format!(": {arn}")).unwrap_or_default();
        format!("User: {caller} is not authorized to perform: {action} on resource: {resource} {reason}{policy_arn}")
    }
}

impl Fault {
    /// A fault that hits all requests of `operation`.
    #[must_use]
    pub fn on(operation: &str, effect: Effect) -> Self {
        let operation = operation.into();
        Self { operation, path: None, group: None, stream: None, role: None, after: 0, times: None, effect }
    }

    /// Only metadata paths that begin with `path`.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Only this log group.
    #[must_use]
    pub fn group(mut self, group: &str) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Only this log stream.
    #[must_use]
    pub fn stream(mut self, stream: &str) -> Self {
        self.stream = Some(stream.into());
        self
    }

    /// Only the role with this ARN.
    #[must_use]
    pub fn role(mut self, arn: &str) -> Self {
        self.role = Some(arn.into());
        self
    }

    /// Lets so many matching requests pass first.
    #[must_use]
    pub fn after(mut self, after: u64) -> Self {
        self.after = after;
        self
    }

    /// Hits so many requests, then no more.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    fn matches(&self, target: &Target<'_>) -> bool {
        let wildcard = self.operation.strip_suffix('*');
        let operation = match wildcard {
            Some(prefix) => target.operation.starts_with(prefix),
            None => target.operation == self.operation,
        };
        operation
            && self.path.as_deref().is_none_or(|path| target.path.starts_with(path))
            && self.group.as_deref().is_none_or(|group| target.group == Some(group))
            && self.stream.as_deref().is_none_or(|stream| target.stream == Some(stream))
            && self.role.as_deref().is_none_or(|role| target.role == Some(role))
    }
}

/// What a request is about, as far as faults ask.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) operation: &'a str,
    pub(super) path: &'a str,
    pub(super) group: Option<&'a str>,
    pub(super) stream: Option<&'a str>,
    pub(super) role: Option<&'a str>,
}

/// What is to happen to a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) delay: Duration,
    pub(super) effect: Option<Effect>,
}

/// The faults in force, in the order they were set.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Plan(Vec<Planned>);

#[derive(Clone, Debug, Serialize)]
struct Planned {
    #[serde(flatten)]
    fault: Fault,
    seen: u64,
}

impl Plan {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(Planned { fault, seen: 0 });
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether any fault asks for the log group or stream, which takes a look into the body.
    pub(super) fn asks_for_place(&self) -> bool {
        self.0.iter().any(|planned| planned.fault.group.is_some() || planned.fault.stream.is_some())
    }

    /// Judges one request, and counts it against the faults that match.
    pub(super) fn judge(&mut self, target: &Target<'_>) -> Verdict {
        let mut verdict = Verdict::default();
        for planned in &mut self.0 {
            let fault = &planned.fault;
            let decided = verdict.effect.is_some() && !matches!(fault.effect, Effect::Delay { .. });
            if decided || !fault.matches(target) {
                continue;
            }
            planned.seen += 1;
            let spent = fault.times.is_some_and(|times| planned.seen > fault.after.saturating_add(times));
            if planned.seen <= fault.after || spent {
                continue;
            }
            match &fault.effect {
                Effect::Delay { ms } => verdict.delay += Duration::from_millis(*ms),
                effect => verdict.effect = Some(effect.clone()),
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUT: Target<'_> =
        Target { operation: "logs:PutLogEvents", path: "/", group: Some("/app"), stream: Some("one"), role: None };

    fn effects(plan: &mut Plan, count: usize) -> Vec<bool> {
        (0..count).map(|_| plan.judge(&PUT).effect.is_some()).collect()
    }

    #[test]
    fn a_fault_hits_after_so_many_and_so_many_times() {
        let mut plan = Plan::default();
        plan.add(Fault::on("logs:PutLogEvents", Effect::Close).after(1).times(2));
        assert_eq!(effects(&mut plan, 5), [false, true, true, false, false]);
    }

    #[test]
    fn a_fault_hits_only_what_it_names() {
        for (fault, hit) in [
            (Fault::on("logs:*", Effect::Close), true),
            (Fault::on("*", Effect::Close), true),
            (Fault::on("sts:*", Effect::Close), false),
            (Fault::on("logs:PutLogEvents", Effect::Close).group("/app").stream("one"), true),
            (Fault::on("logs:PutLogEvents", Effect::Close).group("/other"), false),
            (Fault::on("logs:PutLogEvents", Effect::Close).stream("two"), false),
            (Fault::on("*", Effect::Close).path("/latest"), false),
        ] {
            let mut plan = Plan::default();
            plan.add(fault.clone());
            assert_eq!(effects(&mut plan, 1), [hit], "{fault:?}");
        }
    }

    #[test]
    fn delays_add_up_and_the_first_other_fault_decides() {
        let mut plan = Plan::default();
        plan.add(Fault::on("*", Effect::Delay { ms: 10 }));
        plan.add(Fault::on("*", Effect::Hang).times(1));
        plan.add(Fault::on("*", Effect::Close));
        plan.add(Fault::on("*", Effect::Delay { ms: 5 }));
        let delay = Duration::from_millis(15);
        assert_eq!(plan.judge(&PUT), Verdict { delay, effect: Some(Effect::Hang) });
        assert_eq!(plan.judge(&PUT), Verdict { delay, effect: Some(Effect::Close) });
    }

    #[test]
    fn denials_are_worded_as_iam_words_them() {
        let said = |denial: Denial| denial.sentence("arn:me", "logs:PutLogEvents", "arn:it");
        assert_eq!(
            said(Denial::default()),
            "User: arn:me is not authorized to perform: logs:PutLogEvents on resource: arn:it \
             because no identity-based policy allows the logs:PutLogEvents action"
        );
        let scp = Denial { policy: Policy::ServiceControl, explicit: true, policy_arn: Some("arn:p".into()) };
        assert_eq!(
            said(scp),
            "User: arn:me is not authorized to perform: logs:PutLogEvents on resource: arn:it \
             with an explicit deny in a service control policy: arn:p"
        );
    }

    #[test]
    fn a_fault_reads_as_the_json_of_its_documentation() {
        let text = r#"{"operation": "logs:PutLogEvents", "group": "/app", "times": 3,
                       "effect": {"throttle": {"retry_after_ms": 500}}}"#;
        let expected = Fault::on("logs:PutLogEvents", Effect::Throttle { retry_after_ms: Some(500) });
        assert_eq!(serde_json::from_str::<Fault>(text).unwrap(), expected.group("/app").times(3));
        assert_eq!(serde_json::from_str::<Effect>("\"hang\"").unwrap(), Effect::Hang);
    }
}

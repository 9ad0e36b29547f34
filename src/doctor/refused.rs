//! What AWS's refusals make of a finding: who is denied what, by which policy, and the statement that is missing; or that
//! the clock, the credentials or the quota are the trouble. How AWS's words are read is `denial`'s.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::visit::{Finding, Outcome};
use crate::denial::{self, Call, Step};
use crate::fault::chain;

/// Codes that mean too many requests (the SDKs' lists): of the account's, not of ours, and no fault of this host's.
const THROTTLED: [&str; 7] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
];

/// Why a call did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// AWS says no.
    Refused { code: String, message: String },
    /// AWS has trouble of its own.
    Unavailable { reason: String },
    /// Nobody answered.
    Unanswered { reason: String },
}

impl Failure {
    /// What an SDK's client says.
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let SdkError::ServiceError(service) = error else {
            return Self::Unanswered { reason: chain(error) };
        };
        let status = service.raw().status().as_u16();
        let code = service.err().code().map_or_else(|| format!("HTTP {status}"), str::to_owned);
        Self::answered(status, code, service.err().message().unwrap_or_default().to_owned())
    }

    /// What an answer says that is no success.
    pub(super) fn answered(status: u16, code: String, message: String) -> Self {
        if status >= 500 {
            return Self::Unavailable { reason: format!("{code}: {message}") };
        }
        Self::Refused { code, message }
    }

    /// What there is to say of `call`, which failed so; `what` is what could not be done, as a sentence.
    pub(super) fn finding(&self, what: impl Into<String>, call: &Call<'_>) -> Finding {
        let what = what.into();
        match self {
            Self::Unavailable { reason } => Finding::unseen(format!("{what}: AWS has trouble of its own"))
                .evidence(evidence(call, reason))
                .cure("try again later; https://health.aws.amazon.com/health/status"),
            Self::Unanswered { reason } => {
                Finding::unseen(format!("{what}: there was no answer")).evidence(evidence(call, reason))
            }
            Self::Refused { code, message } if THROTTLED.contains(&code.as_str()) => {
                Finding::unseen(format!("{what}: the account makes too many such requests just now"))
                    .evidence(evidence(call, &format!("{code}: {message}")))
                    .cure("try again; it is no question of permissions")
            }
            Self::Refused { code, message } => {
                let finding = Finding::fault(what).evidence(evidence(call, &format!("{code}: {message}")));
                explained(finding, call, code, message)
            }
        }
    }
}

fn evidence(call: &Call<'_>, answer: &str) -> String {
    match call.resource {
        "" | "*" => format!("{}: {answer}", call.action),
        resource => format!("{} of {resource}: {answer}", call.action),
    }
}

fn explained(finding: Finding, call: &Call<'_>, code: &str, message: &str) -> Finding {
    if denial::is_denial(code) {
        let denial = call.denied(message);
        return finding.why(denial.cause()).cure_if_known(lines(&denial.steps()));
    }
    let said = denial::explain(&format!("An error occurred ({code}): {message}"));
    finding.why_if_known(said.cause).cure_if_known(lines(&said.steps))
}

/// Steps as lines that are pasted: what it is, the statement, the command that puts it in place.
pub(super) fn lines(steps: &[Step]) -> Option<String> {
    let lines: Vec<String> = steps
        .iter()
        .flat_map(|step| {
            let both = step.statement.is_some().then(|| step.command.clone()).flatten();
            std::iter::once(step.to_string()).chain(both)
        })
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// The same as a warning, where it is no fault: what is denied is not needed now.
pub(super) fn softened(finding: Finding, why: &str) -> Finding {
    if finding.outcome != Outcome::Fault {
        return finding;
    }
    let why = finding.why.as_ref().map_or_else(|| why.to_owned(), |cause| format!("{cause}; {why}"));
    Finding { outcome: Outcome::Warning, ..finding }.why(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str, message: &str) -> Failure {
        Failure::answered(400, code.to_owned(), message.to_owned())
    }

    const CALL: Call<'_> = Call {
        action: "logs:PutLogEvents",
        resource: "arn:aws:logs:eu-west-1:123456789012:log-group:/app:*",
        further: &[],
        external_id: None,
    };

    #[test]
    fn a_denial_is_a_fault_with_the_statement_that_is_missing() {
        let message = "User: arn:aws:sts::123456789012:assumed-role/web/i-1 is not authorized to perform: \
                       logs:PutLogEvents on resource: arn:aws:logs:eu-west-1:123456789012:log-group:/app:log-stream:x \
                       because no identity-based policy allows the logs:PutLogEvents action";
        let finding = refused("AccessDeniedException", message).finding("events can't be put", &CALL);
        assert_eq!(finding.outcome, Outcome::Fault);
        let cure = finding.cure.unwrap();
        assert!(cure.contains("\"Action\": \"logs:PutLogEvents\"") && cure.contains("role/web"), "{cure}");
        assert!(cure.contains("aws iam put-role-policy --role-name web"), "{cure}");
    }

    #[test]
    fn throttling_and_trouble_of_awss_own_are_no_faults() {
        for failure in [
            refused("ThrottlingException", "Rate exceeded"),
            Failure::answered(503, "ServiceUnavailableException".to_owned(), String::new()),
            Failure::Unanswered { reason: "timeout".to_owned() },
        ] {
            assert_eq!(failure.finding("x", &CALL).outcome, Outcome::Unseen, "{failure:?}");
        }
    }

    #[test]
    fn an_error_nobody_knows_is_shown_whole() {
        let finding = refused("QuiteNewException", "the moon is full").finding("events can't be put", &CALL);
        let evidence = finding.evidence.unwrap();
        assert!(evidence.contains("QuiteNewException: the moon is full"), "{evidence}");
    }
}

//! One call of CloudWatch Logs at a time, each without any effect, and what its answer means: allowed, or why not. Not
//! which calls are worth it.

use std::time::Duration;

use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::types::{InputLogEvent, LogGroup};
use jiff::Timestamp;
use tokio::time::timeout;

use crate::denial::Call;
use crate::doctor::refused::Failure;
use crate::doctor::visit::Finding;

/// An answer on a way that is known to be free.
const PATIENCE: Duration = Duration::from_millis(2500);

/// Calls about groups, in one account and region.
#[derive(Clone)]
pub(in crate::doctor) struct Asker {
    pub(in crate::doctor) client: Client,
    /// `arn:aws:logs:eu-west-1:123456789012`
    pub(in crate::doctor) stem: String,
}

/// What a call showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::doctor) enum Shown {
    /// It is allowed; nothing came of it.
    Allowed,
    /// It is allowed, and the group does not exist.
    NoGroup,
    /// It is allowed, and the group or the stream does not exist.
    Absent,
    /// It can't be done.
    Failed(Failure),
}

impl Asker {
    fn arn(&self, group: &str, stream: Option<&str>) -> String {
        let stream = stream.map_or_else(String::new, |stream| format!(":log-stream:{stream}"));
        format!("{}:log-group:{group}{stream}", self.stem)
    }

    /// What there is to say of a call that failed.
    pub(in crate::doctor) fn finding(&self, action: &str, group: &str, failure: &Failure, what: &str) -> Finding {
        let (action, resource) = (format!("logs:{action}"), self.arn(group, None));
        failure.finding(what, &Call { action: &action, resource: &resource, ..Call::default() }).about(group)
    }

    /// Puts an event into a stream that does not exist.
    pub(in crate::doctor) async fn put(&self, group: &str, missing_stream: &str) -> Shown {
        let now = Timestamp::now().as_millisecond();
        let event = InputLogEvent::builder().timestamp(now).message("imds-agent doctor").build();
        let Ok(event) = event else { return Shown::Allowed };
        let call = self.client.put_log_events().log_group_name(group).log_stream_name(missing_stream);
        shown(timeout(PATIENCE, call.log_events(event).send()).await.map(|answer| answer.map_err(|e| Failure::of(&e))))
    }

    /// Creates a stream that exists, or one in a group that does not exist.
    pub(super) async fn create_stream(&self, group: &str, stream: &str) -> Shown {
        let call = self.client.create_log_stream().log_group_name(group).log_stream_name(stream);
        shown(timeout(PATIENCE, call.send()).await.map(|answer| answer.map_err(|e| Failure::of(&e))))
    }

    /// Creates a group that exists.
    pub(super) async fn create_group(&self, group: &str) -> Shown {
        let call = self.client.create_log_group().log_group_name(group);
        shown(timeout(PATIENCE, call.send()).await.map(|answer| answer.map_err(|e| Failure::of(&e))))
    }

    /// Sets the retention that a group has, or that of one that does not exist.
    pub(super) async fn set_retention(&self, group: &str, days: u16) -> Shown {
        let call = self.client.put_retention_policy().log_group_name(group).retention_in_days(i32::from(days));
        shown(timeout(PATIENCE, call.send()).await.map(|answer| answer.map_err(|e| Failure::of(&e))))
    }

    /// What a group is like, if there is one of that name.
    pub(in crate::doctor) async fn describe(&self, group: &str) -> Result<Option<LogGroup>, Failure> {
        // The wanted group sorts first among those that begin with its name.
        let call = self.client.describe_log_groups().log_group_name_prefix(group).limit(1);
        match timeout(PATIENCE, call.send()).await {
            Ok(Ok(output)) => {
                let found = output.log_groups.unwrap_or_default().into_iter();
                Ok(found.into_iter().find(|found| found.log_group_name() == Some(group)))
            }
            Ok(Err(error)) => Err(Failure::of(&error)),
            Err(_) => Err(silence()),
        }
    }

    /// Whether a group has a stream; `None` where that is not for us to see: the daemon never asks it.
    pub(super) async fn has_stream(&self, group: &str, stream: &str) -> Option<bool> {
        let call = self.client.describe_log_streams().log_group_name(group).log_stream_name_prefix(stream).limit(1);
        let output = timeout(PATIENCE, call.send()).await.ok()?.ok()?;
        Some(output.log_streams().iter().any(|found| found.log_stream_name() == Some(stream)))
    }
}

fn silence() -> Failure {
    Failure::Unanswered { reason: format!("no answer within {:.1} s", PATIENCE.as_secs_f64()) }
}

/// That it exists already, or does not exist, is told only to who may.
fn shown<T, E>(answer: Result<Result<T, Failure>, E>) -> Shown {
    let failure = match answer {
        Ok(Ok(_)) => return Shown::Allowed,
        Ok(Err(failure)) => failure,
        Err(_) => silence(),
    };
    match &failure {
        Failure::Refused { code, .. } if code == "ResourceAlreadyExistsException" => Shown::Allowed,
        Failure::Refused { code, message } if code == "ResourceNotFoundException" => {
            // "The specified log group does not exist." and "The specified log stream does not exist."
            match (message.contains("log stream"), message.contains("log group")) {
                (true, false) => Shown::Allowed,
                (false, true) => Shown::NoGroup,
                _ => Shown::Absent,
            }
        }
        _ => Shown::Failed(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: &str, message: &str) -> Shown {
        shown::<(), ()>(Ok(Err(Failure::answered(400, code.to_owned(), message.to_owned()))))
    }

    #[test]
    fn what_exists_already_or_does_not_exist_was_allowed() {
        assert_eq!(said("ResourceAlreadyExistsException", "The specified log stream already exists"), Shown::Allowed);
        let missing = |what: &str| said("ResourceNotFoundException", &format!("The specified {what} does not exist."));
        assert_eq!(missing("log stream"), Shown::Allowed);
        assert_eq!(missing("log group"), Shown::NoGroup);
        assert_eq!(said("ResourceNotFoundException", ""), Shown::Absent, "nothing is created on a guess");
        assert!(matches!(said("AccessDeniedException", "no"), Shown::Failed(_)));
    }
}

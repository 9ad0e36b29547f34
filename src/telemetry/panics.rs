//! A panic becomes one ERROR line with its task and place. Not what is done about it: the supervisor restarts the task.

use std::future::Future;
use std::panic::PanicHookInfo;

tokio::task_local! {
    static TASK: &'static str;
}

/// Runs `task` such that a panic in it is reported under `name`.
pub async fn named<T>(name: &'static str, task: impl Future<Output = T>) -> T {
    TASK.scope(name, task).await
}

/// From now on a panic is one ERROR line, without a backtrace.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let task = TASK.try_with(|name| *name).unwrap_or("unnamed");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(task, place, reason = reason(panic), "a task panicked");
    }));
}

/// A panic's literal text. A formatted one may hold what was being worked on, a log line or worse, and is left out.
fn reason(panic: &PanicHookInfo<'_>) -> &'static str {
    panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("not shown, since it may hold data")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_knows_its_name_and_others_have_none() {
        let name = named("logs", async { TASK.try_with(|name| *name).ok() }).await;
        assert_eq!((name, TASK.try_with(|name| *name).ok()), (Some("logs"), None));
    }
}

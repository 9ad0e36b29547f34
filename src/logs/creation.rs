//! Streams and groups that are missing are created, and a group's retention is looked at. Not when: the engine asks.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::sink::{Failure, Kind, Sink};

/// A group's retention is looked at within this time: thousands of hosts that start together must not ask together.
const RETENTION_SPREAD: Duration = Duration::from_mins(1);

/// Held while a group is created.
pub(super) type GroupLock = Arc<tokio::sync::Mutex<()>>;

/// Creates a stream, and its group where that is missing.
pub(super) async fn create(
    sink: &dyn Sink,
    group_lock: &GroupLock,
    log_group: &str,
    log_stream: &str,
    retention: Option<u16>,
) -> Result<(), Failure> {
    match exists(sink.create_stream(log_group, log_stream).await) {
        Err(failure) if failure.kind == Kind::NotFound => {}
        result => return result,
    }
    let _one_at_a_time = group_lock.lock().await;
    match exists(sink.create_stream(log_group, log_stream).await) {
        Err(failure) if failure.kind == Kind::NotFound => {}
        result => return result,
    }
    exists(sink.create_group(log_group).await)?;
    tracing::info!(log_group, "created the log group");
    if let Some(days) = retention
        && let Err(failure) = sink.set_retention(log_group, days).await
    {
        tracing::warn!(log_group, days, error = %failure, "the retention of the new log group could not be set");
    }
    exists(sink.create_stream(log_group, log_stream).await)
}

/// That something exists already is as good as having created it.
fn exists(result: Result<(), Failure>) -> Result<(), Failure> {
    match result {
        Err(failure) if failure.kind == Kind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Reads a group's retention, some time later, and sets it if it differs.
pub(super) async fn check_retention(sink: &dyn Sink, log_group: &str, days: u16) -> Result<(), Failure> {
    sleep(RETENTION_SPREAD.mul_f64(fastrand::f64())).await;
    if sink.retention(log_group).await? != Some(days) {
        sink.set_retention(log_group, days).await?;
        tracing::info!(log_group, days, "set the retention");
    }
    Ok(())
}

//! Named tasks, kept alive: one that panics or ends although it should not is started again, after a while, and that is
//! counted. Each has a heartbeat. Not what the tasks do, and not the order in which they are stopped.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::fault::Warning;
use crate::heartbeat::{Heartbeat, LONGEST_SLEEP};
use crate::telemetry;

/// Between a task's end and its next start: at once for a person, and never a spinning loop.
const RESTART: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));

/// A task that ran this long before it ended was well; the waits begin anew. Twice the longest wait.
const STEADY: Duration = Duration::from_mins(1);

/// A heartbeat older than this stands for a task that is stuck: two beats missed, and then some.
pub(super) const STUCK_AFTER: Duration = Duration::from_secs(3 * LONGEST_SLEEP.as_secs());

/// What is known of each task; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Board(Arc<Mutex<BTreeMap<&'static str, Row>>>);

#[derive(Debug, Default)]
struct Row {
    /// `None` once the task was stopped: then nobody waits for its beats.
    heartbeat: Option<Heartbeat>,
    panics: u32,
    early_ends: u32,
}

impl Board {
    /// The tasks that have not beaten for `limit`.
    #[must_use]
    pub(super) fn stuck(&self, limit: Duration) -> Vec<&'static str> {
        self.rows(|rows| {
            let stuck = |row: &Row| row.heartbeat.as_ref().is_some_and(|heartbeat| heartbeat.age() > limit);
            rows.iter().filter(|(_, row)| stuck(row)).map(|(name, _)| *name).collect()
        })
    }

    /// What a person should know of the tasks.
    #[must_use]
    pub(super) fn warnings(&self) -> Vec<Warning> {
        let restarted =
            self.rows(|rows| rows.iter().filter_map(|(name, row)| restarted(name, row)).collect::<Vec<_>>());
        let stuck = self.stuck(STUCK_AFTER).into_iter().map(|name| Warning {
            code: "task_stuck".to_owned(),
            message: format!("the task {name} has made no progress for over {} s", STUCK_AFTER.as_secs()),
            hint: Some("systemctl restart imds-agent loses no log line; please report it".to_owned()),
        });
        restarted.into_iter().chain(stuck).collect()
    }

    fn rows<T>(&self, look: impl FnOnce(&mut BTreeMap<&'static str, Row>) -> T) -> T {
        // Rows are whole between any two statements, so that a panic elsewhere spoils nothing.
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn restarted(name: &str, row: &Row) -> Option<Warning> {
    let times = |n: u32| if n == 1 { "once".to_owned() } else { format!("{n} times") };
    let message = match (row.panics, row.early_ends) {
        (0, 0) => return None,
        (panics, 0) => format!("the task {name} panicked {} and was restarted", times(panics)),
        (0, ends) => format!("the task {name} ended {} before it should and was restarted", times(ends)),
        (panics, ends) => {
            format!("the task {name} panicked {}, ended early {}, and was restarted", times(panics), times(ends))
        }
    };
    let hint = Some("journalctl -u imds-agent -p err shows the place; please report it".to_owned());
    Some(Warning { code: "task_restarted".to_owned(), message, hint })
}

/// A group of tasks that are stopped together. Dropping it aborts them.
#[derive(Debug)]
pub(super) struct Supervisor {
    board: Board,
    stop: CancellationToken,
    tasks: JoinSet<&'static str>,
}

impl Supervisor {
    /// A group without tasks, whose tasks stop when `stop` is cancelled or [`Supervisor::finish`] is called.
    #[must_use]
    pub(super) fn new(board: Board, stop: CancellationToken) -> Self {
        Self { board, stop, tasks: JoinSet::new() }
    }

    /// Keeps what `start` returns running until the group is stopped. It gets the group's stop signal, on which it
    /// must end, and a heartbeat, which it must beat at least every [`LONGEST_SLEEP`].
    pub(super) fn keep<T>(
        &mut self,
        name: &'static str,
        start: impl Fn(CancellationToken, Heartbeat) -> T + Send + Sync + 'static,
    ) where
        T: Future<Output = ()> + Send + 'static,
    {
        let (board, stop) = (self.board.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            keep_alive(name, Arc::new(start), &board, &stop).await;
            board.rows(|rows| rows.entry(name).or_default().heartbeat = None);
            name
        });
    }

    /// Stops the group, waits for its tasks until `deadline`, and aborts the rest, whose names it returns.
    pub(super) async fn finish(&mut self, deadline: Instant) -> Vec<&'static str> {
        self.stop.cancel();
        let all_done = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout_at(deadline, all_done).await.is_ok() {
            return Vec::new();
        }
        self.tasks.abort_all();
        self.board.rows(|rows| rows.iter().filter(|(_, row)| row.heartbeat.is_some()).map(|(name, _)| *name).collect())
    }
}

async fn keep_alive<F, T>(name: &'static str, start: Arc<F>, board: &Board, stop: &CancellationToken)
where
    F: Fn(CancellationToken, Heartbeat) -> T + Send + Sync + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let heartbeat = Heartbeat::new();
    board.rows(|rows| rows.entry(name).or_default().heartbeat = Some(heartbeat.clone()));
    let mut attempt = 0;
    while !stop.is_cancelled() {
        heartbeat.beat();
        let started = Instant::now();
        let (start, token, pulse) = (start.clone(), stop.clone(), heartbeat.clone());
        let panicked = run_once(name, async move { start(token, pulse).await }).await;
        if stop.is_cancelled() {
            break;
        }
        attempt = if started.elapsed() < STEADY { attempt + 1 } else { 1 };
        board.rows(|rows| {
            let row = rows.entry(name).or_default();
            if panicked { row.panics += 1 } else { row.early_ends += 1 }
        });
        let wait = RESTART.half_jitter(attempt);
        tracing::warn!(task = name, panicked, attempt, retry_in = ?wait, "a task ended, it is restarted");
        pause(wait, stop, &heartbeat).await;
    }
}

/// Whether it panicked. In a task of its own, since only that contains a panic; it goes when this future is dropped.
async fn run_once(name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> bool {
    let mut own = JoinSet::new();
    own.spawn(telemetry::named(name, task));
    matches!(own.join_next().await, Some(Err(error)) if error.is_panic())
}

/// Sleeps for `wait` or until `stop`, beating meanwhile.
pub(super) async fn pause(wait: Duration, stop: &CancellationToken, heartbeat: &Heartbeat) {
    let end = Instant::now() + wait;
    while Instant::now() < end && !stop.is_cancelled() {
        heartbeat.beat();
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep_until(end.min(Instant::now() + LONGEST_SLEEP)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::watch;

    use super::*;

    /// Counts the starts of a task, for tests that wait for the next one.
    fn counter() -> (watch::Sender<u32>, watch::Receiver<u32>) {
        watch::channel(0)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_restarted_and_counted_and_its_neighbour_is_not_disturbed() {
        let board = Board::default();
        let mut group = Supervisor::new(board.clone(), CancellationToken::new());
        let (starts, mut started) = counter();
        let neighbours = Arc::new(AtomicU32::new(0));
        let neighbour = neighbours.clone();
        group.keep("logs", move |stop, _| {
            starts.send_modify(|n| *n += 1);
            let n = *starts.borrow();
            async move {
                assert!(n > 2, "the first two runs panic");
                stop.cancelled().await;
            }
        });
        group.keep("status", move |stop, _| {
            neighbour.fetch_add(1, Ordering::Relaxed);
            async move { stop.cancelled().await }
        });
        started.wait_for(|n| *n == 3).await.unwrap();
        let warnings = board.warnings();
        assert_eq!(warnings.len(), 1);
        assert_eq!(warnings[0].message, "the task logs panicked 2 times and was restarted");
        assert_eq!(group.finish(soon()).await, [""; 0]);
        assert_eq!(neighbours.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_before_it_should_is_restarted_too() {
        let board = Board::default();
        let mut group = Supervisor::new(board.clone(), CancellationToken::new());
        let (starts, mut started) = counter();
        group.keep("identity", move |stop, _| {
            starts.send_modify(|n| *n += 1);
            let n = *starts.borrow();
            async move {
                if n == 2 {
                    stop.cancelled().await;
                }
            }
        });
        started.wait_for(|n| *n == 2).await.unwrap();
        assert_eq!(board.warnings()[0].message, "the task identity ended once before it should and was restarted");
    }

    #[tokio::test(start_paused = true)]
    async fn restarts_that_follow_each_other_wait_longer_and_a_steady_run_forgives() {
        let mut group = Supervisor::new(Board::default(), CancellationToken::new());
        let (starts, mut started) = counter();
        group.keep("logs", move |_, _| {
            starts.send_modify(|n| *n += 1);
            let n = *starts.borrow();
            async move {
                if n == 12 {
                    tokio::time::sleep(STEADY).await;
                }
            }
        });
        let mut begun = Instant::now();
        let mut waits = Vec::new();
        for n in 2..=13 {
            started.wait_for(|seen| *seen == n).await.unwrap();
            waits.push(begun.elapsed());
            begun = Instant::now();
        }
        assert!(waits[0] <= Duration::from_millis(101), "{waits:?}");
        assert!(waits[10] >= Duration::from_secs(15) && waits[10] <= Duration::from_secs(31), "{waits:?}");
        assert!(waits[11] <= STEADY + Duration::from_millis(101), "{waits:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ignores_the_stop_is_cut_off_at_the_deadline_and_named() {
        let mut group = Supervisor::new(Board::default(), CancellationToken::new());
        group.keep("polite", |stop, _| async move { stop.cancelled().await });
        group.keep("stubborn", |_, _| std::future::pending());
        tokio::task::yield_now().await;
        let begun = Instant::now();
        assert_eq!(group.finish(begun + Duration::from_secs(3)).await, ["stubborn"]);
        assert_eq!(begun.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_waits_for_its_restart_stops_at_once() {
        let mut group = Supervisor::new(Board::default(), CancellationToken::new());
        group.keep("logs", |_, _| async { panic!("always") });
        tokio::time::sleep(Duration::from_mins(10)).await;
        let begun = Instant::now();
        assert_eq!(group.finish(soon()).await, [""; 0]);
        assert!(begun.elapsed() < Duration::from_millis(10));
    }

    #[tokio::test]
    async fn a_task_that_does_not_beat_is_named_until_it_is_stopped() {
        let board = Board::default();
        let mut group = Supervisor::new(board.clone(), CancellationToken::new());
        let (starts, mut started) = counter();
        group.keep("logs", move |stop, _| {
            starts.send_modify(|n| *n += 1);
            async move { stop.cancelled().await }
        });
        started.wait_for(|n| *n == 1).await.unwrap();
        assert!(board.stuck(STUCK_AFTER).is_empty());
        while board.stuck(Duration::ZERO).is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(board.stuck(Duration::ZERO), ["logs"]);
        group.finish(soon()).await;
        assert!(board.stuck(Duration::ZERO).is_empty());
    }
}

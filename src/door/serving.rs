//! Which doors are served: each that is wanted by a task of its own, while they come and go. Not how one is opened, and
//! not what is said there.

use std::future::Future;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::heartbeat::{Heartbeat, LONGEST_SLEEP};

/// Serves the `wanted` doors until `stop`, and ends when all of them have. One that `is_same` as before is not disturbed
/// by a change; one that is not wanted any more is told to stop.
pub async fn serve_wanted<D, S>(
    mut wanted: watch::Receiver<Vec<D>>,
    is_same: impl Fn(&D, &D) -> bool,
    stop: CancellationToken,
    heartbeat: &Heartbeat,
    serve: impl Fn(D, CancellationToken) -> S,
) where
    D: Clone,
    S: Future<Output = ()> + Send + 'static,
{
    let mut served: Vec<(D, CancellationToken)> = Vec::new();
    let mut tasks = JoinSet::new();
    while !stop.is_cancelled() {
        heartbeat.beat();
        let doors = wanted.borrow_and_update().clone();
        served.retain(|(door, ends)| {
            let stays = doors.iter().any(|wanted| is_same(wanted, door));
            if !stays {
                ends.cancel();
            }
            stays
        });
        for door in doors {
            if !served.iter().any(|(served, _)| is_same(&door, served)) {
                let ends = stop.child_token();
                tasks.spawn(serve(door.clone(), ends.clone()));
                served.push((door, ends));
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            _ = wanted.changed() => {}
            Some(ended) = tasks.join_next() => if let Err(error) = ended && error.is_panic() {
                std::panic::resume_unwind(error.into_panic());
            },
            () = sleep(LONGEST_SLEEP) => {}
        }
    }
    while tasks.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_door_is_served_once_for_as_long_as_it_is_wanted() {
        let (doors, wanted) = watch::channel(vec!["a", "b"]);
        let (said, mut heard) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let serving = tokio::spawn({
            let stop = stop.clone();
            async move {
                let serve = |door, ends: CancellationToken| {
                    let said = said.clone();
                    async move {
                        said.send((door, "opens")).unwrap();
                        ends.cancelled().await;
                        said.send((door, "closes")).unwrap();
                    }
                };
                serve_wanted(wanted, |one, other| one == other, stop, &Heartbeat::new(), serve).await;
            }
        });
        assert_eq!(heard.recv().await, Some(("a", "opens")));
        assert_eq!(heard.recv().await, Some(("b", "opens")));
        doors.send_replace(vec!["b", "c"]);
        let mut both = [heard.recv().await.unwrap(), heard.recv().await.unwrap()];
        both.sort_unstable();
        assert_eq!(both, [("a", "closes"), ("c", "opens")]);
        stop.cancel();
        serving.await.unwrap();
        let mut rest = [heard.recv().await.unwrap(), heard.recv().await.unwrap()];
        rest.sort_unstable();
        assert_eq!(rest, [("b", "closes"), ("c", "closes")]);
        assert_eq!(heard.recv().await, None, "b was not opened again");
    }

    #[tokio::test]
    #[should_panic(expected = "on purpose")]
    async fn a_panic_behind_a_door_is_passed_on() {
        let (_doors, wanted) = watch::channel(vec!["a"]);
        let serve = |_, _| async { panic!("on purpose") };
        serve_wanted(wanted, |one, other| one == other, CancellationToken::new(), &Heartbeat::new(), serve).await;
    }
}

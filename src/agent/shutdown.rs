//! How the daemon is told to stop, and how long it may take: its phases' deadlines, and what the second signal does.
//! Not the phases themselves: the daemon knows its parts.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// From the first signal to the end (DESIGN §5).
pub const DEADLINE: Duration = Duration::from_secs(10);

/// What the one bounded drain gets of it: long enough for a request and its retry.
pub const DRAIN: Duration = Duration::from_secs(7);

/// When what sockets have received by then must be in the spool: it is local, and there is nothing to wait for.
pub const RECEIVERS_DEADLINE: Duration = Duration::from_secs(2);

/// When reading, drain and checkpoint must be over; the last second is for the doors.
pub const READERS_DEADLINE: Duration = Duration::from_secs(9);

/// A signal that asks us to stop, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: systemd.
    Terminate,
}

impl Signal {
    /// What a process that died of it would be reported as: 128 + its number.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 128 + 2,
            Self::Terminate => 128 + 15,
        }
    }
}

/// The first signal cancels `stop`; the second is returned: then the process must exit at once.
pub async fn second_signal(mut next: impl AsyncFnMut() -> Signal, stop: &CancellationToken) -> Signal {
    let first = next().await;
    tracing::info!(signal = ?first, deadline = ?DEADLINE, "stopping");
    stop.cancel();
    next().await
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn the_first_signal_stops_in_order_and_the_second_at_once() {
        let (signals, mut next) = mpsc::channel(2);
        let stop = CancellationToken::new();
        let mut second = std::pin::pin!(second_signal(async || next.recv().await.expect("the sender lives"), &stop));
        signals.send(Signal::Terminate).await.unwrap();
        tokio::select! {
            biased;
            signal = &mut second => panic!("{signal:?}: one signal does not end the process"),
            () = stop.cancelled() => {}
        }
        signals.send(Signal::Interrupt).await.unwrap();
        assert_eq!(second.await.exit_code(), 130);
    }

    #[test]
    fn the_phases_fit_into_the_deadline() {
        assert!(RECEIVERS_DEADLINE < READERS_DEADLINE && DRAIN < READERS_DEADLINE && READERS_DEADLINE < DEADLINE);
    }

    #[test]
    fn a_termination_is_reported_as_one() {
        assert_eq!(Signal::Terminate.exit_code(), 143);
    }
}

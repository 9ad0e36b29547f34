//! Which answers of IMDS are worth asking again. Pure: a problem and how often it was tried go in, what to do comes out.

use std::time::Duration;

use super::error::Problem;
use crate::backoff::Backoff;

/// How often one operation asks at most (DESIGN, IMDS).
pub(super) const ATTEMPTS: u32 = 4;

/// Waits between attempts: short, since IMDS is one hop away, and capped below the whole operation's deadline.
pub(super) const WAITS: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

/// How long the network, the instance profile and IMDS itself may take to come up after the daemon has (DESIGN, IMDS).
pub(super) const BOOT_PHASE: Duration = Duration::from_secs(300);

/// What to do about a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Wait up to this long (full jitter), then ask again.
    Wait(Duration),
    /// The token was dropped: ask again with a new one, now.
    NewToken,
    /// Report it.
    GiveUp,
}

/// | what happened | from then on | while booting |
/// |---|---|---|
/// | no connection, no answer, connection cut | again | again |
/// | 429, 5xx | again | again |
/// | a 200 that can't be parsed | again | again |
/// | 401 with a token | a new token and again, once | a new token and again, then as any other |
/// | 401, 404, 405 for the token | an answer | again |
/// | 404 | an answer | again |
/// | 400, 403, off, no role, not IMDS | an answer | an answer |
///
/// `attempt` counts from 1; `renewed` says that this operation has already got a new token for a 401.
pub(super) fn decide(problem: &Problem, attempt: u32, renewed: bool, booting: bool) -> Decision {
    let again = match problem {
        Problem::TokenRefused { status: 401, .. } if !renewed => return Decision::NewToken,
        Problem::Blocked { .. }
        | Problem::Absent { .. }
        | Problem::Throttled { .. }
        | Problem::BadStatus { status: 500.., .. }
        | Problem::BadDocument { .. } => true,
        Problem::TokenRefused { status: 401 | 404 | 405, .. } | Problem::NotFound { .. } => booting,
        _ => false,
    };
    if again && attempt < ATTEMPTS { Decision::Wait(WAITS.ceiling(attempt)) } else { Decision::GiveUp }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> String {
        "x".to_owned()
    }

    fn refused(status: u16) -> Problem {
        Problem::TokenRefused { endpoint: text(), asked: text(), status }
    }

    fn again(problem: &Problem, booting: bool) -> bool {
        matches!(decide(problem, 1, true, booting), Decision::Wait(_))
    }

    #[test]
    fn the_table_holds_in_both_phases() {
        for (problem, later, booting) in [
            (Problem::Absent { endpoint: text(), reason: text() }, true, true),
            (Problem::Blocked { endpoint: text(), asked: text() }, true, true),
            (Problem::Throttled { endpoint: text() }, true, true),
            (Problem::BadStatus { asked: text(), status: 500 }, true, true),
            (Problem::BadStatus { asked: text(), status: 503 }, true, true),
            (Problem::BadDocument { path: text(), reason: text() }, true, true),
            (refused(401), false, true),
            (refused(404), false, true),
            (Problem::NotFound { path: text() }, false, true),
            (refused(400), false, false),
            (Problem::BadStatus { asked: text(), status: 400 }, false, false),
            (Problem::BadStatus { asked: text(), status: 403 }, false, false),
            (Problem::Off { endpoint: text() }, false, false),
            (Problem::Disabled, false, false),
            (Problem::NotImds { endpoint: text(), reason: text() }, false, false),
            (Problem::RoleFailure { role: None, code: text(), message: text() }, false, false),
            (Problem::NoInstanceProfile, false, false),
        ] {
            assert_eq!(again(&problem, false), later, "later: {problem:?}");
            assert_eq!(again(&problem, true), booting, "booting: {problem:?}");
        }
    }

    #[test]
    fn a_401_brings_one_new_token_and_not_two() {
        assert_eq!(decide(&refused(401), 1, false, false), Decision::NewToken);
        assert_eq!(decide(&refused(401), 2, true, false), Decision::GiveUp);
    }

    #[test]
    fn the_fourth_attempt_is_the_last() {
        let absent = Problem::Absent { endpoint: text(), reason: text() };
        let decisions: Vec<_> = (1..=4).map(|attempt| decide(&absent, attempt, false, true)).collect();
        let wait = |millis| Decision::Wait(Duration::from_millis(millis));
        assert_eq!(decisions, [wait(100), wait(200), wait(400), Decision::GiveUp]);
    }
}

//! How often what `status` shows is renewed: not for every line, however many files there are. Not what is shown.

use std::time::Duration;

/// So often while something happens: a person looks at it.
const INTERVAL: Duration = Duration::from_millis(250);

/// But only after so many times as long as renewing takes: of ten thousand files, too, it costs a fiftieth of the time.
const PAUSE: u32 = 50;

/// When to renew it again at the earliest, if that began and was over at these times.
pub(super) fn renewed_at(began: Duration, over: Duration) -> Duration {
    began + INTERVAL.max(over.saturating_sub(began) * PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_renewed_less_often() {
        let (began, millis) = (Duration::from_secs(9), Duration::from_millis);
        assert_eq!(renewed_at(began, began + millis(1)), began + INTERVAL);
        assert_eq!(renewed_at(began, began + millis(20)), began + millis(1_000));
    }
}

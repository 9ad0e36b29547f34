//! What another configuration, or a clock that is set, changes of a stream that goes on: how long it lingers, when it tries
//! again, what it gives back. Not which streams there are.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Destination, Moment};
use crate::logs::DestinationState;
use crate::logs::batch::Segment;

/// Times of reading are never further ahead of the clock: CloudWatch refuses what is two hours ahead, and half an hour is
/// for what waits.
const MOST_AHEAD: SignedDuration = SignedDuration::from_mins(90);

impl Destination {
    /// When busy it lingers `interval` from now on, and what throttling added to that.
    pub(crate) fn set_flush_interval(&mut self, interval: Duration) {
        let throttled = self.linger > self.flush_interval;
        self.flush_interval = interval;
        self.linger = if throttled { self.linger.max(interval) } else { interval };
    }

    /// Who changed the configuration may have cured what is wrong: it is tried at once. Not when CloudWatch asked us to
    /// slow down: that is no fault of the configuration.
    pub(crate) fn try_again(&mut self, now: Moment) {
        if let Some(trouble) = self.trouble.as_mut().filter(|trouble| trouble.state != DestinationState::Throttled) {
            trouble.not_before = trouble.not_before.min(now.boot);
        }
    }

    /// In trouble, gives back all batches that wait and of which `is_stray` says that they should: they are not for this
    /// stream any more. Nothing that follows them here depends on their order.
    pub(crate) fn release_strays(&mut self, is_stray: impl Fn(&[Segment]) -> bool) -> Vec<Segment> {
        let mut released = Vec::new();
        if self.trouble.is_none() {
            return released;
        }
        if let Some((batch, _)) = self.open.take_if(|(batch, _)| is_stray(batch.segments())) {
            released.extend_from_slice(batch.segments());
        }
        self.release_ready(is_stray, &mut released);
        released
    }

    /// The clock was set: gives back what waits with the times of the clock as it was, if `may_go` says that it can be read
    /// again. Where it was set back, what is read from here on goes on behind what was read before, so that the order stays
    /// the source's; unless CloudWatch would refuse that as too new.
    pub(crate) fn release_times(
        &mut self,
        now: Moment,
        was_ahead: bool,
        may_go: impl Fn(&[Segment]) -> bool,
    ) -> Vec<Segment> {
        let mut released = Vec::new();
        let open = self.open.as_ref().map(|(batch, _)| batch.read_until());
        let ahead =
            open.max(Some(self.read_until)).map_or(SignedDuration::ZERO, |until| until.duration_since(now.wall));
        if was_ahead && ahead < MOST_AHEAD {
            return released;
        }
        self.seal(now, true);
        if was_ahead {
            self.read_until = Timestamp::MIN;
            self.delivered_until = self.delivered_until.min(Some(now.wall));
        }
        self.release_ready(may_go, &mut released);
        released
    }

    /// Batches of sources only: what says a gap is known nowhere else.
    fn release_ready(&mut self, goes: impl Fn(&[Segment]) -> bool, released: &mut Vec<Segment>) {
        self.ready.retain(|(shipment, _)| {
            let goes = shipment.is_untouched() && !shipment.is_marker() && goes(shipment.batch.segments());
            if goes {
                released.extend_from_slice(shipment.batch.segments());
            }
            !goes
        });
    }
}

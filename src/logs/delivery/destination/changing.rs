//! What another configuration changes of a stream that goes on: how long it lingers, when it tries again, what it gives
//! back. Not which streams there are.

use std::time::Duration;

use super::{Destination, Moment};
use crate::logs::DestinationState;
use crate::logs::batch::Segment;

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
        self.ready.retain(|(shipment, _)| {
            let goes = shipment.is_untouched() && is_stray(shipment.batch.segments());
            if goes {
                released.extend_from_slice(shipment.batch.segments());
            }
            !goes
        });
        released
    }
}

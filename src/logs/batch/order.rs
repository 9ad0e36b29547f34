//! The order of a body's events by their time, which is read back from the body: keeping it beside each event would cost
//! every batch twice the bookkeeping, for the few that need it.

use std::ops::Range;

use super::Entry;

/// What stands before an event's time.
const BEFORE_TIME: usize = b"{\"timestamp\":".len();

/// Where in the body the JSON of event `index` stands; `head` is where the first one begins.
pub(super) fn event(entries: &[Entry], head: usize, index: usize) -> Range<usize> {
    let start = match index {
        0 => head,
        // Behind the comma that follows the event before.
        index => entries[index - 1].body_end as usize + 1,
    };
    start..entries[index].body_end as usize
}

/// The events' indices, oldest first; those of the same time stay as they are.
pub(super) fn by_time(body: &[u8], head: usize, entries: &[Entry]) -> Vec<u32> {
    let times: Vec<i64> = (0..entries.len()).map(|index| time(&body[event(entries, head, index)])).collect();
    // A batch has ten thousand events at most.
    let mut order: Vec<u32> = (0..).take(entries.len()).collect();
    order.sort_by_key(|&index| times[index as usize]);
    order
}

fn time(event: &[u8]) -> i64 {
    let digits = event[BEFORE_TIME..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |time, digit| time * 10 + i64::from(digit - b'0'))
}

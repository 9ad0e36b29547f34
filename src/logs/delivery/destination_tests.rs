//! What one stream does, told in times and answers; nothing here waits.

use super::*;
use crate::logs::batch::Message;
use crate::logs::framing::{Piece, Record};

const FLUSH: Duration = Duration::from_secs(5);

fn at(millis: u64) -> Moment {
    let wall = Timestamp::from_second(1_700_000_000).expect("a time");
    let since = SignedDuration::from_millis(i64::try_from(millis).expect("small"));
    Moment { boot: Duration::from_millis(millis), wall: wall.checked_add(since).expect("a time") }
}

fn stream() -> Destination {
    Destination::new("g".into(), "s".into(), FLUSH)
}

/// A stream that has accepted something before.
fn proven() -> Destination {
    let mut stream = stream();
    stream.proven = true;
    stream
}

/// Reads `lines` lines of one byte at `now`, beginning at `start`.
fn read(stream: &mut Destination, start: u64, lines: usize, now: Moment) {
    let batch = stream.open(now, 0, &Pool::default());
    batch.begin_segment(1, start, 0);
    for _ in 0..lines {
        let record = Record::of(b"x", 2, Piece::Line);
        batch.push(&record, Message::of("x"), now.wall, usize::MAX);
    }
}

/// Reads a full batch.
fn read_full(stream: &mut Destination, start: u64, now: Moment) {
    read(stream, start, 10_001, now);
    stream.seal(now, false);
}

fn failure(kind: Kind) -> Failure {
    Failure { kind, message: format!("{kind:?}"), hint: None, retry_after: None }
}

fn state(stream: &Destination) -> DestinationState {
    stream.snapshot(at(0)).state
}

#[test]
fn an_idle_stream_sends_a_line_after_a_quarter_of_a_second() {
    let mut stream = proven();
    read(&mut stream, 0, 1, at(10_000));
    assert_eq!(stream.wake_at(at(10_000)), Some(at(10_250).boot));
    stream.seal(at(10_249), false);
    assert!(stream.send(1, 0, at(10_249)).is_none());
    stream.seal(at(10_250), false);
    assert!(stream.send(1, 0, at(10_250)).is_some());
}

#[test]
fn a_stream_with_a_line_every_moment_is_busy_and_lingers_the_flush_interval() {
    let mut stream = proven();
    let mut quick = 0;
    for line in 0..100 {
        let now = 10_000 + line * 300;
        read(&mut stream, line * 2, 1, at(now));
        stream.seal(at(now + 250), false);
        quick += u32::from(stream.open.is_none());
    }
    // Twenty, and one for each five of the thirty seconds.
    assert!((20..=27).contains(&quick), "{quick}");
    let last = stream.last_partial.expect("sent before");
    assert_eq!(stream.seal_at(), Some(last + FLUSH));
}

#[test]
fn a_full_batch_goes_at_once() {
    let mut stream = proven();
    read_full(&mut stream, 0, at(0));
    assert!(stream.send(1, 0, at(0)).is_some());
}

#[test]
fn one_request_at_a_time_while_it_keeps_up_then_up_to_eight() {
    let mut stream = proven();
    let mut sent = 0;
    for step in 0..20 {
        read_full(&mut stream, step * 20_000, at(step * 10));
        let too_soon = stream.flying.len() >= stream.window && stream.send(100 + step, 0, at(step * 10)).is_some();
        assert!(!too_soon);
        sent += usize::from(stream.send(step, 0, at(step * 10 + 5)).is_some());
    }
    assert_eq!((sent, stream.flying.len()), (WIDEST_WINDOW, WIDEST_WINDOW));
}

#[test]
fn batches_never_share_a_millisecond_so_they_may_overtake_each_other() {
    let mut stream = proven();
    let mut last = None;
    for step in 0..3 {
        read_full(&mut stream, step * 20_000, at(7));
        let (shipment, _) = stream.ready.back().expect("sealed");
        assert!(last < Some(shipment.batch.first_at()));
        last = Some(shipment.batch.last_at());
    }
}

#[test]
fn a_throttled_stream_waits_narrows_and_lingers_longer_and_then_recovers() {
    let mut stream = proven();
    stream.window = 8;
    read_full(&mut stream, 0, at(0));
    stream.send(1, 0, at(0)).expect("sent");
    stream.answer(1, Err(failure(Kind::Throttled)), at(30));
    assert_eq!((state(&stream), stream.window, stream.linger), (DestinationState::Throttled, 4, FLUSH * 2));
    assert!(stream.send(2, 0, at(31)).is_none());
    let again = stream.trouble.as_ref().expect("in trouble").not_before;
    let later = Moment { boot: again, ..at(0) };
    stream.send(2, 0, later).expect("sent again");
    let outcome = stream.answer(2, Ok(Accepted::default()), later);
    assert!(outcome.finished.is_some());
    assert_eq!((state(&stream), stream.linger + LINGER_STEP), (DestinationState::Running, FLUSH * 2));
    assert_eq!((stream.retries, stream.throttles, stream.put_calls), (1, 1, 2));
}

#[test]
fn a_denied_stream_gives_its_batches_back_and_probes_with_a_small_one_each_minute() {
    let mut stream = proven();
    read_full(&mut stream, 0, at(0));
    stream.send(1, 0, at(0)).expect("sent");
    read(&mut stream, 20_000, 5, at(1));
    let outcome = stream.answer(1, Err(failure(Kind::Denied)), at(10));
    assert!(matches!(outcome.news, Some(News::Trouble(DestinationState::Denied, _))));
    let released: Vec<u64> = stream.release(at(10), |_| true).iter().map(|segment| segment.start).collect();
    assert_eq!(released, [20_000, 0]);
    assert!(stream.is_empty());
    assert_eq!(stream.appetite(at(59_000)), None);
    assert_eq!(stream.appetite(at(60_010)), Some(SMALL_BODY));
}

#[test]
fn what_can_not_be_read_again_is_kept_while_denied() {
    let mut stream = proven();
    read_full(&mut stream, 0, at(0));
    stream.send(1, 0, at(0)).expect("sent");
    stream.answer(1, Err(failure(Kind::Denied)), at(10));
    assert!(stream.release(at(10), |_| false).is_empty());
    assert_eq!(stream.ready.len(), 1);
}

#[test]
fn a_batch_older_than_what_was_accepted_is_kept_so_that_it_keeps_its_time() {
    let mut stream = proven();
    stream.window = 2;
    read_full(&mut stream, 0, at(0));
    stream.send(1, 0, at(0)).expect("sent");
    read_full(&mut stream, 20_000, at(1));
    stream.send(2, 0, at(1)).expect("sent");
    stream.answer(2, Ok(Accepted::default()), at(5));
    stream.answer(1, Err(failure(Kind::Denied)), at(6));
    assert!(stream.release(at(6), |_| true).is_empty());
}

#[test]
fn a_missing_stream_is_created_once_and_sent_again() {
    let mut stream = stream();
    read(&mut stream, 0, 1, at(0));
    stream.seal(at(250), false);
    stream.send(1, 0, at(250)).expect("sent");
    let outcome = stream.answer(1, Err(failure(Kind::NotFound)), at(251));
    assert!(outcome.create && state(&stream) == DestinationState::Running);
    assert!(stream.send(2, 0, at(252)).is_none());
    assert!(stream.created(Ok(()), at(300)).is_none());
    assert!(stream.send(2, 0, at(300)).is_some());
}

#[test]
fn a_creation_that_is_denied_is_trouble() {
    let mut stream = stream();
    stream.creating = true;
    let news = stream.created(Err(failure(Kind::Denied)), at(0));
    assert!(matches!(news, Some(News::Trouble(DestinationState::Denied, _))));
}

#[test]
fn a_stream_that_accepted_nothing_yet_gets_small_batches_one_at_a_time() {
    let mut stream = stream();
    assert_eq!(stream.appetite(at(0)), Some(SMALL_BODY));
    read_full(&mut stream, 0, at(0));
    stream.send(1, 0, at(0)).expect("sent");
    assert_eq!(stream.appetite(at(1)), None);
    stream.answer(1, Ok(Accepted::default()), at(2));
    assert_eq!(stream.appetite(at(2)), Some(usize::MAX));
}

#[test]
fn answers_side_by_side_count_as_one_attempt() {
    let mut stream = proven();
    stream.window = 8;
    for step in 0..8 {
        read_full(&mut stream, step * 20_000, at(step));
        stream.send(step, 0, at(step)).expect("sent");
    }
    for step in 0..8 {
        stream.answer(step, Err(failure(Kind::Unreachable)), at(20));
    }
    assert_eq!(stream.trouble.as_ref().map(|trouble| trouble.attempts), Some(1));
    assert_eq!(stream.ready.len(), 8);
}

#[test]
fn a_batch_of_empty_lines_needs_no_request() {
    let mut stream = proven();
    let batch = stream.open(at(0), 0, &Pool::default());
    batch.begin_segment(1, 0, 0);
    batch.push(&Record::of(b"", 1, Piece::Line), Message::of(""), at(0).wall, usize::MAX);
    stream.seal(at(250), false);
    let finished = stream.take_finished().expect("nothing to send");
    assert_eq!(finished.batch.segments()[0].count().events, 1);
}

//! Batches against what AWS counts by, and a model for everything else. Not the reading that fills them.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).expect("a time")
}

/// Fills a batch with `lines`, all read at `time`; how many found room.
fn fill(batch: &mut Batch, file: FileId, start: u64, lines: &[&str], time: i64) -> usize {
    batch.begin_segment(file, start, 0);
    let fits = |line: &&&str| {
        let record = Record::of(line.as_bytes(), line.len() + 1, Piece::Line);
        batch.push(&record, Message::of(line), at(time), usize::MAX)
    };
    lines.iter().take_while(fits).count()
}

fn parse(body: &[u8]) -> Value {
    serde_json::from_slice(body).expect("the body is JSON")
}

#[test]
fn the_body_is_what_the_api_wants() {
    let mut batch = Batch::new(at(5), 0, &Pool::default());
    fill(&mut batch, 1, 0, &["a \"quoted\" one", "two"], 7);
    let sealed = batch.seal("/g", "s\"x");
    let expected = serde_json::json!({
        "logEvents": [{"timestamp": 7, "message": "a \"quoted\" one"}, {"timestamp": 7, "message": "two"}],
        "logGroupName": "/g", "logStreamName": "s\"x",
    });
    assert_eq!(parse(&sealed.body_of(0..2)), expected);
    assert_eq!(parse(&sealed.body_of(1..2))["logEvents"], serde_json::json!([{"timestamp": 7, "message": "two"}]));
    assert_eq!(parse(sealed.event(0))["message"], "a \"quoted\" one");
}

#[test]
fn a_batch_holds_ten_thousand_events() {
    let lines = vec!["x"; 10_001];
    assert_eq!(fill(&mut Batch::new(at(0), 0, &Pool::default()), 1, 0, &lines, 0), 10_000);
}

#[test]
fn a_batch_counts_each_event_with_26_bytes_more() {
    let line = "x".repeat(1000 - 26);
    let lines = vec![line.as_str(); 2000];
    assert_eq!(fill(&mut Batch::new(at(0), 0, &Pool::default()), 1, 0, &lines, 0), 1_048_576 / 1000);
}

#[test]
fn the_largest_event_fits_alone() {
    let line = "x".repeat(1_048_550);
    let mut batch = Batch::new(at(0), 0, &Pool::default());
    assert_eq!(fill(&mut batch, 1, 0, &[line.as_str(), "y"], 0), 1);
    assert!(batch.is_full());
}

#[test]
fn a_batch_spans_less_than_a_day_and_never_goes_back_in_time() {
    let mut batch = Batch::new(at(100), 0, &Pool::default());
    assert_eq!(fill(&mut batch, 1, 0, &["early"], 50), 1);
    assert_eq!(fill(&mut batch, 1, 6, &["late"], 100 + LONGEST_SPAN), 0);
    assert_eq!(batch.seal("g", "s").first_at(), at(100));
}

#[test]
fn empty_lines_are_covered_but_not_sent() {
    let mut batch = Batch::new(at(0), 0, &Pool::default());
    fill(&mut batch, 1, 10, &["", "a", ""], 0);
    let sealed = batch.seal("g", "s");
    let segment = &sealed.segments()[0];
    assert_eq!((sealed.len(), segment.start, segment.end), (1, 10, 14));
    assert_eq!(
        (segment.sent(), segment.skipped[&Reason::Empty]),
        (Count { events: 1, bytes: 2 }, Count { events: 2, bytes: 2 })
    );
}

#[test]
fn shares_tell_whose_events_a_range_is() {
    let mut batch = Batch::new(at(0), 0, &Pool::default());
    fill(&mut batch, 1, 0, &["aa", "bb"], 0);
    fill(&mut batch, 2, 0, &["cccc"], 0);
    fill(&mut batch, 2, 5, &["d"], 0);
    let sealed = batch.seal("g", "s");
    assert_eq!(sealed.segments().len(), 2);
    let shares = sealed.shares_of(1..3);
    let counts: Vec<_> = shares.iter().map(|share| (share.segment, share.file, share.count)).collect();
    assert_eq!(counts, [(0, 1, Count { events: 1, bytes: 3 }), (1, 2, Count { events: 1, bytes: 5 })]);
}

/// A text, with or without a time of its own.
fn push_at(batch: &mut Batch, text: &str, own: Option<i64>, read_at: i64, limit: usize) -> bool {
    let record = Record::of(text.as_bytes(), text.len() + 1, Piece::Line);
    batch.push(&record, Message { time: own.map(at), ..Message::of(text) }, at(read_at), limit)
}

fn times(sealed: &Sealed) -> Vec<i64> {
    (0..sealed.len()).map(|index| parse(sealed.event(index))["timestamp"].as_i64().unwrap()).collect()
}

fn texts(sealed: &Sealed) -> Vec<String> {
    (0..sealed.len()).map(|index| parse(sealed.event(index))["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn events_with_times_of_their_own_are_put_in_order_and_still_known_by_whose_they_are() {
    let mut batch = Batch::new(at(0), 0, &Pool::default());
    batch.begin_segment(1, 0, 0);
    push_at(&mut batch, "aa", Some(30), 100, usize::MAX);
    push_at(&mut batch, "b", Some(10), 100, usize::MAX);
    batch.begin_segment(2, 0, 0);
    push_at(&mut batch, "cccc", Some(20), 100, usize::MAX);
    push_at(&mut batch, "d", Some(10), 100, usize::MAX);
    let sealed = batch.seal("g", "s");
    assert_eq!((times(&sealed), texts(&sealed).join(" ")), (vec![10, 10, 20, 30], "b d cccc aa".to_owned()));
    assert_eq!((sealed.first_at(), sealed.last_at()), (at(10), at(30)));
    let shares: Vec<_> = sealed.shares_of(1..3).iter().map(|share| (share.file, share.count.bytes)).collect();
    assert_eq!(shares, [(2, 7)]);
    assert_eq!(sealed.shares_of(3..4)[0].count, Count { events: 1, bytes: 3 });
    let body = parse(&sealed.body_of(1..3));
    assert_eq!(body["logEvents"][0]["message"], "d");
}

#[test]
fn a_time_of_its_own_does_not_move_the_time_of_reading() {
    let mut batch = Batch::new(at(5), 0, &Pool::default());
    batch.begin_segment(1, 0, 0);
    push_at(&mut batch, "later", Some(9_000), 7, usize::MAX);
    push_at(&mut batch, "now", None, 7, usize::MAX);
    assert_eq!(batch.read_until(), at(7));
    assert_eq!(texts(&batch.seal("g", "s")), ["now", "later"]);
}

#[test]
fn a_marker_is_an_event_that_costs_nothing_in_any_account() {
    let mut batch = Batch::new(at(0), 0, &Pool::default());
    assert!(batch.push_marker("10 lines are missing here", at(3)));
    assert!(!batch.is_empty());
    batch.begin_segment(1, 0, 0);
    push_at(&mut batch, "x", None, 5, usize::MAX);
    let sealed = batch.seal("g", "s");
    assert_eq!(texts(&sealed), ["10 lines are missing here", "x"]);
    assert_eq!(sealed.segments()[0].count(), Count::default());
    assert_eq!(sealed.shares_of(0..2).len(), 1);
}

#[test]
fn what_is_held_back_is_covered_and_counted_by_its_reason() {
    let mut batch = Batch::new(at(0), 0, &Pool::default());
    batch.begin_segment(1, 0, 0);
    batch.skip(&Record::of(b"long", 4, Piece::Part(1)), Reason::Filtered, 9);
    batch.skip(&Record::of(b"er", 3, Piece::LastPart(2)), Reason::Filtered, 0);
    batch.skip(&Record::of(b"x", 2, Piece::Line), Reason::Budget, 0);
    push_at(&mut batch, "y", None, 0, usize::MAX);
    let segment = batch.seal("g", "s").segments()[0].clone();
    assert_eq!((segment.end, segment.count()), (11, Count { events: 3, bytes: 11 }));
    assert_eq!(segment.sent(), Count { events: 1, bytes: 2 });
    assert_eq!(segment.skipped[&Reason::Filtered], Count { events: 1, bytes: 7 });
}

/// What a model record is: its length, its own time, whether it is held back, which file it is of.
type Written = (usize, Option<i64>, bool, u64);

proptest! {
    // Each case writes and reads back megabytes, unoptimised.
    #![proptest_config(ProptestConfig::with_cases(50))]

    /// Whatever is written: what AWS limits is within its limits, events are in order, each event is one that was
    /// written, and the accounts of all segments add up to what was written.
    #[test]
    fn every_batch_is_one_that_cloudwatch_takes_and_nothing_is_lost(
        records in prop::collection::vec(
            (prop_oneof![9 => 0..40_usize, 1 => 200_000..400_000_usize], prop::option::of(0..3 * LONGEST_SPAN), prop::bool::weighted(0.1), 1..4_u64),
            1..60,
        ),
        limit in prop_oneof![Just(usize::MAX), 100_000..500_000_usize],
    ) {
        let written: Vec<Written> = records;
        let (mut sealed, mut next, mut read_until) = (Vec::new(), 0, at(0));
        let mut offsets = [0_u64; 4];
        while next < written.len() {
            let mut batch = Batch::new(read_until, 0, &Pool::default());
            while let Some(&(length, own, held, file)) = written.get(next) {
                let text = format!("{next:06}{}", "x".repeat(length));
                batch.begin_segment(file, offsets[usize::try_from(file).unwrap()], 0);
                if held {
                    batch.skip(&Record::of(text.as_bytes(), text.len() + 1, Piece::Line), Reason::Filtered, 0);
                } else if !push_at(&mut batch, &text, own, 1_000 + i64::try_from(next).unwrap(), limit) {
                    break;
                }
                offsets[usize::try_from(file).unwrap()] += text.len() as u64 + 1;
                next += 1;
            }
            read_until = batch.read_until();
            sealed.push(batch.seal("g", "s"));
        }
        let mut arrived = Vec::new();
        let (mut count, mut filtered) = (Count::default(), 0);
        for batch in &sealed {
            let (times, texts) = (times(batch), texts(batch));
            prop_assert!(times.is_sorted());
            prop_assert!(times.last().zip(times.first()).is_none_or(|(last, first)| last - first < LONGEST_SPAN));
            prop_assert!(texts.iter().map(|text| text.len() + EVENT_OVERHEAD).sum::<usize>() <= LARGEST_COST);
            let shares = batch.shares_of(0..batch.len());
            for (index, segment) in batch.segments().iter().enumerate() {
                count.add(segment.count());
                filtered += segment.skipped.get(&Reason::Filtered).map_or(0, |count| count.events);
                let share = shares.iter().find(|share| share.segment == index).map_or(Count::default(), |share| share.count);
                prop_assert_eq!(share, segment.sent());
            }
            arrived.extend(texts);
        }
        arrived.sort();
        let sent: Vec<usize> = (0..written.len()).filter(|&index| !written[index].2).collect();
        let numbers: Vec<usize> = arrived.iter().map(|text| text[..6].parse().unwrap()).collect();
        prop_assert_eq!(&numbers, &sent);
        prop_assert_eq!(filtered, (written.len() - sent.len()) as u64);
        let bytes = written.iter().map(|(length, ..)| *length as u64 + 7).sum();
        prop_assert_eq!(count, Count { events: written.len() as u64, bytes });
    }
}

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

//! Framing against broken samples: whatever stands in a file, each turn takes some of it, every record fits an event, and
//! no time is one that CloudWatch refuses a batch for. Not what the records should be: that is beside each part.

use jiff::Timestamp;

use super::*;
use crate::logs::coverage::Place;

/// Lines, stack traces, metrics, JSON, with times of their own.
const TEXTS: [&str; 6] = [
    "2026-11-22 08:00:00 one\n  at two\n  at three\n2026-11-22 08:00:01 four\npartial",
    "{\"at\":1795334400500,\"log\":{\"level\":\"info\"},\"text\":\"password=x\"}\n{\"at\":\"2026-11-22T08:00:00Z\"}\n",
    "{\"_aws\":{\"Timestamp\":1795334400500,\"CloudWatchMetrics\":[{\"Namespace\":\"n\"}]},\"a\":1}\n",
    "\u{feff}d\u{e9}j\u{e0} vu \u{1f600}\r\n\r\n\n",
    "{\"at\":-1795334400500}\n{\"_aws\":{\"Timestamp\":-5,\"CloudWatchMetrics\":[]}}\n-5 -5\n",
    "{\"at\":{\"at\":{\"at\":[[[[1]]]]}},\"log.level\":9}\n",
];

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

fn framers() -> Vec<Framer> {
    let rules = [
        None,
        Some(Rule::Start(pattern(r"^\d{4}"))),
        Some(Rule::Continuation(pattern(r"^\s"))),
        Some(Rule::End(pattern("e$"))),
    ];
    let time = |format| TimeRule { pattern: pattern(r"^(\S+ \S+)"), format, zone: Zone::default() };
    let formats = [Format::parse("%Y-%m-%d %H:%M:%S").unwrap(), Format::Epoch, Format::Rfc3339, Format::EpochMillis];
    let mut framers = Vec::new();
    for (index, label) in ["utf-8", "utf-16le", "utf-16be", "shift_jis", "latin1", "gb18030"].iter().enumerate() {
        for rule in rules.clone() {
            let timeout = Duration::from_secs(1);
            let multiline = rule.map(|rule| Multiline { rule, timeout, max_lines: 3, max_bytes: 40 });
            let settings = Settings {
                encoding: Encoding::for_label(label).unwrap(),
                multiline,
                timestamp: Some(time(formats[index % formats.len()].clone())),
                json: Some(Json { timestamp: Some("at".into()), level: Some(("log.level".into(), Level::Info)) }),
                drop: vec![pattern("vu")],
                redact: vec![Redaction { pattern: pattern(r"password=(\S+)"), replace: "$1$1$9${x}".into() }],
                ..Settings::default()
            };
            framers.push(Framer::new(settings, Form::Lines));
        }
    }
    framers.push(Framer::new(Settings::default(), Form::Recorded));
    framers
}

fn frame(framer: &Framer, input: &[u8], end: End) {
    let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
    let mut place = Place::default();
    while let Ok(at) = usize::try_from(place.offset) {
        let Framed::Record(record) = framer.next(&input[at..], place, end) else { break };
        assert!(record.length > 0 && record.length <= input.len() - at, "{record:?}");
        let (text, _) = framer.decode(record.text);
        assert!(text.len() + record.piece.marker().len() <= LONGEST_MESSAGE + 48);
        if let Verdict::Send { text, time, .. } = framer.judge(&record, &text, now) {
            assert!(text.len() <= LONGEST_MESSAGE);
            assert!(time.is_none_or(|time| time >= Timestamp::UNIX_EPOCH), "{time:?}");
        }
        place = Place { offset: place.offset + record.length as u64, parts: record.piece.next_part() };
    }
    let rest = usize::try_from(place.offset).unwrap();
    let finds_all = framer.form == Form::Lines && end == End::Complete;
    assert!(!finds_all || rest == input.len(), "{} bytes are never read", input.len() - rest);
}

#[test]
fn nothing_hostile_makes_framing_panic_stand_still_or_send_what_is_refused() {
    let framers = framers();
    let wide = |text: &&str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let plain = TEXTS.iter().map(|text| text.as_bytes().to_vec());
    let recorded = [None, Some(-1), Some(1_795_334_400_500)].map(|time| {
        let mut bytes = Vec::new();
        recorded::encode(&mut bytes, time.and_then(|millis| Timestamp::from_millisecond(millis).ok()), b"one");
        bytes
    });
    let samples: Vec<Vec<u8>> = plain.chain(TEXTS.iter().map(wide)).chain(recorded).collect();
    let samples: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
    crate::fuzz::hostile(&samples, |input| {
        // Another framer each time, so that all have their turn.
        let framer = &framers[crc32fast::hash(input) as usize % framers.len()];
        for end in [End::Open, End::Quiet, End::Complete] {
            frame(framer, input, end);
        }
    });
}

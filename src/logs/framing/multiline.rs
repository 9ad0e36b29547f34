//! Lines that belong together become one record: which line begins it, goes on with it or ends it. Pure: the end of a
//! record follows from its bytes and those behind them, never from what was read before, so that a restart needs to
//! know nothing but where a record begins. Not the place for lines themselves.
//!
//! Caps emit and go on: a pattern that never matches collects `max_lines` lines or `max_bytes` at most, and what a
//! writer leaves unfinished goes out after `timeout`. A line that is longer than `max_bytes` is a record of its own.

use std::time::Duration;

use super::encoding::Encoding;
use super::lines::{Record, longest, next_line, whole};
use super::pattern::Pattern;
use super::{End, json};

/// Which lines belong together, and the caps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multiline {
    /// What a line says about its record.
    pub rule: Rule,
    /// After so long without growth the last record goes out.
    pub timeout: Duration,
    /// The most lines of a record.
    pub max_lines: u32,
    /// The most bytes of a record, in the source.
    pub max_bytes: usize,
}

/// What a line that matches says about its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// It begins a record.
    Start(Pattern),
    /// It goes on with the record of the line before.
    Continuation(Pattern),
    /// It ends its record.
    End(Pattern),
}

/// The largest `max_bytes`. A record ends where an event is full, so what CloudWatch takes is the cap behind this one.
pub const LONGEST_RECORD: usize = 1 << 20;

/// How a line goes with those before it.
enum Join {
    No,
    Yes,
    AsLast,
}

impl Multiline {
    /// The first record of `block`, which begins a line, or `None` when its end is not there yet.
    pub(super) fn next<'a>(&self, block: &'a [u8], encoding: Encoding, end: End) -> Option<Record<'a>> {
        let cap = self.max_bytes.min(longest(encoding));
        let first = encoding.line_end(block).filter(|(_, behind)| *behind <= cap);
        let Some((mut text, mut taken)) = first else { return next_line(block, 0, encoding, end) };
        let mut lines = 1;
        let mut open = !self.stands_alone(&block[..text], encoding);
        while open && lines < self.max_lines {
            let rest = &block[taken..];
            let (length, behind) = match encoding.line_end(rest) {
                Some(found) => found,
                None if taken + rest.len() > cap => break,
                None if end == End::Open => return None,
                None if end == End::Quiet || rest.is_empty() => break,
                None => (rest.len(), rest.len()),
            };
            if taken + behind > cap {
                break;
            }
            match self.join(&rest[..length], encoding) {
                Join::No => break,
                Join::Yes => {}
                Join::AsLast => open = false,
            }
            (text, taken, lines) = (taken + length, taken + behind, lines + 1);
        }
        Some(whole(&block[..text], taken, 0, encoding))
    }

    /// Whether nothing can follow a first line: it is the last one as well, or metrics, which are never joined.
    fn stands_alone(&self, line: &[u8], encoding: Encoding) -> bool {
        let line = encoding.decode(encoding.without_return(line)).0;
        json::metrics(&line).is_some() || matches!(&self.rule, Rule::End(last) if last.is_match(&line))
    }

    fn join(&self, line: &[u8], encoding: Encoding) -> Join {
        let line = encoding.decode(encoding.without_return(line)).0;
        let joins = match &self.rule {
            Rule::Start(first) => !first.is_match(&line),
            Rule::Continuation(next) => next.is_match(&line),
            Rule::End(last) if last.is_match(&line) => return Join::AsLast,
            Rule::End(_) => true,
        };
        if joins && json::metrics(&line).is_none() { Join::Yes } else { Join::No }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(kind: fn(Pattern) -> Rule, pattern: &str) -> Multiline {
        let rule = kind(Pattern::parse(pattern).unwrap());
        Multiline { rule, timeout: Duration::from_secs(1), max_lines: 1000, max_bytes: LONGEST_RECORD }
    }

    /// The records of `text`, and what is left of it.
    fn records<'t>(multiline: &Multiline, mut text: &'t str, end: End) -> (Vec<&'t str>, &'t str) {
        let mut found = Vec::new();
        while let Some(record) = multiline.next(text.as_bytes(), Encoding::default(), end) {
            found.push(std::str::from_utf8(record.text).unwrap());
            text = &text[record.length..];
        }
        (found, text)
    }

    #[test]
    fn a_line_that_matches_start_begins_a_record() {
        let text = "orphan\n1 a\n  at b\n\n  at c\r\n2 d\n";
        let (found, rest) = records(&rule(Rule::Start, "^\\d"), text, End::Open);
        assert_eq!((found, rest), (vec!["orphan", "1 a\n  at b\n\n  at c"], "2 d\n"));
    }

    #[test]
    fn a_line_that_matches_continuation_belongs_to_the_one_before() {
        let text = "a\n  b\n  c\nd\n";
        let (found, rest) = records(&rule(Rule::Continuation, "^\\s"), text, End::Open);
        assert_eq!((found, rest), (vec!["a\n  b\n  c"], "d\n"));
    }

    #[test]
    fn a_line_that_matches_end_is_the_last_of_its_record() {
        let text = "a\nb;\nc;\nd\n";
        let (found, rest) = records(&rule(Rule::End, ";$"), text, End::Open);
        assert_eq!((found, rest), (vec!["a\nb;", "c;"], "d\n"));
    }

    #[test]
    fn when_it_is_quiet_whole_lines_go_out_and_a_partial_one_waits() {
        let multiline = rule(Rule::Start, "^\\d");
        assert_eq!(records(&multiline, "1 a\n b\n c", End::Quiet), (vec!["1 a\n b"], " c"));
        assert_eq!(records(&multiline, "1 a\n b\n c", End::Complete), (vec!["1 a\n b\n c"], ""));
    }

    #[test]
    fn a_pattern_that_never_matches_does_not_collect_for_ever() {
        let text = "x\n".repeat(10);
        let lines = Multiline { max_lines: 4, ..rule(Rule::Start, "never") };
        assert_eq!(records(&lines, &text, End::Open), (vec!["x\nx\nx\nx"; 2], "x\nx\n"));
        let bytes = Multiline { max_bytes: 7, ..rule(Rule::End, "never") };
        assert_eq!(records(&bytes, &text, End::Open), (vec!["x\nx\nx"; 3], "x\n"));
    }

    #[test]
    fn a_line_longer_than_the_cap_is_a_record_of_its_own() {
        let multiline = Multiline { max_bytes: 4, ..rule(Rule::Start, "^\\d") };
        let text = "1\nlong long\n a\n2\n";
        assert_eq!(records(&multiline, text, End::Open), (vec!["1", "long long", " a"], "2\n"));
    }

    #[test]
    fn metrics_are_never_joined() {
        let metrics = r#"{"_aws":{"Timestamp":1,"CloudWatchMetrics":[]}}"#;
        for multiline in [rule(Rule::Start, "^\\d"), rule(Rule::Continuation, "^[ {]"), rule(Rule::End, "never")] {
            let text = format!("1 a\n b\n{metrics}\n c\n");
            let (found, _) = records(&multiline, &text, End::Complete);
            assert!(found.contains(&metrics), "{found:?}");
        }
    }

    proptest! {
        /// However a writer's bytes come in, and wherever a reader begins again, the records are the same.
        #[test]
        fn records_are_the_same_however_the_bytes_come(
            lines in prop::collection::vec("[0-9 ;x]{0,6}", 0..30),
            kind in 0..3_usize,
            (max_lines, max_bytes) in (1..6_u32, 1..30_usize),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        ) {
            let (kind, pattern): (fn(Pattern) -> Rule, _) = [(Rule::Start as fn(_) -> _, "^[0-9]"), (Rule::Continuation, "^ "), (Rule::End, ";$")][kind];
            let multiline = Multiline { max_lines, max_bytes, ..rule(kind, pattern) };
            let text = lines.iter().fold(String::new(), |text, line| text + line + "\n");
            let (at_once, rest) = records(&multiline, &text, End::Complete);
            prop_assert_eq!(rest, "");
            prop_assert_eq!(at_once.iter().map(|record| record.len() + 1).sum::<usize>(), text.len());
            let (mut bit_by_bit, mut done) = (Vec::new(), 0);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.sort_unstable();
            for cut in cuts {
                let (found, rest) = records(&multiline, &text[done.min(cut)..cut], End::Open);
                if done <= cut {
                    bit_by_bit.extend(found);
                    done = cut - rest.len();
                }
            }
            bit_by_bit.extend(records(&multiline, &text[done..], End::Complete).0);
            prop_assert_eq!(at_once, bit_by_bit);
        }
    }
}

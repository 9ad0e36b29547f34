//! What a hostile or damaged input does to a parser: samples of what it is made for, broken in every way that a seed
//! draws. For the parsers' own tests, each beside its parser. Not the parsers, and no coverage-guided search: what needs
//! one has a model in its tests.
//!
//! `IMDS_AGENT_FUZZ_TIMES=N` makes it N times longer; `IMDS_AGENT_FUZZ_CASE=N` repeats one case.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fastrand::Rng;

/// Broken samples for one parser in the test command: a fraction of a second.
const CASES: u64 = 2_000;

/// How often a sample is broken: a single fault finds what a parser believes, several what it believes after an error.
const BREAKS: Range<usize> = 1..8;

/// No broken sample gets longer: repeating what repeats itself would double it each time.
const LONGEST: usize = 1 << 16;

/// What numbers, lengths and ends of text are mistaken for.
const TELLING: [&[u8]; 20] = [
    b"\0",
    b"\n",
    b"\r\n\r\n",
    b"\n\n",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"[[[[[[[[",
    b"}",
    b"-1",
    b"99999999999999999999",
    b"1e999",
    b"0",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\0\0\0\0\0\0\0\0",
    b"\x7f\xff\xff\xff",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"%s{}=<>",
];

/// Feeds broken `samples` to `parse`, which may refuse all of them and panic at none.
#[track_caller]
pub(crate) fn hostile(samples: &[&[u8]], parse: impl Fn(&[u8])) {
    hostile_times(CASES, samples, parse);
}

/// The same for a parser of which each case takes so long that the test command can have `cases` only.
#[track_caller]
pub(crate) fn hostile_times(cases: u64, samples: &[&[u8]], parse: impl Fn(&[u8])) {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let cases = match number("IMDS_AGENT_FUZZ_CASE") {
        Some(case) => case..case + 1,
        None => 0..cases * number("IMDS_AGENT_FUZZ_TIMES").unwrap_or(1),
    };
    for case in cases {
        let input = broken(samples, &mut Rng::with_seed(case));
        let outcome = catch_unwind(AssertUnwindSafe(|| parse(&input)));
        assert!(outcome.is_ok(), "repeat it with IMDS_AGENT_FUZZ_CASE={case}; the input: {}", input.escape_ascii());
    }
}

/// One of `samples`, broken.
fn broken(samples: &[&[u8]], random: &mut Rng) -> Vec<u8> {
    let mut input = samples[random.usize(..samples.len())].to_vec();
    for _ in 0..random.usize(BREAKS) {
        break_once(&mut input, samples, random);
        input.truncate(LONGEST);
    }
    input
}

fn break_once(input: &mut Vec<u8>, samples: &[&[u8]], random: &mut Rng) {
    let here = range(input.len(), random);
    match random.u8(..8) {
        0 if !here.is_empty() => input[here.start] ^= 1 << random.u8(..8),
        1 if !here.is_empty() => input[here].iter_mut().for_each(|byte| *byte = random.u8(..)),
        2 => drop(input.drain(here)),
        3 => input.truncate(here.start),
        4 => {
            let again = input[here.clone()].repeat(random.usize(1..40));
            input.splice(here.end..here.end, again);
        }
        5 => {
            let other = samples[random.usize(..samples.len())];
            input.splice(here, other[range(other.len(), random)].iter().copied());
        }
        _ => drop(input.splice(here, TELLING[random.usize(..TELLING.len())].iter().copied())),
    }
}

/// Somewhere in `length` bytes, mostly short.
fn range(length: usize, random: &mut Rng) -> Range<usize> {
    let start = random.usize(..=length);
    let most = if random.bool() { 8.min(length - start) } else { length - start };
    start..start + random.usize(..=most)
}

#[test]
fn samples_are_broken_in_many_ways_and_the_same_way_again() {
    let of = |seed| broken(&[b"a sample"], &mut Rng::with_seed(seed));
    let all: std::collections::BTreeSet<Vec<u8>> = (0..1_000).map(of).collect();
    assert!(all.len() > 800, "{} different ones", all.len());
    assert_eq!(of(7), of(7));
    assert!(all.iter().all(|input| input.len() <= LONGEST));
}

#[test]
fn a_parser_that_panics_is_found() {
    let outcome = catch_unwind(|| hostile(&[b"length=8"], |input| assert!(!input.ends_with(b"\0"))));
    assert!(outcome.is_err());
}

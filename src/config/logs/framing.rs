//! The syntax of what a table of sources says about its records. Not the meaning: that is `logs::framing`'s.

use std::fmt::Display;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::report::Problem;
use crate::config::table::{Located, Reader};
use crate::config::units::{Size, Span};
use crate::logs::framing::{
    Budget, Encoding, Format, Json, LONGEST_RECORD, Level, Multiline, Pattern, Redaction, Rule, Sample, Settings,
    TimeRule, Zone,
};

/// What a writer that is interrupted in the middle of a stack trace needs to go on, and no more: somebody waits for the
/// line.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Shorter, and a record would be torn by a busy machine; longer, and nobody would wait for it.
const TIMEOUTS: (Span, Span) = (Span(Duration::from_millis(10)), Span(Duration::from_mins(5)));

/// More lines than the longest stack trace has; a pattern that never matches is noticed soon.
const MAX_LINES: u32 = 1000;

/// As much as one event holds, and a bound that only keeps memory in sight.
const MOST_LINES: i64 = 1_000_000;

/// Room for at least a line, and one event at most.
const MAX_BYTES: (Size, Size) = (Size(1024), Size(LONGEST_RECORD as u64));

/// Less than the smallest line a minute is a mistake in the unit; the upper end only keeps sums from overflowing.
const PER_DAY: (Size, Size) = (Size(1024), Size(1 << 50));

/// What is said of a source of lines.
pub(super) fn read_lines(table: &mut Reader<'_>) -> Settings {
    let encoding = table.string("encoding").and_then(|label| encoding(table, &label)).unwrap_or_default();
    let multiline = inner(table, "multiline").and_then(multiline);
    Settings { encoding, multiline, ..read(table) }
}

/// What is said of any source.
fn read(table: &mut Reader<'_>) -> Settings {
    Settings {
        timestamp: inner(table, "timestamp").and_then(timestamp),
        json: inner(table, "json").map(json),
        keep: patterns(table, "keep"),
        drop: patterns(table, "drop"),
        redact: table.tables("redact").into_iter().filter_map(redaction).collect(),
        budget: inner(table, "budget").and_then(budget),
        ..Settings::default()
    }
}

/// What is said of a source whose records are told apart before they are kept: `why` lines can't be joined, and `instead`.
pub(super) fn read_told_apart(table: &mut Reader<'_>, why: &str, instead: &str) -> Settings {
    if table.has("multiline") {
        let multiline = table.table("multiline");
        let message = format!("`multiline` is for files; {why}");
        table.report().add(Problem::new(multiline.place(), message).hint(instead));
    }
    read(table)
}

/// The table at `key`, if it is set.
fn inner<'r>(table: &mut Reader<'r>, key: &'static str) -> Option<Reader<'r>> {
    let is_set = table.has(key);
    Some(table.table(key)).filter(|_| is_set)
}

fn encoding(table: &Reader<'_>, label: &Located<String>) -> Option<Encoding> {
    let found = Encoding::for_label(&label.value);
    if found.is_none() {
        let message = format!("`encoding` can't be \"{}\": no encoding has that label", label.value);
        let hint = "the labels are those of https://encoding.spec.whatwg.org: utf-8, utf-16le, latin1, shift_jis…";
        table.report().add(Problem::new(label.place, message).hint(hint));
    }
    found
}

/// Reports what is wrong with a value, where it stands.
fn accept<T, E: Display>(table: &Reader<'_>, key: &str, value: &Located<String>, parsed: Result<T, E>) -> Option<T> {
    let fault = parsed.map_err(|reason| Problem::new(value.place, format!("`{key}` = \"{}\" {reason}", value.value)));
    fault.map_err(|problem| table.report().add(problem)).ok()
}

fn pattern(table: &mut Reader<'_>, key: &'static str) -> Option<Pattern> {
    let text = table.string(key)?;
    accept(table, key, &text, Pattern::parse(&text.value))
}

fn patterns(table: &mut Reader<'_>, key: &'static str) -> Vec<Pattern> {
    let texts = table.strings(key).map_or(Vec::new(), |texts| texts.value);
    texts.iter().filter_map(|text| accept(table, key, text, Pattern::parse(&text.value))).collect()
}

fn multiline(mut table: Reader<'_>) -> Option<Multiline> {
    let set = ["start", "continuation", "end"].iter().filter(|key| table.has(key)).count();
    let rules = [
        pattern(&mut table, "start").map(Rule::Start),
        pattern(&mut table, "continuation").map(Rule::Continuation),
        pattern(&mut table, "end").map(Rule::End),
    ];
    if set != 1 {
        let message = format!("{} needs exactly one of `start`, `continuation` and `end`, not {set}", table.header());
        table.report().add(Problem::new(table.place(), message));
    }
    let timeout = table.quantity("timeout", "1s", Span::parse, TIMEOUTS);
    let max_lines = table.integer("max_lines").and_then(|lines| {
        let fits = u32::try_from(lines.value).ok().filter(|_| (1..=MOST_LINES).contains(&lines.value));
        if fits.is_none() {
            let message = format!("`max_lines` must be from 1 to {MOST_LINES}, not {}", lines.value);
            table.report().add(Problem::new(lines.place, message));
        }
        fits
    });
    let max_bytes = table.quantity("max_bytes", "256KiB", Size::parse, MAX_BYTES);
    table.finish();
    Some(Multiline {
        rule: rules.into_iter().flatten().next()?,
        timeout: timeout.map_or(TIMEOUT, |timeout| timeout.0),
        max_lines: max_lines.unwrap_or(MAX_LINES),
        max_bytes: max_bytes.map_or(LONGEST_RECORD, |size| usize::try_from(size.0).unwrap_or(LONGEST_RECORD)),
    })
}

fn timestamp(mut table: Reader<'_>) -> Option<TimeRule> {
    for (key, hint) in
        [("regex", "as in `regex = '^(\\S+ \\S+)'`"), ("format", "as in `format = \"%Y-%m-%d %H:%M:%S\"`")]
    {
        if !table.has(key) {
            table.missing(key, hint);
        }
    }
    let pattern = pattern(&mut table, "regex");
    let format = table.string("format");
    let format = format.and_then(|format| accept(&table, "format", &format, Format::parse(&format.value)));
    let zone = match table.string("timezone") {
        None => Some(Zone::default()),
        Some(name) => zone(&table, &name),
    };
    table.finish();
    Some(TimeRule { pattern: pattern?, format: format?, zone: zone? })
}

fn zone(table: &Reader<'_>, name: &Located<String>) -> Option<Zone> {
    let found = Zone::named(&name.value);
    if found.is_none() {
        let message = format!("`timezone` can't be \"{}\": this machine's time zone database has none", name.value);
        let hint = "a name such as \"Europe/Berlin\", \"UTC\" or \"local\"; the package tzdata has the database";
        table.report().add(Problem::new(name.place, message).hint(hint));
    }
    found
}

fn json(mut table: Reader<'_>) -> Json {
    let timestamp = table.string("timestamp").map(|field| field.value);
    let field = table.string("level").map(|field| field.value);
    let place = table.place();
    let minimum_is_set = table.has("minimum_level");
    let minimum = table.choice("minimum_level", &Level::words());
    if field.is_some() != minimum_is_set {
        let message = format!("{} needs `level` and `minimum_level` together", table.header());
        table.report().add(Problem::new(place, message));
    }
    table.finish();
    Json { timestamp, level: field.zip(minimum) }
}

fn redaction(mut table: Reader<'_>) -> Option<Redaction> {
    for key in ["regex", "replace"] {
        if !table.has(key) {
            table.missing(key, "as in `redact = [{ regex = 'password=\\S+', replace = \"password=***\" }]`");
        }
    }
    let pattern = pattern(&mut table, "regex");
    let replace = table.string("replace");
    if let (Some(pattern), Some(replace)) = (&pattern, &replace)
        && let Some(group) = groups(&replace.value).into_iter().find(|group| !pattern.has_group(group))
    {
        let message = format!("`replace` names the group `{group}`, which its regex does not have");
        let hint = "a `$` is written `$$`; behind a group's number or name, letters need braces: `${1}st`";
        table.report().add(Problem::new(replace.place, message).hint(hint));
    }
    table.finish();
    Some(Redaction { pattern: pattern?, replace: replace?.value })
}

/// The groups that a replacement names, as the crate `regex` reads them.
fn groups(replace: &str) -> Vec<&str> {
    let mut groups = Vec::new();
    let mut rest = replace;
    while let Some(dollar) = rest.find('$') {
        rest = &rest[dollar + 1..];
        if let Some(escaped) = rest.strip_prefix('$') {
            rest = escaped;
        } else if let Some((group, behind)) = rest.strip_prefix('{').and_then(|inside| inside.split_once('}')) {
            groups.push(group);
            rest = behind;
        } else {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            groups.extend((end > 0).then_some(&rest[..end]));
            rest = &rest[end..];
        }
    }
    groups
}

fn budget(mut table: Reader<'_>) -> Option<Budget> {
    if !table.has("per_day") {
        table.missing("per_day", "as in `budget = { per_day = \"1GiB\", sample = 0.01 }`");
    }
    let per_day = table.quantity("per_day", "1GiB", Size::parse, PER_DAY);
    let sample = table.number("sample").and_then(|share| {
        let sample = Sample::of(share.value);
        if sample.is_none() {
            let message = format!("`sample` must be a share from 0 to 1, not {}", share.value);
            table.report().add(Problem::new(share.place, message));
        }
        sample
    });
    table.finish();
    Some(Budget { per_day: per_day?.0, sample: sample.unwrap_or_default() })
}

/// What [`read_lines`] would read again.
pub(in crate::config) fn rows_of_lines(settings: &Settings) -> Vec<(&'static str, Value)> {
    let mut rows = vec![
        ("encoding", json!(settings.encoding.name())),
        ("multiline", settings.multiline.as_ref().map_or(Value::Null, show_multiline)),
    ];
    rows.extend(rows_of(settings));
    rows
}

/// What [`read`] would read again.
pub(in crate::config) fn rows_of(settings: &Settings) -> Vec<(&'static str, Value)> {
    let timestamp = settings.timestamp.as_ref().map_or(
        Value::Null,
        |rule| json!({ "regex": rule.pattern.text(), "format": rule.format.text(), "timezone": rule.zone.name() }),
    );
    let texts = |patterns: &[Pattern]| patterns.iter().map(|pattern| json!(pattern.text())).collect::<Vec<_>>();
    let redact = settings.redact.iter();
    let redact = redact.map(|redaction| json!({ "regex": redaction.pattern.text(), "replace": redaction.replace }));
    let budget = settings.budget.map_or(
        Value::Null,
        |budget| json!({ "per_day": Size(budget.per_day).to_string(), "sample": budget.sample.share() }),
    );
    vec![
        ("timestamp", timestamp),
        ("json", settings.json.as_ref().map_or(Value::Null, show_json)),
        ("keep", json!(texts(&settings.keep))),
        ("drop", json!(texts(&settings.drop))),
        ("redact", json!(redact.collect::<Vec<_>>())),
        ("budget", budget),
    ]
}

fn show_multiline(multiline: &Multiline) -> Value {
    let (key, pattern) = match &multiline.rule {
        Rule::Start(pattern) => ("start", pattern),
        Rule::Continuation(pattern) => ("continuation", pattern),
        Rule::End(pattern) => ("end", pattern),
    };
    json!({
        key: pattern.text(),
        "timeout": Span(multiline.timeout).to_string(),
        "max_lines": multiline.max_lines,
        "max_bytes": Size(multiline.max_bytes as u64).to_string(),
    })
}

fn show_json(settings: &Json) -> Value {
    let mut shown = serde_json::Map::new();
    if let Some(field) = &settings.timestamp {
        shown.insert("timestamp".to_owned(), json!(field));
    }
    if let Some((field, minimum)) = &settings.level {
        shown.insert("level".to_owned(), json!(field));
        shown.insert("minimum_level".to_owned(), json!(minimum.word()));
    }
    Value::Object(shown)
}

//! One thing's facts by the names they have in the report, its last error with the cure; and the help. Not the tables.

use jiff::Timestamp;
use ratatui::text::Line;
use serde_json::Value;

use super::super::headline::count;
use super::super::screen::Paint;
use super::super::words::{bytes, columns, duration, padded, wrap};
use super::figures::{brief_bytes, brief_count, whole};
use super::meters::Meter;
use super::overview::lag;
use super::view::{Page, Pane, View};
use crate::fault::Fault;

/// A name's column; the longest are `ledger.events.delivered` and its kind, and two spaces.
const NAME: usize = 26;

/// A terminal that is narrower has names and values below each other.
const NARROW: usize = 50;

/// As much of a curve as there is.
const CURVE: usize = 32;

const HELP: &[(&str, &str)] = &[
    ("q, Ctrl-C", "leave"),
    ("Esc", "back; from the tables, leave"),
    ("Tab, right", "the next table (Shift-Tab, left: the one before)"),
    ("j k, arrows", "a row down, up; PgDn PgUp, g G: further"),
    ("Enter", "all facts of the row, its last error and the cure"),
    ("s", "sort by trouble, name, rate, lag, pending"),
    ("p", "hold still; again: go on"),
    ("?", "this, and away with it"),
    ("!  ~", "in trouble; in doubt, or trying again"),
    ("EVENT/S", "of sources: read, between the last two looks"),
    ("", "of destinations: delivered, the mean of ten looks"),
    ("OLDEST", "how long the oldest undelivered event has waited"),
    ("FLIGHT", "requests on their way"),
    ("THROTTL", "requests that CloudWatch asked to be slower with"),
    ("times", "in UTC, as in CloudWatch"),
];

/// The lines of the page that is not the overview, however many.
pub(super) fn compose(view: &View) -> Vec<Line<'static>> {
    match &view.page {
        Page::Overview => Vec::new(),
        Page::Help { .. } => help(view),
        Page::Detail { pane, key, .. } => detail(view, *pane, key).unwrap_or_else(|| {
            let gone = format!("{key}: the daemon no longer reports it");
            wrapped(view, &gone, Paint::Doubtful, 0)
        }),
    }
}

fn help(view: &View) -> Vec<Line<'static>> {
    let mut lines = vec![view.line("Keys, and words of the tables", Paint::None), Line::default()];
    for (name, value) in HELP {
        lines.extend(fact(view, name, value, 13));
    }
    lines
}

fn detail(view: &View, pane: Pane, key: &str) -> Option<Vec<Line<'static>>> {
    let report = view.report.as_ref();
    let row = view.rows.get(pane.index()).and_then(|rows| rows.iter().find(|row| row.key == key));
    let (title, value, fault, meter) = match pane {
        Pane::Credentials => {
            let role = report?.credentials.get(row?.index)?;
            (format!("role {}", role.role), serde_json::to_value(role), role.last_error.as_ref(), None)
        }
        Pane::Sources => {
            let source = report?.logs.sources.get(row?.index)?;
            let meter = view.meters.source(key);
            (format!("source {key}"), serde_json::to_value(source), source.last_error.as_deref(), meter)
        }
        Pane::Destinations => {
            let to = report?.logs.destinations.get(row?.index)?;
            let meter = view.meters.destination(key);
            (format!("destination {key}"), serde_json::to_value(to), to.last_error.as_deref(), meter)
        }
        Pane::News => return piece_of_news(view, key),
    };
    let mut lines = wrapped(view, &title, Paint::None, 0);
    lines.push(Line::default());
    if let Some(fault) = fault {
        lines.extend(faulty(view, fault));
        lines.push(Line::default());
    }
    let what = if pane == Pane::Sources { "read" } else { "delivered" };
    lines.extend(meter.into_iter().flat_map(|meter| measured(view, what, meter)));
    let mut facts = Vec::new();
    flatten("", &value.ok()?, &mut facts);
    for (name, value) in facts {
        lines.extend(fact(view, &name, &said(view, &name, &value), NAME));
    }
    Some(lines)
}

fn piece_of_news(view: &View, key: &str) -> Option<Vec<Line<'static>>> {
    let items = view.news.items();
    let item = items.get(items.len().checked_sub(key.parse::<usize>().ok()? + 1)?)?;
    let mut lines = vec![view.quiet(&said_time(view, item.at)), Line::default()];
    lines.extend(wrapped(view, &item.text, item.paint, 2));
    lines.extend(item.hint.iter().flat_map(|hint| cure(view, hint)));
    Some(lines)
}

fn faulty(view: &View, fault: &Fault) -> Vec<Line<'static>> {
    let text = format!("! {} ({})", fault.message, said_time(view, fault.at));
    let mut lines = wrapped(view, &text, Paint::Bad, 2);
    lines.extend(fault.hint.iter().flat_map(|hint| cure(view, hint)));
    lines
}

fn cure(view: &View, hint: &str) -> Vec<Line<'static>> {
    hint.lines()
        .enumerate()
        .flat_map(|(index, line)| {
            wrapped(view, &format!("{} {line}", if index == 0 { "→" } else { " " }), Paint::None, 2)
        })
        .collect()
}

fn measured(view: &View, what: &str, meter: &Meter) -> Vec<Line<'static>> {
    let rate = whole(meter.events_per_second);
    let bytes = brief_bytes(whole(meter.bytes_per_second));
    let unicode = view.style.unicode;
    let width = CURVE.min(usize::from(view.size.0));
    let rates = format!("{}/s, {bytes} a second {}", brief_count(rate), meter.rates(width, unicode).trim_start());
    let lags = meter.lags(width, unicode);
    let mut lines = fact(view, what, &rates, NAME);
    lines.extend(fact(view, "lag, last looks", lags.trim_start(), NAME));
    lines
}

/// `name` and `value` beside each other, or below where there is no room.
fn fact(view: &View, name: &str, value: &str, column: usize) -> Vec<Line<'static>> {
    let width = usize::from(view.size.0);
    if width < NARROW {
        let mut lines = vec![view.quiet(name)];
        lines.extend(wrapped(view, &format!("  {value}"), Paint::None, 2));
        return lines;
    }
    let mut lines = wrapped(view, &format!("{}{value}", " ".repeat(column)), Paint::None, column);
    if let Some(first) = lines.first_mut() {
        let text: String = first.to_string();
        let value = text.get(column..).unwrap_or_default();
        *first = Line::from(vec![view.span(&padded(name, column), Paint::Quiet), view.span(value, Paint::None)]);
    }
    lines
}

/// `text` in the terminal's width; lines after the first begin at `indent`, as the first does if it is indented. Words
/// that are longer than a line are broken: nothing may be hidden beyond the edge.
fn wrapped(view: &View, text: &str, paint: Paint, indent: usize) -> Vec<Line<'static>> {
    let width = usize::from(view.size.0).saturating_sub(indent).max(1);
    let text = view.sayable(text);
    let mut first = indent;
    if !text.starts_with(' ') {
        first = 0;
    }
    let pieces: Vec<String> = wrap(&text, width).iter().flat_map(|line| broken(line, width)).collect();
    let indented = |(index, piece): (usize, &String)| {
        let indent = if index == 0 { first } else { indent };
        view.line(&format!("{}{piece}", " ".repeat(indent)), paint)
    };
    pieces.iter().enumerate().map(indented).collect()
}

fn broken(line: &str, width: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for c in line.chars() {
        let last = pieces.len() - 1;
        if columns(&pieces[last]) + columns(c.encode_utf8(&mut [0; 4])) > width && !pieces[last].is_empty() {
            pieces.push(c.to_string());
        } else {
            pieces[last].push(c);
        }
    }
    pieces
}

/// `{"a": {"b": 1}}` as `a.b`, without the errors, which are shown above.
fn flatten(name: &str, value: &Value, facts: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter().filter(|(key, _)| *key != "last_error") {
                flatten(&if name.is_empty() { key.clone() } else { format!("{name}.{key}") }, value, facts);
            }
        }
        value => facts.push((name.to_owned(), value.clone())),
    }
}

fn said(view: &View, name: &str, value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.parse().map_or_else(|_| text.clone(), |at| said_time(view, at)),
        Value::Number(number) if name.ends_with("_seconds") => number.as_f64().map(lag).unwrap_or_default(),
        Value::Number(number) => match number.as_u64() {
            Some(n) if name.contains("bytes") || matches!(name, "position" | "size") => bytes(n),
            Some(n) => count(n),
            None => number.to_string(),
        },
        value => value.to_string(),
    }
}

fn said_time(view: &View, at: Timestamp) -> String {
    let at_text = at.strftime("%Y-%m-%d %H:%M:%SZ");
    match at.duration_since(view.now()) {
        left if left.is_positive() => format!("{at_text}, in {}", duration(left)),
        past => format!("{at_text}, {} ago", duration(-past)),
    }
}

//! All at a glance: the head, four tables that share what height there is, and the keys. Not one thing's facts.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use ratatui::style::{Modifier, Stylize as _};
use ratatui::text::{Line, Span};

use super::super::headline::{Condition, word};
use super::super::render::{destination_paint, ledger, paint_of, role_paint, source_paint, uptime};
use super::super::screen::{Name, Paint};
use super::super::words::{both, columns, duration, padded, shortened, wrap};
use super::figures::{brief, brief_bytes, brief_count, whole};
use super::meters::Meter;
use super::rows::Row;
use super::view::{Pane, Sort, View};
use crate::logs::Tally;
use crate::status::Report;

/// Names are shown in no less, even if a column has to go.
const LEAST_NAME: usize = 18;

/// Below this the tables have no room beside each other's: the chosen one has all of it.
const LOW: usize = 8;

/// Before a name: whether the row is chosen, and whether it is in trouble.
const SIGNS: usize = 2;

/// A terminal with fewer lines has none for the keys.
const LINES_FOR_KEYS: usize = 6;

/// What a table shows beside the names, the most telling first: it is kept the longest on a narrow terminal.
#[derive(Clone, Copy)]
enum Column {
    State,
    Lag,
    Rate,
    Rates,
    Pending,
    Bytes,
    Lags,
    InFlight,
    Throttles,
    Expires,
    Refresh,
    Served,
    Refused,
}

const CREDENTIALS: &[(Column, &str, usize)] = &[
    (Column::State, "STATE", 10),
    (Column::Expires, "EXPIRE", 7),
    (Column::Refresh, "REFRESH", 7),
    (Column::Served, "SERVED", 7),
    (Column::Refused, "REFUSED", 7),
];
const SOURCES: &[(Column, &str, usize)] = &[
    (Column::State, "STATE", 8),
    (Column::Lag, "LAG", 6),
    (Column::Rate, "EVENT/S", 7),
    (Column::Rates, "RATE", 8),
    (Column::Pending, "PENDING", 7),
    (Column::Bytes, "BYTE/S", 7),
    (Column::Lags, "LAG", 8),
];
const DESTINATIONS: &[(Column, &str, usize)] = &[
    (Column::State, "STATE", 14),
    (Column::Lag, "OLDEST", 6),
    (Column::Rate, "EVENT/S", 7),
    (Column::Pending, "PENDING", 7),
    (Column::InFlight, "FLIGHT", 6),
    (Column::Throttles, "THROTTL", 7),
    (Column::Rates, "RATE", 8),
    (Column::Lags, "OLDEST", 8),
];

/// At most `height` lines.
pub(super) fn compose(view: &View, width: usize, height: usize) -> Vec<Line<'static>> {
    let mut lines = head(view, width, height);
    let keys = usize::from(height >= LINES_FOR_KEYS);
    let room = height.saturating_sub(lines.len() + keys);
    for (pane, share) in Pane::ALL.into_iter().zip(shares(view, room)) {
        lines.extend(table(view, pane, width, share));
    }
    lines.truncate(height.saturating_sub(keys));
    lines.resize(height.saturating_sub(keys), Line::default());
    if keys > 0 {
        let keys = if view.is_paused {
            "p go on  q quit"
        } else {
            "q quit  ? help  Tab table  s sort  Enter details  p pause"
        };
        lines.push(view.quiet(keys));
    }
    lines
}

/// Who it is, how it is, and the ledger, as far as there is room.
fn head(view: &View, width: usize, height: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if height > LOW {
        lines.push(title(view, width));
    }
    let has_room = height >= 2 * LOW || (height > LOW && view.report.is_none());
    let most = if has_room { 4 } else { 1 };
    let (text, paint) = condition(view);
    let whole = wrap(&view.sayable(&text), width);
    let (first, rest) = whole.split_at(whole.len().min(most - 1));
    lines.extend(first.iter().map(|text| view.line(text, paint)));
    if !rest.is_empty() {
        lines.push(view.line(&clipped(&rest.join(" "), width), paint));
    }
    if let Some(hint) = view.trouble.as_ref().and_then(|trouble| trouble.hint.as_deref()).filter(|_| height > LOW) {
        lines.extend(wrap(&format!("→ {hint}"), width).iter().take(most).map(|line| view.line(line, Paint::None)));
    }
    if let Some(report) = view.report.as_ref().filter(|_| height > LOW) {
        lines.push(Line::from(view.span(&totals(view, report, width), Paint::None)));
    }
    lines
}

fn title(view: &View, width: usize) -> Line<'static> {
    let time = format!(" {}{}", if view.is_paused { "paused " } else { "" }, clock(view.now()));
    let mut text = "imds-agent".to_owned();
    if let Some(report) = &view.report {
        let instance = report.instance.instance_id.as_deref().unwrap_or_default();
        text =
            format!("imds-agent {}, pid {}, up {}  {instance}", report.version, report.pid, duration(uptime(report)));
    }
    let room = width.saturating_sub(columns(&time));
    let text = padded(&clipped(&view.sayable(&text), room), room);
    Line::from(vec![Span::from(text).bold(), view.span(&time, Paint::Quiet)])
}

fn condition(view: &View) -> (String, Paint) {
    match (&view.trouble, &view.report) {
        (Some(trouble), None) => (trouble.message.clone(), Paint::Bad),
        (Some(trouble), Some(_)) => {
            (format!("silent for {}: {}; asked again", brief(view.silence()), trouble.message), Paint::Bad)
        }
        (None, None) => ("asking the daemon".to_owned(), Paint::Quiet),
        (None, Some(report)) => {
            let condition = Condition::of(report);
            (condition.to_string(), paint_of(&condition))
        }
    }
}

/// The ledger and what is delivered per second; where that is too long, what is not delivered.
fn totals(view: &View, report: &Report, width: usize) -> String {
    let meter = view.meters.total();
    let rate = format!(
        "   {}/s {}B/s",
        brief_count(whole(meter.events_per_second)),
        brief_bytes(whole(meter.bytes_per_second)).trim_end_matches('B')
    );
    let whole = format!("{}{rate}", ledger(&report.logs.ledger));
    let Tally { pending, dropped, .. } = &report.logs.ledger.events;
    let open = format!("{} pending, {} dropped", brief_count(*pending), brief_count(dropped.values().sum()));
    let fitting = [whole, format!("{open}{rate}")].into_iter().find(|text| columns(text) <= width);
    fitting.unwrap_or_else(|| clipped(&open, width))
}

/// How many lines each table has, its heading included.
fn shares(view: &View, room: usize) -> [usize; 4] {
    let mut shares = [0; 4];
    let focus = view.focus.index();
    if room < LOW {
        shares[focus] = room;
        return shares;
    }
    // An empty table says so in its only row.
    let wants = Pane::ALL.map(|pane| 1 + view.len(pane).max(1));
    shares = [2; 4];
    let mut left = room - LOW;
    while left > 0 && (0..4).any(|pane| shares[pane] < wants[pane]) {
        // Whoever looks at one wants to see more of it.
        for pane in [focus, 0, 1, 2, focus, 3] {
            if left > 0 && shares[pane] < wants[pane] {
                shares[pane] += 1;
                left -= 1;
            }
        }
    }
    shares
}

fn table(view: &View, pane: Pane, width: usize, height: usize) -> Vec<Line<'static>> {
    if height == 0 {
        return Vec::new();
    }
    let columns = fitting(pane, width);
    let mut lines = vec![heading(view, pane, columns, width)];
    let rows = height - 1;
    let len = view.len(pane);
    if len == 0 {
        lines.push(view.quiet("  none"));
    }
    // The chosen row stands in the middle, but at both ends.
    let first = view.cursor(pane).saturating_sub(rows / 2).min(len.saturating_sub(rows));
    for index in (first..len).take(rows) {
        let line = match view.rows.get(pane.index()) {
            Some(rows) => row(view, pane, &rows[index], columns, width),
            None => piece_of_news(view, index, width),
        };
        let is_chosen = view.focus == pane && view.cursor(pane) == index;
        lines.push(chosen(line, is_chosen));
    }
    lines.resize(height, Line::default());
    lines
}

fn chosen(mut line: Line<'static>, is_chosen: bool) -> Line<'static> {
    if is_chosen {
        line.spans.insert(0, Span::from(">"));
        line.style = line.style.add_modifier(Modifier::REVERSED);
    } else {
        line.spans.insert(0, Span::from(" "));
    }
    line
}

/// Those of a table's columns that leave the names room enough.
fn fitting(pane: Pane, width: usize) -> &'static [(Column, &'static str, usize)] {
    let all = match pane {
        Pane::Credentials => CREDENTIALS,
        Pane::Sources => SOURCES,
        Pane::Destinations => DESTINATIONS,
        Pane::News => &[],
    };
    let fits = |shown: &usize| SIGNS + LEAST_NAME + taken(&all[..*shown]) <= width;
    let shown = (0..=all.len()).rev().find(fits).unwrap_or(0);
    &all[..shown]
}

fn taken(columns: &[(Column, &str, usize)]) -> usize {
    columns.iter().map(|(_, _, width)| width + 1).sum()
}

fn heading(view: &View, pane: Pane, columns: &[(Column, &str, usize)], width: usize) -> Line<'static> {
    let name = match pane {
        Pane::Credentials => "CREDENTIALS",
        Pane::Sources => "SOURCES",
        Pane::Destinations => "DESTINATIONS",
        Pane::News => "EVENTS",
    };
    let mark = if view.focus == pane { ">" } else { " " };
    let by = match (pane, view.sort) {
        (Pane::Sources | Pane::Destinations, sort) if sort != Sort::Trouble => format!(" by {}", sort.word()),
        _ => String::new(),
    };
    let room = width.saturating_sub(taken(columns));
    let mut text = padded(&clipped(&format!("{mark}{name} {}{by}", brief_count(view.len(pane) as u64)), room), room);
    for (column, title, width) in columns {
        let _ = match column {
            Column::State => write!(text, " {title:width$}"),
            _ => write!(text, " {title:>width$}"),
        };
    }
    let line = view.quiet(&text);
    if view.focus == pane { Line::from(line.to_string()).bold().underlined() } else { line.underlined() }
}

fn row(view: &View, pane: Pane, row: &Row, columns: &[(Column, &str, usize)], width: usize) -> Line<'static> {
    let Some(cells) = view.report.as_ref().and_then(|report| cells(view, report, pane, row)) else {
        return Line::default();
    };
    let sign = match cells.paint {
        Paint::Bad => "!",
        Paint::Doubtful => "~",
        _ => " ",
    };
    let room = width.saturating_sub(SIGNS + taken(columns));
    let name = match &cells.name {
        Name::One(name) => shortened(&view.sayable(name), room),
        Name::Two(group, stream) => both(&view.sayable(group), &view.sayable(stream), room),
    };
    let mut spans = vec![view.span(sign, cells.paint), view.span(&padded(&name, room), Paint::None)];
    for (column, _, width) in columns {
        let width = *width;
        let text = (cells.text)(*column, width);
        spans.push(match column {
            Column::State => view.span(&format!(" {text:width$}"), cells.paint),
            _ => view.span(&format!(" {text:>width$}"), Paint::None),
        });
    }
    Line::from(spans)
}

/// What a row says in each column.
struct Cells<'a> {
    name: Name<'a>,
    paint: Paint,
    text: Box<dyn Fn(Column, usize) -> String + 'a>,
}

fn cells<'a>(view: &'a View, report: &'a Report, pane: Pane, row: &Row) -> Option<Cells<'a>> {
    Some(match pane {
        Pane::Credentials => {
            let role = report.credentials.get(row.index)?;
            let name = if role.role.is_empty() { "no role yet" } else { &role.role };
            let text = move |column, _| match column {
                Column::State => word(&role.state),
                Column::Expires => role.expiration.map_or_else(String::new, |at| until(view, at, "over")),
                Column::Refresh => role.next_refresh.map_or_else(String::new, |at| until(view, at, "now")),
                Column::Served => brief_count(role.served),
                Column::Refused => brief_count(role.denied),
                _ => String::new(),
            };
            Cells { name: Name::One(name), paint: role_paint(role.state), text: Box::new(text) }
        }
        Pane::Sources => {
            let source = report.logs.sources.get(row.index)?;
            let meter = view.meters.source(&row.key)?;
            let text = move |column, width| match column {
                Column::State => word(&source.state),
                Column::Lag => lag(source.lag_seconds),
                Column::Pending => brief_count(source.ledger.events.pending),
                column => measured(view, meter, column, width),
            };
            Cells { name: Name::One(&source.name), paint: source_paint(source.state), text: Box::new(text) }
        }
        Pane::Destinations => {
            let to = report.logs.destinations.get(row.index)?;
            let meter = view.meters.destination(&row.key)?;
            let text = move |column, width| match column {
                Column::State => word(&to.state),
                Column::Lag => lag(to.lag_seconds),
                Column::Pending => brief_count(to.ledger.events.pending),
                Column::InFlight => brief_count(to.in_flight),
                Column::Throttles => brief_count(to.throttles),
                Column::Rate => brief_count(whole(meter.mean_events_per_second())),
                column => measured(view, meter, column, width),
            };
            Cells {
                name: Name::Two(&to.log_group, &to.log_stream),
                paint: destination_paint(to.state),
                text: Box::new(text),
            }
        }
        Pane::News => return None,
    })
}

fn measured(view: &View, meter: &Meter, column: Column, width: usize) -> String {
    match column {
        Column::Rate => brief_count(whole(meter.events_per_second)),
        Column::Bytes => brief_bytes(whole(meter.bytes_per_second)),
        Column::Rates => meter.rates(width, view.style.unicode),
        Column::Lags => meter.lags(width, view.style.unicode),
        _ => String::new(),
    }
}

fn piece_of_news(view: &View, index: usize, width: usize) -> Line<'static> {
    let Some(item) = view.news.items().get(index) else { return Line::default() };
    let time = format!("{} ", clock(item.at));
    let text = clipped(&view.sayable(&item.text), width.saturating_sub(1 + columns(&time)));
    Line::from(vec![view.span(&time, Paint::Quiet), view.span(&text, item.paint)])
}

fn until(view: &View, at: Timestamp, past: &str) -> String {
    let left = at.duration_since(view.now());
    if left.is_positive() { brief(left) } else { past.to_owned() }
}

pub(super) fn lag(seconds: f64) -> String {
    brief(SignedDuration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// In UTC, as CloudWatch has it.
pub(super) fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%SZ").to_string()
}

/// What of `text`'s beginning fits.
fn clipped(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut clipped = String::new();
    for c in text.chars() {
        if columns(&clipped) + columns(c.encode_utf8(&mut [0; 4])) >= width {
            break;
        }
        clipped.push(c);
    }
    clipped.push('…');
    clipped
}

#[cfg(test)]
#[path = "overview_tests.rs"]
pub(super) mod tests;

//! TOML text becomes a tree in which everything knows its place, and the trees of the main file and its drop-ins
//! become one: lists append, tables merge, anything else that is set twice is an error. Not what keys mean.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::report::{Place, Problem, Report};

/// Said of what is set in two files.
const ADDS_ONLY: &str =
    "a drop-in adds to lists and tables, but can't change what another file sets; remove one of the two";

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// What a key can hold.
#[derive(Debug)]
pub(super) enum Value {
    String(String),
    /// `None` when it does not fit.
    Integer(Option<i64>),
    Float(f64),
    Boolean(bool),
    Array(Vec<Node>),
    Table(Table),
    /// A kind of value that no key of ours takes.
    Other(&'static str),
}

/// The keys of a table, each with its own place and its value.
pub(super) type Table = BTreeMap<String, (Place, Node)>;

impl Value {
    /// With its article, for "expected …, found …".
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(Some(_)) => "an integer",
            Self::Integer(None) => "a number that is too large",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }
}

/// All sources as one table. What can't be understood is reported and left out.
pub(super) fn read(report: &Report) -> Table {
    let mut whole = Table::new();
    for (file, source) in report.sources().iter().enumerate() {
        if let Some(start) = source.invalid_at {
            let place = Place { file, start, end: start + 1 };
            report.add(Problem::new(place, "not UTF-8, which TOML must be").syntax());
        } else {
            merge(&mut whole, parse(report, file, &source.text), "", report);
        }
    }
    whole
}

/// Where the parser gives up on the rest of the file instead of going on in the next line.
const STOPS_THE_PARSER: &str = "key with no value";

fn parse(report: &Report, file: usize, text: &str) -> Table {
    let (table, errors) = DeTable::parse_recoverable(text);
    let stops: Vec<_> = errors.iter().filter(|error| error.message().starts_with(STOPS_THE_PARSER)).collect();
    if stops.is_empty() {
        report_syntax(report, file, text, &errors);
        return convert_table(file, table.into_inner());
    }
    report_syntax(report, file, text, stops.iter().copied());
    // The place is where the `=` should be: behind the key, which may be the end of the file.
    let stops = stops.iter().filter_map(|stop| stop.span()?.start.checked_sub(1)).collect();
    let blanked = blank_lines(text, &stops);
    let (table, errors) = DeTable::parse_recoverable(&blanked);
    report_syntax(report, file, &blanked, &errors);
    convert_table(file, table.into_inner())
}

/// The text with spaces in place of the lines that hold the bytes `stops`, so that all other places stay what they are.
fn blank_lines(text: &str, stops: &BTreeSet<usize>) -> String {
    let mut blanked = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (start, content) = (blanked.len(), line.trim_end_matches(['\r', '\n']));
        if stops.range(start..start + line.len()).next().is_some() {
            blanked.extend(std::iter::repeat_n(' ', content.len()));
            blanked.push_str(&line[content.len()..]);
        } else {
            blanked.push_str(line);
        }
    }
    blanked
}

fn report_syntax<'e>(report: &Report, file: usize, text: &str, errors: impl IntoIterator<Item = &'e toml::de::Error>) {
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let cited = text.get(span.clone()).unwrap_or_default();
        let message = match error.message() {
            "duplicate key" => format!("`{cited}` is set twice in this file"),
            message if message.starts_with("string values must be quoted") && cited.is_empty() => {
                "a value is missing here".to_owned()
            }
            message => message.to_owned(),
        };
        report.add(Problem::new(place(file, &span), message).syntax());
    }
}

fn place(file: usize, span: &Range<usize>) -> Place {
    Place { file, start: span.start, end: span.end }
}

fn convert_table(file: usize, table: DeTable<'_>) -> Table {
    let mut converted = Table::new();
    for (key, value) in table {
        // A value that the parser made up, since there was none, stands nowhere.
        if !value.span().is_empty() {
            let key_place = place(file, &key.span());
            converted.insert(key.into_inner().into_owned(), (key_place, convert(file, value)));
        }
    }
    converted
}

fn convert(file: usize, value: Spanned<DeValue<'_>>) -> Node {
    let place = place(file, &value.span());
    let value = match value.into_inner() {
        DeValue::String(string) => Value::String(string.into_owned()),
        DeValue::Integer(digits) => Value::Integer(i64::from_str_radix(digits.as_str(), digits.radix()).ok()),
        DeValue::Boolean(boolean) => Value::Boolean(boolean),
        DeValue::Array(array) => Value::Array(array.into_iter().map(|element| convert(file, element)).collect()),
        DeValue::Table(table) => Value::Table(convert_table(file, table)),
        DeValue::Float(float) => float.as_str().parse().map_or(Value::Other("a float"), Value::Float),
        DeValue::Datetime(_) => Value::Other("a date"),
    };
    Node { value, place }
}

fn merge(whole: &mut Table, part: Table, path: &str, report: &Report) {
    for (key, (place, node)) in part {
        let Some((first_place, first)) = whole.get_mut(&key) else {
            whole.insert(key, (place, node));
            continue;
        };
        let path = format!("{path}{key}");
        match (&mut first.value, node.value) {
            (Value::Array(first), Value::Array(more)) => first.extend(more),
            (Value::Table(first), Value::Table(more)) => merge(first, more, &format!("{path}."), report),
            _ => {
                let problem = Problem::new(place, format!("`{path}` is set twice"));
                report.add(problem.also("first set", *first_place).hint(ADDS_ONLY));
            }
        }
    }
}

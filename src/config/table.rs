//! Reads one table key by key: each key is taken once, by kind, and what is wrong with it is reported where it stands;
//! [`Reader::finish`] reports the keys that nobody took. Not which keys there are: that is each table's own file.

use std::fmt::Display;

use super::document::{Node, Table, Value};
use super::report::{Place, Problem, Report};
use super::spelling;

/// A table that is being read.
pub(super) struct Reader<'r> {
    report: &'r Report,
    /// The dotted name, `logs.file[0]`; empty for the top level.
    path: String,
    /// As a person writes it: `[[logs.file]]`; empty for the top level.
    header: String,
    /// Where the table begins.
    place: Place,
    table: Table,
    expected: Vec<&'static str>,
}

/// A value that what is said about it can be cited at.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

impl<'r> Reader<'r> {
    pub(super) fn root(report: &'r Report, table: Table) -> Self {
        Self {
            report,
            path: String::new(),
            header: String::new(),
            place: Place::default(),
            table,
            expected: Vec::new(),
        }
    }

    pub(super) fn report(&self) -> &'r Report {
        self.report
    }

    /// The table as a person writes it: `[[logs.file]]`.
    pub(super) fn header(&self) -> &str {
        &self.header
    }

    /// Where it begins.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Reports that `key`, which the table can't do without, is not there.
    pub(super) fn missing(&self, key: &str, hint: &str) {
        if !self.report.has_gaps() {
            let message = format!("{} has no `{key}`", self.header);
            self.report.add(Problem::new(self.place, message).hint(hint));
        }
    }

    /// Whether the key is set, well or not; ask before it is taken.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(super) fn string(&mut self, key: &'static str) -> Option<Located<String>> {
        let node = self.take(key)?;
        match node.value {
            Value::String(value) => Some(Located { value, place: node.place }),
            _ => self.wrong_kind(key, "a string", &node),
        }
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let node = self.take(key)?;
        match node.value {
            Value::Boolean(value) => Some(value),
            _ => self.wrong_kind(key, "true or false", &node),
        }
    }

    pub(super) fn integer(&mut self, key: &'static str) -> Option<Located<i64>> {
        let node = self.take(key)?;
        match node.value {
            Value::Integer(Some(value)) => Some(Located { value, place: node.place }),
            _ => self.wrong_kind(key, "an integer", &node),
        }
    }

    /// Text, or an integer as its digits.
    pub(super) fn integer_or_string(&mut self, key: &'static str) -> Option<Located<String>> {
        let node = self.take(key)?;
        match node.value {
            Value::String(value) => Some(Located { value, place: node.place }),
            Value::Integer(Some(value)) => Some(Located { value: value.to_string(), place: node.place }),
            _ => self.wrong_kind(key, "an integer or a string", &node),
        }
    }

    /// A number, whole or not.
    pub(super) fn number(&mut self, key: &'static str) -> Option<Located<f64>> {
        let node = self.take(key)?;
        #[expect(clippy::cast_precision_loss, reason = "a number that large is refused in any case")]
        match node.value {
            Value::Float(value) => Some(Located { value, place: node.place }),
            Value::Integer(Some(value)) => Some(Located { value: value as f64, place: node.place }),
            _ => self.wrong_kind(key, "a number", &node),
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let word = self.string(key)?;
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == word.value) {
            return Some(*choice);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let listed: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        let message = format!("`{key}` can't be \"{}\"; expected {}", word.value, listed.join(" or "));
        self.report.add(suggest(Problem::new(word.place, message), &word.value, &names));
        None
    }

    /// A quantity with a unit, such as `"5s"`, between two others.
    pub(super) fn quantity<T: PartialOrd + Display>(
        &mut self,
        key: &'static str,
        example: &str,
        parse: impl Fn(&str) -> Result<T, String>,
        limits: (T, T),
    ) -> Option<T> {
        self.quantity_because(key, example, parse, limits, "")
    }

    /// The same, with the reason for its upper limit.
    pub(super) fn quantity_because<T: PartialOrd + Display>(
        &mut self,
        key: &'static str,
        example: &str,
        parse: impl Fn(&str) -> Result<T, String>,
        (least, most): (T, T),
        because: &str,
    ) -> Option<T> {
        let node = self.take(key)?;
        let parsed = match &node.value {
            Value::String(text) => parse(text).map_err(|reason| format!("`{key}` {reason}, as in \"{example}\"")),
            Value::Integer(_) | Value::Float(_) | Value::Other(_) => {
                Err(format!("`{key}` needs a unit and quotes, as in \"{example}\""))
            }
            _ => return self.wrong_kind(key, &format!("a string with a unit, as in \"{example}\""), &node),
        };
        let mut reason = "";
        let message = match parsed {
            Ok(value) if value < least => format!("`{key}` must be at least {least}, not {value}"),
            Ok(value) if value > most => {
                reason = because;
                format!("`{key}` must be at most {most}, not {value}")
            }
            Ok(value) => return Some(value),
            Err(message) => message,
        };
        let problem = Problem::new(node.place, message);
        self.report.add(if reason.is_empty() { problem } else { problem.hint(reason) });
        None
    }

    /// A list of strings.
    pub(super) fn strings(&mut self, key: &'static str) -> Option<Located<Vec<Located<String>>>> {
        let node = self.take(key)?;
        self.list_of(key, node)
    }

    fn list_of(&self, key: &str, node: Node) -> Option<Located<Vec<Located<String>>>> {
        let expected = "a list of strings";
        let Value::Array(nodes) = node.value else {
            return self.wrong_kind(key, expected, &node);
        };
        let mut strings = Vec::with_capacity(nodes.len());
        for node in nodes {
            match node.value {
                Value::String(value) => strings.push(Located { value, place: node.place }),
                _ => return self.wrong_kind(key, expected, &node),
            }
        }
        Some(Located { value: strings, place: node.place })
    }

    /// Everything that is left, as strings with free names: each with the place of its key.
    pub(super) fn free_strings(&mut self) -> Vec<(Located<String>, String)> {
        let mut strings = Vec::new();
        for (key, (place, node)) in std::mem::take(&mut self.table) {
            self.report.found(self.dotted(&key), place);
            if let Value::String(value) = node.value {
                strings.push((Located { value: key, place }, value));
            } else {
                let _: Option<()> = self.wrong_kind(&key, "a string", &node);
            }
        }
        strings
    }

    /// Everything that is left, as lists of strings with free names: each with the place of its key.
    pub(super) fn free_lists(mut self) -> Vec<(Located<String>, Vec<String>)> {
        let mut lists = Vec::new();
        for (key, (place, node)) in std::mem::take(&mut self.table) {
            self.report.found(self.dotted(&key), place);
            if let Some(list) = self.list_of(&key, node) {
                let strings = list.value.into_iter().map(|string| string.value).collect();
                lists.push((Located { value: key, place }, strings));
            }
        }
        lists
    }

    /// The `[key]` table, empty when it is not there.
    pub(super) fn table(&mut self, key: &'static str) -> Reader<'r> {
        let path = self.dotted(key);
        let header = format!("[{path}]");
        let node = self.take(key);
        let place = node.as_ref().map(|node| node.place).unwrap_or_default();
        let table = match node {
            Some(Node { value: Value::Table(table), .. }) => table,
            Some(node) => self.wrong_kind(key, &format!("a table, written `{header}`"), &node).unwrap_or_default(),
            None => Table::new(),
        };
        Reader { report: self.report, path, header, place, table, expected: Vec::new() }
    }

    /// The `[[key]]` tables.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Reader<'r>> {
        let path = self.dotted(key);
        let header = format!("[[{}]]", without_indices(&path));
        let expected = format!("a list of tables, each headed `{header}`");
        let Some(node) = self.take(key) else {
            return Vec::new();
        };
        let Value::Array(nodes) = node.value else {
            return self.wrong_kind(key, &expected, &node).unwrap_or_default();
        };
        let mut readers = Vec::with_capacity(nodes.len());
        for (index, node) in nodes.into_iter().enumerate() {
            let (path, header, place) = (format!("{path}[{index}]"), header.clone(), node.place);
            if let Value::Table(table) = node.value {
                readers.push(Reader { report: self.report, path, header, place, table, expected: Vec::new() });
            } else {
                let _: Option<()> = self.wrong_kind(key, &expected, &node);
            }
        }
        readers
    }

    /// Reports the keys that are not known here.
    pub(super) fn finish(self) {
        let whereabouts =
            if self.path.is_empty() { "at the top level".to_owned() } else { format!("in {}", self.header) };
        for (key, (place, _)) in &self.table {
            let message = format!("unknown key `{key}` {whereabouts}; expected {}", self.expected.join(", "));
            self.report.add(suggest(Problem::new(*place, message), key, &self.expected));
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Node> {
        self.expected.push(key);
        let (place, node) = self.table.remove(key)?;
        self.report.found(self.dotted(key), place);
        Some(node)
    }

    fn dotted(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn wrong_kind<T>(&self, key: &str, expected: &str, node: &Node) -> Option<T> {
        let message = format!("`{key}` must be {expected}, not {}", node.value.kind());
        self.report.add(Problem::new(node.place, message));
        None
    }
}

/// As a person writes it: `logs.socket.allow` for `logs.socket[0].allow`.
fn without_indices(path: &str) -> String {
    path.split('[').map(|part| part.split_once(']').map_or(part, |(_, rest)| rest)).collect()
}

/// Adds what was probably meant by `word`.
pub(super) fn suggest(problem: Problem, word: &str, known: &[&str]) -> Problem {
    match spelling::nearest(word, known) {
        Some(near) => problem.hint(format!("did you mean `{near}`?")),
        None => problem,
    }
}

//! The JSON as it is read: in its order, no key twice, files merged as the CloudWatch agent merges them. And the account
//! of it: a value is taken, or noted. Not what a setting means.

use std::cell::RefCell;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{Error, Note, text};

/// A value, its objects in their order.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Leaf(Value),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Node::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut fields: Vec<(String, Node)> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if fields.iter().any(|(known, _)| *known == key) {
                return Err(A::Error::custom(format_args!("\"{key}\" is there twice, and one of them would be lost")));
            }
            fields.push((key, map.next_value()?));
        }
        Ok(Node::Object(fields))
    }
}

impl Node {
    /// As JSON.
    pub(super) fn shown(&self) -> String {
        self.json().to_string()
    }

    fn json(&self) -> Value {
        match self {
            Self::Leaf(value) => value.clone(),
            Self::List(nodes) => nodes.iter().map(Self::json).collect(),
            Self::Object(fields) => fields.iter().map(|(key, node)| (key.clone(), node.json())).collect(),
        }
    }

    /// Adds `other`: objects become one, lists follow each other, and what both set must be the same.
    fn merge(&mut self, other: Self, path: &str) -> Result<(), String> {
        match (self, other) {
            (Self::Object(fields), Self::Object(others)) => {
                for (key, node) in others {
                    match fields.iter_mut().find(|(known, _)| *known == key) {
                        Some((_, known)) => known.merge(node, &below(path, &key))?,
                        None => fields.push((key, node)),
                    }
                }
                Ok(())
            }
            (Self::List(nodes), Self::List(others)) => {
                let fresh: Vec<Self> = others.into_iter().filter(|node| !nodes.contains(node)).collect();
                nodes.extend(fresh);
                Ok(())
            }
            (known, other) if *known == other => Ok(()),
            _ => Err(path.to_owned()),
        }
    }
}

/// The files as one object.
pub(super) fn merged(files: &[(String, String)]) -> Result<Vec<(String, Node)>, Error> {
    let mut whole = Node::Object(Vec::new());
    for (file, text) in files {
        let file = file.clone();
        let node: Node = serde_json::from_str(text.trim_start_matches('\u{feff}'))
            .map_err(|source| Error::Json { file: file.clone(), source })?;
        let known = ["agent", "logs", "metrics", "traces", "opentelemetry"];
        let is_one = matches!(&node, Node::Object(fields) if fields.is_empty() || fields.iter().any(|(key, _)| known.contains(&key.as_str())));
        if !is_one {
            return Err(Error::NotAConfiguration { file });
        }
        whole.merge(node, "").map_err(|path| Error::Contradiction { file, path })?;
    }
    match whole {
        Node::Object(fields) => Ok(fields),
        Node::Leaf(_) | Node::List(_) => Ok(Vec::new()),
    }
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// What was taken, and what was noted.
#[derive(Default)]
pub(super) struct Log(RefCell<(Vec<Note>, Vec<String>)>);

impl Log {
    pub(super) fn finish(self) -> (Vec<Note>, Vec<String>) {
        self.0.into_inner()
    }

    /// Those behind the first `from`.
    pub(super) fn notes_from(&self, from: usize) -> Vec<Note> {
        self.0.borrow().0[from..].to_vec()
    }
}

/// An object that is being taken apart.
pub(super) struct Section<'l> {
    pub(super) path: String,
    fields: Vec<(String, Node)>,
    log: &'l Log,
}

impl<'l> Section<'l> {
    pub(super) fn root(fields: Vec<(String, Node)>, log: &'l Log) -> Self {
        Self { path: String::new(), fields, log }
    }

    /// How many notes there are.
    pub(super) fn noted(&self) -> usize {
        self.log.0.borrow().0.len()
    }

    /// What looks at the notes, also when this is finished.
    pub(super) fn log(&self) -> &'l Log {
        self.log
    }

    fn take(&mut self, key: &str) -> Option<Node> {
        let index = self.fields.iter().position(|(known, _)| known == key)?;
        Some(self.fields.remove(index).1)
    }

    fn taken(&self, key: &str) {
        self.log.0.borrow_mut().1.push(below(&self.path, key));
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            Node::Leaf(Value::String(text)) => {
                self.taken(key);
                Some(text)
            }
            other => self.wrong(key, &other, "a string"),
        }
    }

    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        match self.take(key)? {
            Node::Leaf(Value::Bool(flag)) => {
                self.taken(key);
                Some(flag)
            }
            other => self.wrong(key, &other, "true or false"),
        }
    }

    pub(super) fn number(&mut self, key: &str) -> Option<i64> {
        match self.take(key)? {
            Node::Leaf(Value::Number(number)) if number.as_i64().is_some() => {
                self.taken(key);
                number.as_i64()
            }
            other => self.wrong(key, &other, "a whole number"),
        }
    }

    pub(super) fn texts(&mut self, key: &str) -> Vec<String> {
        let node = self.take(key);
        let text = |node: &Node| match node {
            Node::Leaf(Value::String(text)) => Some(text.clone()),
            _ => None,
        };
        match node {
            None => Vec::new(),
            Some(Node::List(nodes)) if nodes.iter().all(|node| text(node).is_some()) => {
                self.taken(key);
                nodes.iter().filter_map(text).collect()
            }
            Some(other) => self.wrong(key, &other, "a list of strings").unwrap_or_default(),
        }
    }

    pub(super) fn section(&mut self, key: &str) -> Option<Section<'l>> {
        match self.take(key)? {
            Node::Object(fields) => Some(Section { path: below(&self.path, key), fields, log: self.log }),
            other => self.wrong(key, &other, "an object"),
        }
    }

    pub(super) fn sections(&mut self, key: &str) -> Vec<Section<'l>> {
        let nodes = match self.take(key) {
            None => return Vec::new(),
            Some(Node::List(nodes)) => nodes,
            Some(other) => return self.wrong(key, &other, "a list of objects").unwrap_or_default(),
        };
        let mut sections = Vec::with_capacity(nodes.len());
        for (index, node) in nodes.into_iter().enumerate() {
            let name = format!("{key}[{index}]");
            match node {
                Node::Object(fields) => {
                    sections.push(Section { path: below(&self.path, &name), fields, log: self.log });
                }
                other => {
                    let _: Option<()> = self.wrong(&name, &other, "an object");
                }
            }
        }
        sections
    }

    /// All that is left, as texts by their names.
    pub(super) fn all_texts(&mut self) -> Vec<(String, String)> {
        let keys: Vec<String> = self.fields.iter().map(|(key, _)| key.clone()).collect();
        keys.into_iter().filter_map(|key| self.text(&key).map(|text| (key, text))).collect()
    }

    fn wrong<T>(&self, key: &str, node: &Node, expected: &str) -> Option<T> {
        self.note(key, &node.shown(), &format!("not taken over: {expected} was expected"), false);
        None
    }

    /// Says that `key` was not taken over, if it is there, and why.
    pub(super) fn leave(&mut self, key: &str, why: &str) {
        if let Some(node) = self.take(key) {
            self.note(key, &node.shown(), why, false);
        }
    }

    /// Says why the value of `key`, which was taken, is of no use here after all.
    pub(super) fn refuse(&self, key: &str, value: &str, why: &str) {
        self.log.0.borrow_mut().1.retain(|taken| *taken != below(&self.path, key));
        self.note(key, if value.is_empty() { "\"\"" } else { value }, why, false);
    }

    /// Says that `key` behaves differently here.
    pub(super) fn differs(&self, key: &str, text: &str) {
        self.note(key, "", text, true);
    }

    fn note(&self, key: &str, value: &str, text: &str, is_taken: bool) {
        let path = if key.is_empty() { self.path.clone() } else { below(&self.path, key) };
        let note = Note { path, value: text::one_line(value), text: text.to_owned(), is_taken };
        self.log.0.borrow_mut().0.push(note);
    }

    /// Notes all that nobody took.
    pub(super) fn finish(mut self, why: &str) {
        for (key, node) in std::mem::take(&mut self.fields) {
            self.note(&key, &node.shown(), why, false);
        }
    }
}

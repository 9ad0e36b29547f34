//! The report as a reader from outside sees it: JSON by the names that the design fixes, not our own types, which
//! could hide a renamed key.

use std::fmt;

use serde_json::Value;

/// One snapshot of `status --json`.
#[derive(Clone, Debug)]
pub(crate) struct Report(Value);

/// One side of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) read: u64,
    pub(crate) delivered: u64,
    pub(crate) pending: u64,
    /// The sum over all reasons.
    pub(crate) dropped: u64,
}

impl Tally {
    fn of(value: &Value, place: &str) -> Self {
        let number = |key: &str| value[key].as_u64().unwrap_or_else(|| panic!("{place}.{key} is no count: {value}"));
        let reasons = value["dropped"].as_object().unwrap_or_else(|| panic!("{place}.dropped is no object: {value}"));
        let dropped = reasons.values().map(|count| count.as_u64().expect("a count of dropped records")).sum();
        Self { read: number("read"), delivered: number("delivered"), pending: number("pending"), dropped }
    }
}

impl Report {
    /// `None` when `text` is not the whole of a report.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        assert_eq!(value["schema"], 1, "the schema of the report");
        Some(Self(value))
    }

    /// The value at a JSON pointer (RFC 6901).
    ///
    /// # Panics
    /// When there is none.
    pub(crate) fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or_else(|| panic!("the report has no {pointer}:\n{self:#}"))
    }

    /// The text at a JSON pointer; empty when it is null or no text.
    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// The elements at a JSON pointer.
    pub(crate) fn list(&self, pointer: &str) -> &[Value] {
        self.at(pointer).as_array().map_or(&[], Vec::as_slice)
    }

    /// The events' side of the total ledger.
    pub(crate) fn events(&self) -> Tally {
        Tally::of(self.at("/logs/ledger/events"), "/logs/ledger/events")
    }

    /// The bytes' side of the total ledger.
    pub(crate) fn bytes(&self) -> Tally {
        Tally::of(self.at("/logs/ledger/bytes"), "/logs/ledger/bytes")
    }

    /// How many events were dropped for `reason`.
    pub(crate) fn dropped(&self, reason: &str) -> u64 {
        self.at("/logs/ledger/events/dropped")[reason].as_u64().unwrap_or(0)
    }

    /// The source of the file named `name`, wherever it is.
    pub(crate) fn source(&self, name: &str) -> Option<&Value> {
        let is_it = |source: &&Value| source["name"].as_str().is_some_and(|path| path.rsplit('/').next() == Some(name));
        self.list("/logs/sources").iter().find(is_it)
    }

    /// The destination with this stream.
    pub(crate) fn destination(&self, group: &str, stream: &str) -> Option<&Value> {
        let is_it = |place: &&Value| place["log_group"] == group && place["log_stream"] == stream;
        self.list("/logs/destinations").iter().find(is_it)
    }

    /// Promise 4: read = delivered + pending + dropped, in events and bytes, in total and for each source.
    pub(crate) fn assert_ledger_adds_up(&self) {
        let mut ledgers = vec![("/logs/ledger".to_owned(), self.at("/logs/ledger"))];
        for source in self.list("/logs/sources") {
            ledgers.push((source["name"].to_string(), &source["ledger"]));
        }
        for (place, ledger) in ledgers {
            for side in ["events", "bytes"] {
                let tally = Tally::of(&ledger[side], &place);
                let sum = tally.delivered + tally.pending + tally.dropped;
                assert_eq!(tally.read, sum, "the ledger of {place} does not add up in {side}: {tally:?}\n{self:#}");
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

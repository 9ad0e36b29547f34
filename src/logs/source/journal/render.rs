//! What a record made of an entry says, and when it happened. Not whether there is to be one.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::export::Entry;
use crate::logs::settings::JournalFormat;

/// The entry as text, appended to `out`; nothing for one that has nothing to say.
pub(crate) fn render(entry: &Entry, format: &JournalFormat, out: &mut Vec<u8>) {
    match format {
        JournalFormat::Text => text(entry, out),
        JournalFormat::Json { fields } => json(entry, fields, out),
    }
}

/// When it happened: when its sender sent it, should journald know that, else when journald got it.
pub(crate) fn time_of(entry: &Entry) -> Option<Timestamp> {
    let time = entry.text("_SOURCE_REALTIME_TIMESTAMP").or_else(|| entry.text("__REALTIME_TIMESTAMP"))?;
    Timestamp::from_microsecond(time.parse().ok()?).ok()
}

fn text(entry: &Entry, out: &mut Vec<u8>) {
    out.extend_from_slice(entry.get("MESSAGE").unwrap_or_default());
    out.extend_from_slice(mark_of_cut(entry, "MESSAGE").as_bytes());
}

/// Says of a value that was longer than is kept that it was.
fn mark_of_cut(entry: &Entry, field: &str) -> String {
    entry.cut_from(field).map_or_else(String::new, |length| format!(" [imds-agent: cut, it had {length} bytes]"))
}

/// All fields, or the chosen ones: text, and a list where a field has several values, as `journalctl -o json` has it.
fn json(entry: &Entry, chosen: &[String], out: &mut Vec<u8>) {
    let mut object = Map::new();
    if chosen.is_empty() {
        for (name, _) in entry.fields() {
            let name = String::from_utf8_lossy(name);
            // What begins with two underscores is the entry's address, which changes when journals are merged.
            if !name.starts_with("__") && !object.contains_key(&*name) {
                insert(&mut object, entry, &name);
            }
        }
    } else {
        chosen.iter().for_each(|name| insert(&mut object, entry, name));
    }
    if !object.is_empty() {
        // A map of text: writing it to memory can't fail.
        let _ = serde_json::to_writer(out, &object);
    }
}

fn insert(object: &mut Map<String, Value>, entry: &Entry, name: &str) {
    let mark = mark_of_cut(entry, name);
    let value = |value: &[u8]| Value::String(String::from_utf8_lossy(value).into_owned());
    let mut values: Vec<Value> = entry.all(name).map(value).collect();
    if let Some(Value::String(first)) = values.first_mut() {
        first.push_str(&mark);
    }
    match values.len() {
        0 => None,
        1 => object.insert(name.to_owned(), values.remove(0)),
        _ => object.insert(name.to_owned(), Value::Array(values)),
    };
}

#[cfg(test)]
mod tests {
    use super::super::export::entry;
    use super::*;

    fn rendered(fields: &[(&str, &str)], format: &JournalFormat) -> String {
        let mut out = Vec::new();
        render(&entry(fields), format, &mut out);
        String::from_utf8(out).expect("text")
    }

    const ENTRY: [(&str, &str); 5] =
        [("__CURSOR", "s=1"), ("MESSAGE", "one\ntwo"), ("PRIORITY", "6"), ("TAG", "a"), ("TAG", "b")];

    #[test]
    fn text_is_the_message_and_nothing_else() {
        assert_eq!(rendered(&ENTRY, &JournalFormat::Text), "one\ntwo");
        assert_eq!(rendered(&[("PRIORITY", "6")], &JournalFormat::Text), "");
    }

    #[test]
    fn json_has_all_fields_but_the_address() {
        let json = rendered(&ENTRY, &JournalFormat::Json { fields: Vec::new() });
        assert_eq!(json, r#"{"MESSAGE":"one\ntwo","PRIORITY":"6","TAG":["a","b"]}"#);
    }

    #[test]
    fn json_has_the_chosen_fields_if_some_are() {
        let fields = vec!["PRIORITY".to_owned(), "__CURSOR".to_owned(), "NONE".to_owned()];
        assert_eq!(rendered(&ENTRY, &JournalFormat::Json { fields }), r#"{"PRIORITY":"6","__CURSOR":"s=1"}"#);
        assert_eq!(rendered(&ENTRY, &JournalFormat::Json { fields: vec!["NONE".to_owned()] }), "");
    }

    #[test]
    fn the_time_is_the_senders_if_journald_knows_it() {
        let received = ("__REALTIME_TIMESTAMP", "1700000000000000");
        let sent = ("_SOURCE_REALTIME_TIMESTAMP", "1699999999000000");
        assert_eq!(time_of(&entry(&[received])).map(Timestamp::as_second), Some(1_700_000_000));
        assert_eq!(time_of(&entry(&[received, sent])).map(Timestamp::as_second), Some(1_699_999_999));
        assert_eq!(time_of(&entry(&[("__REALTIME_TIMESTAMP", "x")])), None);
    }
}

//! `logs.logs_collected.journald.collect_list`: each entry becomes one `[[logs.journal]]` table, or several. Not files.

use std::collections::BTreeMap;

use super::document::Section;
use super::text::{line, list, quoted};
use super::{files, names};

/// The group that the CloudWatch agent takes if none is named.
const DEFAULT_GROUP: &str = "journald-logs";

/// The words for priorities, by their numbers.
const PRIORITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// All entries, in their order.
pub(super) fn all(sections: Vec<Section<'_>>, body: &mut String) {
    for mut section in sections {
        let (from, mut text) = (section.noted(), String::new());
        common(&mut section, &mut text);
        let texts: Vec<String> = match alternatives(&mut section) {
            matches if matches.is_empty() => vec![text],
            matches => matches.iter().map(|matches| format!("{text}matches = {}\n", table(matches))).collect(),
        };
        let text = texts.join("\n[[logs.journal]]\n");
        files::finish(section, from, Some(("[[logs.journal]]", &text)), body, |_| {});
    }
}

fn common(section: &mut Section<'_>, out: &mut String) {
    let units = section.texts("units");
    if !units.is_empty() {
        line(out, "units", &list(&units));
    }
    if let Some(priority) = section.text("priority") {
        let by_number = priority.parse().ok().and_then(|number: usize| PRIORITIES.get(number));
        match by_number.or_else(|| PRIORITIES.iter().find(|word| **word == priority)) {
            Some(word) => line(out, "priority", &quoted(word)),
            None => section.refuse("priority", &priority, "not taken over: it is none of journald's"),
        }
    }
    let group = section.text("log_group_name").filter(|name| !name.is_empty());
    let group = group.map_or_else(|| DEFAULT_GROUP.to_owned(), |name| names::group(section, "log_group_name", &name));
    line(out, "log_group", &quoted(&group));
    if let Some(name) = section.text("log_stream_name").filter(|name| !name.is_empty()) {
        line(out, "log_stream", &quoted(&names::stream(section, "log_stream_name", &name)));
    }
    files::group_settings(section, out);
    files::filters(section, out);
}

/// The entries that match one of these; fields of one must all match. Those of one field each, and the same, are one.
fn alternatives(section: &mut Section<'_>) -> Vec<BTreeMap<String, Vec<String>>> {
    let mut all: Vec<BTreeMap<String, Vec<String>>> = Vec::new();
    for mut matching in section.sections("matches") {
        let fields: BTreeMap<String, Vec<String>> =
            matching.all_texts().into_iter().map(|(field, value)| (field, vec![value])).collect();
        matching.finish("not taken over");
        let same = all.iter_mut().find(|known| fields.len() == 1 && known.keys().eq(fields.keys()));
        match same {
            Some(known) => {
                for (field, values) in fields {
                    known.entry(field).or_default().extend(values);
                }
            }
            None if fields.is_empty() => {}
            None => all.push(fields),
        }
    }
    if all.len() > 1 {
        let text = "each alternative is a table of its own here: an entry that two of them match is sent twice";
        section.differs("matches", text);
    }
    all
}

fn table(matches: &BTreeMap<String, Vec<String>>) -> String {
    let fields: Vec<String> =
        matches.iter().map(|(field, values)| format!("{} = {}", quoted(field), list(values))).collect();
    format!("{{ {} }}", fields.join(", "))
}

//! The effective configuration, defaults included: as TOML that parses back to the same settings, with where each
//! comes from, or as JSON of the same shape. Not for changing anything.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::units::{Size, Span};
use super::{Config, Loaded, Origins, credentials, imds, logs, root};
use crate::logs::FileSettings;

/// Keys of `[[logs.file]]` that are taken from `[logs]` when they are not set.
const INHERITED: [&str; 6] = ["log_group", "log_stream", "retention_in_days", "log_class", "kms_key_id", "tags"];

/// The dotted name of the tables of files.
const FILES: &str = "logs.file";

/// A configuration, its files, and where each setting comes from.
#[derive(Clone, Debug)]
pub struct Effective {
    loaded: Loaded,
    origins: Origins,
}

/// One table: how it is headed, the dotted name of what is in it, and its keys. `null` is "not set".
struct Section {
    header: String,
    path: String,
    rows: Vec<(String, Value)>,
}

impl Effective {
    pub(super) fn new(loaded: Loaded, origins: Origins) -> Self {
        Self { loaded, origins }
    }

    /// As TOML; parsing it gives the same settings again.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = String::from("# The effective configuration, read from:\n");
        for file in &self.loaded.files {
            let _ = writeln!(text, "#   {}", file.path.display().to_string().escape_debug());
        }
        if self.loaded.files.is_empty() {
            text.push_str("#   no file: everything is at its default\n");
        }
        for section in sections(&self.loaded.config) {
            text.push('\n');
            if !section.header.is_empty() {
                let _ = writeln!(text, "{}", section.header);
            }
            for (key, value) in &section.rows {
                let setting = match value {
                    Value::Null => format!("# {key} is not set"),
                    value => format!("{key} = {}", toml_value(value)),
                };
                let origin = self.origin(&section.path, key).escape_debug();
                let _ = writeln!(text, "{setting:<48} # {origin}");
            }
        }
        text
    }

    /// As JSON of the same shape as the file; what is not set is `null`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut whole = Map::new();
        let mut files = Vec::new();
        for section in sections(&self.loaded.config) {
            let rows: Map<String, Value> = section.rows.into_iter().collect();
            if section.path.is_empty() {
                whole.extend(rows);
            } else if section.path.starts_with(FILES) {
                files.push(Value::Object(rows));
            } else {
                whole.insert(section.path, Value::Object(rows));
            }
        }
        whole["logs"]["file"] = Value::Array(files);
        Value::Object(whole)
    }

    fn origin(&self, path: &str, key: &str) -> &str {
        let dotted = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        let inherited = (path.starts_with(FILES) && INHERITED.contains(&key)).then(|| format!("logs.{key}"));
        let mut names = std::iter::once(dotted).chain(inherited);
        names.find_map(|name| self.origins.get(&name)).map_or("default", String::as_str)
    }
}

fn sections(config: &Config) -> Vec<Section> {
    let region = config.region.as_deref().unwrap_or(root::AUTO);
    let mut sections = vec![
        section("", vec![("region", json!(region))]),
        section(
            "imds",
            vec![
                ("endpoint", json!(config.imds.endpoint)),
                ("endpoint_mode", word(&imds::ENDPOINT_MODES, &config.imds.endpoint_mode)),
                ("token_ttl", json!(Span(config.imds.token_ttl).to_string())),
                ("v1_fallback", json!(config.imds.v1_fallback)),
            ],
        ),
        section("credentials", vec![("source", word(&credentials::SOURCES, &config.credentials.source))]),
        section("variables", config.variables.iter().map(|(name, value)| (name.as_str(), json!(value))).collect()),
        section(
            "logs",
            vec![
                ("flush_interval", json!(Span(config.logs.flush_interval).to_string())),
                ("compression", word(&logs::COMPRESSIONS, &config.logs.compression)),
                ("memory_limit", json!(Size(config.logs.memory_limit).to_string())),
            ],
        ),
    ];
    sections.extend(config.logs.files.iter().enumerate().map(|(index, file)| file_section(index, file)));
    sections
}

fn section(path: &str, rows: Vec<(&str, Value)>) -> Section {
    let header = if path.is_empty() { String::new() } else { format!("[{path}]") };
    let rows = rows.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Section { header, path: path.to_owned(), rows }
}

fn file_section(index: usize, file: &FileSettings) -> Section {
    let group = &file.target.group;
    let rows = vec![
        ("include", json!(file.include)),
        ("exclude", json!(file.exclude)),
        ("log_group", json!(file.target.log_group.text())),
        ("log_stream", json!(file.target.log_stream.text())),
        ("retention_in_days", json!(group.retention_in_days)),
        ("log_class", group.log_class.map_or(Value::Null, |class| word(&logs::LOG_CLASSES, &class))),
        ("kms_key_id", json!(group.kms_key_id)),
        ("tags", if group.tags.is_empty() { Value::Null } else { json!(group.tags) }),
        ("start_at", word(&logs::START_AT, &file.start_at)),
    ];
    let rows = rows.into_iter().chain(logs::rows_of_lines(&file.framing)).collect();
    Section { header: format!("[[{FILES}]]"), ..section(&format!("{FILES}[{index}]"), rows) }
}

/// The word for one of a key's choices.
fn word<T: PartialEq>(choices: &[(&str, T)], choice: &T) -> Value {
    choices.iter().find(|(_, known)| known == choice).map_or(Value::Null, |(name, _)| json!(name))
}

/// JSON's strings, numbers, booleans and lists are TOML's, but for DEL, which TOML wants escaped.
fn toml_value(value: &Value) -> String {
    if let Value::Object(map) = value {
        let pairs: Vec<String> =
            map.iter().map(|(key, value)| format!("{} = {}", toml_value(&json!(key)), toml_value(value))).collect();
        return format!("{{ {} }}", pairs.join(", "));
    }
    if let Value::Array(values) = value {
        let values: Vec<String> = values.iter().map(toml_value).collect();
        return format!("[{}]", values.join(", "));
    }
    value.to_string().replace('\u{7f}', "\\u007f")
}

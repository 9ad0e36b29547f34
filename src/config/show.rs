//! The effective configuration, defaults included: as TOML that parses back to the same settings, with where each
//! comes from, or as JSON of the same shape. Not for changing anything.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::units::{Size, Span};
use super::{Config, Loaded, Origins, credentials, imds, logs, root};
use crate::credentials::RoleSettings;
use crate::logs::{FileSettings, JournalFormat, JournalSettings, SocketSettings, Target};
use crate::template::Template;

/// Keys of the tables of sources that are taken from `[logs]` when they are not set.
const INHERITED: [&str; 6] = ["log_group", "log_stream", "retention_in_days", "log_class", "kms_key_id", "tags"];

/// The dotted names of the tables of sources.
const SOURCES: [&str; 3] = ["logs.file", "logs.socket", "logs.journal"];

/// The dotted name of the tables of roles.
const ROLES: &str = "role";

/// A configuration, its files, and where each setting comes from.
#[derive(Clone, Debug)]
pub struct Effective {
    loaded: Loaded,
    origins: Origins,
}

/// The dotted name of the tables of further permissions.
const PROBES: &str = "doctor.probe";

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
        let (mut sources, mut roles, mut probes) = (SOURCES.map(|_| Vec::new()), Vec::new(), Vec::new());
        for section in sections(&self.loaded.config) {
            let rows: Map<String, Value> = section.rows.into_iter().collect();
            if section.path.is_empty() {
                whole.extend(rows);
            } else if let Some(kind) = kind_of(&section.path) {
                sources[kind].push(Value::Object(rows));
            } else if section.path.starts_with(&format!("{ROLES}[")) {
                roles.push(Value::Object(rows));
            } else if section.path.starts_with(&format!("{PROBES}[")) {
                probes.push(Value::Object(rows));
            } else {
                insert(&mut whole, &section.path, rows);
            }
        }
        for (name, tables) in SOURCES.into_iter().zip(sources) {
            whole["logs"][name.trim_start_matches("logs.")] = Value::Array(tables);
        }
        whole.insert(ROLES.to_owned(), Value::Array(roles));
        whole.insert("doctor".to_owned(), json!({ "probe": probes }));
        Value::Object(whole)
    }

    fn origin(&self, path: &str, key: &str) -> &str {
        let dotted = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        let inherited = (kind_of(path).is_some() && INHERITED.contains(&key)).then(|| format!("logs.{key}"));
        let mut names = std::iter::once(dotted).chain(inherited);
        names.find_map(|name| self.origins.get(&name)).map_or("default", String::as_str)
    }
}

/// Puts `rows` where the dotted `path` leads.
fn insert(whole: &mut Map<String, Value>, path: &str, rows: Map<String, Value>) {
    match path.split_once('.') {
        None => drop(whole.insert(path.to_owned(), Value::Object(rows))),
        Some((first, rest)) => {
            let below = whole.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(below) = below {
                insert(below, rest, rows);
            }
        }
    }
}

/// The doors that are on.
fn endpoints(settings: &crate::endpoints::Settings) -> impl Iterator<Item = Section> {
    let container = settings.container.map(|listen| section("endpoints.container", vec![("listen", json!(listen))]));
    let metadata = settings
        .metadata
        .as_ref()
        .map(|door| section("endpoints.metadata", vec![("listen", json!(door.listen)), ("role", json!(door.role))]));
    let file = settings.credentials_file.as_ref().map(|file| {
        let rows = vec![("path", json!(file.path)), ("profile", json!(file.profile)), ("role", json!(file.role))];
        section("endpoints.credentials_file", rows)
    });
    let telemetry = settings.telemetry.map(|listen| section("endpoints.telemetry", vec![("listen", json!(listen))]));
    container.into_iter().chain(metadata).chain(telemetry).chain(file)
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
        section(
            "credentials",
            vec![
                ("source", word(&credentials::SOURCES, &config.credentials.source)),
                ("allow", json!(config.credentials.allow)),
            ],
        ),
        section("variables", config.variables.iter().map(|(name, value)| (name.as_str(), json!(value))).collect()),
        section(
            "logs",
            vec![
                ("flush_interval", json!(Span(config.logs.flush_interval).to_string())),
                ("compression", word(&logs::COMPRESSIONS, &config.logs.compression)),
                ("memory_limit", json!(Size(config.logs.memory_limit).to_string())),
                ("spool_limit", json!(Size(config.logs.spool_limit).to_string())),
            ],
        ),
    ];
    sections.extend(config.credentials.roles.iter().enumerate().map(|(index, role)| role_section(index, role)));
    let audit = config.logs.sockets.iter().find(|socket| !socket.is_open()).map(|audit| &audit.target);
    sections.extend(audit.map(|target| section("credentials.audit", target_rows(target).to_vec())));
    sections.extend(endpoints(&config.endpoints));
    sections.extend(config.logs.files.iter().enumerate().map(|(index, file)| file_section(index, file)));
    sections.extend(config.logs.journals.iter().enumerate().map(|(index, table)| journal_section(index, table)));
    let sockets = config.logs.sockets.iter().filter(|socket| socket.is_open());
    sections.extend(sockets.enumerate().map(|(index, socket)| socket_section(index, socket)));
    sections.extend(config.doctor.probes.iter().enumerate().map(|(index, probe)| {
        let rows = vec![
            ("service", json!(probe.service)),
            ("action", json!(probe.action)),
            ("resource", json!(probe.resource)),
        ];
        source_section(PROBES, index, rows)
    }));
    sections
}

/// Which of [`SOURCES`] has the table at `path`.
fn kind_of(path: &str) -> Option<usize> {
    let (name, _index) = path.split_once('[')?;
    SOURCES.iter().position(|kind| *kind == name)
}

fn section(path: &str, rows: Vec<(&str, Value)>) -> Section {
    let header = if path.is_empty() { String::new() } else { format!("[{path}]") };
    let rows = rows.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Section { header, path: path.to_owned(), rows }
}

fn role_section(index: usize, role: &RoleSettings) -> Section {
    let text = |template: &Option<Template>| template.as_ref().map(Template::text).map(str::to_owned);
    let tags: Map<String, Value> = role.tags.iter().map(|(key, value)| (key.clone(), json!(value.text()))).collect();
    let arns: Vec<&str> = role.policy_arns.iter().map(Template::text).collect();
    let rows = vec![
        ("name", json!(role.name)),
        ("role_arn", json!(role.role_arn.text())),
        ("duration", json!(Span(role.duration).to_string())),
        ("session_name", json!(role.session_name.text())),
        ("external_id", json!(text(&role.external_id))),
        ("policy", json!(role.policy)),
        ("policy_arns", if arns.is_empty() { Value::Null } else { json!(arns) }),
        ("tags", if tags.is_empty() { Value::Null } else { Value::Object(tags) }),
        ("source_identity", json!(text(&role.source_identity))),
        ("region", json!(role.region)),
        ("allow", json!(role.allow)),
    ];
    source_section(ROLES, index, rows)
}

fn file_section(index: usize, file: &FileSettings) -> Section {
    let mut rows = vec![("include", json!(file.include)), ("exclude", json!(file.exclude))];
    rows.extend(target_rows(&file.target));
    rows.push(("start_at", word(&logs::START_AT, &file.start_at)));
    rows.push(("backfill_limit", json!(Size(file.backfill_limit).to_string())));
    rows.extend(logs::rows_of_lines(&file.framing));
    source_section(SOURCES[0], index, rows)
}

fn socket_section(index: usize, socket: &SocketSettings) -> Section {
    let mut rows = vec![
        ("path", json!(socket.path)),
        ("type", word(&logs::KINDS, &socket.kind)),
        ("syntax", word(&logs::SYNTAXES, &socket.syntax)),
        ("allow", json!(socket.allow)),
    ];
    rows.extend(target_rows(&socket.target));
    rows.extend(logs::rows_of(&socket.framing));
    source_section(SOURCES[1], index, rows)
}

fn journal_section(index: usize, journal: &JournalSettings) -> Section {
    let fields = match &journal.format {
        JournalFormat::Text => None,
        JournalFormat::Json { fields } => Some(fields).filter(|fields| !fields.is_empty()),
    };
    let some = |list: &Vec<String>| if list.is_empty() { Value::Null } else { json!(list) };
    let mut rows = vec![
        ("units", some(&journal.units)),
        ("identifiers", some(&journal.identifiers)),
        ("priority", journal.priority.map_or(Value::Null, |priority| word(&logs::PRIORITIES, &priority))),
        ("matches", if journal.matches.is_empty() { Value::Null } else { json!(journal.matches) }),
        ("format", word(&logs::FORMATS, &(journal.format != JournalFormat::Text))),
        ("fields", json!(fields)),
        ("start_at", word(&logs::START_AT, &journal.start_at)),
        ("directory", json!(journal.directory)),
    ];
    rows.extend(target_rows(&journal.target));
    rows.extend(logs::rows_of(&journal.framing));
    source_section(SOURCES[2], index, rows)
}

fn source_section(name: &str, index: usize, rows: Vec<(&str, Value)>) -> Section {
    Section { header: format!("[[{name}]]"), ..section(&format!("{name}[{index}]"), rows) }
}

fn target_rows(target: &Target) -> [(&'static str, Value); 6] {
    let group = &target.group;
    [
        ("log_group", json!(target.log_group.text())),
        ("log_stream", json!(target.log_stream.text())),
        ("retention_in_days", json!(group.retention_in_days)),
        ("log_class", group.log_class.map_or(Value::Null, |class| word(&logs::LOG_CLASSES, &class))),
        ("kms_key_id", json!(group.kms_key_id)),
        ("tags", if group.tags.is_empty() { Value::Null } else { json!(group.tags) }),
    ]
}

/// The word for one of a key's choices.
fn word<T: PartialEq>(choices: &[(&str, T)], choice: &T) -> Value {
    choices.iter().find(|(_, known)| known == choice).map_or(Value::Null, |(name, _)| json!(name))
}

/// JSON's strings, numbers, booleans and lists are TOML's, but for DEL, which TOML wants escaped; a table is written
/// inline.
fn toml_value(value: &Value) -> String {
    match value {
        Value::Array(values) => format!("[{}]", values.iter().map(toml_value).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let pairs = map.iter().map(|(key, value)| format!("{} = {}", toml_value(&json!(key)), toml_value(value)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        value => value.to_string().replace('\u{7f}', "\\u007f"),
    }
}

//! The `[logs]` table, validated. Not its syntax: that is `config`'s.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::framing::{self, Form, Framer};
use crate::caller::Rules;
use crate::template::Template;

/// What `PutRetentionPolicy` accepts, in days (CloudWatch Logs API reference).
pub const RETENTION_DAYS: [u16; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// The longest log group name, in characters.
pub const LONGEST_GROUP_NAME: usize = 512;

/// What of an old file is read when nothing else is said, in bytes. To take in a gigabyte costs half a dollar: more than
/// that, of one file, is asked for.
pub const BACKFILL_LIMIT: u64 = 1 << 30;

/// The longest log stream name, in characters.
pub const LONGEST_STREAM_NAME: usize = 512;

/// The storage class of a log group, fixed when it is created. There is a third one, `DELIVERY`, which keeps events for a
/// day only and is not for logs that somebody wants to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LogClass {
    /// With all features.
    Standard,
    /// Cheaper, with fewer features.
    InfrequentAccess,
}

impl LogClass {
    /// AWS's word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Standard => "STANDARD",
            Self::InfrequentAccess => "INFREQUENT_ACCESS",
        }
    }
}

/// How a log group is made that is missing. Of one that exists, only the retention is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSettings {
    /// How long CloudWatch keeps the group's events; `None` leaves that alone.
    pub retention_in_days: Option<u16>,
    /// Its class; `None` for AWS's default.
    pub log_class: Option<LogClass>,
    /// The ARN of the KMS key that its events are encrypted with; `None` for AWS's own key.
    pub kms_key_id: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl GroupSettings {
    /// Whether something of it can be compared with a group that exists.
    #[must_use]
    pub fn asks_for_something(&self) -> bool {
        self.retention_in_days.is_some() || self.log_class.is_some() || self.kms_key_id.is_some()
    }
}

/// How bodies are packed on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all: the cheapest where the network costs nothing.
    #[default]
    None,
    /// As gzip, where the endpoint takes it.
    Gzip,
}

/// Where to begin in a file that the state does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StartAt {
    /// At the beginning on an instance that is new to our state, else at the end. Files that appear later: beginning.
    #[default]
    Auto,
    /// At the beginning.
    Beginning,
    /// At the end. Files that appear later: beginning.
    End,
}

/// Everything the log shipper needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The most a busy stream lingers before it sends what it has.
    pub flush_interval: Duration,
    /// How bodies are packed.
    pub compression: Compression,
    /// The ceiling of all buffers, in bytes.
    pub memory_limit: u64,
    /// The most that the spool holds, in bytes.
    pub spool_limit: u64,
    /// The `[[logs.file]]` tables.
    pub files: Vec<FileSettings>,
    /// The `[[logs.journal]]` tables.
    pub journals: Vec<JournalSettings>,
    /// The `[[logs.socket]]` tables.
    pub sockets: Vec<SocketSettings>,
}

impl Settings {
    /// Where what `table` names goes; `None` when there is no such table (any more).
    pub(crate) fn target(&self, table: Table) -> Option<&Target> {
        match table {
            Table::File(index) => self.files.get(index).map(|table| &table.target),
            Table::Journal(index) => self.journals.get(index).map(|table| &table.target),
            Table::Socket(index) => self.sockets.get(index).map(|table| &table.target),
            Table::Letters | Table::Former => None,
        }
    }

    /// How the records of what `table` names are told, and what becomes of them.
    pub(crate) fn framing(&self, table: Table) -> Option<&framing::Settings> {
        match table {
            Table::File(index) => self.files.get(index).map(|table| &table.framing),
            Table::Journal(index) => self.journals.get(index).map(|table| &table.framing),
            Table::Socket(index) => self.sockets.get(index).map(|table| &table.framing),
            Table::Letters | Table::Former => None,
        }
    }

    /// What tells the records of what `table` names.
    pub(crate) fn framer(&self, table: Table) -> Option<Framer> {
        let form = if matches!(table, Table::File(_)) { Form::Lines } else { Form::Recorded };
        Some(Framer::new(self.framing(table)?.clone(), form))
    }

    /// What tells `table` from the others, also when others came before it: its budget is kept under it.
    pub(crate) fn key(&self, table: Table) -> Option<String> {
        let target = self.target(table)?;
        let (kind, what) = match table {
            Table::File(index) => ("file", self.files.get(index)?.include.join(" ")),
            Table::Journal(index) => ("journal", self.journals.get(index)?.selection()),
            Table::Socket(index) => ("socket", self.sockets.get(index)?.path.clone()),
            Table::Letters | Table::Former => return None,
        };
        Some(format!("{kind} {} {} {what}", target.log_group.text(), target.log_stream.text()))
    }

    /// Where everything goes.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        let files = self.files.iter().map(|table| &table.target);
        let journals = self.journals.iter().map(|table| &table.target);
        files.chain(journals).chain(self.sockets.iter().map(|table| &table.target))
    }

    /// How many tables name something to ship.
    #[must_use]
    pub fn tables(&self) -> usize {
        self.files.len() + self.journals.len() + self.sockets.len()
    }

    /// Whether the agent's own record of who was given credentials goes to CloudWatch, too.
    #[must_use]
    pub fn has_audit(&self) -> bool {
        self.sockets.iter().any(|table| !table.is_open())
    }
}

/// One table of the configuration that names sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    /// A `[[logs.file]]`, by its index.
    File(usize),
    /// A `[[logs.journal]]`, by its index.
    Journal(usize),
    /// A `[[logs.socket]]`, by its index.
    Socket(usize),
    /// None: dead letters that are to be sent again say themselves where they go.
    Letters,
    /// None any more: what is on its way arrives, nothing more is read.
    Former,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            flush_interval: Duration::from_secs(5),
            compression: Compression::None,
            memory_limit: 16 << 20,
            spool_limit: 512 << 20,
            files: Vec::new(),
            journals: Vec::new(),
            sockets: Vec::new(),
        }
    }
}

/// Where events go, and how what is missing there is made: the keys that every table of sources has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The group events go to.
    pub log_group: Template,
    /// The stream events go to.
    pub log_stream: Template,
    /// How the group is made where it is missing.
    pub group: GroupSettings,
}

impl Target {
    /// These names, and nothing said of what is made.
    #[must_use]
    pub fn new(log_group: Template, log_stream: Template) -> Self {
        Self { log_group, log_stream, group: GroupSettings::default() }
    }

    /// Whether the names are others each day.
    pub(crate) fn follows_the_day(&self) -> bool {
        self.log_group.names().chain(self.log_stream.names()).any(|name| name == "date")
    }
}

/// One `[[logs.file]]` table, its defaults from `[logs]` filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    /// Absolute glob patterns of files to follow.
    pub include: Vec<String>,
    /// Glob patterns of files to leave alone: of the whole path if they hold a `/`, else of the file's name.
    pub exclude: Vec<String>,
    /// Where they go.
    pub target: Target,
    /// Where to begin in a file seen for the first time.
    pub start_at: StartAt,
    /// Of a file that was there before us, and is larger, only so many bytes are read.
    pub backfill_limit: u64,
    /// What its records are.
    pub framing: framing::Settings,
}

impl FileSettings {
    /// These files, everything else as if it were not set.
    #[must_use]
    pub fn new(include: Vec<String>, target: Target) -> Self {
        Self {
            include,
            exclude: Vec::new(),
            target,
            start_at: StartAt::default(),
            backfill_limit: BACKFILL_LIMIT,
            framing: framing::Settings::default(),
        }
    }
}

/// One `[[logs.journal]]` table, its defaults from `[logs]` filled in. The values of one key are alternatives, all keys
/// must agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalSettings {
    /// Units to ask for, by full name or by pattern; none for all.
    pub units: Vec<String>,
    /// Syslog identifiers to ask for; none for all.
    pub identifiers: Vec<String>,
    /// The least severe priority to ask for, 0 (emergency) to 7 (debug); `None` for all, and for entries without one.
    pub priority: Option<u8>,
    /// Further fields, each with the values to ask for.
    pub matches: BTreeMap<String, Vec<String>>,
    /// What is made of an entry.
    pub format: JournalFormat,
    /// Where to begin in a journal that the state does not know.
    pub start_at: StartAt,
    /// Instead of that, behind the entry with this cursor; no key of the configuration says so.
    pub after: Option<String>,
    /// The directory of the journal; `None` for this system's.
    pub directory: Option<PathBuf>,
    /// Where entries go.
    pub target: Target,
    /// What becomes of them.
    pub framing: framing::Settings,
}

impl JournalSettings {
    /// The whole journal, everything else as if it were not set.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self {
            units: Vec::new(),
            identifiers: Vec::new(),
            priority: None,
            matches: BTreeMap::new(),
            format: JournalFormat::default(),
            start_at: StartAt::default(),
            after: None,
            directory: None,
            target,
            framing: framing::Settings::default(),
        }
    }

    /// What it asks for, as text: the same for the same question.
    pub(crate) fn selection(&self) -> String {
        let Self { units, identifiers, priority, matches, directory, .. } = self;
        serde_json::json!([units, identifiers, priority, matches, directory]).to_string()
    }
}

/// What is made of a journal entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum JournalFormat {
    /// Its message.
    #[default]
    Text,
    /// A JSON object.
    Json {
        /// Of these fields; none for all.
        fields: Vec<String>,
    },
}

/// What is written to a socket, and how the messages in it are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Syntax {
    /// Each line is an event.
    #[default]
    Line,
    /// Syslog of the older kind: `<34>Oct 11 22:14:15 host tag: text`.
    Rfc3164,
    /// Syslog of the newer kind: `<34>1 2003-10-11T22:14:15.003Z host app procid msgid - text`.
    Rfc5424,
}

/// What kind of socket it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketKind {
    /// Who connects is made to wait while there is no room.
    #[default]
    Stream,
    /// Each datagram is one message, as at /dev/log; dropped and counted while there is no room.
    Datagram,
}

/// The table that no socket belongs to: the agent's own record of who was given which credentials.
pub const AUDIT: &str = "audit";

impl SocketSettings {
    /// The table of what the agent itself has to say, which goes to `target`. Nobody may write to it.
    #[must_use]
    pub fn of_audit(target: Target) -> Self {
        Self {
            path: AUDIT.to_owned(),
            kind: SocketKind::default(),
            syntax: Syntax::default(),
            allow: Rules(Vec::new()),
            target,
            framing: framing::Settings::default(),
        }
    }

    /// Whether a socket belongs to it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.path != AUDIT
    }
}

/// One `[[logs.socket]]` table, its defaults from `[logs]` filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketSettings {
    /// Its name in the runtime directory.
    pub path: String,
    /// What kind of socket it is.
    pub kind: SocketKind,
    /// What is written to it.
    pub syntax: Syntax,
    /// Who may write to it.
    pub allow: Rules,
    /// Where what is written to it goes.
    pub target: Target,
    /// What becomes of it.
    pub framing: framing::Settings,
}

//! What journalctl is asked. Not the running of it, nor what is made of its answer.
//!
//! Two things are never asked for, since versions differ. `--after-cursor` passes over an entry too many where the
//! cursor's own does not match the filter (up to 252 at least), so `--cursor` is used, which begins with that entry, and
//! it is known again. And nothing is left to the boot: `--follow` leaves out those before this one unless the journals
//! of all machines are merged, and looks up this one where our service may not look (/proc/sys). So they are merged, and
//! the machine is named as a match.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::cursor::Cursor;
use super::selection::Selection;
use crate::logs::settings::{JournalFormat, JournalSettings};

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// With the oldest entry there is.
    Beginning,
    /// With the first entry of this boot, and no other boot's.
    Boot(u128),
    /// With this entry, or the one that stands next where it is gone.
    Cursor(Cursor),
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Query {
    /// The newest entry, whatever it is.
    Newest,
    /// The entry at this place, or the next one, whatever it is.
    At(Cursor),
    /// All that is asked for, up to now.
    All {
        /// Where to begin.
        from: From,
        /// The unit to which it is narrowed.
        unit: Option<String>,
    },
    /// All that is asked for, and what comes.
    Follow(Option<Cursor>),
}

/// Asks one table's questions.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    directory: Option<PathBuf>,
    /// Whose entries are asked for, where those of others may lie beside them.
    machine: Option<String>,
    /// The fields to be had; none for all.
    fields: Vec<String>,
    selection: Selection,
}

impl Asker {
    /// For this table.
    pub(crate) fn new(settings: &JournalSettings, selection: Selection) -> Self {
        let directory = settings.directory.clone();
        let machine = if directory.is_some() { None } else { fs::read_to_string("/etc/machine-id").ok() };
        let machine = machine.map(|id| id.trim().to_owned());
        Self { directory, machine, fields: fields_for(settings, &selection), selection }
    }

    /// Whether every entry there is comes by, asked for or not.
    pub(crate) fn takes_all(&self, unit: Option<&str>) -> bool {
        self.selection.hints(unit).0.is_empty()
    }

    /// journalctl's arguments.
    pub(crate) fn arguments(&self, query: &Query) -> Vec<String> {
        let mut arguments: Vec<String> = ["--output=export", "--quiet", "--no-pager"].map(str::to_owned).into();
        arguments.extend(self.directory.iter().map(|path| format!("--directory={}", path.display())));
        match query {
            Query::Newest => arguments.extend(["--lines=1".to_owned(), "--output-fields=MESSAGE_ID".to_owned()]),
            Query::At(cursor) => arguments.extend([
                format!("--cursor={cursor}"),
                "--lines=1".to_owned(),
                "--output-fields=MESSAGE_ID".to_owned(),
            ]),
            Query::All { from, unit } => {
                arguments.extend(match from {
                    From::Beginning => None,
                    From::Boot(boot) => Some(format!("_BOOT_ID={boot:032x}")),
                    From::Cursor(cursor) => Some(format!("--cursor={cursor}")),
                });
                self.narrow(&mut arguments, unit.as_deref());
            }
            Query::Follow(cursor) => {
                arguments.extend(["--follow", "--no-tail", "--merge"].map(str::to_owned));
                arguments.extend(cursor.map(|cursor| format!("--cursor={cursor}")));
                arguments.extend(self.machine.iter().map(|machine| format!("_MACHINE_ID={machine}")));
                self.narrow(&mut arguments, None);
            }
        }
        arguments
    }

    fn narrow(&self, arguments: &mut Vec<String>, unit: Option<&str>) {
        if !self.fields.is_empty() {
            arguments.push(format!("--output-fields={}", self.fields.join(",")));
        }
        arguments.extend(self.selection.hints(unit).0);
    }
}

/// All fields that anything looks at; none where the format has all.
fn fields_for(settings: &JournalSettings, selection: &Selection) -> Vec<String> {
    let shown = match &settings.format {
        JournalFormat::Text => &["MESSAGE".to_owned()][..],
        JournalFormat::Json { fields } if fields.is_empty() => return Vec::new(),
        JournalFormat::Json { fields } => fields,
    };
    let always = ["_SOURCE_REALTIME_TIMESTAMP", "_EXE", "_BOOT_ID"];
    let fields: BTreeSet<&str> = shown.iter().map(String::as_str).chain(always).chain(selection.fields()).collect();
    // Addresses come unasked.
    fields.into_iter().filter(|field| !field.starts_with("__")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Target;
    use crate::template::Template;

    const CURSOR: &str = "s=00000000000000000000000000000001;i=2;b=00000000000000000000000000000003;m=4;t=5;x=6";

    fn asker(change: impl FnOnce(&mut JournalSettings)) -> Asker {
        let name = |text| Template::parse(text, &[]).expect("a name");
        let mut settings = JournalSettings::new(Target::new(name("g"), name("s")));
        change(&mut settings);
        Asker::new(&settings, Selection::new(&settings))
    }

    #[test]
    fn it_never_skips_the_entry_at_the_cursor_by_option() {
        let cursor: Cursor = CURSOR.parse().expect("a cursor");
        let arguments = asker(|_| {}).arguments(&Query::Follow(Some(cursor)));
        assert!(arguments.contains(&format!("--cursor={CURSOR}")) && arguments.contains(&"--no-tail".to_owned()));
        let all = Query::All { from: From::Cursor(cursor), unit: Some("a.service".into()) };
        let arguments = asker(|_| {}).arguments(&all);
        assert!(arguments.contains(&"--unit=a.service".to_owned()) && !arguments.contains(&"--follow".to_owned()));
    }

    #[test]
    fn only_the_fields_that_are_looked_at_come_through_the_pipe() {
        let query = Query::All { from: From::Boot(7), unit: None };
        let text = asker(|_| {}).arguments(&query).join(" ");
        assert!(
            text.contains("_BOOT_ID=00000000000000000000000000000007")
                && text.contains("MESSAGE,MESSAGE_ID")
                && !text.contains("_CMDLINE"),
            "{text}"
        );
        let chosen = asker(|settings| settings.format = JournalFormat::Json { fields: vec!["_CMDLINE".into()] });
        let chosen = chosen.arguments(&query).join(" ");
        assert!(chosen.contains("_CMDLINE") && chosen.contains("_EXE"), "{chosen}");
        let all = asker(|settings| settings.format = JournalFormat::Json { fields: Vec::new() });
        assert!(!all.arguments(&query).join(" ").contains("--output-fields"));
    }

    #[test]
    fn another_journal_is_named_to_every_question() {
        let asker = asker(|settings| settings.directory = Some("/srv/journal".into()));
        for query in [Query::Newest, Query::Follow(None)] {
            assert!(asker.arguments(&query).contains(&"--directory=/srv/journal".to_owned()));
        }
    }
}

//! One `[[logs.journal]]` table at work: what it asks for, how far it has seen the journal, which feeds it has. Not the
//! reading, nor the feeds' content.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fault::Fault;
use crate::logs::batch::FileId;
use crate::logs::checkpoint::JournalState;
use crate::logs::settings::{JournalFormat, JournalSettings};
use crate::logs::source::journal::cursor::Cursor;
use crate::logs::source::journal::query::{Asker, From};
use crate::logs::source::journal::reader::ReaderId;
use crate::logs::source::journal::selection::Selection;
use crate::logs::{StartAt, Target};

/// What stands before the name of a journal's source, so that no file's path and no socket's name is the same.
pub(in crate::logs::engine) const SOURCE: &str = "journal:";

/// What stands for `{unit}` where an entry is about none, and the template has nothing for that.
const NO_UNIT: &str = "no-unit";

/// Where to begin in a journal that nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// With the oldest entry.
    Beginning,
    /// With the first entry of this boot.
    Boot,
    /// Where it ends now.
    End,
}

impl Begin {
    /// `is_new` is whether the state knows nothing at all. `auto` is then this boot: what stands before it an image may
    /// have brought along. Another journal has no boot that is ours.
    fn of(settings: &JournalSettings, is_new: bool) -> Self {
        match settings.start_at {
            StartAt::Beginning => Self::Beginning,
            StartAt::Auto if is_new && settings.directory.is_some() => Self::Beginning,
            StartAt::Auto if is_new => Self::Boot,
            StartAt::Auto | StartAt::End => Self::End,
        }
    }
}

/// Where a table stands while configurations change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is read.
    Open,
    /// It begins where the table of this id ends, once all is settled that is on its way there.
    Awaits(FileId),
    /// The configuration does not have it any more; something of it is on its way.
    Closing,
    /// Nothing of it is.
    Closed,
}

/// See the module.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Table {
    /// Its id in the checkpoint.
    pub(super) id: FileId,
    /// What people call it.
    pub(super) name: String,
    pub(super) selection: Selection,
    pub(super) asker: Asker,
    pub(super) format: JournalFormat,
    /// Whether each unit has a stream of its own.
    pub(super) per_unit: bool,
    /// Whether every entry must have something that stands for `{unit}`.
    needs_unit: bool,
    /// Whether it asks for everything: then a hole in the numbers is as many entries.
    pub(super) takes_all: bool,
    pub(super) begin: Begin,
    keys: Keys,
    /// What it was made of.
    pub(super) settings: JournalSettings,
    pub(super) stage: Stage,
    /// The last entry that its reader brought, or that needs not be asked for.
    pub(super) tip: Option<Cursor>,
    /// The tip that stands in the checkpoint.
    pub(super) written: Option<Cursor>,
    /// An earlier place from which it is to be read once more, for a feed that missed something.
    pub(super) rewind: Option<From>,
    /// A hole in the entries' numbers, of which it is to be seen whether somebody removed what stood there.
    pub(super) hole: Option<(Cursor, Cursor)>,
    /// Holes where nothing was removed, since it was begun anew.
    pub(super) innocent: Vec<(Cursor, Cursor)>,
    /// Where the journal ended when it was asked last.
    pub(super) newest: Option<Cursor>,
    /// The reader that brings what comes, while there is one.
    pub(super) live: Option<ReaderId>,
    /// Whether it is to have one.
    pub(super) wanted: bool,
    /// Whether it is to be made sure that the last entry is still there: something may have gone wrong since.
    pub(super) check: bool,
    /// When to start the next reader, by the boot-time clock.
    pub(super) due: Duration,
    /// When to begin anew although nothing is wrong.
    pub(super) renew_at: Duration,
    /// When a follower that still runs shows that what was wrong is over.
    pub(super) proven_at: Duration,
    pub(super) failures: u32,
    pub(super) fault: Option<Fault>,
    pub(super) feeds: BTreeMap<Option<String>, FileId>,
}

/// By what a table is known again after its configuration was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    target: String,
    selection: String,
}

impl Keys {
    pub(super) fn of(settings: &JournalSettings) -> Self {
        let JournalSettings { directory, target, .. } = settings;
        let selection = settings.selection();
        let names = |target: &Target| format!("{} {}", target.log_group.text(), target.log_stream.text());
        // Another journal has other entries, whatever else is the same.
        let directory = directory.as_ref().map_or_else(String::new, |path| format!(" {}", path.display()));
        Self { target: names(target) + &directory, selection }
    }

    /// How much a state has in common with the table: both, where it goes, what it asks for, nothing.
    pub(super) fn likeness(&self, state: &JournalState) -> u8 {
        u8::from(self.target == state.target) * 2 + u8::from(self.selection == state.selection)
    }
}

impl Table {
    pub(super) fn new(id: FileId, name: String, settings: &JournalSettings, is_new: bool) -> Self {
        let selection = Selection::new(settings);
        let templates = [&settings.target.log_group, &settings.target.log_stream];
        let is_unit = |name: &str| name == "unit";
        Self {
            id,
            name,
            asker: Asker::new(settings, selection.clone()),
            selection,
            format: settings.format.clone(),
            per_unit: templates.iter().any(|template| template.names().any(is_unit)),
            needs_unit: templates.iter().any(|template| template.needed().any(is_unit)),
            takes_all: settings.units.is_empty()
                && settings.identifiers.is_empty()
                && settings.priority.is_none()
                && settings.matches.is_empty(),
            begin: Begin::of(settings, is_new),
            keys: Keys::of(settings),
            settings: settings.clone(),
            stage: Stage::Open,
            tip: None,
            written: None,
            rewind: None,
            hole: None,
            innocent: Vec::new(),
            newest: None,
            live: None,
            wanted: true,
            check: true,
            due: Duration::ZERO,
            renew_at: Duration::MAX,
            proven_at: Duration::MAX,
            failures: 0,
            fault: None,
            feeds: BTreeMap::new(),
        }
    }

    /// Whether it has a position: it is read, or was until just now.
    pub(super) fn can_go_on(&self) -> bool {
        matches!(self.stage, Stage::Open | Stage::Closing)
    }

    /// Whether the checkpoint does not know how far it has seen the journal.
    pub(super) fn is_to_be_written(&self) -> bool {
        self.tip != self.written && self.can_go_on()
    }

    /// The feed that an entry about `unit` belongs to.
    pub(super) fn key(&self, unit: Option<&str>) -> Option<String> {
        unit.filter(|_| self.per_unit).map(str::to_owned)
    }

    /// What stands for `{unit}` in its names.
    pub(super) fn unit_name(&self, key: Option<&String>) -> Option<String> {
        key.cloned().or_else(|| self.needs_unit.then(|| NO_UNIT.to_owned()))
    }

    /// The name of a feed's source.
    pub(super) fn source(&self, key: Option<&String>, is_only_one: bool) -> String {
        match self.unit_name(key).filter(|_| self.per_unit) {
            Some(unit) if is_only_one => format!("{SOURCE}{unit}"),
            Some(unit) => format!("{SOURCE}{unit} of {}", self.name),
            None => format!("{SOURCE}{}", self.name),
        }
    }

    /// Where its reader begins, once it is known where the journal ends.
    pub(super) fn from(&self) -> From {
        self.rewind.or_else(|| self.tip.map(From::Cursor)).unwrap_or_else(|| self.begin_again())
    }

    /// Everything up to `cursor` was seen.
    pub(super) fn saw(&mut self, cursor: Cursor) {
        if self.tip.is_none_or(|tip| !cursor.is_at_or_before(&tip)) {
            self.tip = Some(cursor);
        }
    }

    /// Everything up to where the journal ended was seen, and perhaps more: by the clock where nothing better tells.
    pub(super) fn saw_all_to_the_end(&mut self) {
        let is_more = |newest: &Cursor| self.tip.is_none_or(|tip| tip.first(*newest) == tip);
        self.tip = self.newest.filter(is_more).or(self.tip);
    }

    /// A feed read up to `after` by itself joins the others: what came since then is asked for once more, if anything
    /// did.
    pub(super) fn join_at(&mut self, after: Option<Cursor>) -> bool {
        if self.tip.is_none() || after.zip(self.tip).is_some_and(|(after, tip)| tip.is_at_or_before(&after)) {
            return false;
        }
        // Where nothing tells which stands first, the clock does, as for journalctl.
        let place = after.map(|after| self.tip.map_or(after, |tip| tip.first(after)));
        let place = place.map_or_else(|| self.begin_again(), From::Cursor);
        self.rewind = Some(match (self.rewind, place) {
            (Some(From::Cursor(earlier)), From::Cursor(after)) => From::Cursor(earlier.first(after)),
            (Some(earlier), From::Cursor(_)) => earlier,
            (_, place) => place,
        });
        true
    }

    /// Where it began.
    pub(super) fn begin_again(&self) -> From {
        match (self.begin, self.newest) {
            // It is of this boot: that we start is in it.
            (Begin::Boot, Some(newest)) => From::Boot(newest.boot),
            (Begin::Boot | Begin::Beginning, _) => From::Beginning,
            (Begin::End, _) => self.tip.map_or(From::Beginning, From::Cursor),
        }
    }

    /// What the checkpoint keeps of it, but for its feeds.
    pub(super) fn state(&self) -> JournalState {
        let Keys { target, selection } = self.keys.clone();
        JournalState { id: self.id, target, selection, tip: self.tip, feeds: Vec::new() }
    }
}

/// What people call a table: what it asks for.
pub(super) fn name_of(settings: &JournalSettings) -> String {
    let mut parts = Vec::new();
    parts.extend(settings.units.iter().cloned());
    parts.extend(settings.identifiers.iter().map(|identifier| format!("SYSLOG_IDENTIFIER={identifier}")));
    parts.extend(settings.priority.map(|priority| format!("PRIORITY<={priority}")));
    let matches = settings.matches.iter();
    parts.extend(matches.flat_map(|(field, values)| values.iter().map(move |value| format!("{field}={value}"))));
    if parts.is_empty() {
        parts.push("all".to_owned());
    }
    let place = settings.directory.as_ref().map_or_else(String::new, |path| format!(" in {}", path.display()));
    parts.join(", ") + &place
}

//! Which entries a table asks for, and which unit each is about. What journalctl can look up in its index it is told to
//! leave out; what counts is the decision here, so that a pattern also takes units that did not exist when the reading
//! began (journalctl looks patterns up once). Not what becomes of an entry.

use globset::{GlobBuilder, GlobMatcher};

use super::export::Entry;
use crate::logs::settings::JournalSettings;

/// What systemd-coredump marks its entries with (sd-messages.h, SD_MESSAGE_COREDUMP).
const COREDUMP: &str = "fc2e22bc6ee647b6b90729ab34a250b1";

/// The least severe priority there is: asking for it asks for all.
const DEBUG: u8 = 7;

/// One `units` entry.
#[derive(Clone, Debug)]
enum Unit {
    Named(String),
    Like(Box<GlobMatcher>),
}

impl Unit {
    fn new(text: &str) -> Self {
        // In unit names a backslash is a letter: `dev-disk-by\x2duuid.device`.
        let glob = GlobBuilder::new(text).backslash_escape(false).build();
        match glob {
            // `config` has checked the patterns.
            Ok(glob) if is_pattern(text) => Self::Like(Box::new(glob.compile_matcher())),
            _ => Self::Named(text.to_owned()),
        }
    }

    fn is(&self, unit: &str) -> bool {
        match self {
            Self::Named(name) => name == unit,
            Self::Like(pattern) => pattern.is_match(unit),
        }
    }
}

/// Whether an entry of `units` stands for more than one unit.
pub(crate) fn is_pattern(unit: &str) -> bool {
    unit.contains(['*', '?', '['])
}

/// What one table asks for: the values of one key are alternatives, all keys must agree.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    units: Vec<Unit>,
    identifiers: Vec<String>,
    priority: u8,
    matches: Vec<(String, Vec<String>)>,
}

/// What journalctl is told to look for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hints(pub(crate) Vec<String>);

impl Selection {
    /// What `settings` ask for.
    pub(crate) fn new(settings: &JournalSettings) -> Self {
        Self {
            units: settings.units.iter().map(|unit| Unit::new(unit)).collect(),
            identifiers: settings.identifiers.clone(),
            priority: settings.priority.unwrap_or(DEBUG),
            matches: settings.matches.iter().map(|(field, values)| (field.clone(), values.clone())).collect(),
        }
    }

    /// The fields that the decision needs.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        const UNITS: [&str; 9] = [
            "_SYSTEMD_UNIT",
            "UNIT",
            "OBJECT_SYSTEMD_UNIT",
            "COREDUMP_UNIT",
            "MESSAGE_ID",
            "_SYSTEMD_SLICE",
            "_PID",
            "_UID",
            "_TRANSPORT",
        ];
        UNITS.into_iter().chain(["SYSLOG_IDENTIFIER", "PRIORITY"]).chain(self.matches.iter().map(|(field, _)| &**field))
    }

    /// What journalctl is told to look for; `unit` when entries about it alone are of interest.
    pub(crate) fn hints(&self, unit: Option<&str>) -> Hints {
        let mut hints = Vec::new();
        let named = self.units.iter().map(|unit| match unit {
            Unit::Named(name) => Some(name.as_str()),
            Unit::Like(_) => None,
        });
        let named: Option<Vec<&str>> = unit.map_or_else(|| named.collect(), |unit| Some(vec![unit]));
        hints.extend(named.unwrap_or_default().into_iter().map(|unit| format!("--unit={unit}")));
        hints.extend(self.identifiers.iter().map(|identifier| format!("--identifier={identifier}")));
        if self.priority < DEBUG {
            hints.push(format!("--priority={}", self.priority));
        }
        let matches = self.matches.iter();
        hints.extend(matches.flat_map(|(field, values)| values.iter().map(move |value| format!("{field}={value}"))));
        Hints(hints)
    }

    /// Whether the table asks for this entry; if so, for which unit's sake, should it be about one.
    pub(crate) fn choose<'a>(&self, entry: &'a Entry) -> Option<Option<&'a str>> {
        let identifier = entry.text("SYSLOG_IDENTIFIER");
        let known =
            |value: Option<&str>, wanted: &[String]| value.is_some_and(|value| wanted.iter().any(|one| one == value));
        let severe = self.priority >= DEBUG || priority_of(entry).is_some_and(|priority| priority <= self.priority);
        let wanted = severe
            && (self.identifiers.is_empty() || known(identifier, &self.identifiers))
            && self.matches.iter().all(|(field, values)| {
                entry.all(field).any(|value| values.iter().any(|wanted| wanted.as_bytes() == value))
            });
        if !wanted {
            return None;
        }
        let mut subjects = subjects(entry);
        if self.units.is_empty() {
            return Some(subjects.next());
        }
        let slice = entry.text("_SYSTEMD_SLICE");
        subjects.chain(slice).find(|unit| self.units.iter().any(|wanted| wanted.is(unit))).map(Some)
    }
}

fn priority_of(entry: &Entry) -> Option<u8> {
    entry.text("PRIORITY")?.parse().ok()
}

/// The units that an entry is about, as `journalctl -u` takes it: what systemd, another privileged service or the
/// handler of core dumps says of a unit counts like what the unit says itself.
fn subjects(entry: &Entry) -> impl Iterator<Item = &str> {
    let is_root = entry.text("_UID") == Some("0");
    let dumped = is_root && entry.text("MESSAGE_ID") == Some(COREDUMP);
    let dumped = dumped.then(|| entry.text("COREDUMP_UNIT")).flatten();
    let from_systemd = (entry.text("_PID") == Some("1")).then(|| entry.text("UNIT")).flatten();
    let from_service = is_root.then(|| entry.text("OBJECT_SYSTEMD_UNIT")).flatten();
    [dumped, from_systemd, from_service, entry.text("_SYSTEMD_UNIT")].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::super::export::entry;
    use super::*;
    use crate::logs::Target;
    use crate::template::Template;

    fn settings() -> JournalSettings {
        let name = |text| Template::parse(text, &[]).expect("a name");
        JournalSettings::new(Target::new(name("g"), name("s")))
    }

    fn of_units(units: &[&str]) -> Selection {
        Selection::new(&JournalSettings { units: units.iter().map(|unit| (*unit).to_owned()).collect(), ..settings() })
    }

    const SSH: [(&str, &str); 2] = [("_SYSTEMD_UNIT", "ssh.service"), ("MESSAGE", "hello")];

    #[test]
    fn without_filters_everything_is_asked_for() {
        assert_eq!(Selection::new(&settings()).choose(&entry(&SSH)), Some(Some("ssh.service")));
        assert_eq!(Selection::new(&settings()).choose(&entry(&[("_TRANSPORT", "kernel")])), Some(None));
        assert_eq!(Selection::new(&settings()).hints(None), Hints::default());
    }

    #[test]
    fn a_unit_is_asked_for_by_name_or_by_pattern() {
        for units in [["ssh.service", "app.service"], ["app.service", "ss?.*"]] {
            assert_eq!(of_units(&units).choose(&entry(&SSH)), Some(Some("ssh.service")));
        }
        assert_eq!(of_units(&["app.service", "*.timer"]).choose(&entry(&SSH)), None);
        assert_eq!(
            of_units(&[r"a\x2db*"]).choose(&entry(&[("_SYSTEMD_UNIT", r"a\x2db.mount")])),
            Some(Some(r"a\x2db.mount"))
        );
    }

    #[test]
    fn what_systemd_says_of_a_unit_belongs_to_it() {
        let started = [("_PID", "1"), ("_UID", "0"), ("_SYSTEMD_UNIT", "init.scope"), ("UNIT", "app.service")];
        assert_eq!(of_units(&["app.service"]).choose(&entry(&started)), Some(Some("app.service")));
        let forged = [("_PID", "77"), ("_UID", "1000"), ("_SYSTEMD_UNIT", "evil.service"), ("UNIT", "app.service")];
        assert_eq!(of_units(&["app.service"]).choose(&entry(&forged)), None);
        let object = [("_UID", "0"), ("OBJECT_SYSTEMD_UNIT", "app.service"), ("_SYSTEMD_UNIT", "polkit.service")];
        assert_eq!(of_units(&["app.service"]).choose(&entry(&object)), Some(Some("app.service")));
    }

    #[test]
    fn keys_must_agree_and_values_are_alternatives() {
        let selection = Selection::new(&JournalSettings {
            identifiers: vec!["sshd".into(), "sudo".into()],
            priority: Some(4),
            matches: [("_TRANSPORT".to_owned(), vec!["syslog".to_owned(), "journal".to_owned()])].into(),
            ..settings()
        });
        let good = [("SYSLOG_IDENTIFIER", "sudo"), ("PRIORITY", "3"), ("_TRANSPORT", "syslog")];
        assert!(selection.choose(&entry(&good)).is_some());
        for (index, wrong) in ["cron", "6", "stdout"].into_iter().enumerate() {
            let mut bad = good;
            bad[index].1 = wrong;
            assert!(selection.choose(&entry(&bad)).is_none(), "{wrong}");
        }
        assert_eq!(
            selection.hints(None).0,
            ["--identifier=sshd", "--identifier=sudo", "--priority=4", "_TRANSPORT=syslog", "_TRANSPORT=journal"]
        );
    }

    #[test]
    fn journalctl_is_not_told_of_units_where_one_is_a_pattern() {
        assert_eq!(of_units(&["a.service", "b.service"]).hints(None).0, ["--unit=a.service", "--unit=b.service"]);
        assert_eq!(of_units(&["a.service", "b*"]).hints(None), Hints::default());
        assert_eq!(of_units(&["a.service", "b*"]).hints(Some("b1.service")).0, ["--unit=b1.service"]);
    }
}

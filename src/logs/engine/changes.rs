//! What the kernel told of files: which ones grew, that it is time to look around, and that one was made, which is met at
//! once: a rotation may have taken it away again when everything is looked at. Not the looking around (`survey`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Engine, SURVEY_SOON};
use crate::logs::batch::FileId;
use crate::logs::delivery::destination::Moment;
use crate::logs::ledger::{Count, Reason};
use crate::logs::source::discover::MOST_FILES;
use crate::logs::source::watch::{Change, RawChange};

impl Engine {
    pub(super) fn note_changes(&mut self, changes: &[RawChange], now: Moment) {
        let (mut grown, mut born) = (BTreeSet::new(), BTreeMap::new());
        for change in changes {
            match self.files.resolve(change) {
                Some(Change::Grew(path)) => {
                    grown.insert(path);
                }
                Some(Change::Tree { path, beside_files, born: is_born })
                    if beside_files || self.files.lie_behind(&path) =>
                {
                    self.survey_soon(SURVEY_SOON, now);
                    if is_born {
                        *born.entry(path).or_default() += 1;
                    }
                }
                Some(Change::Rights(path)) if self.files.is_hidden(&path) => self.survey_soon(SURVEY_SOON, now),
                Some(Change::Rights(_) | Change::Tree { .. }) | None => {}
            }
        }
        self.meet(&born, now);
        for path in grown {
            if let Some(id) = self.files.at(&path) {
                self.look_at(id, now);
            }
        }
    }

    /// Follows files that were just made where a pattern names them. Not in the middle of a look around, which would take
    /// those for gone that it has passed by; nor what may be a copy of another one, of which only a look around tells
    /// whether it is still there.
    fn meet(&mut self, born: &BTreeMap<PathBuf, u64>, now: Moment) {
        if self.stopping || !self.files.surveyed || self.files.walk.is_some() {
            return;
        }
        let mut adopted = BTreeSet::new();
        for (path, times) in born {
            self.note_astray(path, *times, now);
            if self.files.by_path.len() < MOST_FILES
                && let Some(table) = self.files.table_of(path)
                && self.bases_of(path, table).is_empty()
                && !path.is_dir()
                && let Some(stranger) = self.visit(path, table, &mut adopted, now)
            {
                self.settle_strangers(&[stranger], &mut adopted, now);
            }
        }
        self.enlist(&adopted, now);
    }

    /// So many files were made at `path`, one of which may stand there now. The others are looked for under other names,
    /// if that is a log's.
    fn note_astray(&mut self, path: &Path, times: u64, now: Moment) {
        let astray = times - u64::from(path.symlink_metadata().is_ok());
        if astray > 0 && self.books.accounts().contains_key(&*path.to_string_lossy()) {
            *self.files.astray.entry(path.to_owned()).or_default() += astray;
            self.survey_soon(Duration::ZERO, now);
        }
    }

    /// Files that were made, and that looking around did not find among those that it follows since `first`: nobody knows
    /// what stood in them.
    pub(super) fn miss_the_astray(&mut self, first: FileId) {
        let feeds = &self.feeds;
        self.files.astray.retain(|path, astray| {
            let found = feeds.all().filter(|feed| feed.id >= first && Path::new(&*feed.source) == path).count();
            *astray = astray.saturating_sub(found as u64);
            *astray > 0
        });
        if self.files.has_undecided() {
            return;
        }
        for (path, _) in std::mem::take(&mut self.files.astray) {
            self.books.account(&path.to_string_lossy().into()).lose(Reason::Gap, Count::default());
            let message = format!("files made as '{}' were gone before they could be read", path.display());
            let hint = "let the rotation keep more generations, or rotate later";
            self.set_warning("files_gone_unread", Some(message), hint);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;
    use std::time::Duration;

    use crate::logs::engine::tests::Bench;
    use crate::logs::engine::{Engine, Event, Quarantine, SURVEY_INTERVAL};
    use crate::logs::source::watch::Ears;

    /// An engine that hears what changes, and has looked around once.
    fn bench() -> (Bench, Ears) {
        let (mut bench, ears) = (Bench::new(), Ears::open().expect("inotify"));
        let engine =
            Engine::open(bench.settings.clone(), bench.state.path(), Some(&ears), Arc::default(), Quarantine::new());
        bench.engine = engine.expect("opens");
        bench.go(SURVEY_INTERVAL);
        (bench, ears)
    }

    #[test]
    fn a_file_that_is_rotated_away_and_overwritten_between_two_looks_is_read() {
        let (mut bench, mut ears) = bench();
        let (log, rotated) = (bench.logs.path().join("app.log"), bench.logs.path().join("app.log.1"));
        for generation in 0..20 {
            bench.append("app.log", &format!("{generation}\n"));
            bench.events.push(Event::Changed(ears.told()));
            bench.go(Duration::from_millis(1));
            bench.append("app.log", &format!("{generation} again\n"));
            fs::rename(&log, &rotated).expect("renames");
        }
        bench.deliver_all();
        bench.delivered.sort();
        let mut expected: Vec<String> = (0..20).flat_map(|one| [format!("{one}"), format!("{one} again")]).collect();
        expected.sort();
        assert_eq!(bench.delivered, expected);
    }

    #[test]
    fn files_that_were_gone_before_they_could_be_met_are_a_gap_and_those_under_another_name_are_read() {
        let (mut bench, mut ears) = bench();
        let (log, rotated) = (bench.logs.path().join("app.log"), bench.logs.path().join("app.log.1"));
        bench.append("app.log", "first\n");
        bench.deliver_all();
        for generation in ["lost", "rotated", "last"] {
            fs::rename(&log, &rotated).expect("renames");
            bench.append("app.log", &format!("{generation}\n"));
        }
        bench.events.push(Event::Changed(ears.told()));
        bench.deliver_all();
        let (gaps, mut lines): (Vec<_>, Vec<_>) =
            bench.delivered.iter().map(String::as_str).partition(|line| line.starts_with("[imds-agent: gap"));
        lines.sort_unstable();
        assert_eq!(lines, ["first", "last", "rotated"]);
        assert!(matches!(gaps[..], [gap] if gap.contains("an unknown number of lines of")), "{gaps:?}");
        assert!(bench.snapshot().ledger.events.dropped.is_empty());
        let warnings = bench.snapshot().warnings;
        assert!(warnings.iter().any(|warning| warning.code == "files_gone_unread"), "{warnings:?}");
    }

    #[test]
    fn what_is_made_where_no_pattern_names_it_is_not_followed() {
        let (mut bench, mut ears) = bench();
        bench.append("app.txt", "no\n");
        fs::create_dir(bench.logs.path().join("directory.log")).expect("makes");
        bench.append("app.log", "yes\n");
        bench.events.push(Event::Changed(ears.told()));
        bench.go(Duration::from_millis(1));
        assert_eq!(bench.engine.files.by_path.len(), 1);
        bench.deliver_all();
        assert_eq!(bench.delivered, ["yes"]);
    }
}

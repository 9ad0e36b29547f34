//! What the engine warns of: set while it lasts, withdrawn when it is over, and said once. Not the failures of single
//! sources and destinations: those are their own.

use super::Engine;
use crate::fault::Warning;
use crate::logs::source::discover::{CROWDED, Found, MOST_FILES};

impl Engine {
    /// What the survey could not see.
    pub(super) fn warn_of_survey(&mut self, found: &Found) {
        let too_many = found.full.first().and_then(|table| self.settings.files.get(*table)).map(|table| {
            let patterns = table.include.join("', '");
            format!("more than {MOST_FILES} files match '{patterns}'; the rest of them is not followed")
        });
        self.set_warning("too_many_files", too_many, "make `include` narrower, or use `exclude`");
        let crowded = found.crowded.as_ref();
        let crowded = crowded
            .map(|path| format!("'{}' has more than {CROWDED} entries: new files are noticed late", path.display()));
        self.set_warning(
            "crowded_directory",
            crowded,
            "clean it up, or name a directory with fewer files in `include`",
        );
        let passed_over = self.files.passed_over.first_key_value().map(|(path, reason)| {
            let others = match self.files.passed_over.len() {
                1 => String::new(),
                count => format!(", nor are {} others", count - 1),
            };
            format!("'{}' matches and is not followed: {reason}{others}", path.display())
        });
        let hint = "name it in `exclude`; or, if it is to be followed, name it, or a link's target, in `include`";
        self.set_warning("files_passed_over", passed_over, hint);
        let unwatched = self.files.watch_problem();
        let hint = "raise fs.inotify.max_user_watches; until then files there are looked at each second, and for new ones every 10 s";
        self.set_warning("unwatched_directory", unwatched, hint);
        let unreadable = found.unreadable.iter().find(|(path, _)| path.exists());
        let unreadable =
            unreadable.map(|(path, reason)| format!("directory '{}' can't be read: {reason}", path.display()));
        self.set_warning("unreadable_directory", unreadable, "let the service's user read and enter it");
    }

    /// Shows or withdraws a warning.
    pub(super) fn set_warning(&mut self, code: &'static str, message: Option<String>, hint: &str) {
        match message {
            None => drop(self.warnings.remove(code)),
            Some(message) => {
                let warning = Warning { code: code.to_owned(), message, hint: Some(hint.to_owned()) };
                if self.warnings.get(code) != Some(&warning) {
                    tracing::warn!(code, reason = warning.message, "degraded");
                    self.warnings.insert(code, warning);
                }
            }
        }
    }
}

//! What the engine warns of: set while it lasts, withdrawn when it is over, and said once. Not the failures of single
//! sources and destinations: those are their own.

use super::Engine;
use crate::fault::Warning;
use crate::logs::source::discover::{Found, MOST_FILES};

impl Engine {
    /// What the survey could not see.
    pub(super) fn warn_of_survey(&mut self, found: &Found) {
        let too_many = found.too_many.then(|| format!("more than {MOST_FILES} files match; the rest is not followed"));
        self.set_warning("too_many_files", too_many, "make `include` narrower, or use `exclude`");
        let unwatched = self.files.watch_problem();
        let hint = "raise fs.inotify.max_user_watches; until then such directories are looked at every 10 s";
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

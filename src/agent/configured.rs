//! Which configuration is in effect, and what became of the one on disk: chosen at the start, judged at each reload,
//! and what `status` says of it. Not what is done with it.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::config::{self, Config, DEFAULT_PATH, Loaded, last_good};
use crate::fault::{Warning, shell_word};
use crate::status::Configuration;

/// How many errors a warning lists: as many as somebody reads there; `config check` shows all, with the cited lines.
const MOST_LISTED: usize = 5;

/// A configuration to start with.
#[derive(Debug)]
pub struct Configured {
    /// Where it is looked for again at a reload.
    pub(super) path: Option<PathBuf>,
    pub(super) loaded: Loaded,
    /// Why it is the last good one, and from when that is.
    refused: Option<(Refusal, Timestamp)>,
}

/// Why a configuration is not in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The first error and where it is, and how many more there are.
    summary: String,
    /// Several of them, one after the other.
    pub(super) list: String,
}

/// What is shown of the configuration in effect.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    path: Option<PathBuf>,
    shown: Configuration,
    /// When what is in effect was accepted, whatever stands on the disk now.
    accepted_at: Timestamp,
    refusal: Option<Refusal>,
    /// Why the configuration in effect would not serve at the next start, if the one on disk were wrong then.
    not_kept: Option<String>,
}

impl Configured {
    /// The configuration at `path` (or the default path); if it is refused, the last good one of the same path that was
    /// kept in `state_dir`.
    ///
    /// # Errors
    /// What is wrong with it, when there is no last good one.
    pub fn at_start(path: Option<&Path>, state_dir: &Path) -> Result<Self, config::Errors> {
        let path_again = path.map(Path::to_owned);
        let errors = match config::load(path) {
            Ok(loaded) => return Ok(Self::read(path_again, loaded)),
            Err(errors) => errors,
        };
        let Some((loaded, accepted_at)) = last_good::recall(state_dir, path) else { return Err(errors) };
        let refusal = Refusal::of(&errors);
        tracing::error!(errors = refusal.list, %accepted_at, "the configuration is refused, the last good one serves");
        Ok(Self { path: path_again, loaded, refused: Some((refusal, accepted_at)) })
    }

    /// What was just read from `path`, and is right.
    pub(super) fn read(path: Option<PathBuf>, loaded: Loaded) -> Self {
        Self { path, loaded, refused: None }
    }

    /// A configuration that stands in no file.
    #[must_use]
    pub fn given(config: Config) -> Self {
        Self::read(None, Loaded { config, files: Vec::new(), attachments: Vec::new() })
    }

    /// Keeps it as the last good one, unless it is that already.
    pub(super) fn keep(&self, state_dir: &Path, standing: &mut Standing) {
        if self.refused.is_none() {
            let kept = last_good::keep(state_dir, self.path.as_deref(), &self.loaded, standing.accepted_at);
            standing.not_kept = kept.err().map(|error| error.to_string());
        }
    }
}

impl Refusal {
    pub(super) fn of(errors: &config::Errors) -> Self {
        let lines: Vec<String> = errors.diagnostics().take(MOST_LISTED).map(config::Diagnostic::line).collect();
        let more = errors.count().saturating_sub(lines.len());
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        Self { summary: errors.summary(), list: lines.join("; ") + &more }
    }

    /// For what is wrong beyond what files say.
    pub(super) fn because(reason: String) -> Self {
        Self { list: reason.clone(), summary: reason }
    }
}

impl Standing {
    /// `configured` is in effect since `now`.
    pub(super) fn of(configured: &Configured, now: Timestamp) -> Self {
        let files = &configured.loaded.files;
        let mut standing = Self {
            path: configured.path.clone(),
            shown: Configuration {
                path: files.first().map(|file| file.path.display().to_string()),
                loaded_at: Some(now).filter(|_| !files.is_empty()),
                ..Configuration::default()
            },
            accepted_at: now,
            refusal: None,
            not_kept: None,
        };
        if let Some((refusal, accepted_at)) = &configured.refused {
            standing.accepted_at = *accepted_at;
            standing.refuse(refusal.clone());
        }
        standing
    }

    /// What stands on the disk now is refused.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.shown.error = Some(refusal.summary.clone());
        self.shown.last_good = Some(self.accepted_at);
        self.refusal = Some(refusal);
    }

    /// As `status` shows it.
    pub(super) fn shown(&self) -> Configuration {
        self.shown.clone()
    }

    /// What a person should know of it.
    pub(super) fn warnings(&self) -> impl Iterator<Item = Warning> {
        let refused = self.refusal.as_ref().map(|refusal| Warning {
            code: "config_not_in_use".to_owned(),
            message: format!(
                "the configuration on disk is refused, and the one that was accepted at {:.0} is in use: {}",
                self.accepted_at, refusal.list
            ),
            hint: Some(format!("{}; once it is right: systemctl reload imds-agent", self.check())),
        });
        let not_kept = self.not_kept.as_ref().map(|reason| Warning {
            code: "config_not_kept".to_owned(),
            message: format!("the configuration can't be kept for a start at which the one on disk is wrong: {reason}"),
            hint: Some("make room in the state directory, and let the service's user write it".to_owned()),
        });
        refused.into_iter().chain(not_kept)
    }

    /// The command that shows what is wrong.
    fn check(&self) -> String {
        match &self.path {
            Some(path) if path != Path::new(DEFAULT_PATH) => {
                format!("imds-agent config check --config {}", shell_word(&path.to_string_lossy()))
            }
            _ => "imds-agent config check".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(path: Option<&str>) -> Standing {
        let configured = Configured { path: path.map(PathBuf::from), ..Configured::given(Config::default()) };
        Standing::of(&configured, "2026-11-22T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn what_is_right_is_no_news() {
        let standing = standing(None);
        assert_eq!(standing.warnings().count(), 0);
        assert_eq!(standing.shown(), Configuration::default());
    }

    #[test]
    fn a_refused_one_is_named_with_what_serves_and_the_cure() {
        let mut standing = standing(Some("/srv/a b.toml"));
        standing.refuse(Refusal { summary: "a.toml:1:2: no (and 1 more error)".into(), list: "no; neither".into() });
        let shown = standing.shown();
        assert_eq!(shown.error.as_deref(), Some("a.toml:1:2: no (and 1 more error)"));
        assert_eq!(shown.last_good, Some("2026-11-22T12:00:00Z".parse().unwrap()));
        let warning = standing.warnings().next().unwrap();
        assert_eq!(warning.code, "config_not_in_use");
        assert!(warning.message.contains("accepted at 2026-11-22T12:00:00Z is in use: no; neither"), "{warning:?}");
        assert!(warning.hint.unwrap().starts_with("imds-agent config check --config '/srv/a b.toml'; "));
    }

    #[test]
    fn one_that_could_not_be_kept_is_a_warning() {
        let directory = tempfile::tempdir().unwrap();
        let configured = Configured::given(Config::default());
        let mut standing = standing(None);
        configured.keep(&directory.path().join("missing"), &mut standing);
        assert_eq!(standing.warnings().next().unwrap().code, "config_not_kept");
        configured.keep(directory.path(), &mut standing);
        assert_eq!(standing.warnings().count(), 0);
    }
}

//! Whether the configuration can be used. The errors themselves are those of `config check`.

use super::visit::{Check, Finding, Found, Host, look};
use crate::config::DEFAULT_PATH;
use crate::fault::shell_word;

pub(super) const CHECK: Check = Check {
    name: "configuration",
    title: "the configuration can be used",
    needs: &[],
    after: &[],
    look: |host| look(async move { check(&host) }),
};

fn check(host: &Host) -> Found {
    let path = host.ground.config_path.as_ref().map_or(DEFAULT_PATH.into(), |path| path.display().to_string());
    match &host.ground.config {
        Ok(loaded) if loaded.files.is_empty() => {
            Finding::note(format!("there is no configuration at {path}: nothing is shipped")).into()
        }
        Ok(_) => Finding::ok(format!("{path} can be used")).into(),
        Err(errors) => Finding::fault(format!("{path} can't be used"))
            .evidence(errors.to_string())
            .cure(format!("imds-agent config check --config {}", shell_word(&path)))
            .into(),
    }
}

//! Whether the files that the configuration names are there, and whether the service may read them. Where the daemon runs,
//! what it says of them counts. Not what is in them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::service::{Eyes, Service, run_as};
use super::visit::{Check, Finding, Found, Host, look};
use crate::fault::shell_word;
use crate::logs::{FileSettings, Finder, SourceSnapshot, SourceState, Walk, open_regular};

pub(super) const CHECK: Check = Check {
    name: "file-access",
    title: "the service may read the files that it ships",
    needs: &["configuration"],
    after: &["daemon"],
    look: |host| look(check(host)),
};

/// So many entries of directories are looked at: with more, the look would take longer than a person waits.
const MOST_ENTRIES: u64 = 100_000;

/// So many files are opened, and so many are named: what is wrong with those is wrong with the others.
const MOST_FILES: usize = 200;
const MOST_FINDINGS: usize = 5;

async fn check(host: Arc<Host>) -> Found {
    let tables = host.config().logs.files;
    if tables.is_empty() {
        return Finding::ok("the configuration names no files").into();
    }
    let Ok((matches, mut findings)) = tokio::task::spawn_blocking(move || find(&tables)).await else {
        return Finding::unseen("the search for files failed").into();
    };
    match host.facts.report.get() {
        Some(report) => findings.extend(told(&report.logs.sources)),
        None => findings.extend(tried(&matches).await),
    }
    if findings.iter().all(|finding| finding.outcome == super::Outcome::Note) {
        let count = matches.len();
        let files = if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
        findings.insert(0, Finding::ok(format!("{files} can be read")));
    }
    Found::all(findings)
}

/// The files that the tables mean, and a note for each pattern that means none.
fn find(tables: &[FileSettings]) -> (Vec<PathBuf>, Vec<Finding>) {
    // `config check` has tried the patterns.
    let finders: Vec<Finder> = tables.iter().filter_map(|table| Finder::new(table).ok()).collect();
    let found = Walk::new(&finders).advance(&finders, &BTreeSet::new(), MOST_ENTRIES);
    let mut findings = Vec::new();
    let Some(found) = found else {
        let finding = Finding::unseen("there are too many files to look at them all");
        return (Vec::new(), vec![finding]);
    };
    for (path, reason) in &found.unreadable {
        findings.push(
            Finding::unseen(format!("this user may not look into {}", path.display()))
                .evidence(reason)
                .cure("sudo imds-agent doctor --only file-access"),
        );
    }
    let has_seen_all = found.unreadable.is_empty();
    for (index, table) in tables.iter().enumerate().filter(|_| has_seen_all) {
        if !found.files.values().any(|owner| *owner == index) {
            let patterns = table.include.join(", ");
            let cure =
                "if they are there under another name, change `include`; otherwise they are read once they appear";
            findings.push(Finding::note(format!("no file is called {patterns}")).about(&patterns).cure(cure));
        }
    }
    (found.files.into_keys().take(MOST_FILES).collect(), findings)
}

/// What the running daemon says.
fn told(sources: &[SourceSnapshot]) -> Vec<Finding> {
    let failed = sources.iter().filter(|source| source.kind == "file" && source.state == SourceState::Failed);
    let findings = failed.map(|source| {
        let error = source.last_error.as_ref();
        let evidence = error.map_or("imds-agent status", |fault| fault.message.as_str());
        let cure = error.and_then(|fault| fault.hint.clone());
        Finding::fault(format!("the daemon can't read {}", source.name))
            .about(&*source.name)
            .evidence(evidence)
            .cure_if_known(cure)
    });
    findings.take(MOST_FINDINGS).collect()
}

/// What opening the files shows, with the eyes of the service's user.
async fn tried(files: &[PathBuf]) -> Vec<Finding> {
    if files.is_empty() {
        return Vec::new();
    }
    match Eyes::for_service(Service::installed().await) {
        Eyes::Own => own(files),
        Eyes::Of(user) => match lent(&user, files).await {
            Some(unreadable) => unreadable.iter().map(|path| refused(path, &user)).take(MOST_FINDINGS).collect(),
            None => vec![Finding::unseen(format!("setpriv could not look as {user}"))],
        },
        Eyes::Nobodys(user) => vec![
            Finding::unseen(format!("only root can see what {user}, the service's user, may read"))
                .cure("sudo imds-agent doctor --only file-access"),
        ],
    }
}

fn own(files: &[PathBuf]) -> Vec<Finding> {
    let failed = files.iter().filter_map(|path| {
        let error = open_regular(path).err().filter(|error| !error.is_absent())?;
        let finding = Finding::fault(format!("{} can't be read", path.display())).about(path.display().to_string());
        Some(finding.evidence(format!("open: {error}")).cure_if_known(error.hint(path)))
    });
    failed.take(MOST_FINDINGS).collect()
}

/// Which of the files `user` may not read.
async fn lent(user: &str, files: &[PathBuf]) -> Option<Vec<PathBuf>> {
    let script = r#"for file; do test -r "$file" || printf '%s\0' "$file"; done"#;
    let mut arguments: Vec<OsString> = ["-c", script, "sh"].map(OsString::from).to_vec();
    arguments.extend(files.iter().map(|path| path.as_os_str().to_owned()));
    let output = run_as(user, "sh", arguments).await.filter(|output| output.status.success())?;
    let paths = output.stdout.split(|byte| *byte == 0).filter(|path| !path.is_empty());
    Some(paths.map(|path| OsString::from_vec(path.to_vec()).into()).collect())
}

fn refused(path: &Path, user: &str) -> Finding {
    let (word, name) = (shell_word(&String::from_utf8_lossy(path.as_os_str().as_bytes())), path.display());
    Finding::fault(format!("the service may not read {name}"))
        .about(name.to_string())
        .evidence(format!("test -r {word} as {user}"))
        .why(format!("its mode or that of a directory above it leaves {user} out: namei -l {word} shows them"))
        .cure(format!("sudo setfacl -m u:{user}:r {word}"))
}

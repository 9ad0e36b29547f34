//! A profile of a shared credentials file, kept fresh: for programs that read nothing else. Not for programs that use an
//! SDK: those ask a door, which knows who they are; this file is for whoever may read it.
//!
//! The file is replaced whole, by renaming, synced, readable by us alone, with all other profiles as they were. No
//! component of its path may be a link: whoever could set one would choose what we overwrite. Credentials that have
//! expired are taken out, since nothing in such a file says how long it is good for.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, fsync, openat, renameat, unlinkat};
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::CredentialsFile;
use super::server::Inner;
use crate::credentials::Issued;
use crate::fault::Warning;

/// How often it is looked whether there are others: far less than the time by which they are renewed before their end.
const LOOK: Duration = Duration::from_secs(2);

/// A file of this kind is a few profiles.
const LONGEST: u64 = 1024 * 1024;

/// Why the file can't be kept.
#[derive(Debug, thiserror::Error)]
#[error("{operation} the credentials file {path} failed")]
struct Error {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// What was written last: by this it is seen that there is something else.
type Shown = (CredentialsFile, Option<String>, Option<Timestamp>, bool);

/// Keeps the file that the settings name until `stop`.
pub(super) async fn keep(inner: &Arc<Inner>, stop: CancellationToken) {
    let mut settings = inner.settings();
    let mut written: Option<Shown> = None;
    while !stop.is_cancelled() {
        let wanted = settings.borrow_and_update().credentials_file.clone();
        if let Some(wanted) = wanted {
            renew(inner, wanted, &mut written).await;
        } else {
            written = None;
            inner.warn_of_file(None);
        }
        tokio::select! {
            () = stop.cancelled() => {}
            _ = settings.changed() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn renew(inner: &Arc<Inner>, wanted: CredentialsFile, written: &mut Option<Shown>) {
    let Some(desk) = inner.desk() else { return };
    let role = wanted.role.as_deref().map_or(Some(desk.roles.base()), |name| desk.roles.named(name));
    let Some(role) = role else { return };
    let now = role.cache.snapshot();
    let has_expired = now.expiration.is_some_and(|end| end <= inner.now());
    let shown = (wanted.clone(), now.key_id_suffix, now.expiration, has_expired);
    if written.as_ref() == Some(&shown) {
        return;
    }
    let issued = role.cache.hand_out().ok();
    // Before the first ones there is nothing to take out that we put there.
    if issued.is_none() && written.is_none() {
        return;
    }
    let file = wanted.clone();
    let writing = tokio::task::spawn_blocking(move || write(&file, issued.as_ref()));
    match writing.await.unwrap_or_else(|panic| Err(failed("writing", &wanted.path)(io::Error::other(panic)))) {
        Ok(()) => {
            inner.warn_of_file(None);
            *written = Some(shown);
        }
        Err(error) => inner.warn_of_file(Some(Warning {
            code: "credentials_file".to_owned(),
            message: crate::fault::chain(&error),
            hint: Some(format!(
                "let the agent write there: a drop-in of its unit with ReadWritePaths={}, and the directory its user's",
                wanted.path.parent().unwrap_or(&wanted.path).display()
            )),
        })),
    }
}

fn failed(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error { operation, path: path.clone(), source }
}

fn write(wanted: &CredentialsFile, issued: Option<&Issued>) -> Result<(), Error> {
    let path = wanted.path.as_path();
    let directory = open_directory(path).map_err(failed("going to the directory of", path))?;
    let name = path.file_name().unwrap_or_default();
    let before = read(&directory, name.as_ref()).map_err(failed("reading", path))?;
    let after = with_profile(&before, &wanted.profile, issued);
    if *before == *after {
        return Ok(());
    }
    replace(&directory, name.as_ref(), after.as_bytes()).map_err(failed("writing", path))
}

/// The directory of `path`, component by component, so that nothing can be put in between.
fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut directory = openat(CWD, "/", flags, Mode::empty())?;
    for component in path.parent().into_iter().flat_map(Path::components) {
        match component {
            Component::RootDir => {}
            Component::Normal(name) => {
                directory = openat(&directory, name, flags, Mode::empty()).map_err(|error| match error {
                    Errno::LOOP | Errno::NOTDIR => {
                        io::Error::other(format!("{} is a link, or no directory", name.display()))
                    }
                    error => error.into(),
                })?;
            }
            _ => return Err(io::Error::other("the path is not a plain one from the root")),
        }
    }
    Ok(directory)
}

fn read(directory: &OwnedFd, name: &Path) -> io::Result<Zeroizing<String>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(directory, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(Zeroizing::default()),
        Err(Errno::LOOP) => return Err(io::Error::other("it is a link")),
        Err(error) => return Err(error.into()),
    };
    let found = file.metadata()?;
    if !found.is_file() || found.len() > LONGEST {
        return Err(io::Error::other("it is no plain file of at most a megabyte"));
    }
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(found.len()).unwrap_or_default() + 1));
    file.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

fn replace(directory: &OwnedFd, name: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = PathBuf::from(format!(".{}.imds-agent", name.display()));
    match unlinkat(directory, &temporary, AtFlags::empty()) {
        Err(error) if error != Errno::NOENT => return Err(error.into()),
        _ => {}
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(directory, &temporary, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(bytes)?;
    file.sync_all()?;
    renameat(directory, &temporary, directory, name)?;
    // Through a descriptor of its own: one that was opened only to pass through can't be synced.
    let listed = openat(directory, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(fsync(&listed)?)
}

/// `text` with these in the section of `profile`, or without that section. All else stays as it is.
fn with_profile(text: &str, profile: &str, issued: Option<&Issued>) -> Zeroizing<String> {
    let mut result = Zeroizing::new(String::with_capacity(text.len() + 4096));
    let (mut is_inside, mut is_done) = (false, false);
    for line in text.split_inclusive('\n') {
        if let Some(name) = section(line) {
            is_inside = name == profile;
            if is_inside && !is_done {
                write_section(&mut result, profile, issued);
                is_done = true;
            }
        }
        if !is_inside {
            result.push_str(line);
        }
    }
    if !is_done && issued.is_some() {
        if !result.is_empty() && !result.ends_with('\n') {
            result.push('\n');
        }
        write_section(&mut result, profile, issued);
    }
    result
}

/// The name in a line that begins a section.
fn section(line: &str) -> Option<&str> {
    let (name, _) = line.trim_start().strip_prefix('[')?.split_once(']')?;
    Some(name.trim())
}

fn write_section(result: &mut String, profile: &str, issued: Option<&Issued>) {
    let Some(issued) = issued else { return };
    let credentials = &issued.credentials;
    let end = issued.expiration.map_or_else(|| "never".to_owned(), |end| format!("{end:.0}"));
    // Writing to a string does not fail.
    let _ = write!(
        result,
        "[{profile}]\n# kept fresh by imds-agent; expires: {end}\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        credentials.access_key_id(),
        credentials.secret_access_key()
    );
    if let Some(token) = credentials.session_token() {
        let _ = writeln!(result, "aws_session_token = {token}");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use aws_credential_types::Credentials;

    use super::*;

    fn issued(id: &str) -> Issued {
        let credentials = Credentials::new(id, "secret", Some("token".to_owned()), None, "test");
        let expiration = Some("2026-11-22T12:00:00Z".parse().unwrap());
        Issued { credentials, expiration, role_arn: None, account_id: None }
    }

    fn wanted(path: PathBuf) -> CredentialsFile {
        CredentialsFile { path, profile: "app".to_owned(), role: None }
    }

    const OURS: &str = "[app]\n# kept fresh by imds-agent; expires: 2026-11-22T12:00:00Z\n\
        aws_access_key_id = AKIA1\naws_secret_access_key = secret\naws_session_token = token\n";

    #[test]
    fn one_profile_changes_and_the_others_stay() {
        let first = issued("AKIA1");
        assert_eq!(*with_profile("", "app", Some(&first)), OURS);
        let others = "# mine\n[default]\naws_access_key_id = X";
        assert_eq!(*with_profile(others, "app", Some(&first)), format!("{others}\n{OURS}"));
        let between = "[a]\nx = 1\n\n[ app ]\naws_access_key_id = OLD\n[b]\ny = 2\n[app]\nz = 3\n";
        assert_eq!(*with_profile(between, "app", Some(&first)), format!("[a]\nx = 1\n\n{OURS}[b]\ny = 2\n"));
        assert_eq!(*with_profile(between, "app", None), "[a]\nx = 1\n\n[b]\ny = 2\n");
        assert_eq!(*with_profile(others, "app", None), others);
    }

    #[test]
    fn the_file_is_ours_alone_to_read_and_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("credentials");
        std::fs::write(&path, "[default]\nregion = x\n").unwrap();
        write(&wanted(path.clone()), Some(&issued("AKIA1"))).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("[default]\nregion = x\n{OURS}"));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        write(&wanted(path.clone()), None).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "[default]\nregion = x\n");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn no_link_is_followed_neither_the_file_nor_on_the_way() {
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (directory.path().join("target"), directory.path().join("link"));
        std::fs::write(&target, "precious").unwrap();
        symlink(&target, &link).unwrap();
        let error = write(&wanted(link), Some(&issued("AKIA1"))).unwrap_err();
        assert!(crate::fault::chain(&error).contains("it is a link"), "{error}");
        let (real, way) = (directory.path().join("real"), directory.path().join("way"));
        std::fs::create_dir(&real).unwrap();
        symlink(&real, &way).unwrap();
        assert!(write(&wanted(way.join("credentials")), Some(&issued("AKIA1"))).is_err());
        assert_eq!(std::fs::read_dir(&real).unwrap().count(), 0);
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
    }
}

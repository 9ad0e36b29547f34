//! The roles' tokens, `tokens/NAME` in the runtime directory: made, kept over restarts, readable by those whom the rules
//! name, changed when asked. Not what a token opens.
//!
//! Who has a token has shown no more than that: the door still wants to know who is calling. A token is written whole
//! under another name and renamed, so that nobody reads half of one. Root reads all of them, and systemd as root hands
//! one to a unit by `LoadCredential=`; that is how rules with a unit or a container get theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, XattrFlags, fsetxattr, open, openat, renameat, unlinkat};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::caller::{Accounts, Rule, Rules};
use crate::credentials::Role;
use crate::fault::Warning;

/// The directory's name.
pub const DIRECTORY: &str = "tokens";

/// 256 bits: nobody guesses one.
const BYTES: usize = 32;

/// All may go through the directory to the file that is theirs; nobody but us may list it.
const DIRECTORY_MODE: u32 = 0o711;

/// Ours alone, until the rules name somebody.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// More users than this are not written into a file's list: file systems keep some 500 entries at most.
const MOST_READERS: usize = 256;

/// Why a token can't be had.
#[derive(Debug, thiserror::Error)]
#[error("{operation} the token {path} failed; the runtime directory must be this user's to write")]
pub(super) struct Error {
    /// What was tried.
    operation: &'static str,
    /// The file.
    path: PathBuf,
    /// The system's answer.
    source: io::Error,
}

/// The tokens in use.
#[derive(Debug)]
pub(super) struct Tokens {
    directory: PathBuf,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    tokens: BTreeMap<String, Zeroizing<String>>,
    warnings: BTreeMap<String, Warning>,
}

/// Who may read a token's file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Readers {
    users: BTreeSet<u32>,
    groups: BTreeSet<u32>,
    /// Users by number that are too many to be written down.
    too_many: bool,
}

impl Tokens {
    /// Those in the runtime directory; none is in use yet.
    pub(super) fn at(runtime_dir: &Path) -> Self {
        Self { directory: runtime_dir.join(DIRECTORY), held: Mutex::default() }
    }

    /// Where the token of `role` is.
    pub(super) fn path(&self, role: &str) -> PathBuf {
        self.directory.join(role)
    }

    /// From now on these roles have tokens, readable by those whom their rules name, and no others do. What fails is a
    /// warning, and tried again the next time.
    pub(super) fn furnish<'r>(&self, roles: impl Iterator<Item = &'r Role>, accounts: &Accounts) {
        let roles: Vec<&Role> = roles.collect();
        let mut held = Held::default();
        let before = std::mem::take(&mut *self.held());
        if let Err(error) = self.make_directory() {
            held.warn("", &error);
        }
        for role in &roles {
            let name = role.name.as_str();
            let known = before.tokens.get(name);
            match self.settle(name, known, &Readers::of(&role.allow, accounts)) {
                Ok((token, warning)) => {
                    held.tokens.insert(name.to_owned(), token);
                    held.warnings.extend(warning.map(|warning| (name.to_owned(), warning)));
                }
                Err(error) => held.warn(name, &error),
            }
        }
        self.sweep(&roles);
        *self.held() = held;
    }

    /// Whether `shown` is the token of `role`. Takes as long whatever is shown.
    pub(super) fn opens(&self, role: &str, shown: &str) -> bool {
        let held = self.held();
        held.tokens.get(role).is_some_and(|token| bool::from(token.as_bytes().ct_eq(shown.as_bytes())))
    }

    /// The role whose token `shown` is.
    pub(super) fn role_of(&self, shown: &str) -> Option<String> {
        let held = self.held();
        let mut matching = held.tokens.iter().filter(|(_, token)| bool::from(token.as_bytes().ct_eq(shown.as_bytes())));
        matching.next().map(|(role, _)| role.clone())
    }

    /// Gives `role` another token; the old one opens nothing any more.
    pub(super) fn rotate(&self, role: &Role, accounts: &Accounts) -> Result<(), Error> {
        let token = self.write(&role.name, &Readers::of(&role.allow, accounts))?;
        self.held().tokens.insert(role.name.clone(), token.0);
        Ok(())
    }

    /// What a person should know.
    pub(super) fn warnings(&self) -> Vec<Warning> {
        self.held().warnings.values().cloned().collect()
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, operation: &'static str, name: &str) -> impl Fn(io::Error) -> Error + use<> {
        let path = self.path(name);
        move |source| Error { operation, path: path.clone(), source }
    }

    fn make_directory(&self) -> Result<(), Error> {
        let failed = self.failed("making the directory of", "");
        match std::fs::DirBuilder::new().mode(DIRECTORY_MODE).create(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
        let found = std::fs::symlink_metadata(&self.directory).map_err(&failed)?;
        if !found.is_dir() || found.uid() != own_uid() {
            return Err(failed(io::Error::other("it is no directory of this user's")));
        }
        let mode = std::fs::Permissions::from_mode(DIRECTORY_MODE);
        std::fs::set_permissions(&self.directory, mode).map_err(&failed)
    }

    /// The token of `name`: that in use, if its file still has it, or the file's, or a new one.
    fn settle(
        &self,
        name: &str,
        known: Option<&Zeroizing<String>>,
        readers: &Readers,
    ) -> Result<(Zeroizing<String>, Option<Warning>), Error> {
        let kept = self.read(name).filter(|(_, token)| known.is_none_or(|known| known == token));
        let Some((file, token)) = kept else { return self.write(name, readers) };
        let warning = self.let_read(&file, name, readers)?;
        Ok((token, warning))
    }

    /// What stands in the file, if it is ours alone to write and well-formed.
    fn read(&self, name: &str) -> Option<(File, Zeroizing<String>)> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = File::from(open(self.path(name), flags, Mode::empty()).ok()?);
        let found = file.metadata().ok()?;
        let is_ours = found.is_file() && found.uid() == own_uid() && found.nlink() == 1 && found.mode() & 0o022 == 0;
        let mut token = Zeroizing::new(String::with_capacity(2 * BYTES + 1));
        (&mut file).take(2 * BYTES as u64 + 1).read_to_string(&mut token).ok()?;
        let is_whole = token.len() == 2 * BYTES && token.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (is_ours && is_whole).then_some((file, token))
    }

    fn write(&self, name: &str, readers: &Readers) -> Result<(Zeroizing<String>, Option<Warning>), Error> {
        let token = random().map_err(self.failed("making", name))?;
        // A dot comes before no role's name.
        let temporary = self.directory.join(format!(".{name}"));
        let failed = self.failed("writing", name);
        let failed = |error: Errno| failed(error.into());
        match unlinkat(CWD, &temporary, AtFlags::empty()) {
            Err(error) if error != Errno::NOENT => return Err(failed(error)),
            _ => {}
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(CWD, &temporary, flags, FILE_MODE).map_err(failed)?);
        file.write_all(token.as_bytes()).map_err(self.failed("writing", name))?;
        let warning = self.let_read(&file, name, readers)?;
        renameat(CWD, &temporary, CWD, self.path(name)).map_err(failed)?;
        Ok((token, warning))
    }

    /// Lets `readers` read `file`, and nobody else. Where the file system keeps no such lists that is a warning.
    fn let_read(&self, file: &File, name: &str, readers: &Readers) -> Result<Option<Warning>, Error> {
        let failed = self.failed("setting the readers of", name);
        let list = readers.acl();
        match fsetxattr(file, "system.posix_acl_access", &list, XattrFlags::empty()) {
            Ok(()) if readers.too_many => Ok(Some(warning(
                name,
                format!("the token of the role {name} can't list all users that its rules name by number"),
            ))),
            Ok(()) => Ok(None),
            Err(Errno::OPNOTSUPP) => {
                rustix::fs::fchmod(file, FILE_MODE).map_err(|error| failed(error.into()))?;
                let is_missed = !readers.is_nobody();
                let message = format!(
                    "the users of the role {name} can't read its token: the file system of {} keeps no access lists",
                    self.directory.display()
                );
                Ok(is_missed.then(|| warning(name, message)))
            }
            Err(error) => Err(failed(error.into())),
        }
    }

    /// Takes away the tokens of roles that are no more.
    fn sweep(&self, roles: &[&Role]) {
        for entry in std::fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let is_wanted = roles.iter().any(|role| entry.file_name() == role.name.as_str());
            if !is_wanted {
                // One that stayed would open nothing.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

impl Held {
    fn warn(&mut self, name: &str, error: &Error) {
        let message = crate::fault::chain(error);
        tracing::warn!(error = message, "a role has no token");
        self.warnings.insert(name.to_owned(), warning(name, message));
    }
}

fn warning(name: &str, message: String) -> Warning {
    let name = if name.is_empty() { "NAME" } else { name };
    Warning {
        code: "token_not_readable".to_owned(),
        message,
        hint: Some(format!(
            "use `imds-agent credentials --role {name}` as credential_process, or LoadCredential= in the unit"
        )),
    }
}

impl Readers {
    /// Those whom `rules` name by themselves. Who must also be in a unit or a container gets the token there.
    fn of(rules: &Rules, accounts: &Accounts) -> Self {
        let mut readers = Self::default();
        for rule in rules.0.iter().filter(|rule| rule.unit.is_none() && rule.container.is_none()) {
            readers.add(rule, accounts);
        }
        readers.too_many = readers.users.len() > MOST_READERS || readers.too_many;
        if readers.too_many {
            readers.users = readers.users.into_iter().take(MOST_READERS).collect();
        }
        readers
    }

    /// The narrowest that can be written down: a file's list knows no "and".
    fn add(&mut self, rule: &Rule, accounts: &Accounts) {
        match (&rule.user, rule.uid, &rule.group) {
            (Some(name), ..) => self.users.extend(accounts.user(name)),
            (None, Some(uids), _) => {
                self.users.extend(uids.numbers().take(MOST_READERS + 1));
            }
            (None, None, Some(name)) => self.groups.extend(accounts.group(name)),
            (None, None, None) => {}
        }
    }

    fn is_nobody(&self) -> bool {
        self.users.iter().all(|uid| *uid == 0) && self.groups.is_empty()
    }

    /// As the kernel takes it (acl(5), `linux/posix_acl_xattr.h`): a version, then entries of a tag, rights and a number.
    fn acl(&self) -> Vec<u8> {
        const OWNER: u16 = 1;
        const USER: u16 = 2;
        const OWN_GROUP: u16 = 4;
        const GROUP: u16 = 8;
        const MASK: u16 = 16;
        const OTHER: u16 = 32;
        let mut list = 2_u32.to_le_bytes().to_vec();
        let mut add = |tag: u16, rights: u16, id: u32| {
            list.extend(tag.to_le_bytes());
            list.extend(rights.to_le_bytes());
            list.extend(id.to_le_bytes());
        };
        let nobody = u32::MAX;
        add(OWNER, 6, nobody);
        self.users.iter().for_each(|uid| add(USER, 4, *uid));
        add(OWN_GROUP, 0, nobody);
        self.groups.iter().for_each(|gid| add(GROUP, 4, *gid));
        add(MASK, 4, nobody);
        add(OTHER, 0, nobody);
        list
    }
}

/// 256 bits of the kernel's, in hexadecimal.
pub(super) fn random() -> io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0_u8; BYTES]);
    let mut filled = 0;
    while filled < BYTES {
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty())?;
    }
    Ok(hexadecimal(&*bytes))
}

/// Without allocating again, so that no piece of it is left anywhere.
fn hexadecimal(bytes: &[u8]) -> Zeroizing<String> {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    for byte in bytes {
        text.extend([digit(byte >> 4), digit(byte & 15)]);
    }
    text
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::Uids;

    fn tokens() -> (tempfile::TempDir, Tokens) {
        let directory = tempfile::tempdir().unwrap();
        let tokens = Tokens::at(directory.path());
        tokens.make_directory().unwrap();
        (directory, tokens)
    }

    fn readers(rules: Vec<Rule>) -> Readers {
        Readers::of(&Rules(rules), &Accounts::default())
    }

    #[test]
    fn a_token_is_kept_if_it_is_whole_and_ours_and_made_anew_if_not() {
        let (_directory, tokens) = tokens();
        let (first, _) = tokens.settle("app", None, &Readers::default()).unwrap();
        assert_eq!(std::fs::read_to_string(tokens.path("app")).unwrap(), *first);
        assert_eq!(tokens.settle("app", None, &Readers::default()).unwrap().0, first);
        let path = tokens.path("app");
        let spoilt = |spoil: &dyn Fn()| {
            let before = tokens.settle("app", None, &Readers::default()).unwrap().0;
            spoil();
            let after = tokens.settle("app", None, &Readers::default()).unwrap().0;
            assert!(before != after && after.len() == 2 * BYTES);
        };
        spoilt(&|| std::fs::write(&path, "short").unwrap());
        spoilt(&|| std::fs::write(&path, "G".repeat(64)).unwrap());
        spoilt(&|| std::fs::write(&path, format!("{}\n", "0".repeat(64))).unwrap());
        spoilt(&|| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap());
        let elsewhere = tokens.directory.join("elsewhere");
        spoilt(&|| {
            std::fs::rename(&path, &elsewhere).unwrap();
            std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        });
        spoilt(&|| std::fs::hard_link(&path, tokens.directory.join("another")).unwrap());
    }

    #[test]
    fn a_token_that_was_changed_behind_our_back_is_not_taken_over() {
        let (_directory, tokens) = tokens();
        let (known, _) = tokens.settle("app", None, &Readers::default()).unwrap();
        std::fs::write(tokens.path("app"), "0".repeat(64)).unwrap();
        let (after, _) = tokens.settle("app", Some(&known), &Readers::default()).unwrap();
        assert!(after != known && *after != "0".repeat(64));
    }

    #[test]
    fn the_directory_is_not_somebody_elses_and_can_not_be_listed() {
        let (directory, tokens) = tokens();
        let mode = std::fs::metadata(&tokens.directory).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, DIRECTORY_MODE);
        std::fs::remove_dir(&tokens.directory).unwrap();
        std::os::unix::fs::symlink(directory.path(), &tokens.directory).unwrap();
        assert!(tokens.make_directory().is_err());
    }

    #[test]
    fn those_read_a_token_whom_a_rule_names_without_a_unit_or_a_container() {
        let uid = |text: &str| Rule { uid: text.parse().ok(), ..Rule::default() };
        let user = |name: &str| Rule { user: Some(name.to_owned()), ..Rule::default() };
        let group = |name: &str| Rule { group: Some(name.to_owned()), ..Rule::default() };
        let some = readers(vec![
            user("7"),
            uid("10-12"),
            group("50"),
            Rule { group: Some("51".to_owned()), ..user("8") },
            Rule { unit: Some("web.service".to_owned()), ..user("9") },
            Rule { container: Some("*".to_owned()), ..uid("13") },
        ]);
        assert_eq!(some.users, [7, 8, 10, 11, 12].into());
        assert_eq!(some.groups, [50].into());
        let many = readers(vec![Rule { uid: Uids::new(0, u32::MAX), ..Rule::default() }]);
        assert!(many.too_many && many.users.len() == MOST_READERS);
    }
}

//! The last configuration that was accepted, kept as one file in the state directory: the text of each of its files, so
//! that the same parser reads it again. Not when it is kept, nor when it serves: that is the agent's.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::source::{Attached, Source};
use super::{Loaded, main_file, parse};

/// The file's name in the state directory.
const FILE_NAME: &str = "last-good.json";

/// It decides what is read and shipped, so it is nobody else's, as everything in the state directory.
const MODE: u32 = 0o600;

/// The permission bits of others than the owner that would let them write it.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// A configuration as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The main file, whether or not there was one: the configuration of one path is no substitute for another's.
    main: PathBuf,
    accepted_at: Timestamp,
    files: Vec<KeptFile>,
    /// What these name; a version that knew none kept none.
    #[serde(default)]
    attachments: Vec<KeptFile>,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct KeptFile {
    path: PathBuf,
    text: String,
}

/// Keeps `loaded`, which was read from `path` (or the default path) and accepted at `at`, in `directory`. When it is
/// there already, nothing is written.
///
/// # Errors
/// When it can't be written; what was kept before is then still there.
pub fn keep(directory: &Path, path: Option<&Path>, loaded: &Loaded, at: Timestamp) -> io::Result<()> {
    let of = |files: &[Source]| {
        files.iter().map(|file| KeptFile { path: file.path.clone(), text: file.text.clone() }).collect()
    };
    let (files, attachments) = (of(&loaded.files), of(&loaded.attachments));
    let kept = Kept { main: std::path::absolute(main_file(path))?, accepted_at: at, files, attachments };
    let same = |before: &Kept| {
        before.main == kept.main && before.files == kept.files && before.attachments == kept.attachments
    };
    if read(directory).as_ref().is_ok_and(same) {
        return Ok(());
    }
    let target = directory.join(FILE_NAME);
    let fresh = target.with_extension("new");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(MODE).open(&fresh)?;
    file.write_all(&serde_json::to_vec(&kept)?)?;
    file.sync_all()?;
    fs::rename(&fresh, &target)?;
    File::open(directory)?.sync_all()
}

/// The configuration of `path` (or the default path) that was kept in `directory`, and when it was accepted. `None`
/// when there is none; one that can't be used is logged.
#[must_use]
pub fn recall(directory: &Path, path: Option<&Path>) -> Option<(Loaded, Timestamp)> {
    let unusable = |reason: &dyn std::fmt::Display| {
        tracing::warn!(directory = %directory.display(), %reason, "the last good configuration can't be used");
    };
    let kept = match read(directory) {
        Ok(kept) => kept,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            unusable(&error);
            return None;
        }
    };
    if std::path::absolute(main_file(path)).ok()? != kept.main {
        unusable(&format_args!("it is that of {}", kept.main.display()));
        return None;
    }
    let source = |file: KeptFile| Source::new(file.path, file.text);
    let attached = Attached::Kept(kept.attachments.into_iter().map(source).collect());
    match parse(kept.files.into_iter().map(source).map(Ok).collect(), attached) {
        Ok((loaded, _)) => Some((loaded, kept.accepted_at)),
        Err(errors) => {
            unusable(&errors.summary());
            None
        }
    }
}

fn read(directory: &Path) -> io::Result<Kept> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(directory.join(FILE_NAME))?;
    let metadata = file.metadata()?;
    if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(io::Error::other(format!("{FILE_NAME} is not ours alone to write")));
    }
    let mut json = Vec::new();
    file.read_to_end(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::load;

    struct House(tempfile::TempDir);

    impl House {
        fn new(text: &str) -> Self {
            let house = Self(tempfile::tempdir().unwrap());
            fs::create_dir(house.0.path().join("conf.d")).unwrap();
            fs::write(house.main(), text).unwrap();
            fs::write(house.0.path().join("conf.d/a.toml"), "[variables]\nb = \"c\"\n").unwrap();
            house
        }

        fn main(&self) -> PathBuf {
            self.0.path().join("config.toml")
        }

        fn kept(&self) -> PathBuf {
            self.0.path().join(FILE_NAME)
        }

        fn keep(&self, at: &str) -> Loaded {
            let loaded = load(Some(&self.main())).unwrap();
            keep(self.0.path(), Some(&self.main()), &loaded, at.parse().unwrap()).unwrap();
            loaded
        }

        fn recall(&self) -> Option<(Loaded, Timestamp)> {
            recall(self.0.path(), Some(&self.main()))
        }
    }

    const THEN: &str = "2026-11-22T12:00:00Z";
    const LATER: &str = "2026-11-23T12:00:00Z";

    #[test]
    fn what_was_kept_is_recalled_with_its_files_and_its_time() {
        let house = House::new("region = \"eu-west-1\"");
        assert!(house.recall().is_none());
        let loaded = house.keep(THEN);
        fs::write(house.main(), "nonsense").unwrap();
        let (recalled, at) = house.recall().unwrap();
        assert_eq!((recalled.config, at), (loaded.config, THEN.parse().unwrap()));
        assert_eq!(recalled.files.len(), 2);
        assert_eq!(fs::metadata(house.kept()).unwrap().mode() & 0o777, MODE);
    }

    #[test]
    fn what_is_there_already_is_not_written_again() {
        let house = House::new("");
        house.keep(THEN);
        let before = fs::metadata(house.kept()).unwrap().ino();
        house.keep(LATER);
        assert_eq!(fs::metadata(house.kept()).unwrap().ino(), before);
        assert_eq!(house.recall().unwrap().1, THEN.parse().unwrap(), "it has been good since then");
        fs::write(house.main(), "# a comment is a change").unwrap();
        house.keep(LATER);
        assert_eq!(house.recall().unwrap().1, LATER.parse().unwrap());
    }

    #[test]
    fn another_paths_configuration_is_no_substitute() {
        let house = House::new("");
        house.keep(THEN);
        assert!(recall(house.0.path(), Some(&house.0.path().join("other.toml"))).is_none());
        assert!(recall(house.0.path(), None).is_none());
    }

    #[test]
    fn what_others_could_have_written_or_this_version_cannot_read_is_not_used() {
        let house = House::new("");
        house.keep(THEN);
        fs::set_permissions(house.kept(), fs::Permissions::from_mode(0o620)).unwrap();
        assert!(house.recall().is_none());
        fs::set_permissions(house.kept(), fs::Permissions::from_mode(0o600)).unwrap();
        assert!(house.recall().is_some());
        let text = fs::read_to_string(house.kept()).unwrap();
        fs::write(house.kept(), text.replace("[variables]", "[of_another_version]")).unwrap();
        assert!(house.recall().is_none());
        fs::write(house.kept(), &text[..text.len() / 2]).unwrap();
        assert!(house.recall().is_none());
    }
}

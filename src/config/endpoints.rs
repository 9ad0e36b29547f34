//! The syntax of `[endpoints]`. Not its meaning: that is the room of the same name.

use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

use super::report::Problem;
use super::table::{Located, Reader, suggest};
use crate::endpoints::{CredentialsFile, LINK_LOCAL, Metadata, Settings};

/// The profile that SDKs take when nothing is said.
const PROFILE: &str = "default";

/// `roles` are the names that `[[role]]` tables have.
pub(super) fn read(mut table: Reader<'_>, roles: &[&str]) -> Settings {
    let has = |table: &Reader<'_>, key| table.has(key);
    let mut listens: Vec<Located<SocketAddr>> = Vec::new();
    let (has_container, has_metadata) = (has(&table, "container"), has(&table, "metadata"));
    let has_file = has(&table, "credentials_file");
    let container = table.table("container");
    let metadata = table.table("metadata");
    let file = table.table("credentials_file");
    let settings = Settings {
        container: container_door(container, has_container, &mut listens),
        metadata: look_alike(metadata, has_metadata, roles, &mut listens),
        credentials_file: credentials_file(file, has_file, roles),
    };
    table.finish();
    settings
}

fn container_door(mut table: Reader<'_>, is_set: bool, taken: &mut Vec<Located<SocketAddr>>) -> Option<SocketAddr> {
    let listen = listen(&mut table, is_set, "127.0.0.1:1339", true, taken);
    table.finish();
    listen
}

fn look_alike(
    mut table: Reader<'_>,
    is_set: bool,
    roles: &[&str],
    taken: &mut Vec<Located<SocketAddr>>,
) -> Option<Metadata> {
    let listen = listen(&mut table, is_set, "127.0.0.1:1338", false, taken);
    if is_set && !table.has("role") {
        table.missing("role", "the one [[role]] that it serves, as in `role = \"app\"`");
    }
    let role = table.string("role").and_then(|name| declared(&table, name, roles));
    table.finish();
    Some(Metadata { listen: listen?, role: role? })
}

fn credentials_file(mut table: Reader<'_>, is_set: bool, roles: &[&str]) -> Option<CredentialsFile> {
    if is_set && !table.has("path") {
        table.missing("path", "where the file is, as in `path = \"/var/lib/app/credentials\"`");
    }
    let path = table.string("path").and_then(|text| plain_path(&table, &text));
    let profile = table.string("profile").map_or_else(|| Some(PROFILE.to_owned()), |text| profile(&table, text));
    let names_role = table.has("role");
    let role = table.string("role").and_then(|name| declared(&table, name, roles));
    table.finish();
    (!names_role || role.is_some()).then_some(CredentialsFile { path: path?, profile: profile?, role })
}

/// Where a door listens: on loopback, or, for `container`, where SDKs look for it beside that.
fn listen(
    table: &mut Reader<'_>,
    is_set: bool,
    example: &str,
    link_local: bool,
    taken: &mut Vec<Located<SocketAddr>>,
) -> Option<SocketAddr> {
    if is_set && !table.has("listen") {
        table.missing("listen", &format!("an address and a port of this host, as in `listen = \"{example}\"`"));
    }
    let text = table.string("listen")?;
    let problem = |message: String| Problem::new(text.place, message);
    let Ok(address) = text.value.parse::<SocketAddr>() else {
        let message = format!("`listen` can't be \"{}\"; expected an address and a port", text.value);
        table.report().add(problem(message).hint(format!("as in \"{example}\"")));
        return None;
    };
    let is_allowed = address.ip().is_loopback() || link_local && address.ip() == LINK_LOCAL;
    if !is_allowed {
        let message = format!("`listen` can't be \"{}\": everybody who reaches that address could ask", text.value);
        let hint = if link_local {
            format!("expected a loopback address, or {LINK_LOCAL}, at which a role's token alone decides")
        } else {
            "expected a loopback address: only there it is known who is calling".to_owned()
        };
        table.report().add(problem(message).hint(hint));
        return None;
    }
    if address.port() == 0 {
        table.report().add(problem("`listen` needs a port: clients must know it".to_owned()));
        return None;
    }
    if let Some(other) = taken.iter().find(|other| other.value == address) {
        let message = format!("two endpoints can't both listen at {address}");
        table.report().add(problem(message).also("the other", other.place));
        return None;
    }
    taken.push(Located { value: address, place: text.place });
    Some(address)
}

/// The name of a role that is declared.
fn declared(table: &Reader<'_>, name: Located<String>, roles: &[&str]) -> Option<String> {
    if roles.contains(&name.value.as_str()) {
        return Some(name.value);
    }
    if !table.report().has_gaps() {
        let message = format!("there is no [[role]] called \"{}\"", name.value);
        table.report().add(suggest(Problem::new(name.place, message), &name.value, roles));
    }
    None
}

/// From the root, without going back.
fn plain_path(table: &Reader<'_>, text: &Located<String>) -> Option<PathBuf> {
    let path = Path::new(&text.value);
    let is_plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if path.is_absolute() && is_plain && path.file_name().is_some() && !text.value.ends_with('/') {
        return Some(path.to_owned());
    }
    let message = format!("`path` can't be \"{}\"; expected a file's path from the root, without `..`", text.value);
    table.report().add(Problem::new(text.place, message));
    None
}

/// A section's name, which must not end the line that it stands on.
fn profile(table: &Reader<'_>, text: Located<String>) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-@+".contains(c);
    if !text.value.is_empty() && text.value.chars().all(plain) {
        return Some(text.value);
    }
    let message = format!("`profile` can't be \"{}\"; expected letters, digits and `._-@+`", text.value);
    table.report().add(Problem::new(text.place, message));
    None
}

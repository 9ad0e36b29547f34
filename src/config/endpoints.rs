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
    let (has_telemetry, has_file) = (has(&table, "telemetry"), has(&table, "credentials_file"));
    let container = table.table("container");
    let metadata = table.table("metadata");
    let telemetry = table.table("telemetry");
    let file = table.table("credentials_file");
    let settings = Settings {
        container: door(container, has_container, "127.0.0.1:1339", Reach::Bridge, &mut listens),
        metadata: look_alike(metadata, has_metadata, roles, &mut listens),
        telemetry: door(telemetry, has_telemetry, "127.0.0.1:9464", Reach::Anywhere, &mut listens),
        credentials_file: credentials_file(file, has_file, roles),
    };
    table.finish();
    settings
}

/// From where a door may be reached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// From this host only.
    Loopback,
    /// Also where SDKs in containers look for it.
    Bridge,
    /// From other hosts, too: there is no secret behind it.
    Anywhere,
}

/// A table that says where its door is, and no more.
fn door(
    mut table: Reader<'_>,
    is_set: bool,
    example: &str,
    reach: Reach,
    taken: &mut Vec<Located<SocketAddr>>,
) -> Option<SocketAddr> {
    let listen = listen(&mut table, is_set, example, reach, taken);
    table.finish();
    listen
}

fn look_alike(
    mut table: Reader<'_>,
    is_set: bool,
    roles: &[&str],
    taken: &mut Vec<Located<SocketAddr>>,
) -> Option<Metadata> {
    let listen = listen(&mut table, is_set, "127.0.0.1:1338", Reach::Loopback, taken);
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

/// Where a door listens: on loopback, or where `reach` allows beside that.
fn listen(
    table: &mut Reader<'_>,
    is_set: bool,
    example: &str,
    reach: Reach,
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
    let is_allowed = match reach {
        Reach::Loopback => address.ip().is_loopback(),
        Reach::Bridge => address.ip().is_loopback() || address.ip() == LINK_LOCAL,
        Reach::Anywhere => true,
    };
    if !is_allowed {
        let message = format!("`listen` can't be \"{}\": everybody who reaches that address could ask", text.value);
        let hint = if reach == Reach::Bridge {
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
    if let Some(other) = taken.iter().find(|other| overlap(other.value, address)) {
        let message = format!("two endpoints can't both listen at {address}");
        table.report().add(problem(message).also("the other", other.place));
        return None;
    }
    taken.push(Located { value: address, place: text.place });
    Some(address)
}

/// Whether two doors would be in each other's way.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && (one.ip() == other.ip() || is_any)
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

#[cfg(test)]
mod tests {
    use crate::config::tests::{assert_only_fault, parse};
    use crate::endpoints::{CredentialsFile, Metadata};

    const ROLE: &str = "[[role]]\nname = \"app\"\nrole_arn = \"arn:aws:iam::123456789012:role/app\"\n\
        allow = [{ user = \"app\" }]\n";

    #[test]
    fn every_key_reaches_its_setting() {
        let text = "[endpoints.container]\nlisten = \"127.0.0.1:1339\"\n\
            [endpoints.metadata]\nlisten = \"[::1]:1338\"\nrole = \"app\"\n\
            [endpoints.credentials_file]\npath = \"/a/b\"\nprofile = \"p\"\nrole = \"app\"\n";
        let endpoints = parse(&format!("{ROLE}{text}")).unwrap().endpoints;
        assert_eq!(endpoints.container, "127.0.0.1:1339".parse().ok());
        let (listen, role) = ("[::1]:1338".parse().unwrap(), "app".to_owned());
        assert_eq!(endpoints.metadata, Some(Metadata { listen, role: role.clone() }));
        let telemetry =
            |listen: &str| parse(&format!("[endpoints.telemetry]\nlisten = \"{listen}\"\n")).unwrap().endpoints;
        assert_eq!((telemetry("127.0.0.1:9464").note(), parse("").unwrap().endpoints.telemetry), (None, None));
        let note = telemetry("0.0.0.0:9464").note().unwrap();
        assert!(note.contains("everybody who reaches this host at any address"), "{note}");
        assert!(telemetry("10.0.0.1:9464").note().unwrap().contains("everybody who reaches that address"));
        let file = CredentialsFile { path: "/a/b".into(), profile: "p".to_owned(), role: Some(role) };
        assert_eq!(endpoints.credentials_file, Some(file));
        let unsaid =
            parse("[endpoints.credentials_file]\npath = \"/a\"\n").unwrap().endpoints.credentials_file.unwrap();
        assert_eq!((unsaid.profile.as_str(), unsaid.role), ("default", None));
        let behind_a_bridge = parse("[endpoints.container]\nlisten = \"169.254.170.23:80\"\n").unwrap();
        assert_eq!(behind_a_bridge.endpoints.container, "169.254.170.23:80".parse().ok());
    }

    #[test]
    fn a_door_that_can_not_be_is_cited() {
        let container = |listen: &str| format!("[endpoints.container]\nlisten = \"{listen}\"\n");
        for listen in ["0.0.0.0:1339", "[::]:1339", "10.0.0.1:1339", "169.254.169.254:80"] {
            assert_only_fault(&container(listen), "2:10", "everybody who reaches that address");
        }
        for listen in ["1339", "localhost:1339", "127.0.0.1", "unix:/x"] {
            assert_only_fault(&container(listen), "2:10", "expected an address and a port");
        }
        assert_only_fault(&container("127.0.0.1:0"), "2:10", "needs a port");
        assert_only_fault("[endpoints.container]\n", "1:1", "[endpoints.container] has no `listen`");
        let any = format!("{}[endpoints.telemetry]\nlisten = \"0.0.0.0:1339\"\n", container("127.0.0.1:1339"));
        assert_only_fault(&any, "4:10", "can't both listen at 0.0.0.0:1339");
        let metadata = |listen: &str, role: &str| {
            format!("{ROLE}[endpoints.metadata]\nlisten = \"{listen}\"\nrole = \"{role}\"\n")
        };
        assert_only_fault(&metadata("169.254.170.23:80", "app"), "6:10", "everybody who reaches that address");
        assert_only_fault(&metadata("127.0.0.1:1338", "ap"), "7:8", "there is no [[role]] called \"ap\"");
        let both = format!("{}{}", metadata("127.0.0.1:1339", "app"), container("127.0.0.1:1339"));
        assert_only_fault(&both, "6:10", "can't both listen");
    }

    #[test]
    fn a_credentials_file_that_can_not_be_is_cited() {
        let file = |rest: &str| format!("[endpoints.credentials_file]\n{rest}\n");
        for path in ["credentials", "/a/../b", "/", "/a/", ""] {
            assert_only_fault(&file(&format!("path = \"{path}\"")), "2:8", "a file's path from the root");
        }
        for profile in ["a b", "a]", "", "a\\nb"] {
            let text = file(&format!("path = \"/a\"\nprofile = \"{profile}\""));
            assert_only_fault(&text, "3:11", "expected letters, digits");
        }
    }
}

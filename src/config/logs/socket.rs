//! The syntax of the `[[logs.socket]]` tables.

use super::framing;
use super::target::{self, Inherited};
use crate::config::allow;
use crate::config::report::Problem;
use crate::config::table::{Located, Reader};
use crate::config::variables::Variables;
use crate::logs::{AUDIT, SocketKind, SocketSettings, Syntax};

/// What `syntax` can be.
pub(in crate::config) const SYNTAXES: [(&str, Syntax); 3] =
    [("line", Syntax::Line), ("rfc3164", Syntax::Rfc3164), ("rfc5424", Syntax::Rfc5424)];

/// What `type` can be.
pub(in crate::config) const KINDS: [(&str, SocketKind); 2] =
    [("stream", SocketKind::Stream), ("datagram", SocketKind::Datagram)];

/// Names in the runtime directory that are taken.
const TAKEN: [&str; 5] = [AUDIT, "credentials.sock", "logs.sock", "status.sock", "tokens"];

/// A socket's whole path has 107 bytes at most (unix(7)); the rest is for the runtime directory.
const LONGEST_NAME: usize = 64;

/// Why there is no `multiline`.
const NO_LINES_TO_JOIN: &str = "what comes by a socket is told apart as it comes, since several write at once";

/// What there is instead.
const INSTEAD: &str = "send each record as one syslog message, which may hold line feeds: one datagram, or framed by its \
                       length (RFC 6587); or write to a file, and follow that by [[logs.file]]";

/// Those that are right.
pub(super) fn read_all(tables: Vec<Reader<'_>>, inherited: &Inherited, variables: &Variables) -> Vec<SocketSettings> {
    let mut names: Vec<Located<String>> = Vec::new();
    let read = |table| read(table, inherited, variables, &mut names);
    tables.into_iter().filter_map(read).collect()
}

fn read(
    mut table: Reader<'_>,
    inherited: &Inherited,
    variables: &Variables,
    names: &mut Vec<Located<String>>,
) -> Option<SocketSettings> {
    if !table.has("path") {
        table.missing("path", "the socket's name in the runtime directory, as in `path = \"app.sock\"`");
    }
    let path = table.string("path").and_then(|path| checked_path(&table, path, names));
    let kind = table.choice("type", &KINDS).unwrap_or_default();
    let syntax = table.choice("syntax", &SYNTAXES).unwrap_or_default();
    let allow = allow::read(&mut table, "may write to this socket").unwrap_or_default();
    let target = target::read_inheriting(&mut table, inherited, variables, &[]);
    let framing = framing::read_told_apart(&mut table, NO_LINES_TO_JOIN, INSTEAD);
    table.finish();
    Some(SocketSettings { path: path?, kind, syntax, allow, target: target?, framing })
}

fn checked_path(table: &Reader<'_>, path: Located<String>, names: &mut Vec<Located<String>>) -> Option<String> {
    let name = path.value.as_str();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
    let message = if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        format!(
            "`path` can't be \"{name}\"; it is a name in the runtime directory: letters, digits, `_`, `-`, `@` and `.`"
        )
    } else if name.len() > LONGEST_NAME {
        format!("`path` has at most {LONGEST_NAME} characters, not {}", name.len())
    } else if TAKEN.contains(&name) {
        format!("`path` can't be \"{name}\": the agent has that itself")
    } else {
        let other = names.iter().find(|other| other.value == name).map(|other| other.place);
        names.push(path.clone());
        let Some(other) = other else { return Some(path.value) };
        let message = format!("\"{name}\" is the `path` of two sockets");
        table.report().add(Problem::new(path.place, message).also("the other", other));
        return None;
    };
    table.report().add(Problem::new(path.place, message));
    None
}

//! By which table of the configuration records of the spool came in, also when that is gone. Not what is read of them.

use std::path::Path;

use crate::caller::Rules;
use crate::logs::spool::Key;
use crate::logs::{SocketKind, SocketSettings, Syntax, Target, framing};
use crate::template::Template;

/// The index of the table that records came in by.
pub(super) fn position(sockets: &[SocketSettings], key: &Key) -> Option<usize> {
    let name = name_of(key)?;
    sockets.iter().position(|socket| {
        let Target { log_group, log_stream, .. } = &socket.target;
        (name, &*key.log_group, &*key.log_stream) == (&*socket.path, log_group.text(), log_stream.text())
    })
}

/// What the configuration calls the socket that records came in by.
pub(super) fn name_of(key: &Key) -> Option<&str> {
    Path::new(&key.source).file_name()?.to_str()
}

/// Whether what comes in by both is told apart by nothing.
pub(super) fn same_place(one: &SocketSettings, other: &SocketSettings) -> bool {
    let names = |table: &SocketSettings| (table.target.log_group.clone(), table.target.log_stream.clone());
    one.path == other.path && names(one) == names(other)
}

/// The table of what came in before the configuration was another: where to it says itself, and what becomes of it is
/// known if the socket still has a table.
pub(super) fn former_table(sockets: &[SocketSettings], key: &Key) -> Option<SocketSettings> {
    let name = name_of(key)?;
    let same = sockets.iter().find(|socket| socket.path == name);
    let framing = same.map_or_else(framing::Settings::default, |socket| socket.framing.clone());
    let template = |text: &str| {
        // The names in braces were checked when they were written; a variable that is gone is one that is not known.
        let names: Vec<&str> = text.split(['{', '}', '|']).collect();
        Template::parse(text, &names).ok()
    };
    Some(SocketSettings {
        path: name.to_owned(),
        kind: SocketKind::default(),
        syntax: Syntax::default(),
        allow: Rules::default(),
        target: Target::new(template(&key.log_group)?, template(&key.log_stream)?),
        framing,
    })
}

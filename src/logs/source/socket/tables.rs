//! What the configuration says of sockets now, and what that means for a caller: whether it may write, and where to. Not
//! the sockets.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tokio::sync::watch;

use super::protocol::{Destination, Reply};
use crate::caller::{Accounts, Caller};
use crate::logs::engine::{group_name, stream_name};
use crate::logs::spool::Key;
use crate::logs::{LONGEST_STREAM_NAME, SocketSettings};
use crate::template::Names;

/// The tables in use.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    pub(super) sockets: Vec<SocketSettings>,
    /// What is known for the names of groups.
    pub(super) names: watch::Receiver<Names>,
    /// Where the sockets are.
    pub(super) directory: PathBuf,
}

impl Tables {
    /// The table of the socket with that name.
    pub(super) fn get(&self, name: &str) -> Option<&SocketSettings> {
        self.sockets.iter().find(|socket| socket.path == name)
    }

    /// The table by which `key` came to be.
    pub(super) fn of(&self, key: &Key) -> Option<&SocketSettings> {
        self.sockets.iter().find(|socket| source_of(&self.directory, &socket.path) == key.source)
    }

    /// Whose share and which account what `caller` writes to `socket` is on, and where it goes.
    pub(super) fn key(&self, socket: &SocketSettings, uid: u32, named_stream: Option<String>) -> Key {
        Key {
            source: source_of(&self.directory, &socket.path),
            uid,
            log_group: socket.target.log_group.text().to_owned(),
            log_stream: socket.target.log_stream.text().to_owned(),
            named_stream,
            long_line: None,
            as_they_came: socket.framing.says_nothing(),
        }
    }

    /// The key for what `caller` sends to `destination`, or why it may not.
    pub(super) fn admit(&self, destination: &Destination, caller: &Caller, accounts: &Accounts) -> Result<Key, Reply> {
        let stream = match &destination.log_stream {
            Some(name) => Some(checked_stream(name)?),
            None => None,
        };
        let names = self.names.borrow();
        let group = &destination.log_group;
        let is_called_so = |socket: &&SocketSettings| {
            let template = &socket.target.log_group;
            template.text() == group || template.fill(&names).is_ok_and(|filled| group_name(&filled) == *group)
        };
        let mut called_so = self.sockets.iter().filter(is_called_so).peekable();
        if called_so.peek().is_none() {
            return Err(self.unknown_group(group, &names));
        }
        match called_so.find(|socket| socket.allow.admit(caller, accounts)) {
            Some(socket) => Ok(self.key(socket, caller.uid, stream)),
            None => Err(denied(group, caller)),
        }
    }

    fn unknown_group(&self, group: &str, names: &Names) -> Reply {
        let waiting = self.sockets.iter().any(|socket| socket.target.log_group.fill(names).is_err());
        if waiting {
            let reason = "the names of the declared groups need values of the instance that are not known yet";
            return Reply::Wait { reason: reason.to_owned() };
        }
        let declared: BTreeSet<&str> = self.sockets.iter().map(|socket| socket.target.log_group.text()).collect();
        let declared: Vec<&str> = declared.into_iter().collect();
        let declared =
            if declared.is_empty() { "none is".to_owned() } else { format!("declared: {}", declared.join(", ")) };
        Reply::Refused {
            reason: format!("no [[logs.socket]] of the configuration declares the log group '{group}' ({declared})"),
            hint: format!("add [[logs.socket]] with log_group = \"{group}\", then: systemctl reload imds-agent"),
        }
    }
}

/// What the account of the socket called `name` is called: its path.
pub(super) fn source_of(directory: &Path, name: &str) -> String {
    directory.join(name).to_string_lossy().into_owned()
}

fn denied(group: &str, caller: &Caller) -> Reply {
    let unit = caller.unit.as_ref().map(|unit| format!(" in {unit}")).unwrap_or_default();
    let (reason, hint) = if caller.container.is_some() {
        (format!("a process in a container may not send to '{group}'"), "send from the host".to_owned())
    } else {
        (
            format!(
                "user {}{unit} may not send to '{group}': no `allow` of a [[logs.socket]] with it says so",
                caller.uid
            ),
            format!("add {{ user = \"{}\" }} to its `allow`, then: systemctl reload imds-agent", caller.uid),
        )
    };
    Reply::Refused { reason, hint }
}

/// The stream's name as CloudWatch takes it.
fn checked_stream(name: &str) -> Result<String, Reply> {
    let count = name.chars().count();
    if (1..=LONGEST_STREAM_NAME).contains(&count) {
        return Ok(stream_name(name));
    }
    Err(Reply::Refused {
        reason: format!("a log stream's name has 1 to {LONGEST_STREAM_NAME} characters, not {count}"),
        hint: "name another one with --log-stream, or none for the configuration's".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::{Rule, Rules};
    use crate::logs::{SocketKind, Syntax, Target};
    use crate::template::Template;

    fn tables(sockets: &[(&str, &str, &str)]) -> Tables {
        let template = |text: &str| Template::parse(text, &[]).unwrap();
        let socket = |(path, group, user): &(&str, &str, &str)| SocketSettings {
            path: (*path).to_owned(),
            kind: SocketKind::Stream,
            syntax: Syntax::Line,
            allow: Rules(vec![Rule { user: Some((*user).to_owned()), ..Rule::default() }]),
            target: Target::new(template(group), template("{instance_id}")),
            framing: crate::logs::framing::Settings::default(),
        };
        let (_, names) = watch::channel(Names::from_iter([("region".to_owned(), "eu-west-1".to_owned())]));
        Tables { sockets: sockets.iter().map(socket).collect(), names, directory: "/run/x".into() }
    }

    fn admit(tables: &Tables, group: &str, stream: Option<&str>, uid: u32) -> Result<Key, Reply> {
        let destination = Destination { log_group: group.to_owned(), log_stream: stream.map(str::to_owned) };
        tables.admit(&destination, &Caller { uid, ..Caller::default() }, &Accounts::default())
    }

    #[test]
    fn only_declared_groups_and_named_callers() {
        let tables = tables(&[("a.sock", "/g/{region}", "1"), ("b.sock", "/g/{region}", "2"), ("c.sock", "/h", "1")]);
        assert_eq!(admit(&tables, "/g/eu-west-1", None, 1).unwrap().source, "/run/x/a.sock");
        assert_eq!(admit(&tables, "/g/{region}", None, 2).unwrap().source, "/run/x/b.sock");
        assert_eq!(admit(&tables, "/h", Some("a:b"), 1).unwrap().named_stream.as_deref(), Some("a_b"));
        let refused = |group, uid| match admit(&tables, group, None, uid) {
            Err(Reply::Refused { reason, hint }) => format!("{reason} {hint}"),
            other => panic!("{other:?}"),
        };
        assert!(refused("/h", 2).contains("user 2 may not send to '/h'"));
        assert!(refused("/other", 1).contains("declared: /g/{region}, /h"));
        assert!(admit(&tables, "/h", Some(&"x".repeat(513)), 1).is_err());
        assert!(admit(&tables, "/h", Some(""), 1).is_err());
    }

    #[test]
    fn a_group_whose_name_is_not_known_yet_is_waited_for() {
        let tables = tables(&[("a.sock", "/g/{instance_id}", "1")]);
        assert!(matches!(admit(&tables, "/g/i-1", None, 1), Err(Reply::Wait { .. })));
    }
}

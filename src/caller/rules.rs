//! Whom a configuration names: `allow = [{ user = "app" }, { group = "web", unit = "web.service" }]`. Keys in one entry:
//! all of them; entries: any. Pure, given the texts of /etc/passwd and /etc/group.

use serde::Serialize;

use super::Caller;

/// One entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// The user's name or number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The name or number of a group the caller is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The system's unit that the caller runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// All entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Rules(pub Vec<Rule>);

impl Default for Rules {
    /// Root only.
    fn default() -> Self {
        Self(vec![Rule { user: Some("root".to_owned()), ..Rule::default() }])
    }
}

/// Which numbers names stand for.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    users: String,
    groups: String,
}

impl Accounts {
    /// As /etc/passwd and /etc/group say now. What can't be read knows nobody.
    #[must_use]
    pub fn of_system() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self { users: read("/etc/passwd"), groups: read("/etc/group") }
    }

    fn user(&self, name: &str) -> Option<u32> {
        // passwd(5): `name:password:uid:…`, group(5): `name:password:gid:…`.
        number_of(&self.users, name)
    }

    fn group(&self, name: &str) -> Option<u32> {
        number_of(&self.groups, name)
    }
}

/// The third field of the line that begins with `name`; a number stands for itself.
fn number_of(lines: &str, name: &str) -> Option<u32> {
    let of_line = |line: &str| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1).and_then(|number| number.parse().ok()))
    };
    lines.lines().find_map(of_line).unwrap_or_else(|| name.parse().ok())
}

impl Rules {
    /// Whether one of the rules names `caller`. Nobody in another container is named.
    #[must_use]
    pub fn admit(&self, caller: &Caller, accounts: &Accounts) -> bool {
        !caller.is_contained && self.0.iter().any(|rule| rule.names(caller, accounts))
    }
}

impl Rule {
    fn names(&self, caller: &Caller, accounts: &Accounts) -> bool {
        let is_user = |name: &String| accounts.user(name) == Some(caller.uid);
        let is_in_group = |name: &String| accounts.group(name).is_some_and(|gid| caller.gids.contains(&gid));
        let is_in_unit = |name: &String| caller.unit.as_ref() == Some(name);
        let names_anybody = self.user.is_some() || self.group.is_some() || self.unit.is_some();
        names_anybody
            && self.user.as_ref().is_none_or(is_user)
            && self.group.as_ref().is_none_or(is_in_group)
            && self.unit.as_ref().is_none_or(is_in_unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            users: "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\napplication:x:1001:1001::/:\n".to_owned(),
            groups: "root:x:0:\nweb:x:50:app\n".to_owned(),
        }
    }

    fn caller(uid: u32, gids: &[u32], unit: Option<&str>) -> Caller {
        Caller { pid: 1, uid, gids: gids.to_vec(), unit: unit.map(str::to_owned), is_contained: false }
    }

    fn rule(user: Option<&str>, group: Option<&str>, unit: Option<&str>) -> Rule {
        let text = |word: Option<&str>| word.map(str::to_owned);
        Rule { user: text(user), group: text(group), unit: text(unit) }
    }

    #[test]
    fn all_keys_of_one_entry_and_any_entry() {
        let rules = Rules(vec![rule(Some("app"), None, None), rule(None, Some("web"), Some("web.service"))]);
        let admitted = |caller: &Caller| rules.admit(caller, &accounts());
        assert!(admitted(&caller(1000, &[1000], None)));
        assert!(!admitted(&caller(1001, &[1001], None)));
        assert!(!admitted(&caller(0, &[0], None)), "root is somebody, too");
        assert!(admitted(&caller(7, &[7, 50], Some("web.service"))));
        assert!(!admitted(&caller(7, &[7, 50], Some("other.service"))));
        assert!(!admitted(&caller(7, &[7, 50], None)));
        assert!(!admitted(&caller(7, &[7], Some("web.service"))));
    }

    #[test]
    fn without_rules_it_is_root() {
        assert!(Rules::default().admit(&caller(0, &[0], None), &accounts()));
        assert!(!Rules::default().admit(&caller(1000, &[0], None), &accounts()));
    }

    #[test]
    fn nobody_in_a_container_is_named() {
        let contained = Caller { is_contained: true, ..caller(0, &[0], None) };
        assert!(!Rules::default().admit(&contained, &accounts()));
    }

    #[test]
    fn a_user_that_is_not_there_is_nobody_and_a_number_is_itself() {
        assert!(!Rules(vec![rule(Some("ghost"), None, None)]).admit(&caller(1000, &[1000], None), &accounts()));
        assert!(Rules(vec![rule(Some("1002"), None, None)]).admit(&caller(1002, &[1], None), &accounts()));
        assert!(
            !Rules(vec![rule(None, None, None)]).admit(&caller(0, &[0], None), &accounts()),
            "an empty rule names nobody"
        );
    }
}

//! Whom a configuration names: `allow = [{ user = "app" }, { group = "web", unit = "web.service" }]`. Keys in one entry:
//! all of them; entries: any. Pure, given who calls and the accounts of the system.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::{Accounts, Caller};

/// One entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// The user's name or number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The name or number of a group the caller is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The users by number, from one to another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<Uids>,
    /// The system's unit that the caller runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The container that the caller runs in: the first digits of its id, a machine's name, or `*` for any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}

/// Users by number, both ends included: `1000-1999`, or one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uids {
    first: u32,
    last: u32,
}

impl Uids {
    /// All from `first` to `last`; `None` if there are none.
    #[must_use]
    pub fn new(first: u32, last: u32) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// Whether `uid` is among them.
    #[must_use]
    pub fn contain(self, uid: u32) -> bool {
        (self.first..=self.last).contains(&uid)
    }

    /// Each of them.
    pub fn numbers(self) -> impl Iterator<Item = u32> {
        self.first..=self.last
    }

    /// The one user, if it is one.
    #[must_use]
    pub fn only(self) -> Option<u32> {
        (self.first == self.last).then_some(self.first)
    }
}

impl FromStr for Uids {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        Self::new(number(first).ok_or(())?, number(last).ok_or(())?).ok_or(())
    }
}

impl fmt::Display for Uids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.only() {
            Some(uid) => write!(f, "{uid}"),
            None => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl Serialize for Uids {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
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

/// As in a sentence: `user app; group web and unit web.service`.
impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nobody");
        }
        for (index, rule) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            fmt::Display::fmt(rule, f)?;
        }
        Ok(())
    }
}

impl Rules {
    /// Whether one of the rules names `caller`. Who is in another container is named by rules about containers only.
    #[must_use]
    pub fn admit(&self, caller: &Caller, accounts: &Accounts) -> bool {
        self.0.iter().any(|rule| rule.names(caller, accounts))
    }

    /// The same of a caller that has shown a token which only those could have that the rules name: where it is not known
    /// in which unit or container the caller runs, the token stands for that.
    #[must_use]
    pub fn admit_with_token(&self, caller: &Caller, accounts: &Accounts) -> bool {
        if caller.is_placed {
            return self.admit(caller, accounts);
        }
        let anywhere = |rule: &Rule| Rule { unit: None, container: None, ..rule.clone() };
        let is_named = |rule: &Rule| {
            let elsewhere = anywhere(rule);
            elsewhere == Rule::default() && *rule != elsewhere || elsewhere.names(caller, accounts)
        };
        self.0.iter().any(is_named)
    }

    /// The users and groups, as in a sentence, that `accounts` do not know: as long as that is so, those rules name nobody.
    #[must_use]
    pub fn unknown(&self, accounts: &Accounts) -> Vec<String> {
        let user = |rule: &Rule| {
            rule.user.as_ref().filter(|name| accounts.user(name).is_none()).map(|name| ("user", name.clone()))
        };
        let group = |rule: &Rule| {
            rule.group.as_ref().filter(|name| accounts.group(name).is_none()).map(|name| ("group", name.clone()))
        };
        let both = self.0.iter().flat_map(|rule| user(rule).into_iter().chain(group(rule)));
        both.map(|(key, name)| format!("{key} {name}")).collect()
    }
}

impl Rule {
    /// The keys that are set, and to what.
    fn keys(&self) -> [(&'static str, Option<String>); 5] {
        [
            ("user", self.user.clone()),
            ("group", self.group.clone()),
            ("uid", self.uid.map(|uids| uids.to_string())),
            ("unit", self.unit.clone()),
            ("container", self.container.clone()),
        ]
    }

    fn names(&self, caller: &Caller, accounts: &Accounts) -> bool {
        let is_user = |name: &String| accounts.user(name) == Some(caller.uid);
        let is_in_group = |name: &String| accounts.group(name).is_some_and(|gid| caller.gids.contains(&gid));
        let is_in_unit = |name: &String| caller.unit.as_ref() == Some(name);
        let names_anybody = *self != Self::default();
        names_anybody
            && self.user.as_ref().is_none_or(is_user)
            && self.group.as_ref().is_none_or(is_in_group)
            && self.uid.is_none_or(|uids| uids.contain(caller.uid))
            && self.unit.as_ref().is_none_or(is_in_unit)
            && self.names_place(caller)
    }

    /// Whether the caller is where the rule says as to containers. A container's name counts where only the system makes
    /// such names; below a unit it counts in rules that name that unit, too.
    fn names_place(&self, caller: &Caller) -> bool {
        match (&self.container, &caller.container) {
            (None, None) => true,
            (Some(wanted), Some(container)) => {
                container.is_called(wanted) && (container.is_attested || self.unit.is_some())
            }
            _ => false,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut word = "";
        for (key, value) in self.keys() {
            if let Some(value) = value {
                write!(f, "{word}{key} {}", value.escape_debug())?;
                word = " and ";
            }
        }
        Ok(())
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
        let unit = unit.map(str::to_owned);
        Caller { pid: Some(1), uid, gids: gids.to_vec(), unit, is_known: true, is_placed: true, ..Caller::default() }
    }

    fn rule(user: Option<&str>, group: Option<&str>, unit: Option<&str>) -> Rule {
        let text = |word: Option<&str>| word.map(str::to_owned);
        Rule { user: text(user), group: text(group), unit: text(unit), ..Rule::default() }
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
    fn a_name_that_no_account_has_is_found_and_a_number_needs_no_account() {
        let rules = Rules(vec![
            rule(Some("app"), Some("web"), None),
            rule(Some("ap"), Some("webs"), None),
            rule(Some("4711"), None, Some("x.service")),
        ]);
        assert_eq!(rules.unknown(&accounts()), ["user ap", "group webs"]);
    }

    #[test]
    fn without_rules_it_is_root() {
        assert!(Rules::default().admit(&caller(0, &[0], None), &accounts()));
        assert!(!Rules::default().admit(&caller(1000, &[0], None), &accounts()));
    }

    #[test]
    fn the_root_of_a_container_is_named_by_rules_about_containers_only() {
        let id = "0123456789abcdef".repeat(4);
        let inside = |path: &str| {
            let mut caller = caller(0, &[0], None);
            caller.stand(Some(path), Some("/"));
            caller
        };
        let docker = inside(&format!("/system.slice/docker-{id}.scope"));
        let container = |name: &str| Rule { container: Some(name.to_owned()), ..Rule::default() };
        let admits = |rule: Rule, caller: &Caller| Rules(vec![rule]).admit(caller, &accounts());
        assert!(!Rules::default().admit(&docker, &accounts()));
        assert!(admits(container("*"), &docker) && admits(container(&id[..12]), &docker));
        assert!(!admits(container("fedcba987654"), &docker));
        assert!(admits(Rule { user: Some("root".into()), ..container("*") }, &docker));
        assert!(!admits(Rule { user: Some("app".into()), ..container("*") }, &docker));
        assert!(!admits(container("*"), &caller(0, &[0], None)), "the host is no container");
        // A group below a unit can be called anything by whoever runs in that unit.
        let quadlet = inside(&format!("/system.slice/web.service/libpod-payload-{id}"));
        assert!(!admits(container("*"), &quadlet) && !admits(rule(None, None, Some("web.service")), &quadlet));
        assert!(admits(Rule { unit: Some("web.service".into()), ..container("*") }, &quadlet));
        let rootless = inside(&format!("/user.slice/user-7.slice/user@7.service/user.slice/libpod-{id}.scope"));
        assert!(!admits(container("*"), &rootless) && !Rules::default().admit(&rootless, &accounts()));
    }

    #[test]
    fn users_are_named_by_number_from_one_to_another() {
        let range = |text: &str| Rule { uid: Some(text.parse().unwrap()), ..Rule::default() };
        let admits = |text: &str, uid| Rules(vec![range(text)]).admit(&caller(uid, &[uid], None), &accounts());
        assert!(admits("1000-1999", 1000) && admits("1000-1999", 1999) && admits("7", 7));
        assert!(!admits("1000-1999", 999) && !admits("1000-1999", 2000) && !admits("7", 8));
        for text in ["", "-", "2-1", "1-", "-1", "1-2-3", "+1", "root", "4294967296"] {
            assert_eq!(text.parse::<Uids>(), Err(()), "{text}");
        }
    }

    #[test]
    fn where_the_place_is_not_known_a_token_stands_for_it_and_nothing_else_does() {
        let unknown = Caller { is_placed: false, ..caller(1000, &[1000], None) };
        let by_unit = Rules(vec![rule(None, None, Some("web.service"))]);
        let by_both = Rules(vec![rule(Some("application"), None, Some("web.service"))]);
        assert!(!by_unit.admit(&unknown, &accounts()) && by_unit.admit_with_token(&unknown, &accounts()));
        assert!(!by_both.admit_with_token(&unknown, &accounts()), "its user is known, and another one");
        let elsewhere = Caller { is_placed: true, ..unknown };
        assert!(!by_unit.admit_with_token(&elsewhere, &accounts()));
        assert!(!Rules(vec![Rule::default()]).admit_with_token(&elsewhere, &accounts()));
    }

    #[test]
    fn rules_can_be_read_in_a_sentence() {
        let rules = Rules(vec![rule(Some("app"), None, None), rule(None, Some("web"), Some("web.service"))]);
        assert_eq!(rules.to_string(), "user app; group web and unit web.service");
        assert_eq!(Rules(Vec::new()).to_string(), "nobody");
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

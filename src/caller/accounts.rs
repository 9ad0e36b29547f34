//! Which numbers the names of users and groups stand for: by the texts of /etc/passwd and /etc/group. Not those that a
//! directory service knows: a number is enough for those.

/// Which numbers names stand for.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    pub(super) users: String,
    pub(super) groups: String,
}

impl Accounts {
    /// As /etc/passwd and /etc/group say now. What can't be read knows nobody.
    #[must_use]
    pub fn of_system() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self { users: read("/etc/passwd"), groups: read("/etc/group") }
    }

    /// The number of the user called `name`.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<u32> {
        // passwd(5): `name:password:uid:…`, group(5): `name:password:gid:…`.
        number_of(&self.users, name)
    }

    /// The number of the group called `name`.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<u32> {
        number_of(&self.groups, name)
    }

    /// The groups that a user is in when it logs in: its own first. None for a user that is not there.
    #[must_use]
    pub fn groups_of(&self, uid: u32) -> Vec<u32> {
        let mut gids = Vec::new();
        for line in self.users.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, number, gid, ..] = fields[..] else { continue };
            if number.parse() == Ok(uid) {
                gids.extend(gid.parse::<u32>());
                gids.extend(self.groups.lines().filter_map(|line| group_with(line, name)));
            }
        }
        gids
    }
}

/// The number of the group that `line` describes, if `member` is in its list.
fn group_with(line: &str, member: &str) -> Option<u32> {
    let mut fields = line.split(':').skip(2);
    let gid = fields.next()?.parse().ok()?;
    fields.next()?.split(',').any(|name| name == member).then_some(gid)
}

/// The third field of the line that begins with `name`; a number stands for itself.
fn number_of(lines: &str, name: &str) -> Option<u32> {
    let of_line = |line: &str| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1).and_then(|number| number.parse().ok()))
    };
    lines.lines().find_map(of_line).unwrap_or_else(|| name.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_in_its_own_group_and_in_those_that_list_it() {
        let accounts = Accounts {
            users: "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\n".to_owned(),
            groups: "web:x:50:nginx,app\napplication:x:51:apple\n".to_owned(),
        };
        assert_eq!(accounts.groups_of(1000), [1000, 50]);
        assert_eq!(accounts.groups_of(0), [0]);
        assert_eq!(accounts.groups_of(7), [0; 0]);
    }
}

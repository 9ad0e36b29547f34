//! Which variables with static keys a text sets, and in which lines: environment files, `.env`, units. Pure. Their values
//! are looked at, and go nowhere.

/// The variables that SDKs take keys from.
pub(super) const OF_SDKS: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// What an access key id begins with, and how long it is (IAM User Guide, "Unique identifiers").
const KEY_IDS: [&str; 2] = ["AKIA", "ASIA"];
const KEY_ID_LENGTH: usize = 20;

/// What a text sets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Set {
    /// The lines, from 1.
    pub(super) lines: Vec<usize>,
    /// The variables, in their order.
    pub(super) names: Vec<String>,
}

impl Set {
    /// Whether SDKs take them, once they are in the environment; otherwise only a program that knows the name.
    pub(super) fn is_for_sdks(&self) -> bool {
        self.names.iter().any(|name| OF_SDKS.contains(&name.as_str()))
    }
}

/// The variables with keys that `text` sets: `NAME=value`, after `export` or a unit's `Environment=` too.
pub(super) fn in_text(text: &str) -> Option<Set> {
    let mut set = Set::default();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").or_else(|| line.strip_prefix("Environment=")).unwrap_or(line);
        let mut is_here = false;
        for (name, value) in assignments(line) {
            if is_key(name, value) {
                set.names.push(name.to_owned());
                is_here = true;
            }
        }
        if is_here {
            set.lines.push(number);
        }
    }
    Some(set).filter(|set| !set.lines.is_empty())
}

/// `NAME=value` at the beginning, and behind spaces, where a unit sets several. A comment has none.
fn assignments(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let line = if line.starts_with(['#', ';']) { "" } else { line };
    line.split_whitespace().filter_map(|word| {
        let (name, value) = word.split_once('=')?;
        Some((name.trim_start_matches(['"', '\'']), value))
    })
}

/// Whether a variable holds a static key, by its name or by what it says.
pub(super) fn is_key(name: &str, value: &str) -> bool {
    let value = value.trim_matches(['"', '\'']);
    // A reference to something else is no key.
    let is_text = !value.is_empty() && !value.starts_with('$');
    is_text && (OF_SDKS.contains(&name) || is_key_id(value))
}

fn is_key_id(value: &str) -> bool {
    let is_word = value.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    value.len() == KEY_ID_LENGTH && is_word && KEY_IDS.iter().any(|start| value.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> (Vec<usize>, Vec<String>) {
        let Set { lines, names } = in_text(text).unwrap_or_default();
        (lines, names)
    }

    #[test]
    fn keys_are_known_by_the_variables_name() {
        let text = "# AWS_ACCESS_KEY_ID=AKIA\nPORT=1\nexport AWS_ACCESS_KEY_ID=\"AKIA\"\nAWS_SECRET_ACCESS_KEY='s'\nAWS_SESSION_TOKEN=\n";
        assert_eq!(set(text), (vec![3, 4], vec!["AWS_ACCESS_KEY_ID".to_owned(), "AWS_SECRET_ACCESS_KEY".to_owned()]));
    }

    #[test]
    fn keys_are_known_by_what_they_look_like_whatever_the_variable_is_called() {
        let text = "EC2_KEY=AKIAIOSFODNN7EXAMPLE\nOTHER=AKIAIOSFODNN7EXAMPL\nLOWER=AKIAIOSFODNN7examples\n";
        let found = in_text(text).unwrap();
        assert_eq!(found.names, ["EC2_KEY"]);
        assert!(!found.is_for_sdks());
    }

    #[test]
    fn a_units_line_may_set_several_and_a_reference_is_no_key() {
        let text = "[Service]\nEnvironment=PORT=1 \"AWS_ACCESS_KEY_ID=AKIA\"\nAWS_SECRET_ACCESS_KEY=${SECRET}\n";
        assert_eq!(set(text), (vec![2], vec!["AWS_ACCESS_KEY_ID".to_owned()]));
    }
}

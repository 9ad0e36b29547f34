//! What systemd says of its units, by `systemctl show`, where this machine runs systemd. It is only asked. Not what is made
//! of the answers.

use std::collections::BTreeMap;
use std::path::Path;

use super::command;

/// The agent's own unit.
pub(super) const AGENT: &str = "imds-agent.service";

/// There where systemd has booted the machine (`sd_booted(3)`).
const BOOTED: &str = "/run/systemd/system";

/// A unit's properties.
pub(super) type Properties = BTreeMap<String, String>;

/// Whether systemd runs this machine.
pub(super) fn is_here() -> bool {
    Path::new(BOOTED).is_dir()
}

/// The named properties of the units that `pattern` names; nothing where systemd does not answer.
pub(super) async fn show(pattern: &str, properties: &[&str]) -> Vec<Properties> {
    let names = format!("--property={}", properties.join(","));
    match run("systemctl", &["show", &names, "--", pattern]).await {
        Some(text) => blocks(&text),
        None => Vec::new(),
    }
}

/// The variables that systemd itself gives to every service it starts.
pub(super) async fn manager_environment() -> Vec<(String, String)> {
    let answer = run("systemctl", &["show", "--property=Environment"]).await;
    let properties = answer.map(|text| blocks(&text)).unwrap_or_default();
    properties
        .first()
        .and_then(|properties| properties.get("Environment"))
        .map(|text| variables(text))
        .unwrap_or_default()
}

/// What `program` prints, where systemd runs and the program ends well in time.
pub(super) async fn run(program: &str, arguments: &[&str]) -> Option<String> {
    if is_here() { command::run(program, arguments).await } else { None }
}

/// `NAME=VALUE` lines, units apart by an empty line.
fn blocks(text: &str) -> Vec<Properties> {
    let mut blocks = vec![Properties::new()];
    for line in text.lines() {
        match (line.split_once('='), blocks.last_mut()) {
            (Some((name, value)), Some(block)) => {
                // What may stand in a unit several times is shown several times.
                let values: &mut String = block.entry(name.to_owned()).or_default();
                if !values.is_empty() {
                    values.push('\n');
                }
                values.push_str(value);
            }
            _ => blocks.push(Properties::new()),
        }
    }
    blocks.retain(|block| !block.is_empty());
    blocks
}

/// The variables in `Environment=`, as systemd shows it: words, quoted where they hold spaces (`systemd.exec(5)`).
pub(super) fn variables(text: &str) -> Vec<(String, String)> {
    let mut words = vec![String::new()];
    let (mut quote, mut is_escaped) = (None, false);
    for character in text.chars() {
        match (character, quote) {
            _ if is_escaped => is_escaped = false,
            ('\\', _) => {
                is_escaped = true;
                continue;
            }
            (c, Some(open)) if c == open => {
                quote = None;
                continue;
            }
            ('"' | '\'', None) => {
                quote = Some(character);
                continue;
            }
            (' ' | '\n', None) => {
                words.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(word) = words.last_mut() {
            word.push(character);
        }
    }
    words
        .iter()
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The files in `EnvironmentFiles=`: `/etc/app.env (ignore_errors=no)`, one a line.
pub(super) fn environment_files(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.rsplit_once(" (ignore_errors=").map(|(path, _)| path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_apart_by_an_empty_line() {
        let text = "Id=a.service\nEnvironment=\n\nId=b.service\nEnvironmentFiles=/a (ignore_errors=no)\n\
                    EnvironmentFiles=/b c (ignore_errors=yes)\n";
        let units = blocks(text);
        assert_eq!((units.len(), units[0]["Id"].as_str()), (2, "a.service"));
        assert_eq!(environment_files(&units[1]["EnvironmentFiles"]), ["/a", "/b c"]);
    }

    #[test]
    fn variables_are_words_that_may_be_quoted() {
        let text = r#"A=1 "B=two words" C= "D=a \"quoted\" word" noise"#;
        let expected = [("A", "1"), ("B", "two words"), ("C", ""), ("D", r#"a "quoted" word"#)];
        assert_eq!(variables(text), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}

//! A part of the metadata as a tree: read name by name, drawn for a person or as JSON. It shows neither credentials nor
//! user data.

use std::collections::VecDeque;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::path::Path;
use crate::imds::{Error, ImdsClient, Problem};

/// What a path holds: a directory is an object, anything else a string.
///
/// # Errors
/// As IMDS answers; what a listing names and is not there is left out.
pub(super) async fn read(imds: &ImdsClient, root: &Path, progress: &mut dyn FnMut(usize)) -> Result<Value, Error> {
    let mut leaves: Vec<(Vec<String>, String)> = Vec::new();
    let mut directories = VecDeque::from([(root.clone(), Vec::new())]);
    let mut count = 0;
    while let Some((directory, place)) = directories.pop_front() {
        let listing = match imds.get(&directory.as_directory()).await {
            answer if place.is_empty() => answer?,
            answer => if_there(answer)?.unwrap_or_default(),
        };
        for line in listing.lines().filter(|line| !line.is_empty()) {
            count += 1;
            progress(count);
            let (name, is_directory) = entry(&directory, line);
            let (path, mut place) = (directory.join(name), place.clone());
            place.push(name.to_owned());
            if !path.is_shown_in_a_tree() {
                continue;
            }
            if is_directory {
                directories.push_back((path, place));
            } else if let Some(text) = if_there(imds.get(&path.to_string()).await)? {
                leaves.push((place, text));
            }
        }
    }
    Ok(Value::Object(grown(leaves)))
}

/// `None` for what a listing names and is not there, or is no text.
fn if_there(answer: Result<String, Error>) -> Result<Option<String>, Error> {
    match answer {
        Err(error) if matches!(error.problem(), Problem::NotFound { .. } | Problem::BadDocument { .. }) => Ok(None),
        answer => answer.map(Some),
    }
}

/// What a line of a listing names, and whether that is a directory. Public keys are listed as `0=name`, and are at `0/`.
fn entry<'a>(directory: &Path, line: &'a str) -> (&'a str, bool) {
    if directory.ends_with("public-keys")
        && let Some((number, _)) = line.split_once('=')
    {
        return (number, true);
    }
    (line.trim_end_matches('/'), line.ends_with('/'))
}

fn grown(leaves: Vec<(Vec<String>, String)>) -> Map<String, Value> {
    let mut root = Map::new();
    for (mut place, text) in leaves {
        let Some(name) = place.pop() else { continue };
        let mut directory = &mut root;
        for above in place {
            let below = directory.entry(above).or_insert_with(|| Value::Object(Map::new()));
            // A name that is both keeps what is below it.
            if !below.is_object() {
                *below = Value::Object(Map::new());
            }
            let Value::Object(below) = below else { unreachable!("it was made one") };
            directory = below;
        }
        directory.entry(name).or_insert(Value::String(text));
    }
    root
}

/// The tree, two spaces a level; a text of several lines stands below its name.
pub(super) fn draw(tree: &Value) -> String {
    let mut text = String::new();
    if let Value::Object(names) = tree {
        draw_below(names, 0, &mut text);
    }
    text
}

fn draw_below(names: &Map<String, Value>, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    for (name, value) in names {
        match value {
            Value::Object(below) => {
                let _ = writeln!(text, "{indent}{name}/");
                draw_below(below, depth + 1, text);
            }
            Value::String(value) if value.trim_end().contains('\n') => {
                let _ = writeln!(text, "{indent}{name}:");
                for line in value.lines() {
                    let _ = writeln!(text, "{indent}  {}", super::shown(line));
                }
            }
            Value::String(value) => {
                let _ = writeln!(text, "{indent}{name}: {}", super::shown(value.trim_end()));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_drawn_by_levels() {
        let leaves = [("mac", "02:00"), ("placement/region", "eu-west-1"), ("document", "{\n  1\n}")];
        let leaves = leaves.map(|(place, text)| (place.split('/').map(str::to_owned).collect(), text.to_owned()));
        let text = draw(&Value::Object(grown(leaves.into())));
        assert_eq!(text, "document:\n  {\n    1\n  }\nmac: 02:00\nplacement/\n  region: eu-west-1\n");
    }

    #[test]
    fn what_a_name_holds_can_be_text_and_directory() {
        let leaf = |place: &str| (place.split('/').map(str::to_owned).collect::<Vec<_>>(), "x".to_owned());
        let tree = grown(vec![leaf("keys"), leaf("keys/0")]);
        assert_eq!(Value::Object(tree), serde_json::json!({"keys": {"0": "x"}}));
        let tree = grown(vec![leaf("keys/0"), leaf("keys")]);
        assert_eq!(Value::Object(tree), serde_json::json!({"keys": {"0": "x"}}));
    }

    #[test]
    fn public_keys_are_directories_by_number() {
        let keys = Path::parse("public-keys/").unwrap();
        assert_eq!(entry(&keys, "0=my-key"), ("0", true));
        assert_eq!(entry(&Path::parse("tags/instance").unwrap(), "a=b"), ("a=b", false));
        assert_eq!(entry(&keys, "placement/"), ("placement", true));
    }
}

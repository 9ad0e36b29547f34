//! Patterns of files: their globs, in which `**` crosses directories wherever it stands, and the regular expression of
//! names to leave out. Not the matching.

use globset::Glob;

/// Our patterns for what their `pattern` means; `None` if there is no such file on a Linux host.
pub(super) fn globs(pattern: &str) -> Option<Vec<String>> {
    if !pattern.starts_with('/') || pattern.ends_with('/') || pattern.ends_with("/.") {
        return None;
    }
    let mut globs = vec![String::new()];
    for component in pattern.split('/').skip(1).filter(|component| !matches!(*component, "" | ".")) {
        if component == ".." {
            return None;
        }
        // Here it crosses directories only where it is all that stands between two slashes.
        let ways = if component == "**" || !component.contains("**") {
            vec![component.to_owned()]
        } else {
            vec![component.replace("**", "*"), component.replace("**", "*/**/*")]
        };
        globs = globs.iter().flat_map(|glob| ways.iter().map(move |way| format!("{glob}/{way}"))).collect();
    }
    globs.iter().all(|glob| Glob::new(glob).is_ok()).then_some(globs)
}

/// Whether a pattern may mean several files.
pub(super) fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '{'])
}

/// Our patterns for the names that their regular expression finds; `None` if it is more than a few words.
pub(super) fn excludes(regex: &str) -> Option<Vec<String>> {
    regex.split('|').map(exclude).collect()
}

fn exclude(word: &str) -> Option<String> {
    let begins = word.starts_with('^');
    let word = word.trim_start_matches('^');
    let ends = word.ends_with('$');
    let word = word.trim_end_matches('$');
    let mut glob = if begins { String::new() } else { "*".to_owned() };
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let (text, length) = if rest.starts_with(".*") {
            ("*".to_owned(), 2)
        } else if rest.starts_with("\\.") {
            (".".to_owned(), 2)
        } else if first == '.' {
            ("?".to_owned(), 1)
        } else if first.is_ascii_alphanumeric() || matches!(first, '-' | '_') {
            (first.to_string(), 1)
        } else {
            return None;
        };
        rest = &rest[length..];
        // A letter that may be repeated or missing is more than a glob can say.
        if rest.starts_with(['*', '+', '?', '{']) {
            return None;
        }
        glob.push_str(&text);
    }
    if !ends {
        glob.push('*');
    }
    while glob.contains("**") {
        glob = glob.replace("**", "*");
    }
    (!word.is_empty()).then_some(glob)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_stars_cross_directories_wherever_they_stand() {
        assert_eq!(globs("/var/log/app/*.log").unwrap(), ["/var/log/app/*.log"]);
        assert_eq!(globs("/var/log/**/x.log").unwrap(), ["/var/log/**/x.log"]);
        assert_eq!(globs("/var//log/**.log").unwrap(), ["/var/log/*.log", "/var/log/*/**/*.log"]);
        for none in ["/var/log/[", "/", "C:\\logs\\x.log", "logs/x.log", "/var/log/", "/a/../b"] {
            assert_eq!(globs(none), None, "{none}");
        }
    }

    #[test]
    fn names_to_leave_out_are_taken_over_where_they_are_words() {
        assert_eq!(excludes("journal|syslog").unwrap(), ["*journal*", "*syslog*"]);
        assert_eq!(excludes(r"^debug.*\.log$").unwrap(), ["debug*.log"]);
        for none in ["", "a+", "[ab]", "(a|b)", "a{2}", "x*"] {
            assert_eq!(excludes(none), None, "{none}");
        }
    }
}

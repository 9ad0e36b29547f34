//! `*` and `?` as policies mean them. Not what stands between them: that is compared as it is.

/// Whether `pattern` covers all that `text` means; `text` may be a pattern itself.
pub(super) fn covers(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    // Where to go back to: the last `*` of the pattern, and how much of the text it has taken.
    let (mut at, mut here, mut star) = (0, 0, None);
    while here < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, here));
                at += 1;
            }
            // What is any number of characters in the text is more than one.
            Some('?') if text[here] != '*' => (at, here) = (at + 1, here + 1),
            Some(same) if *same == text[here] => (at, here) = (at + 1, here + 1),
            _ => match star {
                Some((back, taken)) => {
                    star = Some((back, taken + 1));
                    (at, here) = (back + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

/// Whether there is anything that both patterns mean.
pub(super) fn meet(one: &str, other: &str) -> bool {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    // Which ends of `other` meet the beginning of `one` that has been looked at.
    let mut reached = vec![false; other.len() + 1];
    reached[0] = true;
    skip_stars(&mut reached, &other);
    for sign in one {
        let mut next = vec![false; other.len() + 1];
        for at in 0..=other.len() {
            if !reached[at] {
                continue;
            }
            if sign == '*' {
                // Nothing, or whatever the other has from here on.
                next[at..].fill(true);
                break;
            }
            match other.get(at) {
                Some('*') => next[at] = true,
                Some(same) if *same == sign || *same == '?' || sign == '?' => next[at + 1] = true,
                _ => {}
            }
        }
        reached = next;
        skip_stars(&mut reached, &other);
    }
    reached[other.len()]
}

/// A `*` may mean nothing.
fn skip_stars(reached: &mut [bool], pattern: &[char]) {
    for at in 0..pattern.len() {
        if reached[at] && pattern[at] == '*' {
            reached[at + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By definition, for text without signs.
    fn matches(pattern: &str, text: &str) -> bool {
        match (pattern.chars().next(), text.chars().next()) {
            (None, None) => true,
            (Some('*'), _) => matches(&pattern[1..], text) || (!text.is_empty() && matches(pattern, &text[1..])),
            (Some('?'), Some(_)) => matches(&pattern[1..], &text[1..]),
            (Some(p), Some(t)) if p == t => matches(&pattern[1..], &text[1..]),
            _ => false,
        }
    }

    #[test]
    fn a_pattern_covers_what_is_narrower_and_nothing_else() {
        for (pattern, text, is_covered) in [
            ("*", "a*", true),
            ("a*", "a*b", true),
            ("a*b", "a*", false),
            ("?", "*", false),
            ("?*", "?", true),
            ("a*c*e", "abcde", true),
            ("", "", true),
            ("a", "", false),
        ] {
            assert_eq!(covers(pattern, text), is_covered, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn covering_and_meeting_are_what_their_definitions_say(
            one in "[ab*?]{0,6}", other in "[ab*?]{0,6}", texts in proptest::collection::vec("[ab]{0,6}", 40)
        ) {
            for text in &texts {
                prop_assert_eq!(covers(&one, text), matches(&one, text));
                prop_assert_eq!(meet(&one, text), matches(&one, text));
                if matches(&one, text) && matches(&other, text) {
                    prop_assert!(meet(&one, &other), "{} {} {}", one, other, text);
                }
                if covers(&one, &other) && matches(&other, text) {
                    prop_assert!(matches(&one, text), "{} {} {}", one, other, text);
                }
            }
            prop_assert_eq!(meet(&one, &other), meet(&other, &one));
        }
    }
}

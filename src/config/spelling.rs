//! "Did you mean": which of the known words somebody probably meant. Not a spelling checker.

/// How many characters may be wrong in a word of this length: a third, but a short word needs at least one.
fn tolerance(word: &str) -> usize {
    (word.chars().count() / 3).max(1)
}

/// The known word with the fewest edits from `word`, if they are few.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // Far longer than all known words: not a slip, and not worth its time.
    if word.len() > 100 {
        return None;
    }
    let distances = known.iter().map(|candidate| (distance(word, candidate), *candidate));
    distances.min().filter(|(edits, _)| *edits <= tolerance(word)).map(|(_, candidate)| candidate)
}

/// Characters to insert, delete or replace to get from one word to the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 4] = ["log_group", "log_stream", "flush_interval", "start_at"];

    #[test]
    fn a_slip_finds_the_word() {
        assert_eq!(nearest("loggroup", &KEYS), Some("log_group"));
        assert_eq!(nearest("flush_intervall", &KEYS), Some("flush_interval"));
        assert_eq!(nearest("strat_at", &KEYS), Some("start_at"));
    }

    #[test]
    fn another_word_finds_nothing() {
        assert_eq!(nearest("compression", &KEYS), None);
        assert_eq!(nearest("", &KEYS), None);
        assert_eq!(nearest(&"log_group".repeat(100), &KEYS), None);
    }

    #[test]
    fn distances_are_counted_in_characters() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("é", "e"), 1);
    }
}

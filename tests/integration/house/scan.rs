//! A Rust source becomes the list of what it mentions: rooms of ours, other crates, macros that print, exits. Tokens,
//! not text, so that comments and strings are no mentions, and macros' arguments are. Not the rules: those are the house's.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// What a place in a source names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// A room of ours, through `crate::`, `super::` or `imds_agent::`.
    Room(String),
    /// The root itself, renamed or globbed, behind which a room could hide.
    Root,
    /// Any other word that begins a path or stands alone; the rules know which words matter.
    Word(String),
    /// A macro, without its `!`.
    Macro(String),
    /// `process::exit` or `process::abort`.
    Exit,
}

/// A place in a source that names something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mention {
    pub(crate) line: usize,
    pub(crate) named: Named,
    /// Whether it is compiled for tests only.
    pub(crate) in_test: bool,
}

/// Everything that `source` names. `module` is where the file stands: `["logs", "sink"]` for `src/logs/sink/mod.rs`.
///
/// # Panics
/// When `source` is no Rust.
pub(crate) fn mentions(source: &str, module: &[&str]) -> Vec<Mention> {
    let tokens: TokenStream = source.parse().expect("sources that compile can be cut into tokens");
    let mut scan = Scan { module: module.iter().map(ToString::to_string).collect(), in_test: false, found: Vec::new() };
    scan.stream(tokens);
    scan.found
}

struct Scan {
    /// The module that the scan is inside of, inline modules included.
    module: Vec<String>,
    in_test: bool,
    found: Vec<Mention>,
}

impl Scan {
    fn stream(&mut self, stream: TokenStream) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        let outside = self.in_test;
        let mut at = 0;
        while at < tokens.len() {
            if is_cfg_test(&tokens[at..]) {
                self.in_test = true;
            }
            at += self.step(&tokens, at);
            if ends_item(&tokens[at - 1]) {
                self.in_test = outside;
            }
        }
        self.in_test = outside;
    }

    /// Looks at what begins at `at`; returns how many tokens that was.
    fn step(&mut self, tokens: &[TokenTree], at: usize) -> usize {
        match &tokens[at] {
            TokenTree::Group(group) => {
                self.stream(group.stream());
                1
            }
            TokenTree::Ident(ident) => match ident.to_string().as_str() {
                "mod" => self.inline_module(&tokens[at..]),
                "super" => self.supers(&tokens[at..]),
                "crate" | "imds_agent" => {
                    // `pub(crate)` and the like: the word alone in its parentheses names nothing.
                    if tokens.len() > 1 {
                        self.below_root(&tokens[at..], 0);
                    }
                    1
                }
                word => {
                    self.word(word, tokens, at);
                    1
                }
            },
            _ => 1,
        }
    }

    /// `mod NAME { … }`: `super` means something else in there.
    fn inline_module(&mut self, tokens: &[TokenTree]) -> usize {
        let [_, TokenTree::Ident(name), TokenTree::Group(body), ..] = tokens else {
            return 1;
        };
        self.module.push(name.to_string());
        self.stream(body.stream());
        self.module.pop();
        3
    }

    /// `super::super::…`: a room, if it climbs to the root.
    fn supers(&mut self, tokens: &[TokenTree]) -> usize {
        let mut climbed = 1;
        while is_path_separator(&tokens[climbed * 3 - 2..]) && is_word(tokens.get(climbed * 3), "super") {
            climbed += 1;
        }
        let last = (climbed - 1) * 3;
        if climbed == self.module.len() {
            self.below_root(&tokens[last..], 0);
        }
        last + 1
    }

    /// `tokens[at]` is the root; what follows `::` is a room, a group of rooms, or a way to hide one.
    fn below_root(&mut self, tokens: &[TokenTree], at: usize) {
        let line = tokens[at].span().start().line;
        if !is_path_separator(&tokens[at + 1..]) {
            self.push(line, Named::Root);
            return;
        }
        match tokens.get(at + 3) {
            Some(TokenTree::Ident(room)) => self.push(line, Named::Room(room.to_string())),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => self.rooms_in(group.stream()),
            _ => self.push(line, Named::Root),
        }
    }

    /// The first word of each branch in `{a, b::c, d as e}`.
    fn rooms_in(&mut self, stream: TokenStream) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        for branch in tokens.split(|token| is_punct(Some(token), ',')) {
            match branch.first() {
                Some(TokenTree::Ident(word)) if word == "self" => {
                    self.push(word.span().start().line, Named::Root);
                }
                Some(TokenTree::Ident(room)) => self.push(room.span().start().line, Named::Room(room.to_string())),
                Some(other) => self.push(other.span().start().line, Named::Root),
                None => {}
            }
        }
    }

    fn word(&mut self, word: &str, tokens: &[TokenTree], at: usize) {
        let line = tokens[at].span().start().line;
        let is_called = is_punct(tokens.get(at + 1), '!') && matches!(tokens.get(at + 2), Some(TokenTree::Group(_)));
        if is_called {
            self.push(line, Named::Macro(word.to_owned()));
        } else if word == "process" && is_path_separator(&tokens[at + 1..]) {
            let exits = |token: Option<&TokenTree>| is_word(token, "exit") || is_word(token, "abort");
            let grouped = match tokens.get(at + 3) {
                Some(TokenTree::Group(group)) => group.stream().into_iter().any(|token| exits(Some(&token))),
                token => exits(token),
            };
            if grouped {
                self.push(line, Named::Exit);
            }
        } else {
            self.push(line, Named::Word(word.to_owned()));
        }
    }

    fn push(&mut self, line: usize, named: Named) {
        self.found.push(Mention { line, named, in_test: self.in_test });
    }
}

/// `#[cfg(test)]`, or `#[test]` and its kin, before an item.
fn is_cfg_test(tokens: &[TokenTree]) -> bool {
    let [hash, TokenTree::Group(attribute), ..] = tokens else {
        return false;
    };
    let text = attribute.stream().to_string().replace(' ', "");
    is_punct(Some(hash), '#') && (text == "cfg(test)" || text == "test" || text.starts_with("tokio::test"))
}

/// An attribute holds for one item, which ends at its first `;` or closing brace.
fn ends_item(token: &TokenTree) -> bool {
    match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        token => is_punct(Some(token), ';'),
    }
}

fn is_path_separator(tokens: &[TokenTree]) -> bool {
    is_punct(tokens.first(), ':') && is_punct(tokens.get(1), ':')
}

fn is_punct(token: Option<&TokenTree>, character: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == character)
}

fn is_word(token: Option<&TokenTree>, word: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if ident == word)
}

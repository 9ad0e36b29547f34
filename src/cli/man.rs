//! `man`: the manual page imds-agent(1), in roff. Subcommands, options and exit codes come from their definitions, so
//! that none can be missing; what only prose can say is in `man.roff` beside this. Not imds-agent.toml(5), which is
//! written by hand in `packaging/man/` and checked against the configuration's code.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Arg, Command};

use super::exit::{MEANINGS, print};

/// The sections around the commands: what comes before them, a line that marks their place, and what comes after.
const PROSE: &str = include_str!("man.roff");

/// The line in [`PROSE`] where the commands and the exit status belong.
const HALVES: &str = ".\\\" The commands and the exit status stand here.\n";

/// How many arguments the synopsis shows of a subcommand before its line is wider than a terminal.
const MOST_IN_A_LINE: usize = 4;

pub(crate) fn run(command: Command) -> ExitCode {
    print(&page(command))
}

/// A subcommand that does something, and the words that call it.
struct Leaf<'c> {
    path: String,
    command: &'c Command,
}

fn page(mut command: Command) -> String {
    command = command.disable_help_subcommand(true);
    command.build();
    let mut leaves = Vec::new();
    collect(&command, command.get_name(), &mut leaves);
    let (before, after) = PROSE.split_once(HALVES).unwrap_or((PROSE, ""));
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let version = command.get_version().unwrap_or_default();
    [
        format!(".TH IMDS\\-AGENT 1 \"\" \"imds\\-agent {version}\" \"User Commands\"\n"),
        format!(".SH NAME\nimds\\-agent \\- {}\n", escaped(&about)),
        synopsis(&leaves),
        before.to_owned(),
        commands(&leaves),
        exit_status(),
        after.to_owned(),
    ]
    .concat()
}

fn collect<'c>(command: &'c Command, path: &str, leaves: &mut Vec<Leaf<'c>>) {
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        let path = format!("{path} {}", subcommand.get_name());
        if subcommand.has_subcommands() {
            if !subcommand.is_subcommand_required_set() {
                leaves.push(Leaf { path: path.clone(), command: subcommand });
            }
            collect(subcommand, &path, leaves);
        } else {
            leaves.push(Leaf { path, command: subcommand });
        }
    }
}

fn synopsis(leaves: &[Leaf<'_>]) -> String {
    let mut text = ".SH SYNOPSIS\n.nf\n".to_owned();
    for leaf in leaves {
        let _ = writeln!(text, "\\fB{}\\fR{}", escaped(&leaf.path), arguments(leaf.command));
    }
    text + ".fi\n"
}

/// ` [--config FILE] SHELL`, as far as the subcommand takes any, and as a line can hold them.
fn arguments(command: &Command) -> String {
    if own_arguments(command).count() > MOST_IN_A_LINE {
        return " [\\fIOPTION\\fR]...".to_owned();
    }
    let mut text = String::new();
    for argument in own_arguments(command) {
        let optional = !argument.is_required_set();
        let (open, close) = if optional { ("[", "]") } else { ("", "") };
        let _ = write!(text, " {open}{}{close}", call(argument));
    }
    text
}

fn commands(leaves: &[Leaf<'_>]) -> String {
    let mut text = ".SH COMMANDS\n".to_owned();
    for leaf in leaves {
        let heading = leaf.path.split_once(' ').map_or(leaf.path.as_str(), |(_, rest)| rest);
        let about = leaf.command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = write!(text, ".SS {}\n{}.\n", escaped(heading), escaped(&about));
        for argument in own_arguments(leaf.command) {
            let _ = write!(text, ".TP\n{}\n{}\n", call(argument), described(argument));
        }
    }
    text
}

fn exit_status() -> String {
    let mut text = ".SH EXIT STATUS\n".to_owned();
    for (code, meaning) in MEANINGS {
        let _ = write!(text, ".TP\n.B {code}\n{}\n", escaped(meaning));
    }
    text
}

/// What a subcommand takes beside `--help`, which all take.
fn own_arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|argument| !argument.is_hide_set() && argument.get_id() != "help")
}

/// How an argument is given: `--config FILE`, or `SHELL`.
fn call(argument: &Arg) -> String {
    let takes_value = argument.get_num_args().is_some_and(|range| range.takes_values());
    let names: Vec<String> = argument.get_value_names().into_iter().flatten().map(|name| escaped(name)).collect();
    let value = format!("\\fI{}\\fR", names.join(" "));
    match argument.get_long() {
        Some(long) if takes_value => format!("\\fB\\-\\-{}\\fR {value}", escaped(long)),
        Some(long) => format!("\\fB\\-\\-{}\\fR", escaped(long)),
        None => value,
    }
}

/// The help of an argument, with what it may be and what it is if not given.
fn described(argument: &Arg) -> String {
    let mut text = argument.get_help().map(ToString::to_string).unwrap_or_default();
    text.push('.');
    let possible: Vec<String> =
        argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    let takes_value = argument.get_num_args().is_some_and(|range| range.takes_values());
    if takes_value && !possible.is_empty() {
        let _ = write!(text, " One of {}.", possible.join(", "));
    }
    let defaults: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if takes_value && !defaults.is_empty() {
        let _ = write!(text, " Default: {}.", defaults.join(", "));
    }
    escaped(&text)
}

/// Text as roff takes it for text: no escapes, hyphens that can be copied, no control line.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('`', "");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use clap::CommandFactory as _;

    use super::super::{Arguments, exit};
    use super::*;

    fn section<'p>(page: &'p str, heading: &str) -> &'p str {
        let begin = page.find(&format!("{heading}\n")).unwrap_or_else(|| panic!("no {heading:?}"));
        let rest = &page[begin + heading.len()..];
        let next = if heading.starts_with(".SH") { "\n.SH" } else { "\n.S" };
        &rest[..rest.find(next).unwrap_or(rest.len())]
    }

    fn assert_named(page: &str, command: &Command, path: &str) {
        for subcommand in command.get_subcommands() {
            let path = format!("{path} {}", subcommand.get_name());
            if subcommand.has_subcommands() {
                assert_named(page, subcommand, &path);
            }
            if subcommand.is_subcommand_required_set() {
                continue;
            }
            let section = section(page, &format!(".SS{}", path.replace('-', "\\-")));
            for argument in subcommand.get_arguments() {
                let name = match argument.get_long() {
                    Some(long) => format!("\\fB\\-\\-{}\\fR", long.replace('-', "\\-")),
                    None => format!("\\fI{}\\fR", argument.get_value_names().unwrap()[0]),
                };
                assert!(section.contains(&name), "{path} {name}: {section}");
            }
        }
    }

    #[test]
    fn the_page_names_every_subcommand_and_every_argument() {
        assert_named(&page(Arguments::command()), &Arguments::command(), "");
    }

    #[test]
    fn the_page_names_every_exit_code() {
        let page = page(Arguments::command());
        let section = section(&page, ".SH EXIT STATUS");
        for code in [0, exit::FAILED, 2, exit::UNREACHABLE, exit::NOT_ALLOWED, exit::CONFIGURATION] {
            assert!(section.contains(&format!("\n.B {code}\n")), "{code}: {section}");
        }
    }

    /// Names in quotes that look like variables: capitals with an underline.
    fn variables(text: &str) -> impl Iterator<Item = &str> {
        let known = ["AWS_", "IMDS_AGENT_", "NO_", "HTTP", "STATE_", "RUNTIME_", "NOTIFY_", "WATCHDOG_", "LISTEN_"];
        text.split('"').filter(move |word| {
            let capitals = word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
            capitals
                && word.contains('_')
                && !word.ends_with('_')
                && known.iter().any(|prefix| word.starts_with(prefix))
        })
    }

    /// What is built for tests only: its variables are for those who test.
    const TESTS: [&str; 1] = ["torture"];

    fn assert_variables_named(directory: &Path, section: &str) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && TESTS.iter().any(|test| path.ends_with(test)) {
                continue;
            }
            if path.is_dir() {
                assert_variables_named(&path, section);
            } else if !path.ends_with("tests.rs") && path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                for variable in variables(text.split("#[cfg(test)]").next().unwrap_or_default()) {
                    assert!(section.contains(&format!("\\fB{variable}\\fR")), "{variable} in {}", path.display());
                }
            }
        }
    }

    #[test]
    fn the_page_names_every_variable_that_the_code_reads() {
        let page = page(Arguments::command());
        for room in ["agent", "aws", "cli", "config", "credentials", "imds", "logs", "status", "telemetry"] {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room);
            assert_variables_named(&directory, section(&page, ".SH ENVIRONMENT"));
        }
    }

    #[test]
    fn text_is_never_taken_for_roff() {
        assert_eq!(escaped(".x \\n --json `a`"), "\\&.x \\en \\-\\-json a");
    }
}

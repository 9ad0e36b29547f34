//! `completions`: what bash, zsh or fish need to complete this command, from the command line's own definitions. Not
//! where it is installed: packages put it where each shell looks.

use std::process::ExitCode;

use clap::ValueEnum;
use clap_complete::aot::{self, Generator as _};

use super::exit::{FAILED, failed, print};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The shell that is to complete
    shell: Shell,
}

/// The shells that people have on servers.
#[derive(Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(crate) fn run(args: &Args, command: clap::Command) -> ExitCode {
    match script(args.shell, command) {
        Ok(script) => print(&script),
        Err(error) => failed(FAILED, &error, None),
    }
}

fn script(shell: Shell, mut command: clap::Command) -> std::io::Result<String> {
    let name = command.get_name().to_owned();
    command.set_bin_name(name.as_str());
    command.build();
    let mut script = Vec::new();
    match shell {
        Shell::Bash => aot::Bash.try_generate(&command, &mut script),
        Shell::Zsh => aot::Zsh.try_generate(&command, &mut script),
        Shell::Fish => aot::Fish.try_generate(&command, &mut script),
    }?;
    let script = String::from_utf8(script).map_err(std::io::Error::other)?;
    // For bash, clap_complete writes the hyphen of the program's name in two ways, and then completes nothing below a
    // subcommand (clap's issue 6421). Once that is mended, there is nothing to replace.
    let (wrong, right) = (name.replace('-', "__subcmd__"), name.replace('-', "__"));
    Ok(script.replace(&wrong, &right))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::super::Arguments;
    use super::*;

    #[test]
    fn every_shell_is_told_of_every_subcommand() {
        for shell in Shell::value_variants() {
            let script = script(*shell, Arguments::command()).unwrap();
            for subcommand in Arguments::command().get_subcommands() {
                assert!(script.contains(subcommand.get_name()), "{}", subcommand.get_name());
            }
        }
    }

    #[test]
    fn bash_finds_the_options_of_each_subcommand_that_it_recognises() {
        let script = script(Shell::Bash, Arguments::command()).unwrap();
        let recognised: Vec<&str> = script
            .split("cmd=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .filter(|cmd| !cmd.is_empty())
            .collect();
        assert!(recognised.len() > 5, "{recognised:?}");
        for state in recognised {
            assert!(script.contains(&format!("\n        {state})\n")), "{state}");
        }
    }
}

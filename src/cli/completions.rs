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
    command.set_bin_name(name);
    command.build();
    let mut script = Vec::new();
    match shell {
        Shell::Bash => aot::Bash.try_generate(&command, &mut script),
        Shell::Zsh => aot::Zsh.try_generate(&command, &mut script),
        Shell::Fish => aot::Fish.try_generate(&command, &mut script),
    }?;
    String::from_utf8(script).map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
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
}

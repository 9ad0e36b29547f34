//! `firewall print`: what keeps every process but the agent, and those that must, from the instance metadata service, so
//! that a role is had from the agent or not at all. It prints what to apply, and what that breaks; it applies nothing.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::ValueEnum;

use super::exit::print;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Print the rules, and what each of them breaks
    Print(PrintArgs),
}

#[derive(clap::Args)]
struct PrintArgs {
    /// Only these rules, ready to be applied
    #[arg(long, value_name = "FORM")]
    only: Option<Form>,
    /// A further service that may reach the metadata service (can be repeated)
    #[arg(long, value_name = "UNIT", value_parser = service)]
    allow_unit: Vec<String>,
}

/// The ways to do it.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Drop-ins for systemd's units: a shell script
    Systemd,
    /// A rule by user: a file for nft(8)
    Nftables,
    /// A rule for what containers send through the host: a file for nft(8)
    Containers,
}

/// Where the metadata service is (FACTS, IMDSv2).
const IPV4: &str = "169.254.169.254";

/// The same on Nitro instances that have it enabled.
const IPV6: &str = "fd00:ec2::254";

/// The agent, and what an instance can't be managed without: Systems Manager, cloud-init under its older and newer names,
/// EC2 Instance Connect (which asks from sshd's `AuthorizedKeysCommand`), and what sets up further network interfaces.
const UNITS: [&str; 17] = [
    "imds-agent.service",
    "amazon-ssm-agent.service",
    "snap.amazon-ssm-agent.amazon-ssm-agent.service",
    "cloud-init-main.service",
    "cloud-init-local.service",
    "cloud-init-network.service",
    "cloud-init.service",
    "cloud-config.service",
    "cloud-final.service",
    "ec2-instance-connect.service",
    "ssh.service",
    "ssh@.service",
    "sshd.service",
    "sshd@.service",
    "policy-routes@.service",
    "refresh-policy-routes@.service",
    "nm-cloud-setup.service",
];

/// What every drop-in of ours is called: late enough to come after a distribution's own.
const DROP_IN: &str = "60-imds-agent-firewall.conf";

pub(crate) fn run(args: &Args) -> ExitCode {
    let Action::Print(args) = &args.action;
    let text = match args.only {
        Some(form) => rules(form, &args.allow_unit),
        None => everything(&args.allow_unit),
    };
    print(&text)
}

/// A unit's name as systemd takes it, and as it can stand in a shell's word.
fn service(name: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@._-:".contains(c);
    let stem = name.strip_suffix(".service").unwrap_or_default();
    if stem.is_empty() || !name.chars().all(plain) {
        return Err("expected a service's name, as in docker.service".to_owned());
    }
    Ok(name.to_owned())
}

fn everything(further: &[String]) -> String {
    let mut text = String::from(
        "# Three ways to keep others from the metadata service. The first and the second are alternatives; the third\n\
         # belongs to either where containers run. Nothing is applied by printing it: read it, then run the command\n\
         # above each, as root.\n",
    );
    for form in Form::value_variants() {
        text += "\n";
        text += &rules(*form, further);
    }
    text
}

fn rules(form: Form, further: &[String]) -> String {
    match form {
        Form::Systemd => systemd(further),
        Form::Nftables => by_user(),
        Form::Containers => containers(),
    }
}

fn systemd(further: &[String]) -> String {
    let mut units: Vec<&str> = UNITS.into_iter().chain(further.iter().map(String::as_str)).collect();
    units.dedup();
    let option: String = further.iter().fold(String::new(), |mut option, unit| {
        let _ = write!(option, " --allow-unit {unit}");
        option
    });
    format!(
        "# By unit: imds-agent firewall print --only systemd{option} | sudo sh\n\
         #\n\
         # Every unit's packets to the metadata service are dropped, but for those named here (systemd.resource-control(5),\n\
         # by BPF in the unit's control group). It needs systemd 235 or later, and holds over reboots.\n\
         # What breaks: whatever reads the metadata service itself, from any other service, any user's session (root's\n\
         # too: use `sudo systemd-run -p IPAddressAllow={IPV4} --pipe --wait COMMAND`), any container that systemd\n\
         # starts. It sees timeouts, not refusals. Known to need it, and not named: docker.service (the awslogs driver),\n\
         # ecs.service, kubelet.service, amazon-cloudwatch-agent.service, hibinit-agent.service; --allow-unit names more.\n\
         # What does not: name lookups and the time, which have other addresses.\n\
         # What it does not hold: who is root, and containers outside of systemd's slices; for those the rule below.\n\
         # Undo: sudo rm /etc/systemd/system/*.d/{DROP_IN}; sudo systemctl daemon-reload\n\
         set -eu\n\
         drop_in() {{ # UNIT SECTION SETTING\n\
         \x20   mkdir -p \"/etc/systemd/system/$1.d\"\n\
         \x20   printf '[%s]\\n%s={IPV4} {IPV6}\\n' \"$2\" \"$3\" >\"/etc/systemd/system/$1.d/{DROP_IN}\"\n\
         }}\n\
         # The root of all slices: what it denies is denied in all of them.\n\
         drop_in -.slice Slice IPAddressDeny\n\
         for unit in \\\n\
         {}\n\
         do\n\
         \x20   drop_in \"$unit\" Service IPAddressAllow\n\
         done\n\
         systemctl daemon-reload\n",
        units.iter().map(|unit| format!("    {unit}")).collect::<Vec<_>>().join(" \\\n"),
    )
}

fn by_user() -> String {
    format!(
        "# By user: imds-agent firewall print --only nftables | sudo nft -f -\n\
         #\n\
         # Connections to the metadata service are refused, but for those of the agent's user and of root, as which the\n\
         # SSM agent, cloud-init and what sets up network interfaces run. (A rule by unit can't be had here: nftables\n\
         # keeps a control group's number, which is another one after each restart of the unit.)\n\
         # What breaks: whatever another user's process reads there itself; EC2 Instance Connect, whose user is\n\
         # ec2-instance-connect: add it to the list where there is one.\n\
         # What it does not hold: any process of root, and of a container whose network is the host's and whose user is root.\n\
         # It is gone after a reboot, unless it stands in what nftables.service loads: /etc/nftables.conf, or\n\
         # /etc/sysconfig/nftables.conf on Amazon Linux. The user imds-agent must be there when it is loaded.\n\
         # Undo: sudo nft delete table inet imds_agent_by_user\n\
         table inet imds_agent_by_user\n\
         delete table inet imds_agent_by_user\n\
         table inet imds_agent_by_user {{\n\
         \x20   chain output {{\n\
         \x20       type filter hook output priority filter; policy accept;\n\
         \x20       meta skuid {{ \"root\", \"imds-agent\" }} accept\n\
         \x20       ip daddr {IPV4} counter reject\n\
         \x20       ip6 daddr {IPV6} counter reject\n\
         \x20   }}\n\
         }}\n"
    )
}

fn containers() -> String {
    format!(
        "# For containers: imds-agent firewall print --only containers | sudo nft -f -\n\
         #\n\
         # What the host forwards to the metadata service is refused: containers with a network of their own get nothing\n\
         # there, whatever the hop limit. Those with the host's network are the other rules' matter.\n\
         # What breaks: containers that use the instance's role, or read its metadata, themselves. Give them a role of the\n\
         # agent's: its command and its socket mounted (credential_process), or the host's network.\n\
         # What does not: ECS's own endpoint (169.254.170.2), which is another address.\n\
         # It is gone after a reboot, as above.\n\
         # Undo: sudo nft delete table inet imds_agent_containers\n\
         table inet imds_agent_containers\n\
         delete table inet imds_agent_containers\n\
         table inet imds_agent_containers {{\n\
         \x20   chain forward {{\n\
         \x20       type filter hook forward priority filter - 10; policy accept;\n\
         \x20       ip daddr {IPV4} counter reject\n\
         \x20       ip6 daddr {IPV6} counter reject\n\
         \x20   }}\n\
         }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_further_unit_is_named_in_the_script_and_in_the_command_that_makes_it() {
        let script = systemd(&["docker.service".to_owned()]);
        assert!(script.contains("--only systemd --allow-unit docker.service | sudo sh"), "{script}");
        assert!(script.contains("    docker.service\ndo\n"), "{script}");
    }

    #[test]
    fn only_a_service_can_be_named_and_nothing_that_a_shell_would_take_apart() {
        assert_eq!(service("web@1.service").as_deref(), Ok("web@1.service"));
        for name in ["", ".service", "web", "web.slice", "a b.service", "$(x).service", "../x.service"] {
            assert!(service(name).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_printed_without_a_choice_is_all_of_it() {
        let text = everything(&[]);
        for form in Form::value_variants() {
            assert!(text.contains(&rules(*form, &[])));
        }
        assert!(text.lines().all(|line| line.chars().count() <= 120), "lines are too long");
    }
}

"""What `imds-agent firewall print` prints, applied: who reaches the metadata service then, and who does not."""

from collections.abc import Iterator

import pytest

from agent import Agent
from machine import Machine
from waiting import until

METADATA, METADATA_V6 = "169.254.169.254", "fd00:ec2::254"
# Whoever can connect gets a token, and with that everything. A packet that is dropped is one that nobody answers.
CONNECT = "timeout 2 bash -c '</dev/tcp/{address}/80'"


def reaches(machine: Machine, *prefix: str, address: str = METADATA) -> bool:
    """Whether a command started like this can connect to the metadata service."""
    return machine.run(*prefix, "sh", "-c", CONNECT.format(address=address), check=False).returncode == 0


def in_unit(unit: str) -> tuple[str, ...]:
    """How to run a command in a unit of that name, once the real one is stopped."""
    return ("systemd-run", "--quiet", "--collect", "--pipe", "--wait", f"--unit={unit}")


def exists(machine: Machine, path: str) -> bool:
    return machine.run("test", "-e", path, check=False).returncode == 0


def as_user(user: str) -> tuple[str, ...]:
    return ("runuser", "-u", user, "--")


@pytest.fixture
def by_unit(machine: Machine, agent: Agent) -> Iterator[str]:
    """The drop-ins, written and in force; gives what undoes them."""
    machine.shell("imds-agent firewall print --only systemd --allow-unit trusted.service | sh")
    undo = next(line for line in printed(machine, "systemd") if line.startswith("# Undo: "))
    yield undo.removeprefix("# Undo: ").replace("sudo ", "")
    machine.shell("rm -f /etc/systemd/system/*.d/60-imds-agent-firewall.conf; systemctl daemon-reload")


def printed(machine: Machine, form: str) -> list[str]:
    return machine.run("imds-agent", "firewall", "print", "--only", form).stdout.splitlines()


def test_by_unit_only_the_agent_and_those_named_reach_it(machine: Machine, agent: Agent, by_unit: str) -> None:
    for address in (METADATA, METADATA_V6):
        assert not reaches(machine, *in_unit("stranger.service"), address=address)
        assert reaches(machine, *in_unit("trusted.service"), address=address)
        assert reaches(machine, *in_unit("amazon-ssm-agent.service"), address=address)
    machine.run("systemctl", "restart", "imds-agent")
    until(lambda: agent.status()["imds"]["state"] == "running", "the agent to be answered")
    machine.shell(by_unit)
    assert reaches(machine, *in_unit("stranger.service"))


def test_a_unit_that_runs_already_is_cut_off_without_a_restart(machine: Machine, agent: Agent) -> None:
    attempt = CONNECT.format(address=METADATA)
    machine.write(
        "/run/attempts",
        f"while :; do if {attempt}; then touch /run/reached; else touch /run/refused; fi; sleep 0.1; done",
    )
    machine.run("systemd-run", "--quiet", "--unit=running.service", "sh", "/run/attempts")
    until(lambda: exists(machine, "/run/reached"), "the unit to reach it")
    assert not exists(machine, "/run/refused")
    machine.shell("imds-agent firewall print --only systemd | sh")
    try:
        until(lambda: exists(machine, "/run/refused"), "the unit to be cut off")
    finally:
        machine.shell("systemctl stop running.service; rm /etc/systemd/system/*.d/60-imds-agent-firewall.conf")
        machine.run("systemctl", "daemon-reload")


def test_by_user_only_root_and_the_agent_reach_it(machine: Machine, agent: Agent) -> None:
    assert reaches(machine, *as_user("nobody"))
    machine.shell("imds-agent firewall print --only nftables | nft -f -")
    machine.shell("imds-agent firewall print --only nftables | nft -f -")
    try:
        for address in (METADATA, METADATA_V6):
            assert not reaches(machine, *as_user("nobody"), address=address)
            assert reaches(machine, address=address)
            assert reaches(machine, *as_user("imds-agent"), address=address)
    finally:
        machine.run("nft", "delete", "table", "inet", "imds_agent_by_user")


def test_what_containers_send_is_not_forwarded(machine: Machine, agent: Agent, container: tuple[str, ...]) -> None:
    assert reaches(machine, *container)
    machine.shell("imds-agent firewall print --only containers | nft -f -")
    try:
        assert not reaches(machine, *container)
        assert reaches(machine)
    finally:
        machine.run("nft", "delete", "table", "inet", "imds_agent_containers")
    assert reaches(machine, *container)

"""The .rpm, with Debian's rpm on a Debian: its files, its scripts, its unit. Not its dependencies, which no Debian has.

Amazon Linux and RHEL have another systemd-update-helper, which the scripts prefer; here they take their other way.
"""

from pathlib import Path

import pytest

from agent import CONFIGURATION, ENVIRONMENT, Agent, numbered
from conftest import newest
from emulator import Emulator
from machine import Machine
from waiting import until
from writer import Writer

PACKAGE = "/var/tmp/imds-agent.rpm"


@pytest.fixture(scope="module")
def agent(machine: Machine, emulator: Emulator) -> Agent:
    """The agent, installed and started as the .rpm's users do."""
    agent = Agent(machine, emulator)
    agent.unit("aws", ENVIRONMENT)
    rpm: Path = newest("*.rpm")
    machine.write(PACKAGE, rpm.read_bytes())
    machine.run("rpm", "--install", "--nodeps", PACKAGE)
    agent.configure("50-test", CONFIGURATION)
    machine.run("systemctl", "enable", "--now", "imds-agent")
    return agent


def test_the_service_works(agent: Agent, machine: Machine) -> None:
    assert machine.property("ActiveState") == "active"
    assert machine.property("User") == "imds-agent"
    lines = numbered("line", 100)
    agent.append("rpm.log", lines)
    agent.expect("rpm.log", lines)


def test_the_installed_unit_is_verified_without_a_word(agent: Agent, machine: Machine) -> None:
    # There is no man(1) in this root to look the manual pages up with.
    verified = machine.run("systemd-analyze", "--man=no", "verify", "/usr/lib/systemd/system/imds-agent.service")
    assert verified.stdout + verified.stderr == ""


def test_an_upgrade_restarts_it_and_loses_no_line(agent: Agent, machine: Machine) -> None:
    before = agent.pid()
    edited = machine.run("cat", "/etc/imds-agent/config.toml").stdout + "# edited\n"
    machine.write("/etc/imds-agent/config.toml", edited)
    with Writer(machine, "upgrade.log") as writer:
        until(lambda: agent.arrived("upgrade.log"), "the first lines")
        machine.run("rpm", "--upgrade", "--force", "--nodeps", PACKAGE)
        until(lambda: agent.pid() not in (0, before), "the new version to run")
    agent.expect("upgrade.log", writer.lines())
    assert machine.run("cat", "/etc/imds-agent/config.toml").stdout == edited


def test_an_erasure_stops_it_and_keeps_its_state(agent: Agent, machine: Machine) -> None:
    machine.run("rpm", "--erase", "imds-agent")
    assert machine.property("ActiveState") == "inactive"
    assert machine.property("LoadState") == "not-found"
    machine.run("test", "-s", "/var/lib/imds-agent/checkpoint")
    assert machine.run("test", "-e", "/usr/bin/imds-agent", check=False).returncode == 1

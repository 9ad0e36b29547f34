"""`imds-agent doctor` on a real systemd: what it finds of each obstacle, and nothing where all is well.

What needs no systemd (AWS's answers, keys in files, the ways to AWS) is in tests/integration/doctor.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from agent import ENVIRONMENT, Agent
from emulator import Emulator
from machine import Machine
from obstacles import Obstacle
from waiting import until

UNSIGNED = ("--only", "imds-token,imds-route")


class Visit:
    """One run of the doctor: its exit code and what it found."""

    def __init__(self, machine: Machine, *arguments: str, user: str = "", entrance: tuple[str, ...] = ()) -> None:
        command = (*entrance, "imds-agent", "doctor", "--json", *arguments)
        done = machine.run(*command, check=False, user=user)
        assert done.stdout, done.stderr
        self.code = done.returncode
        self.findings = json.loads(done.stdout)["findings"]

    def of(self, outcome: str) -> list[dict[str, Any]]:
        return [finding for finding in self.findings if finding["outcome"] == outcome]

    def one(self, check: str, outcome: str) -> dict[str, Any]:
        """The check's only finding of this outcome."""
        found = [finding for finding in self.of(outcome) if finding["check"] == check]
        assert len(found) == 1, self.findings
        return found[0]


@pytest.fixture(scope="module")
def flowing(agent: Agent) -> Agent:
    """The agent, when it has delivered something."""
    agent.append("app.log", ["first"])
    agent.expect("app.log", ["first"])
    return agent


def test_where_all_is_well_it_finds_nothing(flowing: Agent, machine: Machine) -> None:
    visit = Visit(machine)
    assert (visit.code, visit.of("fault"), visit.of("warning"), visit.of("unseen")) == (0, [], [], [])
    # Who runs it by hand lacks the unit's environment; without it AWS itself would have been asked.
    assert "AWS_ENDPOINT_URL from imds-agent.service" in visit.one("unit", "note")["summary"]


def test_another_user_is_told_what_could_not_be_seen(flowing: Agent, machine: Machine) -> None:
    machine.run("useradd", "--create-home", "visitor")
    visit = Visit(machine, user="visitor")
    assert (visit.code, visit.of("fault")) == (0, [])
    assert "usermod -aG imds-agent" in visit.one("daemon", "unseen")["cure"]


def cured(machine: Machine, cure: str) -> None:
    """What is said is done, and the doctor finds nothing any more."""
    machine.shell(cure.replace("sudo ", ""))
    assert Visit(machine, *UNSIGNED).code == 0


def test_a_firewall_that_rejects_is_named_with_the_command_that_takes_it_away(
    flowing: Agent, machine: Machine, imds_rejected: Obstacle,
) -> None:
    visit = Visit(machine)
    assert visit.code == 1
    finding = visit.one("imds-route", "fault")
    assert re.search(r"nft delete rule inet obstacle out handle \d+", finding["cure"])
    cured(machine, finding["cure"])


def test_a_firewall_that_drops_is_named_with_the_command_that_takes_it_away(
    flowing: Agent, machine: Machine, imds_dropped: Obstacle,
) -> None:
    finding = Visit(machine).one("imds-route", "fault")
    assert re.search(r"nft delete rule inet obstacle out handle \d+", finding["cure"])
    cured(machine, finding["cure"])


def test_a_route_that_prohibits_is_named_with_the_command_that_takes_it_away(
    flowing: Agent, machine: Machine, imds_prohibited: Obstacle,
) -> None:
    finding = Visit(machine).one("imds-route", "fault")
    assert "sudo ip route del prohibit 169.254.169.254" in finding["cure"]
    # So that the fixture finds it.
    assert "Permission denied" in finding["evidence"]


def test_in_a_container_the_hop_limit_is_told_with_the_instances_own_id(
    flowing: Agent, machine: Machine, emulator: Emulator, container: tuple[str, ...],
) -> None:
    emulator.settings(hop_limit=1)
    try:
        finding = Visit(machine, *UNSIGNED, entrance=container).one("imds-token", "fault")
    finally:
        emulator.settings(hop_limit=2)
    assert "--http-put-response-hop-limit 2" in finding["cure"]


def test_a_service_that_is_stopped_is_a_note_and_a_masked_one_a_fault(flowing: Agent, machine: Machine) -> None:
    machine.run("systemctl", "stop", "imds-agent")
    stopped = Visit(machine)
    assert (stopped.code, stopped.of("fault")) == (0, [])
    assert any("systemctl start imds-agent" in (finding["cure"] or "") for finding in stopped.of("note"))
    machine.run("systemctl", "mask", "--runtime", "imds-agent")
    assert "systemctl unmask" in Visit(machine, "--only", "unit").one("unit", "fault")["cure"]
    machine.run("systemctl", "unmask", "--runtime", "imds-agent")
    machine.run("systemctl", "start", "imds-agent")


@pytest.fixture
def unusable_environment(agent: Agent) -> Iterator[None]:
    agent.unit("aws", f"{ENVIRONMENT}Environment=AWS_USE_FIPS_ENDPOINT=perhaps\n")
    agent.machine.run("systemctl", "restart", "imds-agent", check=False)
    yield
    agent.unit("aws", ENVIRONMENT)
    agent.machine.shell("systemctl reset-failed imds-agent; systemctl restart imds-agent")


def test_a_service_that_fails_is_told_with_its_own_last_words(
    flowing: Agent, machine: Machine, unusable_environment: None,
) -> None:
    until(lambda: machine.property("ActiveState") == "failed", "the service to have failed")
    finding = Visit(machine, "--only", "unit").one("unit", "fault")
    assert "ExecMainStatus=78" in finding["evidence"]
    assert "AWS_USE_FIPS_ENDPOINT" in finding["evidence"]


def test_keys_in_the_environment_file_of_a_service_are_found_and_never_shown(flowing: Agent, machine: Machine) -> None:
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    machine.write("/etc/app.env", f"AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE\nAWS_SECRET_ACCESS_KEY={secret}\n", "0600")
    machine.write("/etc/systemd/system/app.service", """
[Service]
EnvironmentFile=/etc/app.env
ExecStart=sleep infinity
[Install]
WantedBy=multi-user.target
""")
    machine.shell("systemctl daemon-reload; systemctl enable --now app")
    visit = Visit(machine, "--only", "static-keys")
    finding = visit.one("static-keys", "fault")
    assert "/etc/app.env" in json.dumps(finding)
    assert "app.service" in finding["summary"]
    assert secret not in json.dumps(visit.findings)
    machine.shell(finding["cure"].replace("sudo ", ""))
    assert Visit(machine, "--only", "static-keys").code == 0
    machine.shell("systemctl disable --now app; rm /etc/systemd/system/app.service /etc/app.env")

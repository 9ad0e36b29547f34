"""The journal as a source, on a real journald: what is asked for arrives once, whatever is done to journal and agent."""

import json

import pytest

from agent import GROUP, Agent, numbered
from emulator import Emulator
from machine import Machine
from waiting import until

# Nothing of a burst is to be dropped by journald itself.
NO_RATE_LIMIT = "[Journal]\nRateLimitIntervalSec=0\nRateLimitBurst=0\nStorage=persistent\n"

CONFIGURATION = """
[[logs.journal]]
log_stream = "journal/all"

[[logs.journal]]
units = ["app*.service"]
log_stream = "journal/{unit}"

[[logs.journal]]
identifiers = ["chosen"]
priority = "warning"
format = "json"
fields = ["MESSAGE", "PRIORITY"]
log_stream = "journal/json"
start_at = "beginning"

[[logs.journal]]
identifiers = ["burst"]
log_stream = "journal/burst"
"""


@pytest.fixture(scope="module")
def journal(agent: Agent, machine: Machine) -> Machine:
    """A machine whose agent ships its journal."""
    machine.write("/etc/systemd/journald.conf.d/test.conf", NO_RATE_LIMIT)
    machine.run("systemctl", "restart", "systemd-journald")
    machine.run("systemd-cat", "--identifier=chosen", "--priority=err", "echo", "before the agent")
    agent.configure("60-journal", CONFIGURATION)
    machine.run("systemctl", "restart", "imds-agent")
    return machine


def said(emulator: Emulator, stream: str) -> list[str]:
    """What a stream of the journal holds."""
    return emulator.lines(GROUP, f"journal/{stream}")


def say(machine: Machine, identifier: str, lines: list[str]) -> None:
    """Writes lines to the journal, and waits until journald has them on its disk."""
    machine.run("systemd-cat", f"--identifier={identifier}", "cat", stdin="".join(f"{line}\n" for line in lines))
    machine.run("journalctl", "--sync")


def test_what_is_asked_for_arrives_as_it_is_asked_for(journal: Machine, emulator: Emulator) -> None:
    journal.run("systemd-cat", "--identifier=chosen", "--priority=info", "echo", "not severe")
    journal.run("systemd-cat", "--identifier=chosen", "--priority=warning", "echo", "severe")
    until(lambda: len(said(emulator, "json")) >= 2, "the chosen entries")
    records = [json.loads(line) for line in said(emulator, "json")]
    assert records == [
        {"MESSAGE": "before the agent", "PRIORITY": "3"},
        {"MESSAGE": "severe", "PRIORITY": "4"},
    ]


def test_each_unit_has_a_stream_with_what_systemd_says_of_it(journal: Machine, emulator: Emulator) -> None:
    for unit in ("app1", "app2"):
        journal.run("systemd-run", "--quiet", "--wait", f"--unit={unit}", "echo", f"hello from {unit}")
        until(lambda unit=unit: f"hello from {unit}" in said(emulator, f"{unit}.service"), f"the words of {unit}")
        until(lambda unit=unit: f"{unit}.service: Deactivated successfully." in said(emulator, f"{unit}.service"),
              f"systemd's words of {unit}")
    assert "hello from app2" not in said(emulator, "app1.service")


def test_a_burst_of_50000_entries_arrives_all_once_and_in_order(journal: Machine, emulator: Emulator) -> None:
    lines = numbered("burst", 50_000)
    say(journal, "burst", lines)
    until(lambda: len(said(emulator, "burst")) >= len(lines), "the burst", 120)
    assert said(emulator, "burst") == lines


def test_it_never_ships_its_own_entries(journal: Machine, agent: Agent, emulator: Emulator) -> None:
    journal.run("systemctl", "reload", "imds-agent")
    say(journal, "mark", ["after the reload"])
    until(lambda: "after the reload" in said(emulator, "all"), "what came after its own entries")
    own = [entry["MESSAGE"] for entry in journal.journal("_SYSTEMD_UNIT=imds-agent.service")]
    assert own and not set(own) & set(said(emulator, "all"))


def test_a_restart_of_journald_and_a_rotation_lose_nothing(journal: Machine, emulator: Emulator) -> None:
    before = len(said(emulator, "burst"))
    for number in range(6):
        say(journal, "burst", [f"round {number}"])
        journal.run(*(("systemctl", "restart", "systemd-journald") if number % 2 else ("journalctl", "--rotate")))
    until(lambda: len(said(emulator, "burst")) >= before + 6, "all rounds")
    assert said(emulator, "burst")[before:] == [f"round {number}" for number in range(6)]


def test_after_a_kill_it_goes_on_and_its_children_are_gone(journal: Machine, agent: Agent, emulator: Emulator) -> None:
    before, killed = len(said(emulator, "burst")), agent.pid()
    journal.run("systemctl", "kill", "--signal=KILL", "imds-agent")
    say(journal, "burst", ["after the kill"])
    until(lambda: agent.pid() not in (0, killed), "the agent to be started again")
    until(lambda: "after the kill" in said(emulator, "burst"), "what came after the kill")
    assert said(emulator, "burst")[before:] == ["after the kill"]
    parents = {line.strip() for line in journal.run("ps", "-o", "ppid=", "-C", "journalctl").stdout.splitlines()}
    assert parents == {str(agent.pid())}


def test_a_denied_unit_holds_up_no_other(journal: Machine, emulator: Emulator) -> None:
    emulator.fault("logs:PutLogEvents", {"deny": {}}, stream="journal/app3.service")
    journal.run("systemd-run", "--quiet", "--wait", "--unit=app3", "sh", "-c", "seq -f 'x%06.0f' 1 20000")
    journal.run("systemd-run", "--quiet", "--wait", "--unit=app4", "echo", "not held up")
    until(lambda: "not held up" in said(emulator, "app4.service"), "the other unit")
    emulator.heal()
    until(lambda: len([line for line in said(emulator, "app3.service") if line.startswith("x")]) >= 20_000,
          "all of the denied unit", 120)


def test_the_previous_boots_last_entries_arrive_after_a_reboot(journal: Machine, agent: Agent, emulator: Emulator) -> None:
    journal.run("systemctl", "stop", "imds-agent")
    say(journal, "burst", ["the last of this boot"])
    journal.reboot()
    say(journal, "burst", ["the first of the next"])
    until(lambda: "the first of the next" in said(emulator, "burst"), "the next boot's entries")
    assert said(emulator, "burst")[-2:] == ["the last of this boot", "the first of the next"]


def test_entries_that_were_vacuumed_unread_are_a_gap(journal: Machine, agent: Agent, emulator: Emulator) -> None:
    journal.run("systemctl", "stop", "imds-agent")
    say(journal, "burst", numbered("lost", 5))
    journal.run("journalctl", "--rotate", "--vacuum-time=1us")
    say(journal, "burst", ["behind the gap"])
    journal.run("systemctl", "start", "imds-agent")
    until(lambda: "behind the gap" in said(emulator, "burst"), "what came after the gap")
    until(lambda: any(line.startswith("[imds-agent: gap: ") for line in said(emulator, "burst")), "the stream says so")
    assert agent.status()["logs"]["ledger"]["events"]["dropped"]["gap"] >= 1
    assert not any(line.startswith("lost") for line in said(emulator, "burst"))

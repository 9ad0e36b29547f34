"""The service under systemd: it starts, ships, answers whom it should, and has no more power than its unit says."""

import json

import pytest

from agent import DIRECTORY, GROUP, INSTANCE, Agent, numbered
from emulator import Emulator
from machine import Machine
from waiting import until

# linux/capability.h: the bit of CAP_DAC_READ_SEARCH.
READ_SEARCH = 1 << 2


@pytest.fixture(scope="module")
def people(machine: Machine, agent: Agent) -> Machine:
    """A machine with an `insider` in the agent's group and an `outsider`."""
    machine.run("useradd", "--groups", "imds-agent", "insider")
    machine.run("useradd", "outsider")
    return machine


def process_status(agent: Agent) -> dict[str, str]:
    """What /proc says of the main process."""
    text = agent.machine.run("cat", f"/proc/{agent.pid()}/status").stdout
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def test_the_unit_is_active_after_its_ready_message(agent: Agent) -> None:
    assert agent.machine.property("Type") == "notify"
    assert agent.machine.property("ActiveState") == "active"
    until(lambda: agent.machine.property("StatusText"), "a status text")
    assert agent.machine.run("systemctl", "is-enabled", "imds-agent").stdout.strip() == "enabled"
    assert agent.machine.run("systemctl", "is-system-running").stdout.strip() == "running"


def test_lines_arrive_all_once_and_in_order(agent: Agent) -> None:
    lines = numbered("line", 3000)
    for first in range(0, len(lines), 1000):
        agent.append("order.log", lines[first:first + 1000])
    agent.expect("order.log", lines)


def test_the_identity_is_the_metadata_services_at_its_real_address(agent: Agent, emulator: Emulator) -> None:
    status = agent.status()
    assert status["imds"]["endpoint"] == "http://169.254.169.254"
    assert status["imds"]["state"] == "running"
    assert status["instance"]["instance_id"] == INSTANCE
    assert status["credentials"][0]["state"] == "fresh"
    assert emulator.state()["counts"]["metadata_without_token"] == 0


def test_a_user_of_the_group_sees_the_status(agent: Agent, people: Machine) -> None:
    assert agent.status(user="insider")["pid"] == agent.pid()


def test_another_user_is_refused_and_told_why(people: Machine) -> None:
    refused = people.run("imds-agent", "status", user="outsider", check=False)
    assert (refused.returncode, refused.stdout) == (77, "")
    assert "imds-agent" in refused.stderr and "group" in refused.stderr


def test_the_process_is_its_own_user_with_one_capability(agent: Agent) -> None:
    status = process_status(agent)
    uid = agent.machine.run("id", "--user", "imds-agent").stdout.strip()
    gid = agent.machine.run("id", "--group", "imds-agent").stdout.strip()
    assert uid != "0"
    assert status["Uid"].split() == [uid] * 4
    assert status["Gid"].split() == [gid] * 4
    assert status["Groups"].split() in ([], [gid])
    sets = {name: int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb", "CapInh")}
    assert sets == dict.fromkeys(sets, READ_SEARCH)
    assert status["NoNewPrivs"] == "1"


def test_files_that_others_may_not_read_are_read(agent: Agent) -> None:
    agent.machine.write(f"{DIRECTORY}/root.log", "for root\n", mode="0600", owner="root:root")
    agent.machine.write(f"{DIRECTORY}/adm.log", "for adm\n", mode="0640", owner="root:adm")
    agent.machine.shell(f"mkdir -m 0700 {DIRECTORY}/closed; echo hidden >{DIRECTORY}/closed/deep.log")
    agent.configure("60-closed", f'[[logs.file]]\ninclude = ["{DIRECTORY}/closed/*.log"]\n')
    agent.machine.run("systemctl", "restart", "imds-agent")
    agent.expect("root.log", ["for root"])
    agent.expect("adm.log", ["for adm"])
    agent.expect("deep.log", ["hidden"])


def test_the_journal_has_native_entries_with_priorities_and_fields(agent: Agent) -> None:
    ours = ("_SYSTEMD_UNIT=imds-agent.service", "_TRANSPORT=journal")
    entries = until(lambda: agent.machine.journal(*ours), "entries of the agent's own")
    assert {entry["SYSLOG_IDENTIFIER"] for entry in entries} == {"imds-agent"}
    assert {entry["PRIORITY"] for entry in entries} <= set("3456")
    # What a message names is a field of its own.
    assert any(entry.get("ROLE") == "emulated-role" for entry in entries)
    # A start that succeeds leaves nothing on stderr.
    assert agent.machine.journal("_SYSTEMD_UNIT=imds-agent.service", "_TRANSPORT=stdout") == []


def test_a_start_where_all_is_well_warns_of_nothing(agent: Agent) -> None:
    warnings = agent.machine.journal("_SYSTEMD_UNIT=imds-agent.service", "--priority=warning")
    assert [entry["MESSAGE"] for entry in warnings] == []


def test_no_secret_is_in_the_journal_or_the_environment(agent: Agent, emulator: Emulator) -> None:
    key_id = emulator.state()["credentials"]["access_key_id"]
    journal = json.dumps(agent.machine.journal())
    environment = agent.machine.shell(f"tr '\\0' '\\n' </proc/{agent.pid()}/environ")
    assert "AWS_ENDPOINT_URL" in environment
    assert key_id not in journal and key_id not in environment


def test_stopping_sends_what_was_written_before(agent: Agent, emulator: Emulator) -> None:
    lines = numbered("drained", 500)
    agent.append("drain.log", lines[:250])
    agent.expect("drain.log", lines[:250])
    # Slow enough that most of it is under way when the stop comes.
    emulator.settings(put_latency_ms=500)
    agent.append("drain.log", lines[250:])
    until(lambda: emulator.state()["counts"]["puts"]["in_flight"], "a put to be under way")
    agent.machine.run("systemctl", "stop", "imds-agent")
    emulator.settings(put_latency_ms=0)
    assert emulator.lines(GROUP, f"{INSTANCE}/drain.log") == lines
    assert agent.machine.property("Result") == "success"
    agent.machine.run("systemctl", "start", "imds-agent")
    agent.append("drain.log", ["after"])
    agent.expect("drain.log", [*lines, "after"])

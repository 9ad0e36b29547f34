"""Configurations that are wrong, reloaded or restarted with: named, and never the end of what works."""

import pytest

from agent import Agent, numbered
from machine import Machine

BROKEN = '[[logs.file]]\ninclude = ["/var/log/other/*.log"]\nlog_steam = "other"\n'
BROKEN_FILE = "/etc/imds-agent/conf.d/90-other.toml"


@pytest.fixture(autouse=True)
def running(agent: Agent) -> None:
    """Every test begins with a configuration that is right, and in use."""
    agent.machine.shell(f"rm -f {BROKEN_FILE}; systemctl start imds-agent; systemctl reload imds-agent")


def break_it(agent: Agent) -> None:
    """Another package brings a drop-in with a mistake."""
    agent.configure("90-other", BROKEN)


def mend_it(agent: Agent) -> None:
    """It is taken away."""
    agent.machine.run("rm", BROKEN_FILE)


def test_a_first_start_that_can_only_fail_is_not_tried_again(agent: Agent, machine: Machine) -> None:
    machine.shell("systemctl stop imds-agent; rm -rf /var/lib/imds-agent/*")
    break_it(agent)
    started = machine.run("systemctl", "start", "imds-agent", check=False)
    assert started.returncode != 0
    assert machine.property("ExecMainStatus") == "78"
    assert machine.property("ActiveState") == "failed"
    assert machine.property("NRestarts") == "0"
    messages = [entry["MESSAGE"] for entry in machine.journal("_SYSTEMD_UNIT=imds-agent.service", "--priority=err")]
    assert any(BROKEN_FILE in message for message in messages), messages
    assert any("log_steam" in message for message in messages), messages
    mend_it(agent)
    machine.run("systemctl", "start", "imds-agent")
    agent.append("mended.log", ["flows"])
    agent.expect("mended.log", ["flows"])


def test_a_reload_follows_what_was_added_in_the_same_process(agent: Agent, machine: Machine) -> None:
    pid = agent.pid()
    machine.shell("mkdir -p /var/log/added; echo added >/var/log/added/new.log")
    agent.append("kept.log", ["before"])
    agent.configure("60-added", '[[logs.file]]\ninclude = ["/var/log/added/*.log"]\nstart_at = "beginning"\n')
    machine.run("systemctl", "reload", "imds-agent")
    agent.append("kept.log", ["after"])
    agent.expect("new.log", ["added"])
    agent.expect("kept.log", ["before", "after"])
    assert agent.pid() == pid


def test_a_reload_that_is_refused_names_the_file_and_changes_nothing(agent: Agent, machine: Machine) -> None:
    pid = agent.pid()
    break_it(agent)
    reload = machine.run("systemctl", "reload", "imds-agent", check=False)
    assert reload.returncode != 0
    said = [entry["MESSAGE"] for entry in machine.journal("_SYSTEMD_UNIT=imds-agent.service", "--priority=err")]
    assert any(BROKEN_FILE in message for message in said), said
    config = agent.status()["config"]
    assert BROKEN_FILE in config["error"] and "log_steam" in config["error"]
    assert config["last_good"]
    agent.append("refused.log", ["still", "flows"])
    agent.expect("refused.log", ["still", "flows"])
    assert (agent.pid(), machine.property("ActiveState")) == (pid, "active")
    mend_it(agent)
    machine.run("systemctl", "reload", "imds-agent")
    assert agent.status()["config"]["error"] is None


def test_at_boot_the_last_good_configuration_serves(agent: Agent, machine: Machine) -> None:
    break_it(agent)
    agent.append("boot.log", numbered("before", 10))
    machine.reboot()
    assert machine.property("ActiveState") == "active"
    agent.append("boot.log", numbered("after", 10))
    agent.expect("boot.log", numbered("before", 10) + numbered("after", 10))
    status = agent.status()
    assert BROKEN_FILE in status["config"]["error"]
    assert status["config"]["last_good"]
    assert any(BROKEN_FILE in str(warning) for warning in status["warnings"]), status["warnings"]
    headline = machine.run("imds-agent", "status").stdout.splitlines()[1]
    assert "configuration" in headline
    mend_it(agent)
    machine.run("systemctl", "reload", "imds-agent")
    assert agent.status()["config"]["error"] is None

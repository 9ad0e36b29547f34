"""What may happen to the service and to its machine, each followed by: nothing is lost."""

import pytest

from agent import DIRECTORY, DROP_INS, Agent, numbered
from emulator import Emulator
from machine import Machine
from waiting import until
from writer import Writer

# Beats a watchdog of a minute, which is the unit's own: these tests are about whether it bites, not when.
WATCHDOG = 3
# A task that makes no progress for 30 s is what the watchdog is for; waiting for AWS is not that.
HANG = 33
# Enough to start and to read with, not enough for a backlog: idle, it needs 2 MiB of its own.
TIGHT = "5M"
# Long beside what asking takes.
PAUSE = 2


@pytest.fixture(autouse=True)
def running(agent: Agent, emulator: Emulator) -> None:
    """Every test begins with a service that runs as its unit says, and an AWS that is well."""
    emulator.heal()
    agent.machine.shell(f"""
        rm -f {DROP_INS}/pause.conf {DROP_INS}/watchdog.conf
        systemctl daemon-reload
        systemctl start imds-agent
    """)


def restarts(agent: Agent) -> int:
    """How often systemd has restarted it by itself."""
    return int(agent.machine.property("NRestarts"))


def kills(machine: Machine) -> int:
    """How often its main process was killed; the kernel's way to say that there is no memory is SIGKILL."""
    entries = machine.journal("--identifier=systemd", "UNIT=imds-agent.service")
    return sum("status=9/KILL" in entry["MESSAGE"] for entry in entries)


def signal_main(agent: Agent, name: str) -> None:
    """Sends a signal to the main process."""
    agent.machine.run("systemctl", "kill", "--kill-whom=main", f"--signal={name}", "imds-agent")


def until_restarted(agent: Agent, before: int, timeout: float = 30) -> None:
    """Waits until systemd has restarted it."""
    until(lambda: restarts(agent) > before, "a restart", timeout)
    until(lambda: agent.machine.property("ActiveState") == "active", "the service to be active", timeout)


def test_who_asks_while_it_restarts_waits_and_is_answered(agent: Agent, machine: Machine) -> None:
    before = agent.pid()
    # Between the old process and the new one there is time to ask.
    agent.unit("pause", f"[Service]\nExecStartPre=+/bin/sleep {PAUSE}\n")
    machine.run("systemctl", "restart", "--no-block", "imds-agent")
    until(lambda: machine.property("SubState") == "start-pre", "the time between two processes")
    asked = agent.status()
    assert machine.property("SubState") == "running"
    assert asked["pid"] == agent.pid() != before


def test_after_sigkill_it_is_restarted_and_nothing_is_lost(agent: Agent, machine: Machine) -> None:
    before = restarts(agent)
    with Writer(machine, "killed.log") as writer:
        until(lambda: agent.arrived("killed.log"), "the first lines")
        signal_main(agent, "KILL")
        until_restarted(agent, before)
    agent.expect_at_least_once("killed.log", writer.lines())


def test_a_process_that_stands_still_is_killed_by_the_watchdog(agent: Agent, machine: Machine) -> None:
    agent.unit("watchdog", f"[Service]\nWatchdogSec={WATCHDOG}\n")
    machine.run("systemctl", "restart", "imds-agent")
    before = restarts(agent)
    with Writer(machine, "stopped.log") as writer:
        until(lambda: agent.arrived("stopped.log"), "the first lines")
        signal_main(agent, "STOP")
        until_restarted(agent, before)
    agent.expect_at_least_once("stopped.log", writer.lines())
    entries = machine.journal("-u", "init.scope", "UNIT=imds-agent.service", "-g", "[Ww]atchdog timeout")
    assert len(entries) == 1


def test_an_aws_that_hangs_does_not_trip_the_watchdog(agent: Agent, emulator: Emulator, machine: Machine) -> None:
    agent.unit("watchdog", f"[Service]\nWatchdogSec={WATCHDOG}\n")
    machine.run("systemctl", "restart", "imds-agent")
    before, pid = restarts(agent), agent.pid()
    emulator.fault("logs:PutLogEvents", {"delay": {"ms": HANG * 1000}}, times=1)
    emulator.fault("imds:*", "hang")
    agent.append("hang.log", ["waits"])
    began = agent.status()["uptime_seconds"]
    until(lambda: agent.status()["uptime_seconds"] > began + HANG, "the hang to last", HANG + 30)
    assert (restarts(agent), agent.pid()) == (before, pid)
    emulator.heal()
    agent.expect_at_least_once("hang.log", ["waits"])


def test_an_oom_kill_loses_nothing_once_there_is_memory_again(
    agent: Agent, emulator: Emulator, machine: Machine,
) -> None:
    before, killed = restarts(agent), kills(machine)
    machine.run("systemctl", "set-property", "--runtime", "imds-agent", f"MemoryMax={TIGHT}")
    # Many batches of a mebibyte wait for their answers side by side.
    emulator.settings(put_latency_ms=500)
    lines = [f"{number:08} {'x' * 1000}" for number in range(20_000)]
    agent.append("memory.log", lines)
    until(lambda: kills(machine) > killed, "a kill for want of memory")
    machine.run("systemctl", "set-property", "--runtime", "imds-agent", "MemoryMax=128M")
    emulator.settings(put_latency_ms=0)
    until_restarted(agent, before)
    agent.expect_at_least_once("memory.log", lines)


def test_over_a_reboot_every_line_arrives_once(agent: Agent, machine: Machine) -> None:
    # Writes while the machine shuts down and while it comes up, before and beside the agent.
    machine.write("/etc/systemd/system/early.service", f"""[Unit]
Before=imds-agent.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=sh -c 'echo up >>{DIRECTORY}/reboot.log'
ExecStop=sh -c 'echo down >>{DIRECTORY}/reboot.log'
[Install]
WantedBy=multi-user.target
""")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "enable", "--now", "early")
    agent.expect("reboot.log", ["up"])
    machine.reboot()
    agent.expect("reboot.log", ["up", "down", "up"])
    agent.append("reboot.log", ["later"])
    agent.expect("reboot.log", ["up", "down", "up", "later"])


def test_over_a_loss_of_power_every_line_arrives(agent: Agent, machine: Machine) -> None:
    lines = numbered("power", 2000)
    agent.append("power.log", lines[:1000])
    until(lambda: agent.arrived("power.log"), "the first lines")
    agent.append("power.log", lines[1000:])
    machine.lose_power()
    agent.expect_at_least_once("power.log", lines)

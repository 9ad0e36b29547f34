"""What the unit's directives keep the agent from, tried by a program that runs in its place, in its sandbox.

Each is tried outside as well, by the same user, and must not be refused there in the same way: so it is the directive
that refuses it. Not tried: what this user may not do anyway (the clock, modules, the host's name) beyond that it is
refused; what Debian's systemd ignores; IPAddressDeny= and the like, which the unit does not have.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import root
from emulator import Emulator
from machine import Machine

PROBE = Path(__file__).with_name("sandbox_probe.py")

# The agent's own unit, with another program in it.
INSTEAD = """
[Service]
Type=oneshot
Restart=no
WatchdogSec=0
ExecStart=
ExecStart=/usr/bin/python3 -I -S -B /opt/probe.py
ExecReload=
ExecPaths=/usr/bin/python3 /usr/bin/python3.11
StandardOutput=truncate:/run/probe.json
"""

# Ten times the exposure that `systemd-analyze security` gives at most.
EXPOSURE = 20

ALLOWED = [
    "socket AF_UNIX", "socket AF_INET", "socket AF_INET6", "socket AF_NETLINK",
    "create in /var/lib/imds-agent", "create in /run/imds-agent",
    "read root's file", "run imds-agent",
]
# By the directive that refuses it; and what the error says.
REFUSED = {
    "socket AF_PACKET": ("RestrictAddressFamilies", "EAFNOSUPPORT"),
    "socket AF_VSOCK": ("RestrictAddressFamilies", "EAFNOSUPPORT"),
    "create in /tmp": ("ProtectSystem", "EROFS"),
    "create in /var/tmp": ("ProtectSystem", "EROFS"),
    "create in /run/lock": ("ProtectSystem", "EROFS"),
    "create in /dev/shm": ("InaccessiblePaths", "EROFS"),
    "see /proc/sys": ("ProcSubset", "ENOENT"),
    "run /bin/true": ("NoExecPaths", "EACCES"),
    "execute what it wrote to memory": ("MemoryDenyWriteExecute", "EPERM"),
    "map memory writable and executable": ("MemoryDenyWriteExecute", "EPERM"),
    "make a user namespace": ("RestrictNamespaces", "EPERM"),
    "change its personality": ("LockPersonality", "EPERM"),
    "trace": ("SystemCallFilter=@system-service", "EPERM"),
    "make a set-user-id file": ("RestrictSUIDSGID", "EPERM"),
    "change a file's owner": ("SystemCallFilter=~@privileged", "EPERM"),
    "choose its processors": ("SystemCallFilter=~@resources", "EPERM"),
}
# Refused outside too, for want of a capability.
FORBIDDEN_ANYWAY = ["run in real time", "set the host's name", "read the kernel's log", "mount"]


@pytest.fixture(scope="module")
def machine(logs: Path, emulator: Emulator, deb: Path) -> Iterator[Machine]:
    """A machine with the package, and Python to probe with."""
    with Machine(logs, root.CLOUD_INIT) as machine:
        machine.install(deb)
        machine.run("systemctl", "stop", "imds-agent")
        machine.write("/opt/probe.py", PROBE.read_bytes())
        machine.write("/var/log/root-only.log", "line\n", mode="0600")
        yield machine


@pytest.fixture(scope="module")
def inside(machine: Machine) -> dict[str, Any]:
    """What the probe finds in the sandbox."""
    machine.run("cp", "/usr/lib/systemd/system/imds-agent.service", "/etc/systemd/system/probe.service")
    machine.write("/etc/systemd/system/probe.service.d/instead.conf", INSTEAD)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "probe")
    return json.loads(machine.run("cat", "/run/probe.json").stdout)


@pytest.fixture(scope="module")
def outside(machine: Machine) -> dict[str, Any]:
    """What it finds without one, as the same user."""
    return json.loads(machine.run("python3", "-I", "-S", "-B", "/opt/probe.py", user="imds-agent").stdout)


@pytest.mark.parametrize("probe", ALLOWED)
def test_the_agent_may(inside: dict[str, Any], probe: str) -> None:
    assert inside["outcomes"][probe] == "ok"


@pytest.mark.parametrize("probe", REFUSED)
def test_the_agent_may_not(inside: dict[str, Any], outside: dict[str, Any], probe: str) -> None:
    directive, error = REFUSED[probe]
    assert inside["outcomes"][probe] == error, f"{directive} does not refuse it"
    assert outside["outcomes"][probe] != error, f"{directive} is not what refuses it"


@pytest.mark.parametrize("probe", FORBIDDEN_ANYWAY)
def test_nobody_like_the_agent_may(inside: dict[str, Any], probe: str) -> None:
    assert inside["outcomes"][probe] == "EPERM"


def test_its_one_power_is_to_read(inside: dict[str, Any]) -> None:
    dac_read_search = f"{1 << 2:016x}"
    assert set(inside["facts"]["capabilities"].values()) == {dac_read_search}
    assert inside["facts"]["no_new_privileges"] == 1
    assert inside["facts"]["filters_system_calls"]


def test_it_is_its_own_user_and_in_no_other_group(inside: dict[str, Any]) -> None:
    assert (inside["facts"]["user"], inside["facts"]["groups"]) == ("imds-agent", ["imds-agent"])
    assert inside["facts"]["umask"] == "0o77"


def test_everything_is_read_only_where_others_live(inside: dict[str, Any], outside: dict[str, Any]) -> None:
    places = ["/", "/etc", "/usr", "/var/log", "/home", "/root", "/tmp", "/run", "/sys", "/sys/fs/cgroup"]
    assert inside["facts"]["read_only"] == places
    assert "/tmp" not in outside["facts"]["read_only"]


def test_no_device_holds_data(inside: dict[str, Any]) -> None:
    pseudo = {"char", "fd", "full", "hugepages", "log", "mqueue", "null", "ptmx", "pts", "random", "shm"}
    assert set(inside["facts"]["devices"]) <= {*pseudo, "stderr", "stdin", "stdout", "tty", "urandom", "zero"}


def test_it_leaves_no_core(inside: dict[str, Any]) -> None:
    assert inside["facts"]["core_limit"] == [0, 0]


def test_it_gets_no_more_tasks_than_it_needs(inside: dict[str, Any], outside: dict[str, Any]) -> None:
    assert inside["facts"]["threads"] == 64
    assert outside["facts"]["threads"] > 64


def test_its_mounts_and_host_name_are_its_own(inside: dict[str, Any], outside: dict[str, Any]) -> None:
    for kind, namespace in inside["facts"]["namespaces"].items():
        assert namespace != outside["facts"]["namespaces"][kind]


def test_nothing_of_it_stays_in_shared_memory(machine: Machine, inside: dict[str, Any]) -> None:
    assert inside["outcomes"]["leave shared memory behind"] == "ok"
    machine.run("ipcrm", "--all=shm")
    machine.run("systemctl", "start", "probe")
    assert "imds-agent" not in machine.run("ipcs", "--shmems").stdout


def test_the_exposure_is_at_most_two(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    analysis = machine.run("systemd-analyze", "security", "--no-pager", f"--threshold={EXPOSURE}", "imds-agent")
    with capsys.disabled():
        print("", analysis.stdout.splitlines()[-1])


def test_systemd_finds_nothing_wrong_with_the_unit(machine: Machine) -> None:
    verified = machine.run("systemd-analyze", "verify", "--man=no", "imds-agent.service")
    assert (verified.stdout, verified.stderr) == ("", "")

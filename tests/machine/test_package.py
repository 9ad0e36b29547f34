"""The .deb on a machine: installed, upgraded, removed, installed again, purged; nothing is lost or left behind."""

import subprocess
from pathlib import Path

import pytest

from agent import CONFIGURATION, Agent, numbered
from machine import Machine
from waiting import until
from writer import Writer

NEWER = "99.0-1"
CONFFILE = "/etc/imds-agent/config.toml"
EDIT = '[variables]\nedited = "yes"\n'


@pytest.fixture(scope="module")
def newer_deb(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same package as a later version, with another comment in its configuration."""
    directory = tmp_path_factory.mktemp("newer")
    tree, package = directory / "tree", directory / "newer.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", deb, tree], check=True)
    control = tree / "DEBIAN/control"
    lines = control.read_text().splitlines()
    control.write_text("".join(f"Version: {NEWER}\n" if line.startswith("Version:") else f"{line}\n" for line in lines))
    with open(tree / CONFFILE.lstrip("/"), "a", encoding="utf-8") as conffile:
        conffile.write("# A newer comment.\n")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", tree, package], check=True)
    return package


@pytest.fixture(autouse=True)
def installed(agent: Agent, machine: Machine, deb: Path) -> None:
    """Every test begins with this version installed, configured and running."""
    if version(machine) != subprocess.check_output(["dpkg-deb", "--field", deb, "Version"], text=True).strip():
        remove(machine, "purge")
        agent.configure("50-test", CONFIGURATION)
        machine.install(deb)
    assert machine.property("ActiveState") == "active"


def version(machine: Machine) -> str:
    """The installed version, or nothing."""
    fields = "${db:Status-Status} ${Version}"
    shown = machine.run("dpkg-query", "--show", f"--showformat={fields}", "imds-agent", check=False).stdout
    return shown.removeprefix("installed ") if shown.startswith("installed ") else ""


def remove(machine: Machine, how: str) -> None:
    """apt-get remove, or purge."""
    machine.shell(f"DEBIAN_FRONTEND=noninteractive apt-get {how} -y -o Dpkg::Use-Pty=0 imds-agent")


def test_an_installation_asks_nothing_when_drop_ins_were_there_before(machine: Machine, deb: Path) -> None:
    remove(machine, "purge")
    machine.write("/etc/imds-agent/conf.d/50-test.toml", CONFIGURATION)
    output = machine.install(deb)
    assert "conffile" not in output.lower()
    assert machine.property("ActiveState") == "active"


def test_an_upgrade_loses_no_line_and_keeps_the_edited_configuration(
    agent: Agent, machine: Machine, newer_deb: Path,
) -> None:
    before = agent.pid()
    content = machine.run("cat", CONFFILE).stdout + EDIT
    machine.write(CONFFILE, content)
    with Writer(machine, "upgrade.log") as writer:
        until(lambda: agent.arrived("upgrade.log"), "the first lines")
        machine.write("/var/tmp/newer.deb", newer_deb.read_bytes())
        machine.shell("DEBIAN_FRONTEND=noninteractive dpkg --force-confold --install /var/tmp/newer.deb")
        until(lambda: agent.pid() not in (0, before), "the new version to run")
        here = len(writer.lines())
        until(lambda: len(agent.arrived("upgrade.log")) > here, "lines that the new version has read")
    agent.expect("upgrade.log", writer.lines())
    assert version(machine) == NEWER
    assert machine.run("cat", CONFFILE).stdout == content
    assert machine.property("NRestarts") == "0"


def test_after_a_removal_a_new_installation_goes_on_where_it_was(agent: Agent, machine: Machine, deb: Path) -> None:
    lines = numbered("line", 300)
    agent.append("removed.log", lines[:100])
    agent.expect("removed.log", lines[:100])
    remove(machine, "remove")
    assert machine.property("ActiveState") == "inactive"
    assert machine.run("test", "-e", "/usr/bin/imds-agent", check=False).returncode == 1
    machine.run("test", "-s", "/var/lib/imds-agent/checkpoint")
    agent.append("removed.log", lines[100:200])
    machine.install(deb)
    agent.append("removed.log", lines[200:])
    agent.expect("removed.log", lines)


def test_a_purge_leaves_nothing(machine: Machine) -> None:
    machine.run("systemctl", "stop", "imds-agent")
    remove(machine, "purge")
    # What is an administrator's (the tests' own drop-in for the unit) and the downloads stay.
    left = machine.shell("""
        find / /run -xdev -name '*imds*agent*' -not -path '/var/tmp/*' -not -path '*/imds-agent.service.d*'
        find / /run -xdev '(' -nouser -o -nogroup ')'
        getent passwd imds-agent || :
        getent group imds-agent || :
    """)
    assert left == ""
    assert machine.property("LoadState") == "not-found"

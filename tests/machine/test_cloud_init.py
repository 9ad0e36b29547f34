"""The first boot: a real cloud-init with EC2's datasource runs our user data from nothing to flowing logs; the second
changes nothing. Not the other ways that a first boot can go: those are in test_user_data.py.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import INSTANCE
from launch import SAYS, Instance, launched, user_data
from waiting import until

DROP_IN = "/etc/imds-agent/conf.d/50-user-data.toml"
SCRIPT = "/var/lib/cloud/scripts/per-instance/imds-agent"
STATE = ("stat", "--format=%y %i", DROP_IN, "/var/lib/dpkg/status")


@pytest.fixture(scope="module")
def tagged(logs: Path, deb: Path) -> Iterator[Instance]:
    """An instance with our cloud-config, whose tag names the log group."""
    with launched(logs, user_data("user-data.yaml"), deb, tags=("LogGroup=/aws/ec2/tagged",)) as instance:
        yield instance


def test_from_nothing_to_flowing_logs(tagged: Instance) -> None:
    assert "status: done" in tagged.cloud_init()
    assert tagged.machine.property("ActiveState") == "active"
    assert tagged.machine.run("systemctl", "is-enabled", "imds-agent").stdout.strip() == "enabled"
    assert tagged.said()[-1].endswith(" is running: installed, configured")
    tagged.log("/var/log/app/app.log", "hello")
    tagged.expect_line("/aws/ec2/tagged", f"{INSTANCE}/app.log", "hello")
    assert tagged.emulator.state()["counts"]["metadata_without_token"] == 0


def test_what_cloud_init_wrote_before_the_agent_was_there_is_shipped(tagged: Instance) -> None:
    before = tagged.output()
    assert "running 'init" in before[0], "it begins with the boot"
    stream = f"{INSTANCE}/cloud-init-output.log"
    until(lambda: len(tagged.emulator.lines("/aws/ec2/tagged", stream)) >= len(before), "all of it")
    assert tagged.emulator.lines("/aws/ec2/tagged", stream)[: len(before)] == before


def test_run_by_hand_it_changes_nothing(tagged: Instance) -> None:
    before = (tagged.pid(), tagged.machine.run(*STATE).stdout)
    said = tagged.machine.run(SCRIPT)
    assert said.stdout.startswith(SAYS) and said.stdout.endswith(" is running: nothing to change\n")
    assert said.stderr == ""
    after = (tagged.pid(), tagged.machine.run(*STATE).stdout)
    assert before == after


def test_a_second_boot_changes_nothing_and_sends_no_line_twice(tagged: Instance) -> None:
    of_the_first = tagged.machine.run(*STATE).stdout
    said = tagged.said()
    tagged.machine.reboot()
    assert "status: done" in tagged.cloud_init()
    assert tagged.machine.run(*STATE).stdout == of_the_first
    assert tagged.said() == said, "it did not run again"
    assert tagged.starts() == 1
    tagged.log("/var/log/app/app.log", "hello again")
    tagged.expect_line("/aws/ec2/tagged", f"{INSTANCE}/app.log", "hello again")
    assert tagged.emulator.lines("/aws/ec2/tagged", f"{INSTANCE}/app.log") == ["hello", "hello again"]
    stream, lines = f"{INSTANCE}/cloud-init-output.log", tagged.output()
    until(lambda: len(tagged.emulator.lines("/aws/ec2/tagged", stream)) >= len(lines), "both boots' output")
    assert tagged.emulator.lines("/aws/ec2/tagged", stream) == lines

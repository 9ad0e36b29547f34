"""An EC2 instance that is launched with user data: a machine whose cloud-init has EC2's datasource.

Not what user data does: that is in cloud-init/, and tests look at it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import network
import root
from agent import ENVIRONMENT, Agent
from emulator import Emulator
from machine import Machine
from waiting import until

CLOUD_INIT = Path(__file__).resolve().parents[2] / "cloud-init"

# What cloud-init takes for a Nitro instance, whose metadata it then wants by IMDSv2.
HYPERVISOR = "ec2e1916-9099-7caf-fd21-012345abcdef"
# As on EC2, but for the network, which is configured already, and for how long the metadata service is waited for.
CONFIGURATION = b"""
datasource_list: [Ec2]
datasource: {Ec2: {max_wait: 60, timeout: 3}}
network: {config: disabled}
locale: C.UTF-8
"""
OUTPUT = "/var/log/cloud-init-output.log"
SAYS = "imds-agent user-data: "


class Instance(Agent):
    """An instance that was launched with user data."""

    def output(self) -> list[str]:
        """What cloud-init printed, without empty lines: the agent ships none."""
        return [line for line in self.machine.run("cat", OUTPUT).stdout.splitlines() if line]

    def said(self) -> list[str]:
        """What the user data's script said, by all runs so far."""
        return [line.removeprefix(SAYS) for line in self.output() if line.startswith(SAYS)]

    def cloud_init(self) -> str:
        """How cloud-init says it went, when it is through."""
        return self.machine.run("cloud-init", "status", "--wait", "--long", check=False).stdout

    def starts(self) -> int:
        """How often the service started since the boot."""
        entries = self.machine.journal("--boot", "--identifier=systemd", "UNIT=imds-agent.service")
        return sum(entry["MESSAGE"].startswith("Started ") for entry in entries)

    def retention(self, group: str) -> int | None:
        """How many days a log group keeps its events."""
        return next(known["retention_in_days"] for known in self.emulator.state()["groups"] if known["group"] == group)

    def log(self, path: str, line: str) -> None:
        """An application writes a line."""
        self.machine.run("sh", "-euc", 'mkdir -p "$(dirname "$1")"; echo "$2" >>"$1"', "sh", path, line)

    def expect_line(self, group: str, stream: str, line: str) -> None:
        """Waits for a line in CloudWatch."""
        until(lambda: line in self.emulator.lines(group, stream), f"{line!r} in {group} {stream}")


@contextmanager
def launched(
    logs: Path, user_data: str, package: Path | None, *, tags: tuple[str, ...] = ("Name=launched",),
    files: dict[str, bytes] | None = None, late: float = 0,
) -> Iterator[Instance]:
    """An instance after its first boot. `package` is in its image; `late` is when, in seconds, its network comes."""
    (logs / "user-data").write_text(user_data)
    options = [word for tag in tags for word in ("--tag", tag)]
    image = {
        "/etc/cloud/cloud.cfg.d/99-ec2.cfg": CONFIGURATION,
        "/etc/systemd/system/imds-agent.service.d/aws.conf": ENVIRONMENT.encode(),
        # There is no DHCP server, and a client would ask for one for a minute.
        "/sbin/dhclient": b"#!/bin/false\n",
        **({f"/opt/{package.name}": package.read_bytes()} if package else {}),
        **(files or {}),
    }
    machine = Machine(logs, root.CLOUD_INIT, connected=not late, hypervisor_uuid=HYPERVISOR, files=image)
    with Emulator(logs / "emulator.log", "--user-data", str(logs / "user-data"), *options) as emulator:
        if late:
            threading.Timer(late, network.connect).start()
        with machine:
            yield Instance(machine, emulator)


def user_data(name: str) -> str:
    """A document of cloud-init/, word for word."""
    return (CLOUD_INIT / name).read_text()

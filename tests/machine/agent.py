"""The installed agent as its owner sees it: what it is configured to do, what it says, and what arrives at CloudWatch.

Not its package (conftest.py installs that), nor the machine.
"""

import json
from collections.abc import Iterable
from typing import Any

from emulator import AWS, Emulator
from machine import Machine
from waiting import until

INSTANCE = "i-0e00000000000e001"
GROUP = "/machine"
DIRECTORY = "/var/log/app"
DROP_INS = "/etc/systemd/system/imds-agent.service.d"

# Ends each batch soon, so that tests need not wait for it.
CONFIGURATION = f"""
[logs]
log_group = "{GROUP}"
log_stream = "{{instance_id}}/{{file_name}}"
flush_interval = "250ms"

[[logs.file]]
include = ["{DIRECTORY}/*.log"]
"""
# There is no AWS behind the metadata host; everything else is as on EC2.
ENVIRONMENT = f"[Service]\nEnvironment=AWS_ENDPOINT_URL={AWS}\n"


class Agent:
    """The agent of one machine, with the emulator that it talks to."""

    def __init__(self, machine: Machine, emulator: Emulator) -> None:
        self.machine = machine
        self.emulator = emulator

    def configure(self, name: str, text: str) -> None:
        """Writes a drop-in: `conf.d/NAME.toml`. It counts from the next reload or start on."""
        self.machine.write(f"/etc/imds-agent/conf.d/{name}.toml", text)

    def unit(self, name: str, text: str) -> None:
        """Writes a drop-in of the unit and has systemd read it."""
        self.machine.write(f"{DROP_INS}/{name}.conf", text)
        self.machine.run("systemctl", "daemon-reload")

    def status(self, user: str = "") -> dict[str, Any]:
        """What `imds-agent status --json` prints."""
        return json.loads(self.machine.run("imds-agent", "status", "--json", user=user).stdout)

    def pid(self) -> int:
        """The main process, as numbered inside."""
        return int(self.machine.property("MainPID"))

    def append(self, file: str, lines: Iterable[str]) -> None:
        """An application appends lines to a file."""
        text = "".join(f"{line}\n" for line in lines)
        self.machine.run("sh", "-euc", f'mkdir -p {DIRECTORY}; cat >>"$1"', "sh", f"{DIRECTORY}/{file}", stdin=text)

    def arrived(self, file: str) -> list[str]:
        """The lines of a file that CloudWatch has, in its order."""
        return self.emulator.lines(GROUP, f"{INSTANCE}/{file}")

    def expect(self, file: str, lines: list[str], timeout: float = 30) -> None:
        """Waits until CloudWatch has exactly these lines of a file: all, once, in order."""
        until(lambda: len(self.arrived(file)) >= len(lines), f"{len(lines)} lines of {file}", timeout)
        assert self.arrived(file) == lines

    def expect_at_least_once(self, file: str, lines: list[str], timeout: float = 30) -> None:
        """Waits until CloudWatch has all of these lines and no others; what was in flight may be there twice."""
        until(lambda: set(self.arrived(file)) >= set(lines), f"{len(lines)} lines of {file}", timeout)
        assert set(self.arrived(file)) == set(lines)


def numbered(what: str, count: int) -> list[str]:
    """`what 00001`, `what 00002`…"""
    return [f"{what} {number:05}" for number in range(1, count + 1)]

"""An application in the machine that writes a numbered line every few milliseconds until it is stopped."""

from typing import Self

from agent import DIRECTORY
from machine import Machine

# Fast enough that something is always under way, slow enough for one CPU.
SCRIPT = 'number=0; while :; do number=$((number + 1)); echo "written $number"; sleep 0.01; done >>"$0"'


class Writer:
    """Writes to a file while its `with` block lasts."""

    def __init__(self, machine: Machine, file: str) -> None:
        self.machine = machine
        self.path = f"{DIRECTORY}/{file}"

    def __enter__(self) -> Self:
        self.machine.run("mkdir", "-p", DIRECTORY)
        self.machine.run("systemd-run", "--quiet", "--unit=writer", "--collect", "sh", "-c", SCRIPT, self.path)
        return self

    def __exit__(self, *_: object) -> None:
        self.machine.run("systemctl", "stop", "writer")

    def lines(self) -> list[str]:
        """What it has written."""
        return self.machine.run("cat", self.path).stdout.splitlines()

"""`tests/machine/run shell`: a machine with the package installed, which follows /var/log/app/*.log, and a shell in it.

Not a test. Beside it, `curl http://10.0.0.1:8080/_emulator/state` (or any client inside) shows what arrived.
"""

import subprocess
import sys

from agent import CONFIGURATION, ENVIRONMENT, Agent
from conftest import newest
from emulator import Emulator
from machine import Machine
from root import CLOUD_INIT, TARGET


def main() -> None:
    """Boots, installs, and ends with the shell."""
    logs = TARGET / "logs" / "shell"
    logs.mkdir(parents=True, exist_ok=True)
    with Emulator(logs / "emulator.log") as emulator, Machine(logs, CLOUD_INIT) as machine:
        agent = Agent(machine, emulator)
        agent.unit("aws", ENVIRONMENT)
        machine.install(newest("*.deb"))
        agent.configure("50-test", CONFIGURATION)
        machine.run("systemctl", "restart", "imds-agent")
        print("/var/log/app/*.log goes to the group /machine; exit ends the machine")
        way = "--pty" if sys.stdin.isatty() else "--pipe"
        subprocess.run(machine.entrance("systemd-run", "--quiet", way, "--wait", "bash", "-l"), check=False)


if __name__ == "__main__":
    main()

"""`tests/machine/run shell`: a Debian 12 without the agent, in which README's "Install" can be typed, and a shell in it.

Not a test: test_readme.py does the same.
"""

import subprocess
import sys
from pathlib import Path

from agent import ENVIRONMENT, INSTANCE
from conftest import newest
from emulator import AWS, Emulator
from machine import Machine
from root import CLOUD_INIT, TARGET

# Where the checkout is in the machine, as far as the README needs it: with the package that was built.
CHECKOUT = "/root/imds-agent"

WELCOME = f"""
A Debian 12 without imds-agent. Its metadata service at 169.254.169.254, STS and CloudWatch are an emulator's.
README's "Install" goes on here, after the build. What has arrived at CloudWatch:

    curl '{AWS}/_emulator/events?group=/aws/ec2/prod&stream={INSTANCE}/app.log&format=text'

`exit` ends the machine.
"""


def furnish(machine: Machine, deb: Path) -> None:
    """What the README takes for granted: the package; and all that differs from an instance: where AWS is."""
    machine.write(f"{CHECKOUT}/target/packages/{deb.name}", deb.read_bytes())
    machine.write("/etc/systemd/system/imds-agent.service.d/aws.conf", ENVIRONMENT)


def main() -> None:
    """Boots, and ends with the shell."""
    logs = TARGET / "logs" / "shell"
    logs.mkdir(parents=True, exist_ok=True)
    with Emulator(logs / "emulator.log"), Machine(logs, CLOUD_INIT) as machine:
        furnish(machine, newest("*.deb"))
        print(WELCOME, flush=True)
        way = "--pty" if sys.stdin.isatty() else "--pipe"
        shell = ["systemd-run", "--quiet", way, "--wait", f"--working-directory={CHECKOUT}", "bash", "-l"]
        subprocess.run(machine.entrance(*shell), check=False)


if __name__ == "__main__":
    main()

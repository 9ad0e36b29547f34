"""The fixtures: a metadata host and a machine for each module, with the package installed where a test asks for it.

Their logs are in target/machine/logs/MODULE: journal.log, console.log, emulator.log.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import CONFIGURATION, ENVIRONMENT, Agent
from emulator import Emulator
from machine import Machine
from root import TARGET

pytest_plugins = ["obstacles"]

PACKAGES = TARGET.parent / "packages"


def newest(pattern: str) -> Path:
    """The package that was built last."""
    return max(PACKAGES.glob(pattern), key=lambda path: path.stat().st_mtime)


@pytest.fixture(scope="session")
def deb() -> Path:
    """The .deb for this architecture."""
    return newest("*.deb")


@pytest.fixture(scope="session")
def rpm() -> Path:
    """The .rpm for this architecture."""
    return newest("*.rpm")


@pytest.fixture(scope="module")
def logs(request: pytest.FixtureRequest) -> Path:
    """Where the module's logs go, emptied."""
    directory = TARGET / "logs" / request.module.__name__
    directory.mkdir(parents=True, exist_ok=True)
    for log in directory.iterdir():
        log.unlink()
    return directory


@pytest.fixture(scope="module")
def emulator(logs: Path) -> Iterator[Emulator]:
    """The metadata host's emulator."""
    with Emulator(logs / "emulator.log") as emulator:
        yield emulator


@pytest.fixture(scope="module")
def machine(logs: Path, emulator: Emulator) -> Iterator[Machine]:
    """A booted machine without the package."""
    with Machine(logs) as machine:
        yield machine


@pytest.fixture(scope="module")
def agent(machine: Machine, emulator: Emulator, deb: Path) -> Agent:
    """The agent, installed, configured to follow /var/log/app/*.log, and running."""
    agent = Agent(machine, emulator)
    agent.unit("aws", ENVIRONMENT)
    machine.install(deb)
    agent.configure("50-test", CONFIGURATION)
    machine.run("systemctl", "restart", "imds-agent")
    return agent

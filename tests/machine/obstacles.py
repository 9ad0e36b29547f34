"""What stands between the agent and the metadata service: firewall rules, routes, a network that is late, a container.

Each is a fixture, in force when the test begins and gone when it ends; `remove()` takes it away in between, as the cure
would. Not what is said about them: that is the tests' matter. They tell nobody: an agent that shall meet one at its
start is to be started again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import network
from emulator import Emulator
from machine import Machine

FIREWALL = "nft 'table inet obstacle {{ chain out {{ type filter hook output priority 0; {rule}; }}; }}'"
# Where a container on the instance is, one hop further from the metadata service.
CONTAINER = "172.31.0.2"

Obstacle = Callable[[], None]


@contextmanager
def removable(remove: Callable[[], object]) -> Iterator[Obstacle]:
    """A function that calls `remove` once, at the end at the latest."""
    there = True

    def once() -> None:
        nonlocal there
        if there:
            there = False
            remove()

    try:
        yield once
    finally:
        once()


@contextmanager
def firewall(machine: Machine, rule: str) -> Iterator[Obstacle]:
    """A rule of nftables for what leaves the instance."""
    machine.shell(FIREWALL.format(rule=rule))
    with removable(lambda: machine.run("nft", "delete", "table", "inet", "obstacle")) as obstacle:
        yield obstacle


@pytest.fixture
def imds_rejected(machine: Machine) -> Iterator[Obstacle]:
    """A firewall refuses connections to the metadata service."""
    with firewall(machine, "ip daddr 169.254.169.254 reject") as obstacle:
        yield obstacle


@pytest.fixture
def imds_dropped(machine: Machine) -> Iterator[Obstacle]:
    """A firewall swallows packets to the metadata service."""
    with firewall(machine, "ip daddr 169.254.169.254 drop") as obstacle:
        yield obstacle


@pytest.fixture
def imds_prohibited(machine: Machine) -> Iterator[Obstacle]:
    """A route forbids the metadata service, as hardening guides have it."""
    machine.run("ip", "route", "add", "prohibit", "169.254.169.254")
    with removable(lambda: machine.run("ip", "route", "del", "prohibit", "169.254.169.254")) as obstacle:
        yield obstacle


@pytest.fixture
def no_network(machine: Machine) -> Iterator[Obstacle]:
    """The instance has no network yet."""
    network.disconnect()
    with removable(network.connect) as obstacle:
        yield obstacle


@pytest.fixture
def container(machine: Machine) -> Iterator[tuple[str, ...]]:
    """A network behind the instance, as a container engine makes one; gives how to run a command in it."""
    machine.shell(f"""
        ip netns add container
        ip link add container0 type veth peer name eth0 netns container
        ip address add 172.31.0.1/24 dev container0
        ip link set container0 up
        ip -n container link set lo up
        ip -n container address add {CONTAINER}/24 dev eth0
        ip -n container link set eth0 up
        ip -n container route add default via 172.31.0.1
        echo 1 >/proc/sys/net/ipv4/ip_forward
    """)
    yield ("ip", "netns", "exec", "container")
    machine.run("ip", "netns", "del", "container")


@pytest.fixture
def hop_limit_of_one(machine: Machine, emulator: Emulator, container: tuple[str, ...]) -> Iterator[Obstacle]:
    """The agent's unit runs in a container's network, behind the instance, and tokens reach the instance only."""
    unit = "/run/systemd/system/imds-agent.service.d/container.conf"
    machine.write(unit, "[Service]\nNetworkNamespacePath=/run/netns/container\n")
    machine.run("systemctl", "daemon-reload")
    emulator.settings(hop_limit=1)
    with removable(lambda: emulator.settings(hop_limit=2)) as obstacle:
        yield obstacle
    machine.shell(f"rm {unit}; systemctl daemon-reload; systemctl restart imds-agent")

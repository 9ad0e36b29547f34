"""The instance's network: a namespace, and the link from it to the metadata host, which is where the tests live.

Not what happens inside the instance (routes, firewalls, containers): the machine has `ip` and `nft` of its own.
"""

import subprocess

NAMESPACE = "instance"
# What the emulator's metadata say of the instance.
MAC, IPV4, IPV6 = "02:00:5e:00:00:11", "10.0.0.17", "fd00:10::11"
HOST_IPV4, HOST_IPV6 = "10.0.0.1", "fd00:10::1"
# Where containers on the instance have their addresses: the way back to them.
CONTAINERS = "172.31.0.0/16"


def ip(command: str) -> str:
    """Runs ip(8)."""
    done = subprocess.run(["ip", *command.split()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {command}: {done.stderr}"
    return done.stdout


def create() -> None:
    """Makes the namespace and a link that is down."""
    ip(f"netns add {NAMESPACE}")
    ip(f"-n {NAMESPACE} link set lo up")
    ip(f"link add eth0 type veth peer name eth0 netns {NAMESPACE}")
    ip(f"-n {NAMESPACE} link set eth0 address {MAC}")
    ip(f"address add {HOST_IPV4}/24 dev eth0")
    ip(f"address add {HOST_IPV6}/64 dev eth0 nodad")
    ip("link set eth0 up")


def connect() -> None:
    """Gives the instance its addresses and its way to the metadata host, which is its way to everything."""
    inside = f"-n {NAMESPACE}"
    ip(f"{inside} link set eth0 up")
    ip(f"{inside} address add {IPV4}/24 dev eth0")
    ip(f"{inside} address add {IPV6}/64 dev eth0 nodad")
    ip(f"{inside} route add default via {HOST_IPV4}")
    ip(f"{inside} route add default via {HOST_IPV6}")
    ip(f"route add {CONTAINERS} via {IPV4}")


def disconnect() -> None:
    """Takes all that away."""
    ip(f"-n {NAMESPACE} link set eth0 down")
    ip(f"-n {NAMESPACE} address flush dev eth0")
    ip(f"route del {CONTAINERS}")


def remove() -> None:
    """Takes namespace and link away."""
    # The namespace lives as long as a process in it, and so would its end of the link.
    ip("link del eth0")
    ip(f"netns del {NAMESPACE}")

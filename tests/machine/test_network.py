"""What `status` says today of each obstacle on the way to the metadata service, and that lines flow once it is gone.

A line waits for the instance's id, which names its stream; so it is delivered only if the metadata service answered.
"""

from typing import Any

from agent import Agent
from emulator import Emulator
from machine import Machine
from obstacles import Obstacle
from waiting import until

ROUTE_OR_FIREWALL = (
    "if this is an EC2 instance, check its route and firewall to http://169.254.169.254; elsewhere set imds.endpoint"
)
HOP_LIMIT = "aws ec2 modify-instance-metadata-options --instance-id INSTANCE_ID --http-put-response-hop-limit 2"


def complaint(agent: Agent) -> dict[str, Any]:
    """What status says of the metadata service once it has failed."""
    return until(lambda: (imds := agent.status()["imds"])["last_error"] and imds, "an error of the metadata service")


def check(agent: Agent, obstacle: Obstacle, state: str, message: str, hint: str, file: str) -> None:
    """The agent starts anyway, says what is wrong and how to cure it, and once it is cured the file's line arrives."""
    agent.append(file, ["waits"])
    imds = complaint(agent)
    assert (imds["state"], imds["endpoint"]) == (state, "http://169.254.169.254")
    assert message in imds["last_error"]["message"]
    assert hint in imds["last_error"]["hint"]
    assert agent.machine.property("ActiveState") == "active"
    assert agent.arrived(file) == []
    obstacle()
    agent.expect(file, ["waits"])
    until(lambda: agent.status()["imds"]["state"] == "running", "the metadata service to be running")


def restart(agent: Agent) -> None:
    """A fresh process, which knows neither the instance nor its role."""
    agent.machine.run("systemctl", "restart", "imds-agent")


def test_a_firewall_that_rejects(agent: Agent, imds_rejected: Obstacle) -> None:
    restart(agent)
    check(agent, imds_rejected, "absent", "Connection refused", ROUTE_OR_FIREWALL, "rejected.log")


def test_a_firewall_that_drops(agent: Agent, imds_dropped: Obstacle) -> None:
    restart(agent)
    check(agent, imds_dropped, "absent", "no route, or packets are dropped", ROUTE_OR_FIREWALL, "dropped.log")


def test_a_route_that_prohibits(agent: Agent, imds_prohibited: Obstacle) -> None:
    restart(agent)
    check(agent, imds_prohibited, "absent", "Permission denied", ROUTE_OR_FIREWALL, "prohibited.log")


def test_a_network_that_comes_after_the_boot(agent: Agent, machine: Machine, no_network: Obstacle) -> None:
    machine.reboot()
    check(agent, no_network, "absent", "Network is unreachable", ROUTE_OR_FIREWALL, "late.log")


def test_a_hop_limit_of_one_behind_the_instance(
    agent: Agent, machine: Machine, emulator: Emulator, hop_limit_of_one: Obstacle,
) -> None:
    restart(agent)
    assert emulator.state()["settings"]["hop_limit"] == 1
    message = "accepts the connection but does not answer the token request"
    check(agent, hop_limit_of_one, "blocked", message, HOP_LIMIT, "container.log")


def test_a_hop_limit_of_one_on_the_instance_itself(agent: Agent, emulator: Emulator) -> None:
    emulator.settings(hop_limit=1)
    restart(agent)
    agent.append("host.log", ["flows"])
    agent.expect("host.log", ["flows"])
    assert agent.status()["imds"]["failures"] == 0
    emulator.settings(hop_limit=64)


def test_the_metadata_service_over_ipv6(agent: Agent) -> None:
    agent.configure("70-ipv6", '[imds]\nendpoint_mode = "ipv6"\n')
    restart(agent)
    agent.append("ipv6.log", ["flows"])
    agent.expect("ipv6.log", ["flows"])
    assert agent.status()["imds"]["endpoint"] == "http://[fd00:ec2::254]"

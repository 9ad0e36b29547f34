"""The service under systemd: it starts, ships, answers, and is what its unit says."""

from agent import Agent, numbered
from waiting import until


def test_lines_arrive_all_once_and_in_order(agent: Agent) -> None:
    lines = numbered("line", 2000)
    agent.append("order.log", lines[:1000])
    agent.append("order.log", lines[1000:])
    agent.expect("order.log", lines)

"""Roles on a machine with a real systemd: who gets one, by which door, and who does not. Not the SDKs: tests/clients."""

import json

import pytest

from agent import Agent
from machine import Machine
from waiting import until

CONFIGURATION = """
[[role]]
name = "app"
role_arn = "arn:aws:iam::123456789012:role/app"
allow = [{ user = "app" }]

[[role]]
name = "web"
role_arn = "arn:aws:iam::123456789012:role/web"
allow = [{ unit = "web.service" }]

[endpoints.container]
listen = "127.0.0.1:1339"

[endpoints.metadata]
listen = "127.0.0.1:1338"
role = "app"
"""
# One request over HTTP, and its whole answer; there is no curl on this machine.
ASK = (
    "exec 3<>/dev/tcp/127.0.0.1/{port}; "
    "printf '{method} {path} HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\n{header}\\r\\nConnection: close\\r\\n\\r\\n' >&3; "
    "cat <&3"
)
# With the token that the unit was given.
WITH_UNITS_TOKEN = ASK.format(
    port=1339, method="GET", path="/role/web", header='Authorization: \'"$(cat "$CREDENTIALS_DIRECTORY/web")"\'',
)
OTHER_TTL = "X-aws-ec2-metadata-token-ttl-seconds: 60"


@pytest.fixture(scope="module")
def people(machine: Machine, agent: Agent) -> Agent:
    """The agent with two roles, and two users of whom one may have one."""
    machine.run("useradd", "--create-home", "app")
    machine.run("useradd", "--create-home", "other")
    agent.configure("60-roles", CONFIGURATION)
    machine.run("systemctl", "reload", "imds-agent")
    until(lambda: [role["state"] for role in agent.status()["credentials"]] == ["fresh"] * 3, "three roles")
    return agent


def credentials(machine: Machine, role: str, *prefix: str, user: str = "") -> tuple[int, str, str]:
    """What `imds-agent credentials` ends with, prints and says, started like this."""
    done = machine.run(*prefix, "imds-agent", "credentials", "--role", role, user=user, check=False)
    return done.returncode, done.stdout, done.stderr


def in_unit(unit: str, *more: str) -> tuple[str, ...]:
    return ("systemd-run", "--quiet", "--collect", "--pipe", "--wait", f"--unit={unit}", *more)


def test_a_user_gets_its_role_and_another_user_gets_nothing_anywhere(machine: Machine, people: Agent) -> None:
    code, printed, _ = credentials(machine, "app", user="app")
    assert (code, json.loads(printed)["Version"]) == (0, 1)
    for role in ("app", "web"):
        code, printed, said = credentials(machine, role, user="other")
        assert (code, printed) == (77, ""), said
        assert "other" in said or "uid" in said
        assert machine.run("cat", f"/run/imds-agent/tokens/{role}", user="other", check=False).returncode != 0
    assert machine.run("imds-agent", "credentials", user="other", check=False).returncode == 77
    guess = ASK.format(port=1339, method="GET", path="/role/app", header="Authorization: guess")
    assert "403 Forbidden" in machine.run("bash", "-c", guess, user="other").stdout
    token = ASK.format(port=1338, method="PUT", path="/latest/api/token", header=OTHER_TTL)
    assert "403 Forbidden" in machine.run("bash", "-c", token, user="other").stdout
    assert "200 OK" in machine.run("bash", "-c", token, user="app").stdout


def test_a_unit_of_the_system_gets_its_role_and_nobody_else_not_even_root(machine: Machine, people: Agent) -> None:
    code, printed, said = credentials(machine, "web", *in_unit("web.service"))
    assert code == 0, said
    assert json.loads(printed)["AccessKeyId"]
    assert credentials(machine, "web", *in_unit("other.service"))[0] == 77
    assert credentials(machine, "web")[0] == 77


def test_a_users_own_service_of_that_name_is_not_the_systems(machine: Machine, people: Agent) -> None:
    machine.run("loginctl", "enable-linger", "app")
    uid = machine.run("id", "-u", "app").stdout.strip()
    runtime = f"XDG_RUNTIME_DIR=/run/user/{uid}"
    manager = ("env", runtime, "systemctl", "--user", "is-system-running", "--wait")
    until(lambda: "running" in machine.run(*manager, user="app", check=False).stdout, "the user's manager")
    spoofed = ("env", runtime, "systemd-run", "--user", "--quiet", "--collect", "--pipe", "--wait", "--unit=web.service")
    code, printed, said = credentials(machine, "web", *spoofed, user="app")
    assert (code, printed) == (77, ""), said
    assert credentials(machine, "app", *spoofed, user="app")[0] == 0, "it is the user app nevertheless"


def test_a_unit_is_handed_its_token_by_systemd_and_asks_over_http(machine: Machine, people: Agent) -> None:
    given = ("-p", "LoadCredential=web:/run/imds-agent/tokens/web", "-p", "DynamicUser=yes")
    answer = machine.run(*in_unit("web.service", *given), "bash", "-c", WITH_UNITS_TOKEN)
    assert "200 OK" in answer.stdout and "SecretAccessKey" in answer.stdout, answer.stdout
    thief = machine.run(*in_unit("thief.service", *given), "bash", "-c", WITH_UNITS_TOKEN)
    assert "403 Forbidden" in thief.stdout, "a token that another unit got hold of opens nothing to it"


def test_exec_tells_a_unit_where_and_gives_it_no_key(machine: Machine, people: Agent) -> None:
    given = ("-p", "LoadCredential=web:/run/imds-agent/tokens/web", "-p", "DynamicUser=yes")
    printed = machine.run(*in_unit("web.service", *given), "imds-agent", "exec", "--role", "web", "--", "env").stdout
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1:1339/role/web" in printed
    assert "AWS_SECRET_ACCESS_KEY" not in printed


def test_who_had_what_is_in_the_journal_and_no_secret_is(machine: Machine, people: Agent) -> None:
    _, printed, _ = credentials(machine, "app", user="app")
    key = json.loads(printed)["AccessKeyId"]
    uid = machine.run("id", "-u", "app").stdout.strip()
    journal = ("journalctl", "-u", "imds-agent", "-o", "json", "--no-pager")
    entries = [json.loads(line) for line in machine.run(*journal).stdout.splitlines()]
    handed = [entry for entry in entries if entry.get("ROLE") == "app" and entry.get("UID") == uid]
    assert any(entry.get("KEY_ID_SUFFIX") == key[-4:] for entry in handed), handed
    assert json.loads(printed)["SecretAccessKey"] not in machine.run(*journal).stdout
    recent = json.loads(machine.run("imds-agent", "credentials", "who", "--json").stdout)
    assert any(entry["role"] == "app" and entry["outcome"] == "served" for entry in recent)


def test_tokens_live_for_the_boot_and_callers_wait_for_a_restart(machine: Machine, people: Agent) -> None:
    before = machine.run("cat", "/run/imds-agent/tokens/app").stdout
    machine.run("systemctl", "restart", "imds-agent")
    code, _, said = credentials(machine, "app", "env", user="app")
    assert code == 0 or machine.run("imds-agent", "credentials", "--role", "app", "--wait", "30s", user="app"), said
    assert machine.run("cat", "/run/imds-agent/tokens/app").stdout == before
    machine.run("imds-agent", "credentials", "refresh", "--role", "app", "--token", user="app")
    assert machine.run("cat", "/run/imds-agent/tokens/app").stdout != before

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


def in_unit(unit: str, *more: str) -> tuple[str, ...]:
    return ("systemd-run", "--quiet", "--collect", "--pipe", "--wait", f"--unit={unit}", *more)


def as_user(user: str) -> tuple[str, ...]:
    """How to run a command as a user of the machine. What only enters its namespaces is rightly taken for a container's."""
    return ("systemd-run", "--quiet", "--collect", "--pipe", "--wait", f"--uid={user}")


def credentials(machine: Machine, role: str, *prefix: str) -> tuple[int, str, str]:
    """What `imds-agent credentials` ends with, prints and says, started like this."""
    done = machine.run(*prefix, "imds-agent", "credentials", "--role", role, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_user_gets_its_role_and_another_user_gets_nothing_anywhere(machine: Machine, people: Agent) -> None:
    code, printed, _ = credentials(machine, "app", *as_user("app"))
    assert (code, json.loads(printed)["Version"]) == (0, 1)
    for role in ("app", "web"):
        code, printed, said = credentials(machine, role, *as_user("other"))
        assert (code, printed) == (77, ""), said
        assert "other" in said or "uid" in said
        assert machine.run("cat", f"/run/imds-agent/tokens/{role}", user="other", check=False).returncode != 0
    assert machine.run(*as_user("other"), "imds-agent", "credentials", check=False).returncode == 77
    guess = ASK.format(port=1339, method="GET", path="/role/app", header="Authorization: guess")
    assert "403 Forbidden" in machine.run(*as_user("other"), "bash", "-c", guess).stdout
    token = ASK.format(port=1338, method="PUT", path="/latest/api/token", header=OTHER_TTL)
    assert "403 Forbidden" in machine.run(*as_user("other"), "bash", "-c", token).stdout
    assert "200 OK" in machine.run(*as_user("app"), "bash", "-c", token).stdout


def test_a_unit_of_the_system_gets_its_role_and_nobody_else_not_even_root(machine: Machine, people: Agent) -> None:
    code, printed, said = credentials(machine, "web", *in_unit("web.service"))
    assert code == 0, said
    assert json.loads(printed)["AccessKeyId"]
    assert credentials(machine, "web", *in_unit("other.service"))[0] == 77
    assert credentials(machine, "web")[0] == 77


def test_a_users_own_service_of_that_name_is_not_the_systems(machine: Machine, people: Agent) -> None:
    units = "/home/app/.config/systemd/user"
    ask = "imds-agent credentials --role {0} >%h/{0} 2>%h/{0}.why; echo $? >%h/{0}.code; "
    start = f"[Service]\nType=oneshot\nExecStart=/bin/sh -c '{ask.format('web')}{ask.format('app')}touch %h/done'\n"
    machine.write(f"{units}/web.service", start)
    machine.shell(f"mkdir {units}/default.target.wants; ln -s ../web.service {units}/default.target.wants/")
    machine.shell("chown -R app: /home/app/.config; loginctl enable-linger app")
    until(lambda: machine.run("test", "-e", "/home/app/done", check=False).returncode == 0, "the user's manager's service")
    assert machine.run("cat", "/home/app/web.code", "/home/app/web").stdout == "77\n"
    assert machine.run("cat", "/home/app/app.code").stdout == "0\n", "it is the user app nevertheless"


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
    _, printed, _ = credentials(machine, "app", *as_user("app"))
    key = json.loads(printed)["AccessKeyId"]
    uid = machine.run("id", "-u", "app").stdout.strip()
    journal = ("journalctl", "-u", "imds-agent", "-o", "json", "--no-pager")
    entries = [json.loads(line) for line in machine.run(*journal).stdout.splitlines()]
    handed = [entry for entry in entries if entry.get("ROLE") == "app" and entry.get("UID") == uid]
    assert any(entry.get("KEY_ID_SUFFIX") == key[-4:] for entry in handed), handed
    assert json.loads(printed)["SecretAccessKey"] not in machine.run(*journal).stdout
    who = machine.run(*as_user("root"), "imds-agent", "credentials", "who", "--json")
    assert any(entry["role"] == "app" and entry["outcome"] == "served" for entry in json.loads(who.stdout))


def test_tokens_live_for_the_boot_and_callers_wait_for_a_restart(machine: Machine, people: Agent) -> None:
    before = machine.run("cat", "/run/imds-agent/tokens/app").stdout
    machine.run("systemctl", "restart", "imds-agent")
    machine.run(*as_user("app"), "imds-agent", "credentials", "--role", "app", "--wait", "30s")
    assert machine.run("cat", "/run/imds-agent/tokens/app").stdout == before
    machine.run(*as_user("app"), "imds-agent", "credentials", "refresh", "--role", "app", "--token")
    assert machine.run("cat", "/run/imds-agent/tokens/app").stdout != before

"""How a first boot can go: each user data of cloud-init/, run by a real cloud-init on an instance of its own.

Not what the user data's script decides in each case: that is tests/cloud-init's.
"""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import network
from agent import INSTANCE
from launch import SAYS, launched, user_data
from waiting import until

# User data's scripts at every boot, not only at an instance's first one.
ALWAYS = b"cloud_final_modules: [[scripts-per-instance, always], [scripts-user, always]]\n"
DROP_IN = "/etc/imds-agent/conf.d/50-user-data.toml"
SCRIPT = "/var/lib/cloud/scripts/per-instance/imds-agent"


def test_the_shell_script_does_it_too_and_at_every_boot_changes_nothing(logs: Path, deb: Path) -> None:
    always = {"/etc/cloud/cloud.cfg.d/99-always.cfg": ALWAYS}
    with launched(logs, user_data("user-data.sh"), deb, files=always) as instance:
        assert "status: done" in instance.cloud_init()
        instance.log("/var/log/app/app.log", "hello")
        instance.expect_line("/aws/ec2/prod", f"{INSTANCE}/app.log", "hello")
        instance.machine.reboot()
        assert "status: done" in instance.cloud_init()
        ends = [line.split(" is running: ")[1] for line in instance.said()]
        assert ends == ["installed, configured", "nothing to change"]
        assert instance.starts() == 1


def test_another_packages_broken_drop_in_is_named_and_ours_waits_for_its_repair(logs: Path, deb: Path) -> None:
    other = "/etc/imds-agent/conf.d/20-other.toml"
    broken = {other: b"[logs]\nretention = 14\n"}
    with launched(logs, user_data("examples/a-chat-application.yaml"), deb, files=broken) as instance:
        status = instance.cloud_init()
        assert "status: error" in status and "1 failures (imds-agent)" in status
        assert instance.said()[-1].startswith("FAILED to check the configuration")
        assert any(other in line and ":2:" in line for line in instance.output()), "file and line"
        assert instance.machine.run("test", "-e", DROP_IN, check=False).returncode == 1
        instance.machine.run("rm", other)
        assert instance.machine.run(SCRIPT).stdout.endswith(" is running: configured\n")
        instance.log("/var/log/ollama-chat/backend.log", "hello")
        instance.expect_line("/aws/ec2/ollama-chat-prod", f"backend-{INSTANCE}", "hello")
        # What went wrong at boot is there to be read.
        failed = f"{SAYS}{instance.said()[-1]}"
        instance.expect_line("/aws/ec2/ollama-chat-prod", f"backend-{INSTANCE}", failed)


def test_a_network_and_a_metadata_service_that_come_late_are_waited_for(logs: Path, deb: Path) -> None:
    with launched(logs, user_data("examples/d-go-mysql-api.yaml"), deb, late=8) as instance:
        assert "status: done" in instance.cloud_init()
        instance.machine.run("grep", "Network is unreachable", "/var/log/cloud-init.log")
        group = "/aws/ec2/sandbox-go-mysql-api/application"
        instance.log("/var/log/go-mysql-api/api.log", "hello")
        instance.expect_line(group, INSTANCE, "hello")
        first = instance.output()[0]
        instance.expect_line("/aws/ec2/sandbox-go-mysql-api/cloud-init", INSTANCE, first)
        until(lambda: instance.retention(group) == 14, "the retention")


# Debian's rpm has a database without Debian's packages: nothing that ours needs is in it.
RPM = b'#!/bin/sh\ncase $1 in -U) exec /usr/bin/rpm --nodeps "$@" ;; *) exec /usr/bin/rpm "$@" ;; esac\n'
# Makes of Debian a system that has rpm and systemd, but neither apt nor dnf.
WITHOUT_APT = "bootcmd:\n  - chmod +x /usr/local/bin/rpm\n  - rm -f /usr/bin/apt-get\n"


def test_a_system_with_rpm_gets_the_rpm(logs: Path, rpm: Path) -> None:
    document = user_data("user-data.yaml") + WITHOUT_APT
    with launched(logs, document, rpm, files={"/usr/local/bin/rpm": RPM}) as instance:
        assert "status: done" in instance.cloud_init()
        assert instance.machine.run("rpm", "--query", "imds-agent").stdout.strip() == rpm.name.removesuffix(".rpm")
        assert instance.machine.run("systemctl", "is-enabled", "imds-agent").stdout.strip() == "enabled"
        instance.log("/var/log/app/app.log", "hello")
        instance.expect_line("/aws/ec2/prod", f"{INSTANCE}/app.log", "hello")
        pid = instance.pid()
        assert instance.machine.run(SCRIPT).stdout.endswith(" is running: nothing to change\n")
        assert instance.pid() == pid


class Unreliable(http.server.BaseHTTPRequestHandler):
    """A server that is not reached at the first two attempts."""

    package = b""
    attempts = 0

    def do_GET(self) -> None:
        Unreliable.attempts += 1
        if Unreliable.attempts <= 2:
            self.close_connection = True
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.package)


@pytest.fixture
def server(deb: Path) -> Iterator[str]:
    """Where the package can be downloaded."""
    Unreliable.package, Unreliable.attempts = deb.read_bytes(), 0
    with http.server.ThreadingHTTPServer(("0.0.0.0", 0), Unreliable) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{network.HOST_IPV4}:{server.server_address[1]}/{deb.name}"
        server.shutdown()


def test_a_package_is_downloaded_over_a_network_that_fails_at_first(logs: Path, deb: Path, server: str) -> None:
    document = user_data("examples/e-llm-deployer.yaml")
    in_the_image = f"/opt/imds-agent_*_{deb.name.split('_')[-1]}"
    assert in_the_image in document
    downloaded = document.replace(in_the_image, f"{server}  {hashlib.sha256(deb.read_bytes()).hexdigest()}")
    with launched(logs, downloaded, None, tags=("Environment=dev",)) as instance:
        assert "status: done" in instance.cloud_init()
        assert Unreliable.attempts == 3
        instance.log("/var/log/llm-deployer/deployer.log", "hello")
        instance.expect_line("/aws/ec2/llm-deployer/dev", f"{INSTANCE}/deployer.log", "hello")


CONTAINER = "/var/lib/docker/containers/0123abcd/0123abcd-json.log"


@pytest.mark.parametrize(
    "example, path, group",
    [("b-containers", CONTAINER, "/ecs/sandbox/containers"),
     ("c-worker-manager", "/var/log/worker-manager/manager.log", "/aws/ec2/worker-manager/prod")],
)
def test_an_example_ships_what_it_says(logs: Path, deb: Path, example: str, path: str, group: str) -> None:
    with launched(logs, user_data(f"examples/{example}.yaml"), deb) as instance:
        assert "status: done" in instance.cloud_init()
        instance.log(path, "hello")
        instance.expect_line(group, f"{INSTANCE}/{Path(path).name}", "hello")

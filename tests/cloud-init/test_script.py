"""What the user data's script decides, on apt's and on dnf's systems. What it does on a real one, under a real
cloud-init, is tests/machine's."""

import hashlib
import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from host import Host
from packages import MAKE

SERVICE = "imds-agent.service"


@pytest.fixture(params=["deb", "rpm"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    return Host(tmp_path, request.param)


@pytest.fixture
def debian(tmp_path: Path) -> Host:
    return Host(tmp_path, "deb")


class Server:
    """Serves a directory on loopback, and counts the requests."""

    def __init__(self, directory: Path) -> None:
        self.requests: list[str] = []
        requests = self.requests

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments: object, **more: object) -> None:
                super().__init__(*arguments, directory=str(directory), **more)  # type: ignore[arg-type]

            def log_message(self, *_: object) -> None:
                requests.append(self.path)

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.http.server_bind()
        self.address = f"http://127.0.0.1:{self.http.server_address[1]}"

    def listen(self) -> None:
        self.http.server_activate()
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "opt")
    yield server
    server.http.server_close()


def put_in(host: Host, version: str) -> Path:
    """A package in the image, which the settings name."""
    package = MAKE[host.family](host.images, version)
    host.packages = f"{host.images}/imds-agent*.{host.family}"
    return package


def offer(host: Host, server: Server, version: str) -> Path:
    """A package on the server, which the settings name with its sum."""
    package = put_in(host, version)
    host.packages = f"{server.address}/{package.name}  {hashlib.sha256(package.read_bytes()).hexdigest()}"
    return package


def until(condition: object, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not come to it"
        time.sleep(0.01)


def succeeds(host: Host) -> str:
    """Runs it; the one line that it prints, without the part that is always there."""
    done = host.run()
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.count("\n") == 1, "quiet, but for one line"
    return done.stdout.strip().split(" is running: ")[1]


def fails(host: Host) -> str:
    """Runs it; why it failed."""
    done = host.run()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("imds-agent user-data: FAILED to ")
    return done.stderr


def test_from_nothing_it_installs_configures_and_starts(host: Host) -> None:
    put_in(host, "0.1.0-1")
    assert succeeds(host) == "installed, configured"
    assert host.installed() == "0.1.0-1"
    assert host.drop_in.read_text() == host.configuration
    assert host.drop_in.stat().st_mode & 0o777 == 0o644
    assert host.calls("systemctl") == [f"systemctl enable --quiet {SERVICE}", f"systemctl reload-or-restart {SERVICE}"]


def test_a_second_time_nothing_is_installed_written_or_restarted(host: Host) -> None:
    put_in(host, "0.1.0-1")
    succeeds(host)
    before, _ = host.drop_in.stat().st_mtime_ns, host.calls()
    assert succeeds(host) == "nothing to change"
    assert host.drop_in.stat().st_mtime_ns == before
    assert not host.calls("apt-get") + host.calls("dnf") + host.calls("rpm -U")
    assert host.calls("systemctl") == [f"systemctl enable --quiet {SERVICE}", f"systemctl start {SERVICE}"]


def test_a_changed_configuration_is_taken_without_installing_again(host: Host) -> None:
    put_in(host, "0.1.0-1")
    succeeds(host)
    host.calls()
    host.configuration = "# the second\n"
    assert succeeds(host) == "configured"
    assert host.drop_in.read_text() == "# the second\n"
    assert not host.calls("apt-get") + host.calls("dnf") + host.calls("rpm -U")
    assert host.calls("systemctl")[-1] == f"systemctl reload-or-restart {SERVICE}"


def test_an_older_version_is_replaced_by_the_highest_in_the_image(host: Host) -> None:
    put_in(host, "0.1.0-1")
    succeeds(host)
    put_in(host, "0.10.0-1")
    put_in(host, "0.9.0-1")
    assert succeeds(host) == "installed"
    assert host.installed() == "0.10.0-1"


def test_a_newer_version_put_in_by_hand_stays(host: Host) -> None:
    put_in(host, "0.10.0-1")
    succeeds(host)
    for package in host.images.glob("imds-agent*"):
        package.unlink()
    put_in(host, "0.9.0-1")
    assert succeeds(host) == "nothing to change"
    assert host.installed() == "0.10.0-1"


def test_a_package_of_another_architecture_is_left_alone(host: Host) -> None:
    other = put_in(host, "0.1.0-1")
    other.rename(other.with_name(f"imds-agent_0.1.0-1_sparc.{host.family}"))
    assert "FAILED to find the package: no line of `packages` names one that ends with" in fails(host)


def test_an_agent_that_the_image_has_needs_no_package(host: Host) -> None:
    host.installs("0.1.0-1")
    assert succeeds(host) == "configured"


def test_a_package_that_is_not_in_the_image_is_named(debian: Host) -> None:
    debian.packages = "/nowhere/imds-agent_*_amd64.deb\n/nowhere/imds-agent_*_arm64.deb"
    assert "there is no file /nowhere/imds-agent_" in fails(debian)


def test_a_package_is_downloaded_checked_and_not_asked_for_again(host: Host, server: Server) -> None:
    server.listen()
    package = offer(host, server, "0.1.0-1")
    assert succeeds(host) == "installed, configured"
    assert succeeds(host) == "nothing to change"
    assert len(server.requests) == 1 and package.name in server.requests[0]


def test_wget_does_where_there_is_no_curl(debian: Host, server: Server) -> None:
    server.listen()
    offer(debian, server, "0.1.0-1")
    debian.remove("curl")
    assert succeeds(debian) == "installed, configured"


def test_a_network_that_comes_late_is_waited_for(host: Host, server: Server) -> None:
    offer(host, server, "0.1.0-1")
    running = host.start()
    until(lambda: len(host.calls("sleep")) >= 3)
    server.listen()
    out, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (0, "")
    assert "installed, configured" in out


def test_a_network_that_never_comes_is_given_up_and_nothing_was_done(debian: Host, server: Server) -> None:
    offer(debian, server, "0.1.0-1")
    server.http.server_close()
    reason = fails(debian)
    assert f"FAILED to download the package: {server.address}/imds-agent_0.1.0-1_" in reason and "reached" in reason
    assert len(debian.calls("sleep 5")) == 59, "five minutes"
    assert reason.count("\n") <= 5, "the last attempt is enough"
    assert not debian.drop_in.exists() and not debian.installed()


@pytest.mark.parametrize("downloader", ["curl", "wget"])
def test_what_the_server_refuses_is_not_asked_for_again(debian: Host, server: Server, downloader: str) -> None:
    server.listen()
    offer(debian, server, "0.1.0-1").unlink()
    if downloader == "wget":
        debian.remove("curl")
    assert "is not to be had" in fails(debian)
    assert not debian.calls("sleep")


def test_a_package_with_another_sum_is_not_installed(host: Host, server: Server) -> None:
    server.listen()
    package = offer(host, server, "0.1.0-1")
    package.write_bytes(package.read_bytes() + b"more")
    reason = fails(host)
    assert "FAILED to check the package: the SHA-256 of" in reason
    assert hashlib.sha256(package.read_bytes()).hexdigest() in reason
    assert not host.installed() and not host.drop_in.exists()


def test_a_download_without_a_sum_is_refused(host: Host, server: Server) -> None:
    server.listen()
    package = offer(host, server, "0.1.0-1")
    host.packages = f"{server.address}/{package.name}"
    assert "has no SHA-256 beside it" in fails(host)
    assert not server.requests


def test_what_is_no_package_is_not_installed(host: Host) -> None:
    put_in(host, "0.1.0-1").write_text("<html>not found</html>")
    assert "is no" in fails(host)
    assert not host.installed()


def test_a_package_manager_that_fails_is_quoted(debian: Host) -> None:
    put_in(debian, "0.1.0-1")
    debian.mark("apt-fails")
    reason = fails(debian)
    assert "E: no space left" in reason and "FAILED to install the package" in reason


def test_apt_waits_for_locks_and_asks_nothing(debian: Host) -> None:
    put_in(debian, "0.1.0-1")
    succeeds(debian)
    [call] = debian.calls("apt-get")
    for option in ("-y", "DPkg::Lock::Timeout=", "--force-confdef", "--force-confold"):
        assert option in call


@pytest.mark.parametrize("why", ["missing", "without its repositories"])
def test_rpm_does_where_dnf_is(tmp_path: Path, why: str) -> None:
    host = Host(tmp_path, "rpm")
    put_in(host, "0.1.0-1")
    if why == "missing":
        host.remove("dnf")
    else:
        host.mark("dnf-fails")
    assert succeeds(host) == "installed, configured"
    assert host.calls("rpm -U")


def test_dnf_and_rpm_that_fail_are_both_quoted(tmp_path: Path) -> None:
    host = Host(tmp_path, "rpm")
    put_in(host, "0.1.0-1")
    host.mark("dnf-fails")
    host.mark("rpm-fails")
    reason = fails(host)
    assert "Error: Failed to download metadata" in reason and "error: Failed dependencies" in reason


def test_a_refused_configuration_is_gone_again(host: Host) -> None:
    put_in(host, "0.1.0-1")
    host.configuration = "REFUSED = true\n"
    reason = fails(host)
    assert "REFUSED is no key" in reason and "FAILED to check the configuration" in reason
    assert not host.drop_in.exists()
    assert not host.calls("systemctl")


def test_the_configuration_before_a_refused_one_is_back(host: Host) -> None:
    put_in(host, "0.1.0-1")
    succeeds(host)
    before = host.drop_in.read_text()
    host.configuration = "REFUSED = true\n"
    fails(host)
    assert host.drop_in.read_text() == before


def test_another_packages_refused_drop_in_is_named_and_stays(host: Host) -> None:
    put_in(host, "0.1.0-1")
    host.drop_in.parent.mkdir()
    others = host.drop_in.with_name("20-other.toml")
    others.write_text("REFUSED = true\n")
    assert "20-other.toml" in fails(host)
    assert others.exists() and not host.drop_in.exists()


def test_ended_before_the_configuration_was_accepted_it_is_gone_again(host: Host) -> None:
    put_in(host, "0.1.0-1")
    host.mark("interrupt")
    fails(host)
    assert not host.drop_in.exists()


def test_a_service_that_does_not_start_is_shown_with_its_journal(host: Host) -> None:
    put_in(host, "0.1.0-1")
    host.mark("failing", "reload-or-restart")
    reason = fails(host)
    assert "Job failed." in reason and "imds-agent[7]: the reason" in reason
    assert f"FAILED to start the service: systemctl reload-or-restart {SERVICE} failed" in reason


def test_a_system_of_neither_family_is_told_so(debian: Host) -> None:
    debian.remove("apt-get")
    assert "neither apt-get nor rpm is here" in fails(debian)

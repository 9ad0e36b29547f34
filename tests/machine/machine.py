"""A machine that boots: Debian 12 with systemd as PID 1, in namespaces and cgroups of its own under systemd-nspawn.

It is a throw-away layer over one of `root`'s systems, with `network` for its eth0. Not a virtual machine: the kernel,
its clock and its modules are this one's. It runs only where `run` has made the namespaces that end and unmount it.

Inside work Type=notify, watchdogs, sandboxing, MemoryMax=, reboots. An OOM kill shows as a signal where cgroups are v1.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Self

import network
import root
from waiting import until

# systemd-nspawn's exit status for a machine that wants to be started again.
REBOOT = 133
# What a boot may take on a loaded machine; it takes a second or two.
BOOT_TIMEOUT = 120
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What becomes PID 1 first: nspawn shows the controllers of cgroup v1 read-only, and MemoryMax= would have no effect.
# sysfs takes no new directory: for the hypervisor's uuid, a tmpfs that holds all of it goes on top.
START = """
for controller in /sys/fs/cgroup/*/; do
    mount -o remount,bind,rw,nosuid,nodev,noexec "$controller"
done 2>/dev/null
if [ "$1" ]; then
    mkdir /run/sys
    mount -t tmpfs -o mode=755 tmpfs /run/sys
    for directory in /sys/*/; do
        mkdir "/run$directory"
        mount --rbind "$directory" "/run$directory"
    done
    mkdir -p /run/sys/hypervisor
    echo "$1" >/run/sys/hypervisor/uuid
    mount --make-rprivate /run/sys
    mount --rbind /run/sys /sys
    umount --recursive --lazy /run/sys
fi
exec /lib/systemd/systemd
"""


class Machine:
    """Booted while its `with` block lasts. `logs` gets its journal and console.

    packages          one of `root`'s lists
    connected         whether it has a network from the start; else `network.connect()` brings it
    hypervisor_uuid   what /sys/hypervisor/uuid says; with one that begins with `ec2` cloud-init sees an EC2 instance
    files             files that are there before the first boot: where, and what is in them
    """

    def __init__(
        self, logs: Path, packages: list[str] = root.PLAIN, *, connected: bool = True, hypervisor_uuid: str = "",
        files: dict[str, bytes] | None = None,
    ) -> None:
        self.logs = logs
        self.packages = packages
        self.connected = connected
        self.hypervisor_uuid = hypervisor_uuid
        self.files = files or {}
        self.nspawn: subprocess.Popen[bytes] | None = None
        self.leader = 0

    def __enter__(self) -> Self:
        self.work = Path(tempfile.mkdtemp(prefix="imds-agent-machine."))
        self.cgroups = [Path(group) / self.work.name for group in os.environ["IMDS_AGENT_MACHINE_CGROUPS"].split()]
        self.logs.mkdir(parents=True, exist_ok=True)
        try:
            self._make()
            self.boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()
        self._keep_journal()
        for group in self.cgroups:
            for directory in [*sorted(group.rglob("*/"), reverse=True), group]:
                until(partial(_rmdir, directory), f"{directory} to be empty")
        network.remove()
        subprocess.run(["umount", "--lazy", self.root], check=True)
        shutil.rmtree(self.work)

    def _make(self) -> None:
        self.root = self.work / "root"
        for name in ("upper", "scratch", "root"):
            (self.work / name).mkdir()
        layers = f"lowerdir={root.path(self.packages)},upperdir={self.work}/upper,workdir={self.work}/scratch"
        subprocess.run(["mount", "-t", "overlay", "-o", layers, "overlay", self.root], check=True)
        for path, content in self.files.items():
            place = self.root / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        network.create()
        if self.connected:
            network.connect()
        for group in self.cgroups:
            group.mkdir()
            for name in ("cpuset.cpus", "cpuset.mems"):
                if (group / name).exists() and group.parent.joinpath(name).read_text().strip():
                    (group / name).write_text((group.parent / name).read_text())

    # --- its life ---------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Starts it, and waits until it is up."""

        def enter_cgroups() -> None:
            for group in self.cgroups:
                (group / "cgroup.procs").write_text("0")

        # IPAddressDeny= needs bpf(2), KeyringMode= keyctl(2); sysctl net.* a writable /proc/sys/net.
        command = [
            "systemd-nspawn", "--quiet", f"--directory={self.root}", "--machine=instance", "--register=no",
            "--keep-unit", "--console=pipe", f"--network-namespace-path=/run/netns/{network.NAMESPACE}",
            "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--capability=CAP_NET_ADMIN,CAP_BPF",
            "--system-call-filter=bpf keyctl add_key request_key", "/bin/sh", "-c", START, "sh", self.hypervisor_uuid,
        ]
        with open(self.logs / "console.log", "ab") as console:
            self.nspawn = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
                preexec_fn=enter_cgroups, env={"PATH": PATH, "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"},
            )
        until(self._is_up, f"a boot; its console is in {self.logs}", BOOT_TIMEOUT)

    def _is_up(self) -> bool:
        assert self.nspawn and self.nspawn.poll() is None, f"it did not boot; its console is in {self.logs}"
        # While nspawn prepares, its first child is another one.
        children = Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children").read_text().split()
        if not children:
            return False
        self.leader = int(children[0])
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    def reboot(self) -> None:
        """Shuts it down in good order and boots it again."""
        assert self.nspawn
        self.run("systemctl", "reboot", check=False)
        assert self.nspawn.wait(BOOT_TIMEOUT) == REBOOT
        self.boot()

    def lose_power(self) -> None:
        """Ends it at once, and boots it again."""
        self._kill()
        self.boot()

    def _kill(self) -> None:
        if self.nspawn and self.nspawn.poll() is None:
            os.kill(self.leader or self.nspawn.pid, signal.SIGKILL)
            try:
                self.nspawn.wait(10)
            except subprocess.TimeoutExpired:
                self.nspawn.kill()
                self.nspawn.wait()

    def _keep_journal(self) -> None:
        with open(self.logs / "journal.log", "wb") as log:
            command = ["journalctl", f"--directory={self.root}/var/log/journal", "--no-pager", "-o", "short-precise"]
            subprocess.run(command, stdout=log, stderr=log, check=False)

    # --- what is done in it -------------------------------------------------------------------------------------------

    def run(
        self, *command: str, check: bool = True, user: str = "", stdin: bytes | str = "", timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command inside, as root or as another user."""
        if user:
            command = ("runuser", "-u", user, "--", *command)
        done = subprocess.run(
            self.entrance(*command), input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True, timeout=timeout, check=False, env={"PATH": PATH, "HOME": "/root"},
        )
        text = subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())
        if check and text.returncode:
            raise AssertionError(f"{' '.join(command)} ended with {text.returncode}:\n{text.stdout}{text.stderr}")
        return text

    def shell(self, script: str, **keywords: Any) -> str:
        """What a shell script prints."""
        return self.run("sh", "-euc", script, **keywords).stdout

    def entrance(self, *command: str) -> list[str]:
        """The command, as it is run from outside."""
        return ["nsenter", f"--target={self.leader}", "--all", "--", *command]

    def write(self, path: str, content: str | bytes, mode: str = "0644", owner: str = "root:root") -> None:
        """Writes a file and, where missing, its directories; never half of it under its name."""
        script = (
            'mkdir -p "$(dirname "$1")"; cat >"$1.new"; chmod "$2" "$1.new"; chown "$3" "$1.new"; mv "$1.new" "$1"'
        )
        self.run("sh", "-euc", script, "sh", path, mode, owner, stdin=content)

    def install(self, package: Path) -> str:
        """Installs or upgrades a .deb as a person would, without a question asked."""
        self.write(f"/var/tmp/{package.name}", package.read_bytes())
        return self.shell(
            f"DEBIAN_FRONTEND=noninteractive apt-get install -y -o Dpkg::Use-Pty=0 /var/tmp/{package.name} 2>&1"
        )

    def journal(self, *arguments: str) -> list[dict[str, Any]]:
        """The journal's entries: `journal("-u", "imds-agent")`."""
        output = self.run("journalctl", "--all", "-o", "json", "--no-pager", *arguments).stdout
        return [json.loads(line) for line in output.splitlines()]

    def property(self, name: str, unit: str = "imds-agent") -> str:
        """A property of a unit: `property("MainPID")`."""
        return self.run("systemctl", "show", "--value", "--property", name, unit).stdout.strip()


def _rmdir(directory: Path) -> bool:
    try:
        directory.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True

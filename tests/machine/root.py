"""The Debian roots that machines boot from: made once by mmdebstrap and kept, by the packages in them.

Not a machine: that is a throw-away layer on top of one. They are made where the registries can be reached, before the
tests' network has no way out. `IMDS_AGENT_MACHINE_CACHE` names where they are kept, if not under target/.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

TARGET = Path(__file__).resolve().parents[2] / "target" / "machine"
CACHE = Path(os.environ.get("IMDS_AGENT_MACHINE_CACHE", TARGET / "roots"))

SUITE = "bookworm"

# A system with a bus, logins and names for its users; what the tests use inside; rpm, to install ours.
PLAIN = (
    "ca-certificates dbus iproute2 libnss-systemd libpam-systemd nftables procps rpm sudo systemd systemd-sysv".split()
)
# cloud-init as Debian's EC2 images have it, with curl for what user data fetches.
CLOUD_INIT = sorted([*PLAIN, "cloud-init", "curl"])

# The journal is kept over reboots; no machine has an id yet; it has a name, and nobody to ask for others'; and what was
# left out of the root is not left out of the packages that tests install.
SETTLE = "; ".join((
    'cd "$1"',
    "mkdir -p var/log/journal",
    ": >etc/machine-id",
    "echo instance >etc/hostname",
    "echo 127.0.0.1 localhost instance >etc/hosts",
    "rm -f etc/resolv.conf etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    ": >etc/resolv.conf",
))


def path(packages: list[str]) -> Path:
    """Where the root with these packages is, or will be."""
    recipe = "\n".join([SUITE, SETTLE, *packages])
    return CACHE / f"{SUITE}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def build(packages: list[str]) -> None:
    """Makes a root, unless it is there."""
    root = path(packages)
    if root.exists():
        return
    print(f"building {root}: {' '.join(packages)}", flush=True)
    unfinished = root.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    # In a PID namespace of its own, so that it ends with us, however we end.
    contained = "setpriv --pdeathsig KILL unshare --pid --fork --kill-child=KILL --mount-proc".split()
    lean = [f"--dpkgopt=path-exclude=/usr/share/{what}/*" for what in ("man", "locale", "doc")]
    subprocess.run(
        [*contained, "mmdebstrap", "--quiet", "--variant=apt", f"--include={','.join(packages)}", *lean,
         f"--customize-hook={SETTLE}", SUITE, unfinished],
        check=True, stdin=subprocess.DEVNULL,
    )
    unfinished.rename(root)


if __name__ == "__main__":
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        build(PLAIN)
        build(CLOUD_INIT)

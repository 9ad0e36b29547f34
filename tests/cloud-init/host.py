"""A host for the user data's script without being one: a directory stands for /etc/imds-agent, and the script's PATH
holds the real tools that only look, and stand-ins for those that change the system. Each stand-in writes down how it
was called. Not a test; and what the real ones do is for tests/machine to show."""

import shutil
import subprocess
from pathlib import Path

from documents import MARK, SCRIPT

# What the script may find, by the system's family; whatever is missing here would fail a test with "not found".
TOOLS = "sh cat chmod cmp cp env mkdir mktemp mv rm sha256sum sort tail uname wget".split()
FAMILY_TOOLS = {"deb": ["dpkg", "dpkg-deb", "tar", "curl"], "rpm": ["curl"]}

# Every stand-in begins with this.
NOTE = '#!/bin/sh\necho "${0##*/} $*" >>"$HOST/calls"\n'

# The agent: refuses what says so.
AGENT = NOTE + """
case $1 in
--version) echo "imds-agent $(cat "$HOST/installed")" ;;
config)
    if [ -e "$HOST/interrupt" ]; then kill -TERM "$PPID"; fi
    if grep -rs REFUSED "$HOST/etc/conf.d"; then echo "error: REFUSED is no key" >&2; exit 78; fi ;;
esac
"""

PUT_IN = 'cp "$HOST/agent" "$HOST/bin/imds-agent"\n'

STAND_INS = {
    "systemctl": NOTE + 'case $1 in "$(cat "$HOST/failing" 2>/dev/null)") echo "Job failed." >&2; exit 1 ;; esac',
    "journalctl": NOTE + 'echo "imds-agent[7]: the reason"',
    "sleep": NOTE,
}
FAMILY_STAND_INS = {
    "deb": {
        "dpkg-query": '#!/bin/sh\n[ -s "$HOST/installed" ] && printf "installed %s" "$(cat "$HOST/installed")"',
        "apt-get": NOTE + f"""
[ ! -e "$HOST/apt-fails" ] || {{ echo "E: no space left" >&2; exit 100; }}
for package; do :; done
[ -r "$package" ] && dpkg-deb -f "$package" Version >"$HOST/installed"
{PUT_IN}""",
    },
    "rpm": {
        # The real one, on a database of the host's own.
        "rpm": NOTE + f"""
case $1 in
-U) [ ! -e "$HOST/rpm-fails" ] || {{ echo "error: Failed dependencies" >&2; exit 1; }}
    /usr/bin/rpm --root "$HOST/root" --nodeps "$@" || exit
    /usr/bin/rpm --root "$HOST/root" -q --qf '%{{VERSION}}-%{{RELEASE}}' imds-agent >"$HOST/installed"
    {PUT_IN} ;;
*) exec /usr/bin/rpm --root "$HOST/root" "$@" ;;
esac""",
        "dnf": NOTE + """
if [ -e "$HOST/dnf-fails" ]; then echo "Error: Failed to download metadata" >&2; exit 1; fi
for package; do :; done
rpm -U "$package" """,
    },
}


class Host:
    """What the script sees, what it did, and a way to run it."""

    def __init__(self, directory: Path, family: str) -> None:
        self.directory = directory
        self.family = family
        self.drop_in = directory / "etc" / "conf.d" / "50-user-data.toml"
        self.images = directory / "opt"
        self.packages = ""
        self.configuration = "# the first\n"
        for part in ("bin", "etc", "opt", "root"):
            (directory / part).mkdir()
        for name in TOOLS + FAMILY_TOOLS[family] + ["grep"]:
            (directory / "bin" / name).symlink_to(shutil.which(name) or f"/missing/{name}")
        (directory / "agent").write_text(AGENT)
        (directory / "agent").chmod(0o755)
        for name, text in (STAND_INS | FAMILY_STAND_INS[family]).items():
            self.add(name, text)

    def add(self, name: str, text: str) -> None:
        """Puts a program on the PATH."""
        (self.directory / "bin" / name).write_text(text)
        (self.directory / "bin" / name).chmod(0o755)

    def remove(self, name: str) -> None:
        """Takes a program off the PATH."""
        (self.directory / "bin" / name).unlink()

    def mark(self, name: str, text: str = "") -> None:
        """Leaves a word for a stand-in."""
        (self.directory / name).write_text(text)

    def installs(self, version: str) -> None:
        """The agent is there, in that version."""
        self.mark("installed", version)
        self.add("imds-agent", AGENT)

    def installed(self) -> str:
        """The version that is there; empty if none is."""
        path = self.directory / "installed"
        return path.read_text().strip() if path.exists() else ""

    def calls(self, name: str = "") -> list[str]:
        """How the stand-ins were called since it was last asked for all, or for those of one."""
        path = self.directory / "calls"
        calls = path.read_text().splitlines() if path.exists() else []
        if not name:
            path.unlink(missing_ok=True)
        return [call for call in calls if call.startswith(name)]

    def script(self) -> Path:
        """The script with this host's settings, and its directory for /etc/imds-agent: nothing else is changed."""
        body = SCRIPT.read_text().split(MARK)[1]
        assert body.count("/etc/imds-agent/") == 1
        body = body.replace("/etc/imds-agent/", f"{self.directory}/etc/")
        configuration = f"configuration() {{\n    cat <<'TOML'\n{self.configuration}TOML\n}}\n"
        path = self.directory / "script"
        path.write_text(f"#!/bin/sh\npackages='{self.packages}'\n{configuration}{MARK}{body}")
        return path

    def start(self) -> subprocess.Popen[str]:
        """Runs the script in the background."""
        (self.directory / "tmp").mkdir(exist_ok=True)
        environment = {"PATH": str(self.directory / "bin"), "HOST": str(self.directory)}
        environment["TMPDIR"] = str(self.directory / "tmp")
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(["sh", self.script()], env=environment, text=True, **pipes)

    def run(self) -> subprocess.CompletedProcess[str]:
        """Runs the script to its end."""
        running = self.start()
        out, err = running.communicate(timeout=60)
        assert not list((self.directory / "tmp").iterdir()), "it left something behind"
        return subprocess.CompletedProcess([], running.returncode, out, err)

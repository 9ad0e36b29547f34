"""The metadata host's one program: our emulator on the metadata service's real addresses, and for AWS on port 8080.

Not what it answers: src/emulator, whose control API (control.rs) this speaks.
"""

import json
import os
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Self

from waiting import until

PROGRAM = Path(__file__).resolve().parents[2] / "target" / "debug" / "imds-agent"

# What machines are told as AWS_ENDPOINT_URL: the metadata host's side of their link.
AWS = "http://10.0.0.1:8080"
# Where the tests reach it, whether there is a link or not.
CONTROL = "http://127.0.0.1:8080/_emulator"
LISTEN = ("169.254.169.254:80", "[fd00:ec2::254]:80", "0.0.0.0:8080")

# Never through a proxy of this machine's environment.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Emulator:
    """A running emulator; ends with its `with` block. `options` are the command's own: `--hop-limit`, `--user-data`."""

    def __init__(self, log: Path, *options: str) -> None:
        self.log = log
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        listen = [word for address in LISTEN for word in ("--listen", address)]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [PROGRAM, "emulator", "--allow-any-address", *listen, *self.options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"PATH": os.defpath},
            )
        until(self._listens, f"the emulator to listen; its output is in {self.log}")
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def _listens(self) -> bool:
        assert self.process and self.process.poll() is None, f"the emulator ended: {self.log.read_text()}"
        try:
            return bool(self.state())
        except urllib.error.URLError:
            return False

    def _ask(self, method: str, path: str, body: object = None) -> str:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{CONTROL}/{path}", data=data, method=method)
        with OPENER.open(request, timeout=10) as answer:
            return answer.read().decode()

    def state(self) -> dict[str, Any]:
        """Settings, counters, groups, streams."""
        return json.loads(self._ask("GET", "state"))

    def asked(self, operation: str) -> int:
        """How often it was asked for this: `imds:token`, `logs:PutLogEvents`."""
        return self.state()["counts"]["operations"].get(operation, 0)

    def settings(self, **change: object) -> None:
        """Changes settings: `hop_limit=1`, `put_latency_ms=500`."""
        self._ask("POST", "settings", change)

    def fault(self, operation: str, effect: object, **more: object) -> None:
        """Makes requests go wrong from now on: `fault("logs:PutLogEvents", "hang")`."""
        self._ask("POST", "faults", {"operation": operation, "effect": effect, **more})

    def heal(self) -> None:
        """Takes all faults back."""
        self._ask("DELETE", "faults")

    def lines(self, group: str, stream: str) -> list[str]:
        """The messages of a stream in the order that CloudWatch shows; none where there is no such stream."""
        query = urllib.parse.urlencode({"group": group, "stream": stream, "format": "text", "order": "shown"})
        try:
            return self._ask("GET", f"events?{query}").splitlines()
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return []
            raise

"""What is in cloud-init/: the user data, and the script and the configuration that each holds. Not what must be true of
them."""

import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
CLOUD_INIT = ROOT / "cloud-init"

SCRIPT = CLOUD_INIT / "user-data.sh"
EXAMPLES = sorted((CLOUD_INIT / "examples").glob("*.yaml"))
CLOUD_CONFIGS = [CLOUD_INIT / "user-data.yaml", *EXAMPLES]
USER_DATA = [SCRIPT, *CLOUD_CONFIGS]

TEMPLATE = CLOUD_INIT / "cloudformation" / "imds-agent.yaml"
TERRAFORM = CLOUD_INIT / "terraform"

SCRIPT_PATH = "/var/lib/cloud/scripts/per-instance/imds-agent"
MARK = "# --- Nothing to set from here on ---\n"


def script(document: Path) -> str:
    """The script that cloud-init runs."""
    if document == SCRIPT:
        return document.read_text()
    files = yaml.safe_load(document.read_text())["write_files"]
    return next(file["content"] for file in files if file["path"] == SCRIPT_PATH)


def settings(document: Path) -> str:
    """The part of the script that people change."""
    return script(document).split(MARK)[0]


def configuration(document: Path) -> str:
    """The agent's configuration, as the script writes it."""
    print_it = settings(document) + "configuration\n"
    return subprocess.run(["sh", "-euc", print_it], check=True, capture_output=True, text=True).stdout


def comment(document: Path) -> str:
    """The lines that introduce a document, as one."""
    lines = document.read_text().split("\n\n#!", 1)[0].splitlines()[1:]
    before_code = lines[: next(at for at, line in enumerate(lines) if line and not line.startswith("#"))]
    return " ".join(line.lstrip("# ") for line in before_code)

"""README's "Install", word for word, on a bare Debian 12 with the metadata service at its real address.

Its first command, which builds the package, ran before the tests (prepare), where the registries can be reached.
"""

import re
from pathlib import Path

from agent import INSTANCE
from emulator import Emulator
from machine import Machine
from shell import CHECKOUT, furnish
from waiting import until

README = Path(__file__).resolve().parents[2] / "README.md"


def commands(section: str) -> list[str]:
    """The shell commands of a section, block by block."""
    text = re.search(rf"^## {section}\n(.*?)^## ", README.read_text(), re.DOTALL | re.MULTILINE)
    assert text
    return re.findall(r"^```sh\n(.*?)^```", text[1], re.DOTALL | re.MULTILINE)


def test_what_the_readme_says_ends_with_a_line_at_cloudwatch(machine: Machine, emulator: Emulator, deb: Path) -> None:
    build, install, see = commands("Install")
    assert build == "packaging/build deb\n"
    furnish(machine, deb)
    for block in (install, see):
        machine.shell(f"cd {CHECKOUT}\n{block}", timeout=120)
    lines = until(lambda: emulator.lines("/aws/ec2/prod", f"{INSTANCE}/app.log"), "the line")
    assert lines == [f"hello from {machine.run('hostname').stdout.strip()}"]

#!/usr/bin/env python3
"""What is in the binary: its SBOM, the licences of its parts, and Debian's copyright file.

    inventory.py TARGET DIRECTORY

writes into DIRECTORY
    imds-agent.cdx.json     CycloneDX 1.5: each crate that is linked in, its version, hash, licence and dependencies,
                            the Rust standard library, and the unwinder that the linker adds
    THIRD-PARTY-LICENSES    the licence and notice files of all of them, as their authors wrote them, each text once
    copyright               Debian's copyright format 1.0: whose what is, under which licence

The crates are those of `cargo tree`, which knows the features and the target that the binary is built with; procedural
macros and build scripts run at build time and are no part of it. Not the decision which licences are allowed: that is
deny.toml's. SOURCE_DATE_EPOCH dates what needs a date.
"""

import datetime
import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

# Files of a crate that hold its licence or who is to be named.
LICENCE_FILE = re.compile(r"^(licen[cs]e|copying|copyright|notice|unlicense)", re.IGNORECASE)

# Where a crate may be had under one of several licences, the first of these is taken: our own, then the shortest.
PREFERRED = ["Apache-2.0", "MIT", "ISC", "BSD-3-Clause", "Unicode-3.0", "Zlib"]

# The words each licence's text begins with, and those it ends with; Debian's copyright file quotes what is between.
# Apache-2.0 is on every Debian system.
TEXT = {
    "MIT": ("Permission is hereby granted, free of charge", "OTHER DEALINGS IN THE SOFTWARE."),
    "ISC": ("Permission to use, copy, modify, and", "PERFORMANCE OF THIS SOFTWARE."),
    "BSD-3-Clause": ("Redistribution and use in source and binary forms", "POSSIBILITY OF SUCH DAMAGE."),
    "Unicode-3.0": (
        "Permission is hereby granted, free of charge, to any person obtaining a copy of data",
        "copyright holder.",
    ),
    "Zlib": (
        "This software is provided 'as-is', without any express or implied",
        "may not be removed or altered from any source distribution.",
    ),
}
COMMON_LICENCE = "On Debian systems, the text is in /usr/share/common-licenses/Apache-2.0."
LLVM_EXCEPTION = "The LLVM exception: in a binary, its notices need not be given."

OUR_COPYRIGHT = "2026 the imds-agent authors"


@dataclass
class Part:
    """Something that is linked into the binary."""

    name: str
    version: str
    licence: str
    purl: str
    directory: Path | None = None
    sha256: str | None = None
    source: str | None = None
    needs: set[str] = field(default_factory=set)

    @property
    def key(self) -> str:
        return f"{self.name} {self.version}"

    def texts(self) -> list[str]:
        """The licence files of the part, in the order of their names."""
        if self.directory is None:
            return []
        files = sorted(path for path in self.directory.iterdir() if path.is_file() and LICENCE_FILE.match(path.name))
        return [path.read_text(encoding="utf-8", errors="replace").strip("\n") for path in files]


def run(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def spdx(expression: str) -> str:
    """The licence as SPDX writes it: older crates separate with a slash."""
    return re.sub(r"\s*/\s*", " OR ", expression)


def crates(target: str) -> tuple[Part, list[Part]]:
    """The program itself, and every crate in it."""
    packages = {
        f"{package['name']} {package['version']}": package
        for package in json.loads(run("cargo", "metadata", "--locked", "--format-version=1"))["packages"]
    }
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    hashes = {f"{package['name']} {package['version']}": package.get("checksum") for package in locked}
    tree = run(
        "cargo", "tree", "--locked", "--no-default-features", "--edges", "normal,no-proc-macro", "--target", target,
        "--prefix", "depth", "--format", " {p}",
    )  # fmt: skip
    parts: dict[str, Part] = {}
    above: list[str] = []
    for line in tree.splitlines():
        depth, name, version = line.split()[:3]
        key = f"{name} {version.removeprefix('v')}"
        if key not in parts:
            package = packages[key]
            parts[key] = Part(
                name=name,
                version=package["version"],
                licence=spdx(package["license"]),
                purl=f"pkg:cargo/{name}@{package['version']}",
                directory=Path(package["manifest_path"]).parent,
                sha256=hashes[key],
                source=package["repository"],
            )
        above[int(depth) :] = [key]
        if len(above) > 1:
            parts[above[-2]].needs.add(key)
    program, *linked = parts.values()
    return program, linked


def toolchain() -> list[Part]:
    """What the compiler and the linker put in beside crates."""
    rustc = dict(line.split(": ", 1) for line in run("rustc", "-vV").splitlines() if ": " in line)
    zig = installed_version("ziglang")
    return [
        Part(
            name="rust-std",
            version=rustc["release"],
            licence="MIT OR Apache-2.0",
            purl=f"pkg:generic/rust-std@{rustc['release']}",
            source="https://github.com/rust-lang/rust",
        ),
        Part(
            name="llvm-libunwind",
            version=f"zig-{zig}",
            licence="Apache-2.0 WITH LLVM-exception",
            purl=f"pkg:pypi/ziglang@{zig}",
            source="https://github.com/llvm/llvm-project",
        ),
    ]


def component(part: Part) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": "library",
        "bom-ref": part.purl,
        "name": part.name,
        "version": part.version,
        "scope": "required",
        "licenses": [{"expression": part.licence}],
        "purl": part.purl,
    }
    if part.sha256:
        entry["hashes"] = [{"alg": "SHA-256", "content": part.sha256}]
    if part.source:
        entry["externalReferences"] = [{"type": "vcs", "url": part.source}]
    return entry


def sbom(program: Part, parts: list[Part], when: datetime.datetime, target: str) -> dict[str, Any]:
    refs = {part.key: part.purl for part in [program, *parts]}
    components = [component(part) for part in sorted(parts, key=lambda part: part.purl)]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "tools": {
                "components": [{"type": "application", "name": "packaging/inventory.py", "version": program.version}]
            },
            "component": {**component(program), "type": "application"},
            "properties": [{"name": "imds-agent:target", "value": target}],
        },
        "components": components,
        "dependencies": [
            {"ref": part.purl, "dependsOn": sorted(refs[need] for need in part.needs)}
            for part in sorted([program, *parts], key=lambda part: part.purl)
        ],
    }
    # Named by its content, so that the same sources give the same file.
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, digest)}"
    return document


def taken(expression: str) -> list[str]:
    """The licences that apply once a choice is made: of `A OR B` one, of `A AND B` both."""
    both: list[str] = []
    for alternative in expression.replace("(", "").replace(")", "").split(" AND "):
        choices = alternative.split(" OR ")
        both.append(next((licence for licence in PREFERRED if licence in choices), choices[0]))
    return sorted({licence.replace(" WITH LLVM-exception", " with LLVM exception") for licence in both})


def holders(part: Part) -> list[str]:
    """The copyright lines of the part's own files; where there are none, its authors without a name."""
    found: set[str] = set()
    for line in "\n".join(part.texts()).splitlines():
        match = re.match(r"\s*(?://|\*)?\s*Copyright\s+(?:\(c\)|©)?\s*(.*\d{4}.*)", line, re.IGNORECASE)
        if match and "[yyyy]" not in line and "{yyyy}" not in line:
            found.add(re.sub(r"\s+", " ", match.group(1)).strip(" ."))
    return sorted(found) or [f"the {part.name} authors"]


def quoted(licence: str, texts: list[str]) -> str:
    """The text of a licence as Debian's copyright file holds it: indented, with dots for empty lines."""
    if licence.startswith("Apache-2.0"):
        lines = [COMMON_LICENCE, LLVM_EXCEPTION] if licence.endswith("exception") else [COMMON_LICENCE]
    else:
        begin, end = TEXT[licence]
        pattern = re.compile(
            r"\s+".join(map(re.escape, begin.split())) + ".*?" + r"\s+".join(map(re.escape, end.split())), re.DOTALL
        )
        found = next((match.group(0) for text in texts if (match := pattern.search(text))), None)
        if found is None:
            sys.exit(
                f"inventory.py: no crate has the text of {licence}; see what deny.toml allows and TEXT in this file"
            )
        lines = [line.strip() for line in found.splitlines()]
    return "\n".join(f" {line or '.'}" for line in lines)


def copyright_file(program: Part, parts: list[Part]) -> str:
    stanzas = [
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
        f"Upstream-Name: {program.name}\n"
        "Comment: The binary holds the crates below, linked in. Where one may be had under several licences, the one\n"
        " chosen is named. Their own licence and notice files are in THIRD-PARTY-LICENSES.gz beside this file.",
        f"Files: *\nCopyright: {OUR_COPYRIGHT}\nLicense: {program.licence}",
    ]
    groups: dict[tuple[str, ...], list[Part]] = defaultdict(list)
    for part in parts:
        groups[(" and ".join(taken(part.licence)), *holders(part))].append(part)
    for (licence, *owners), members in sorted(groups.items()):
        files = "\n ".join(f"crates/{part.name}-{part.version}/*" for part in members)
        stanzas.append(f"Files: {files}\nCopyright: " + "\n ".join(owners) + f"\nLicense: {licence}")
    texts = [text for part in parts for text in part.texts()]
    for licence in sorted({licence for part in [program, *parts] for licence in taken(part.licence)}):
        stanzas.append(f"License: {licence}\n{quoted(licence, texts)}")
    return "\n\n".join(stanzas) + "\n"


def licence_texts(parts: list[Part]) -> str:
    users: dict[str, list[str]] = defaultdict(list)
    silent: list[str] = []
    for part in parts:
        texts = part.texts()
        for text in texts:
            users[text].append(part.key)
        if not texts:
            silent.append(f"{part.key}: {part.licence}")
    sections = ["The licence and notice files of what is linked into imds-agent, as their authors wrote them."]
    if silent:
        sections.append("These come without one; their authors name the licence only:\n    " + "\n    ".join(silent))
    for text, names in users.items():
        sections.append("=" * 100 + "\n" + ", ".join(names) + "\n" + "=" * 100 + "\n\n" + text)
    return "\n\n".join(sections) + "\n"


def main() -> None:
    target, directory = sys.argv[1], Path(sys.argv[2])
    when = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.UTC)
    program, linked = crates(target)
    added = toolchain()
    program.needs |= {part.key for part in added}
    parts = linked + added
    (directory / "imds-agent.cdx.json").write_text(json.dumps(sbom(program, parts, when, target), indent=1) + "\n")
    (directory / "THIRD-PARTY-LICENSES").write_text(licence_texts(parts))
    (directory / "copyright").write_text(copyright_file(program, parts))
    print(f"{len(parts)} parts: SBOM, licences and copyright written to {directory}")


if __name__ == "__main__":
    main()

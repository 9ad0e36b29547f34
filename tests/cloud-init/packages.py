"""Packages with nothing in them but their names and versions, made by the real tools. Not the agent's."""

import subprocess
from pathlib import Path

SPEC = """
Name: imds-agent
Version: {version}
Release: {release}
Summary: A stand-in
License: none
%description
%files
"""


def deb(directory: Path, version: str) -> Path:
    """`imds-agent_VERSION_amd64.deb`, for whatever architecture this machine has."""
    architecture = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True).stdout.strip()
    tree = directory / f"tree-{version}"
    (tree / "DEBIAN").mkdir(parents=True)
    control = f"Package: imds-agent\nVersion: {version}\nArchitecture: {architecture}\n"
    (tree / "DEBIAN" / "control").write_text(f"{control}Maintainer: nobody <nobody@example.com>\nDescription: none\n")
    package = directory / f"imds-agent_{version}_{architecture}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, package], check=True, capture_output=True)
    return package


def rpm(directory: Path, version: str) -> Path:
    """`imds-agent-VERSION.x86_64.rpm`, for whatever architecture this machine has."""
    spec = directory / f"{version}.spec"
    number, release = version.split("-")
    spec.write_text(SPEC.format(version=number, release=release))
    command = ["rpmbuild", "-bb", "--define", f"_topdir {directory}/rpmbuild", "--define", f"_rpmdir {directory}"]
    naming = ["--define", "_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm", spec]
    subprocess.run(command + naming, check=True, capture_output=True)
    return next(directory.glob(f"imds-agent-{version}.*.rpm"))


MAKE = {"deb": deb, "rpm": rpm}

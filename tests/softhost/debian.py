"""Debian's tools as tests want them, and packages of their own."""

import subprocess
from pathlib import Path


def tool(directory: Path, name: str, script: str) -> None:
    """A shell script as the program `name` in `directory`."""
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def deb(directory: Path, name: str, files: dict[str, str]) -> Path:
    """A real package that holds `files`, every one of which may be executed."""
    tree = directory / f"{name}.tree"
    for path, content in {
        **files,
        "DEBIAN/control": f"Package: {name}\nVersion: 1\nArchitecture: all\n"
        "Maintainer: Nobody <nobody@example.org>\nDescription: a test\n",
    }.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(content)
        (tree / path).chmod(0o755)
    target = directory / f"{name}.deb"
    subprocess.run(["dpkg-deb", "--build", tree, target], check=True, capture_output=True)
    return target

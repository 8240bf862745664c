"""A software host without the software host: see fake_qemu.py."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vestige.softhost import kernel, packages

Behave = Callable[[str], None]


@pytest.fixture
def fake_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Behave:
    """Puts the fake QEMU before the real one, and a fake kernel into a cache of its own.

    Call the result to choose a behaviour other than `works`.
    """
    for name, value in fake_environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    return lambda behaviour: monkeypatch.setenv("VESTIGE_FAKE_QEMU", behaviour)


def fake_environment(folder: Path) -> dict[str, str]:
    """What has a program find both, which are made in `folder`."""
    programs = folder / "programs"
    programs.mkdir()
    program = programs / "qemu-system-x86_64"
    script = Path(__file__).with_name("fake_qemu.py")
    program.write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(script))} "$@"\n'
    )
    program.chmod(0o755)
    directory = folder / "cache" / "vestige" / "softhost" / kernel.cached().name
    directory.mkdir(parents=True)
    for name in ("kernel", "initramfs.cpio"):
        (directory / name).touch()
    (directory / "release").write_text("6.1.0-0-amd64\n")
    packages.note_sizes(directory)
    return {
        "PATH": f"{programs}:/usr/bin:/bin",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "VESTIGE_FAKE_QEMU": "works",
    }

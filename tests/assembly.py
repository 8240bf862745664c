"""Guests of a few hundred bytes that are written in assembly language."""

import shutil
import subprocess
from pathlib import Path

import pytest

_PROGRAMS = ("as", "objcopy")
IS_THERE = all(map(shutil.which, _PROGRAMS))
WHY_NOT = f"needs {' and '.join(_PROGRAMS)}"
NEEDED = pytest.mark.skipif(not IS_THERE, reason=WHY_NOT)


def assembled(source: Path, folder: Path, **symbols: int) -> bytes:
    """What is in the section .text of a source for 32-bit x86, which may need `symbols`.

    `folder`: for what is between.
    """
    made, flat = folder / "made.o", folder / "made.bin"
    given = [f"--defsym={name}={value:#x}" for name, value in symbols.items()]
    subprocess.run(["as", "--32", *given, "-I", source.parent, "-o", made, source], check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", made, flat], check=True)
    return flat.read_bytes()

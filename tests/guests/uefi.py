"""A PC with Debian's OVMF in a software host, and somebody at its serial console.

OVMF writes CR8, by which QEMU's emulator ends where KVM waits to interrupt its guest: an assertion
that one of QEMU's locks is held fails, and that matters for no device of the software host. So
these runs have a copy of QEMU without that assertion (emulator.CR8_ASSERTION), where each byte
around it is as known.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.efiemu import ovmf
from tests.guests.dialogue import Dialogue
from vestige.softhost import emulator, packages
from vestige.softhost.emulator import CR8_ASSERTION as KNOWN

PATIENCE = 900.0  # seconds for what comes next, on a busy machine


def surroundings(home: Path) -> dict[str, str]:
    """An environment with a cache of its own in `home`, in which QEMU is that copy."""
    program = emulator.ensure(print).program
    if program.parent != emulator.cached():
        pytest.skip("needs the QEMU of Debian 12's backports, in which the assertion is known")
    with program.open("rb") as file:
        file.seek(KNOWN.offset)
        if file.read(len(KNOWN.before)) != KNOWN.before:
            pytest.skip(f"the assertion is not where it is known to be in {program}")
    ours = packages.cache_directory("softhost")
    cache = home / ours.parent.name
    cache.mkdir(mode=0o700)
    for name in ("softhost", "images"):
        shutil.copytree(ours.parent / name, cache / name)
    with (cache / program.relative_to(ours.parent)).open("r+b") as file:
        file.seek(KNOWN.offset)
        file.write(KNOWN.after)
    return {**os.environ, "XDG_CACHE_HOME": str(home)}


def firmware() -> Path:
    """Debian's OVMF, which finds its variables in a file of its own, or in none."""
    return ovmf.files() / "usr/share/OVMF/OVMF_CODE_4M.fd"


@contextmanager
def run(
    environment: dict[str, str], *words: str
) -> "Iterator[tuple[subprocess.Popen[bytes], Dialogue]]":
    """A PC with OVMF, and somebody at its serial console."""
    command = (sys.executable, "-m", "vestige.cli.main", "run", "--accel", "soft")
    machine = ("--machine", "pc", "--vga", "none", "--timeout", str(2 * PATIENCE))
    with subprocess.Popen(
        [*command, *machine, "--firmware", str(firmware()), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process, Dialogue(process.stdout.fileno(), process.stdin.fileno(), PATIENCE)
        finally:
            process.kill()

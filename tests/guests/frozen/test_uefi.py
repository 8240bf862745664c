"""A PC with Debian's OVMF, frozen at its shell while a timer of it runs, and thawed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.guests import uefi
from tests.guests.frozen.uefi_inside import PATIENCE
from tests.guests.store import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.softhost,
    pytest.mark.skipif(
        not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64 (software host)"
    ),
]
STOPPED = 143


def value(text: str) -> str:
    """A variable's bytes as its shell shows text."""
    return " ".join(f"{byte:02X}" for byte in text.encode())


def test_its_shell_goes_on_and_its_variables_are_the_snapshots(
    surroundings: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    command = [sys.executable, "-m", "vestige.cli.main", "softhost", "--"]
    command += [sys.executable, "-m", "tests.guests.frozen.uefi_inside"]
    done = subprocess.run(
        [*command, str(uefi.firmware()), str(tmp_path)],
        env=surroundings,
        cwd=ROOT,
        capture_output=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["told"] == ["", ""]
    assert found["statuses"] == [STOPPED, STOPPED, 0, 0]
    assert value("first") in found["first"]
    assert value("second") in found["second"]
    assert value("first") in found["again"]  # another's writes to the flash are its own
    written = (tmp_path / "variables").read_bytes()
    assert b"first" in written  # as the first life left them
    assert b"second" not in written

"""ACPICA's own compiler as the judge of tables: it reads them, and compiles them back."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

HEADER = 36  # bytes of a table that iasl writes in its own words


def iasl(directory: Path, *arguments: str) -> str:
    """What iasl printed; it must have succeeded."""
    if shutil.which("iasl") is None:
        pytest.skip("needs iasl (Debian's acpica-tools)")
    command = ["iasl", *arguments]
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def check_table(directory: Path, name: str, table: bytes) -> None:
    """It compiles the table back to the same bytes, without an error, a warning or a remark.

    Tables are known by their common header, which an RSDP has not.
    """
    (directory / f"{name}.dat").write_bytes(table)
    said = iasl(directory, "-d", f"{name}.dat")
    assert not re.search(r"\b(error|warning|remark|invalid)\b", said, re.IGNORECASE), said
    said = iasl(directory, "-oa", "-p", f"{name}-again", f"{name}.dsl")
    assert "0 Errors, 0 Warnings, 0 Remarks" in said
    assert (directory / f"{name}-again.aml").read_bytes()[HEADER:] == table[HEADER:]

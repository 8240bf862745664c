"""The words on a picture, as Tesseract reads them. Source: tesseract(1)."""

import os
import shutil
import subprocess
from pathlib import Path

from vestige.errors import GuestError

PROGRAM = "tesseract"
_QUICK = 120.0  # seconds


def is_there() -> bool:
    """Whether pictures can be read here."""
    return shutil.which(PROGRAM) is not None


def words(picture: Path) -> str:
    """Of a PNG, with one blank between them. Raises GuestError where the program fails."""
    # 6: one block of lines. What looks for a page's own layout misses words on a background.
    command = [PROGRAM, str(picture), "-", "--psm", "6"]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_QUICK,
            env={**os.environ, "OMP_THREAD_LIMIT": "1"},  # it takes all processors, for little
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise GuestError(f"{PROGRAM} {picture}: not done after {_QUICK:.0f} s") from None
    if done.returncode:
        raise GuestError(f"{PROGRAM} {picture}: status {done.returncode}, {done.stderr}")
    return " ".join(done.stdout.split())


def has(mark: str, said: str) -> bool:
    """Whether it is there, wherever blanks are read."""
    return "".join(mark.split()) in "".join(said.split())

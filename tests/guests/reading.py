"""The words on a picture, as Tesseract reads them. Source: tesseract(1)."""

import os
import shutil
from pathlib import Path

from tests.guests.asking import printed

PROGRAM = "tesseract"
_QUICK = 120.0  # seconds


def is_there() -> bool:
    """Whether pictures can be read here."""
    return shutil.which(PROGRAM) is not None


def words(picture: Path) -> str:
    """Of a PNG, with one blank between them. Raises GuestError where the program fails."""
    # 6: one block of lines. What looks for a page's own layout misses words on a background.
    command = (PROGRAM, str(picture), "-", "--psm", "6")
    environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}  # it takes all processors, for little
    return " ".join(printed(*command, seconds=_QUICK, environment=environment).split())


def has(mark: str, said: str) -> bool:
    """Whether it is there, wherever blanks are read."""
    return "".join(mark.split()) in "".join(said.split())

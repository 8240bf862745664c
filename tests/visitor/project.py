"""A copy of the project that has one device more: what that takes is listed here."""

import difflib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COPIED = ("vestige", "tests", "docs", "pyproject.toml")
# The device's own: its folder, its page, its tests. They stand here under another name.
MODEL, TESTS = "vestige/monitor/devices/interval_timer", "tests/devices/interval_timer"
PAGE = Path("docs", "devices", "interval_timer.md")
MOVED = {"interval_timer": MODEL, "interval_timer.md": str(PAGE), "inside": TESTS}
RENAMED = {
    "tests.visitor.inside": "tests.devices.interval_timer",
    "tests.visitor.interval_timer": "vestige.monitor.devices.interval_timer",
}
PATIENCE = 600  # seconds, of a busy machine


class Line(NamedTuple):
    """One line more in a file of the project."""

    file: str
    text: str
    after: str  # the line before it

    def add(self, project: Path) -> None:
        """Write it."""
        path = project / self.file
        lines = path.read_text().split("\n")
        lines.insert(lines.index(self.after) + 1, self.text)
        path.write_text("\n".join(lines))


ROW = (
    Line(
        "vestige/devices.py",
        "from vestige.monitor.devices.interval_timer.place import INTERVAL_TIMER",
        after="from vestige.monitor.devices.hpet.place import HPET_TIMERS",
    ),
    Line("vestige/devices.py", "    INTERVAL_TIMER,", after="    UART,"),
)
FIELD = (
    Line(
        "vestige/monitor/core/machine.py",
        "from vestige.monitor.devices.interval_timer.model import IntervalTimer",
        after="from vestige.monitor.devices.hpet.model import Hpet",
    ),
    Line(
        "vestige/monitor/core/machine.py",
        "    interval_timer: IntervalTimer",
        after="    pvpanic: Pvpanic",
    ),
)


class Project:
    """The copy, in a folder that must not be there yet. Its cache of images is its own."""

    def __init__(self, folder: Path, lines: Iterable[Line] = (*ROW, *FIELD)) -> None:
        self.folder = folder
        unwanted = shutil.ignore_patterns("__pycache__", HERE.name)
        folder.mkdir()
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
            else:
                shutil.copy(ROOT / name, folder / name)
        for name, place in MOVED.items():
            self._move_in(HERE / name, folder / place)
        for line in lines:
            line.add(folder)

    def _move_in(self, source: Path, place: Path) -> None:
        """Copy a file or folder of the device's own to where it belongs."""
        if source.is_dir():
            place.mkdir()
            for file in source.glob("*.py"):
                self._move_in(file, place / file.name)
            return
        text = source.read_text()
        for name, other in RENAMED.items():
            text = text.replace(name, other)
        place.write_text(text)

    def edit(self, file: str, old: str, new: str) -> None:
        """Put `new` in the place of `old`, which is there once."""
        text = (self.folder / file).read_text()
        assert text.count(old) == 1
        (self.folder / file).write_text(text.replace(old, new))

    def line_of_the_place(self) -> int:
        """The line of the device's place.py in which its record begins."""
        lines = (self.folder / MODEL / "place.py").read_text().splitlines()
        return 1 + lines.index("INTERVAL_TIMER = Place(")

    def python(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run Python in the copy, with its package before any other."""
        own = {"PYTHONPATH": str(self.folder), "XDG_CACHE_HOME": str(self.folder / "cache")}
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")
        }
        return subprocess.run(
            [sys.executable, *words],
            capture_output=True,
            check=False,
            cwd=self.folder,
            env=inherited | own,
            text=True,
            timeout=PATIENCE,
        )

    def pytest(self, *words: str) -> None:
        """Run tests of the copy, which must pass; some may be skipped."""
        temporary = f"--basetemp={self.folder / 'temporary'}"
        done = self.python("-m", "pytest", "-q", "-p", "no:cacheprovider", temporary, *words)
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"\b\d+ passed\b", done.stdout), done.stdout

    def changes(self) -> dict[str, list[str]]:
        """By file: the lines, of a diff, in which the copy is not the project; [] for a new one."""
        found: dict[str, list[str]] = {}
        for path in sorted(self.folder.rglob("*.*")):
            name = path.relative_to(self.folder)
            if name.parts[0] not in COPIED or path.suffix not in (".py", ".md", ".toml", ".s"):
                continue
            if not (ROOT / name).exists():
                found[str(name)] = []
                continue
            before, after = (ROOT / name).read_text(), path.read_text()
            if before != after:
                lines = difflib.ndiff(before.splitlines(), after.splitlines())
                found[str(name)] = [line for line in lines if line[0] != " "]
        return found

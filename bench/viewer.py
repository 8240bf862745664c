"""How soon a VNC viewer sees what a PC's guest has drawn, and what looking on takes.

    python -m bench.viewer [--rounds 3]

A boot sector (bench/guest/screen.S) changes one dot of 1024 by 768 about five times a second, and
says so on its serial port just before. A viewer that always waits for news reads both. Then nothing
changes for 10 seconds. Vestige's `--display vnc` against QEMU's `-vnc`, the machine a pc with the
same BIOSes, by turns, in one software host. Writes bench/results/viewer.json and .svg and the table
in docs/performance.md.
"""

import os
import select
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.common import command, pc
from bench.common.pc import KERNEL, OURS
from bench.common.sector import FAST, prepared
from bench.inside.marked import cpu_time
from bench.inside.processes import children_of, tree
from vestige.errors import GuestError

NAME = "viewer"
NAMES = (OURS, KERNEL)
CHANGED = 0x80  # what it says before
BEGIN, END = b"screen: begin", b"screen: end"
STEP = 0x030201  # from one colour to the next
STILL = 10.0  # seconds
SIZE = (1024, 768)
LIMIT = 120.0  # seconds, until what a guest or its viewer waits for
DELAY, WORST, ALL, VIEWER = "delay", "worst", "all", "viewer"
GOALS = {DELAY: 50.0, VIEWER: 5.0}  # ms, % of a processor
# RFC 6143: 7.1 and 7.3.1; 7.5.1, 32 bits, blue first; 7.5.2, Raw and DesktopSize; 7.5.3.
VERSION = b"RFB 003.008\n"
NO_AUTHENTICATION, SHARED = 1, b"\1"
PIXELS = struct.pack(">BxxxBBBBHHHBBBxxx", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)
ENCODINGS = struct.pack(">BxHii", 2, 2, 0, -223)
REQUEST = struct.pack(">BBHHHH", 3, 1, 0, 0, *SIZE)
UPDATE, RAW = 0, 0


class Viewer:
    """Always waits for news; knows the first dot of what it was shown."""

    def __init__(self, path: Path) -> None:
        """Look on at a Unix socket. Raises GuestError where nobody shows anything there."""
        self.socket = socket.socket(socket.AF_UNIX)
        limit = time.monotonic() + LIMIT
        while self.socket.connect_ex(str(path)):
            if time.monotonic() > limit:
                raise GuestError(f"nobody shows a screen at {path}")
            time.sleep(0.05)
        self.socket.settimeout(LIMIT)
        self.first = -1
        self._read(len(VERSION))
        self.socket.sendall(VERSION)
        self._read(self._read(1)[0])
        self.socket.sendall(bytes((NO_AUTHENTICATION,)))
        self._read(4)
        self.socket.sendall(SHARED)
        (length,) = struct.unpack(">I", self._read(24)[20:])
        self._read(length)
        self.socket.sendall(PIXELS + ENCODINGS + REQUEST)

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise GuestError("the viewer was let go")
            data += more
        return bytes(data)

    def take(self) -> None:
        """A message, and ask for the next."""
        kind = self._read(1)[0]
        if kind != UPDATE:
            raise GuestError(f"a message of kind {kind}")
        (count,) = struct.unpack(">xH", self._read(3))
        for _ in range(count):
            x, y, width, height, encoding = struct.unpack(">HHHHi", self._read(12))
            if encoding == RAW:
                dots = self._read(4 * width * height)
                if x == y == 0:
                    self.first = int.from_bytes(dots[:3], "little")
        self.socket.sendall(REQUEST)

    def close(self) -> None:
        """Look no more."""
        self.socket.close()


class Watched:
    """A guest, what it says, and when its viewer sees it."""

    def __init__(self, process: "subprocess.Popen[bytes]", viewer: Viewer) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("a guest without pipes")
        self._process, self._viewer = process, viewer
        self._input, self._output = process.stdin, process.stdout.fileno()
        self._said = b""
        self._drawn: dict[int, float] = {}  # colours that were not seen yet, and since when
        self._colour = 0
        self.delays: list[float] = []

    def until(self, mark: bytes) -> None:
        """Look on until it has said this."""
        limit = time.monotonic() + LIMIT
        while mark not in self._said or self._drawn:
            if time.monotonic() > limit:
                raise GuestError(f"a guest has not said {mark!r}: {self._said[-500:]!r}")
            self._step(1.0)

    def start(self) -> None:
        """Have it draw."""
        self._input.write(b"!")
        self._input.flush()

    def shares(self) -> dict[str, float]:
        """Percent of a processor that its processes take while nothing changes; the viewer's."""
        pids = tree(self._process.pid)
        before = {pid: cpu_time(pid) for pid in pids}
        began = time.monotonic()
        while (left := began + STILL - time.monotonic()) > 0:
            self._step(left)
        seconds = time.monotonic() - began
        took = {pid: 100 * (cpu_time(pid) - before[pid]) / seconds for pid in pids}
        alone = [took[pid] for pid in children_of(self._process.pid) if not has_machine(pid)]
        found = {ALL: round(sum(took.values()), 2)}
        return found | ({VIEWER: round(sum(alone), 2)} if alone else {})

    def _step(self, seconds: float) -> None:
        """What comes first: of the guest, or of the viewer."""
        shown = self._viewer.socket.fileno()
        ready, _, _ = select.select([self._output, shown], [], [], seconds)
        now = time.monotonic()
        if self._output in ready:
            data = os.read(self._output, 1 << 12)
            if not data:
                raise GuestError("a guest has ended")
            for _ in range(data.count(CHANGED)):
                self._colour += STEP
                self._drawn[self._colour] = now
            self._said += data.replace(bytes((CHANGED,)), b"")
        if shown in ready:
            self._viewer.take()
            now = time.monotonic()
            if self._viewer.first in self._drawn:
                self.delays.append(1000 * (now - self._drawn[self._viewer.first]))
                for colour in [each for each in self._drawn if each <= self._viewer.first]:
                    del self._drawn[colour]


def has_machine(pid: int) -> bool:
    """Whether it is a process that has virtual CPUs."""
    links = (each.readlink() for each in Path(f"/proc/{pid}/fd").iterdir())
    return any("kvm-vcpu" in str(link) for link in links)


@contextmanager
def watched(words: Sequence[str], screen: Path) -> Iterator[Watched]:
    """A guest with a viewer, which is ended."""
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        viewer = Viewer(screen)
        try:
            yield Watched(process, viewer)
        finally:
            viewer.close()
    finally:
        process.terminate()
        process.communicate(timeout=LIMIT)


def once(words: Sequence[str], screen: Path) -> dict[str, float]:
    """Median and worst delay in ms; the shares."""
    with watched(words, screen) as guest:
        guest.until(BEGIN)
        guest.start()
        guest.until(END)
        delays = {DELAY: statistics.median(guest.delays), WORST: max(guest.delays)}
        return {name: round(delay, 2) for name, delay in delays.items()} | guest.shares()


def measured(*, qemu: list[str], disk: str, rounds: int) -> dict[str, Any]:
    """Inside: rounds by turns; the first does not count. `qemu` begins its command line."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in NAMES}
    with TemporaryDirectory(dir=FAST) as name:
        folder = Path(name)
        image, screen = folder / "disk.img", folder / "screen"
        image.write_bytes(Path(disk).read_bytes())
        drive = ("-drive", f"file={image},if=ide,format=raw", "-vnc", f"unix:{screen}")
        display = ("--display", f"vnc:unix:{screen}")
        ways = {
            OURS: pc.vestige("--disk", f"{image},bus=ide", *display, vga="std"),
            KERNEL: pc.qemu(qemu, KERNEL, *drive, vga="std"),
        }
        for number in range(rounds + 1):
            for each, words in ways.items():
                figures = once(words, screen)
                screen.unlink(missing_ok=True)
                if number:
                    found[each].append(figures)
    return found


def conclude(rounds: int, write_page: bool) -> None:
    """Measure in a software host, and report."""
    report(prepared(NAME, "screen.S", rounds), write_page)


def report(result: dict[str, Any], write_page: bool) -> None:
    """JSON, a plot, and the table in docs/performance.md."""
    from bench.common import newest_qemu, plot, results  # noqa: PLC0415 - not needed inside

    taken = newest_qemu.taken()
    results.write_json(NAME, {**taken, "rounds": result})
    what = {
        DELAY: "from a guest's write to a viewer's dot, median, ms",
        WORST: "the longest of 40, ms",
        ALL: "all processes while nothing changes, % of a processor",
        VIEWER: "of these the viewer's, %",
    }
    rows, panels = [], []
    for key, title in what.items():
        values = {name: [each[key] for each in result[name] if key in each] for name in NAMES}
        medians = {name: statistics.median(each) for name, each in values.items() if each}
        figures = (results.number(medians[name]) if name in medians else "" for name in NAMES)
        rows.append([title, *figures, goal(key, medians[OURS])])
        panels.append(plot.Panel(title, "", values, medians))
    plot.bars(results.RESULTS / f"{NAME}.svg", "Somebody looks on", panels, pc.COLOURS)
    lines = [results.taken(taken), "", *results.table(["1024 by 768 dots", *NAMES, "goal"], rows)]
    print("\n".join(lines))
    if write_page:
        results.write_section(NAME, lines)


def goal(key: str, ours: float) -> str:
    """What was promised of a figure, and whether it is so."""
    if key not in GOALS:
        return ""
    from bench.common import results  # noqa: PLC0415 - not needed inside

    return f"≤ {GOALS[key]:.0f}: {results.verdict(ours <= GOALS[key])}"


def main() -> int:
    """The command line."""
    return pc.command_line(__doc__, 3, measured, conclude)


if __name__ == "__main__":
    sys.exit(command.status(NAME, main))

"""How fast copies of a frozen guest go on, natively, what memory each has, how long a freeze takes.

    python -m bench.clones [--rounds 9]

By turns, in one run; the guests are of a few instructions (bench/common/tiny_guest.py):

- from the call to the first byte that a guest writes: an empty guest's start by vestige.launcher, a
  copy's that is thawed, one's that was held ready, and QEMU's microvm from exec;
- from the call to the first instruction of a copy that was held ready: the guest counts in its RAM,
  and that word is looked at through /proc/PID/mem, which takes root's rights;
- 50 at once of 256 MiB, copies by vestige.launcher and QEMU's microvms: how many a second, and what
  memory the two processes of a copy have to themselves, less the guest RAM that it has touched;
- a guest of 512 MiB that is frozen: how long it says nothing, against how long it takes to write so
  many bytes into files beside the snapshot, one MiB after the other, without waiting for a disk.

Prints a table and writes bench/results/clones.json.
"""

import argparse
import os
import re
import select
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.common import command, newest_qemu, plot, results, tiny_guest
from bench.common.batches import Batch, Commands, Machines, Way
from bench.common.guests import WORK
from bench.inside.processes import children_of, parent_of
from vestige.errors import GuestError, UsageError
from vestige.launcher import Launcher, Machine

MIB = tiny_guest.MIB
MEMORY, FROZEN_MEMORY = 256 * MIB, 512 * MIB
PAGE = 4096
FILLED_PAGES = 64 * MIB // PAGE  # of the guest of 512 MiB
COUNT = 50
LIMIT = 120.0  # seconds, of any wait
LOOK = 1e-5  # seconds between two at a guest's memory; Linux makes 0.07 ms of it
SETTLED = 0.2  # seconds until nothing of what was started or ended works any more
START, THAW, HELD, QEMU = "launcher.start", "launcher.thaw", "held ready", "QEMU microvm"
COLOURS = {START: "tab:olive", THAW: "tab:green", HELD: "tab:blue", QEMU: "tab:gray"}
FREEZE, WRITE = "freeze", "write"
COLOURS |= {FREEZE: "tab:green", WRITE: "tab:gray"}
BYTE, INSTRUCTION, RATE = "byte", "instruction", "rate"
PRIVATE, STANDSTILL = "private", "standstill"
TITLES = {
    BYTE: ("from the call to the first byte", "ms"),
    INSTRUCTION: ("from the call to the first instruction", "ms"),
    RATE: (f"{COUNT} at once", "guests a second"),
    PRIVATE: (f"{COUNT} at once: private memory of each", "MiB"),
    STANDSTILL: ("512 MiB, of which 64 are filled", "ms"),
}
FREEZE_GOAL = results.Goal(STANDSTILL, FREEZE, WRITE, 1.2, at_most=True)
THAW_GOAL = results.Goal(BYTE, THAW, START, 1.0, at_most=True)
RATE_GOAL = results.Goal(RATE, THAW, QEMU, 3.0)
MOST_TO_INSTRUCTION, MOST_PRIVATE = 1.0, 3.0  # ms, MiB

Round = dict[str, float]
Rounds = dict[str, list[Round]]  # by who starts


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9, help="of each measurement (default 9)")
    parser.add_argument("--no-page", action="store_true", help="leave docs/performance.md alone")
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise UsageError("a guest's memory is looked at with root's rights: run it as root")
    WORK.mkdir(parents=True, exist_ok=True)
    with Launcher() as launcher:
        bench = Bench(launcher, newest_qemu.qemu().microvm)
        say = command.Progress("clones")
        measured: Rounds = {name: [] for name in (START, THAW, HELD, QEMU)}
        frozen: Rounds = {FREEZE: [], WRITE: []}
        for number in range(options.rounds + 1):  # the first fills caches, and does not count
            say(f"round {number} of {options.rounds}")
            for name, each in bench.round().items():
                if number:
                    measured[name].append(each)
            for name, each in bench.freeze().items():
                if number:
                    frozen[name].append(each)
    report(measured, frozen, page=not options.no_page)
    return 0


class Bench:
    """What is measured, over one launcher. Snapshots are of a guest that counts for ever, of one
    that writes a byte and sleeps, as an empty one does, and of a large one.
    """

    def __init__(self, launcher: Launcher, qemu: Sequence[str]) -> None:
        """`qemu` begins QEMU's command line."""
        self._launcher, self._qemu = launcher, qemu
        self._empty, self._counts = WORK / "first.elf", WORK / "counting.elf"
        self._fills = WORK / "filling.elf"
        tiny_guest.write_kernel(self._empty)
        tiny_guest.write_counting_kernel(self._counts, 1)
        tiny_guest.write_counting_kernel(self._fills, FILLED_PAGES)
        self._snapshot, self._sleeps = WORK / "counting.snapshot", WORK / "sleeping.snapshot"
        self._large = WORK / "filled.snapshot"
        for place in (self._snapshot, self._sleeps, self._large):
            shutil.rmtree(place, ignore_errors=True)
        with self._counting(self._counts, MEMORY) as (machine, _):
            machine.freeze(self._snapshot)
            machine.freeze(self._sleeps)
        tiny_guest.stop_counting(self._sleeps / "ram")

    @contextmanager
    def _counting(self, kernel: Path, memory: int) -> "Iterator[tuple[Machine, Listener]]":
        """One that is run, and says so all the time."""
        with Listener() as listener:
            machine = self._launcher.start(
                kernel=kernel, memory=f"{memory // MIB}M", stdout=listener.end
            )
            try:
                listener.await_byte()
                yield machine, listener
            finally:
                _end(machine)

    def round(self) -> dict[str, Round]:
        """Each way of a start once: alone, and 50 at once."""
        memory = f"{MEMORY // MIB}M"

        def start(output: int) -> Machine:
            return self._launcher.start(kernel=self._empty, memory=memory, stdout=output)

        def thaw(output: int) -> Machine:
            return self._launcher.thaw(self._sleeps, stdout=output)

        microvm = (*tiny_guest.qemu(self._qemu, MEMORY), "-kernel", str(self._empty))
        ways: dict[str, Way] = {
            START: lambda output: Machines(output, start),
            THAW: lambda output: Machines(output, thaw),
            QEMU: lambda output: Commands(output, microvm, WORK / "errors"),
        }
        found = {name: self._first_byte(way) for name, way in ways.items()}
        found[HELD] = self._held()
        for name in (THAW, QEMU):
            found[name] |= self._many(ways[name], has_processes=name == THAW)
        return found

    def _first_byte(self, way: Way) -> Round:
        with Listener() as listener:
            batch = way(listener.end)
            try:
                time.sleep(SETTLED)
                began = time.monotonic()
                batch.start()
                listener.await_byte()
                return {BYTE: round(1000 * (time.monotonic() - began), 3)}
            finally:
                batch.end()

    def _held(self) -> Round:
        """Of two that were: one's first byte, the other's first instruction."""
        with self._stands() as (machine, listener):
            began = time.monotonic()
            machine.go()
            listener.await_byte()
            to_byte = time.monotonic() - began
        with self._stands() as (machine, _), ram_of(machine) as read:
            before = read(tiny_guest.COUNTER)
            began = time.monotonic()
            machine.go()
            while read(tiny_guest.COUNTER) == before:
                time.sleep(LOOK)  # the guest may need this processor
                if time.monotonic() - began > LIMIT:
                    raise GuestError("a guest that was held does not go on")
            to_instruction = time.monotonic() - began
        return {BYTE: round(1000 * to_byte, 3), INSTRUCTION: round(1000 * to_instruction, 3)}

    @contextmanager
    def _stands(self) -> "Iterator[tuple[Machine, Listener]]":
        with Listener() as listener:
            machine = self._launcher.thaw(self._snapshot, stdout=listener.end, held=True)
            try:
                time.sleep(SETTLED)
                yield machine, listener
            finally:
                _end(machine)

    def _many(self, way: Way, *, has_processes: bool) -> Round:
        """50 at once, each with its own pipe; of Vestige's the memory, too."""
        listeners = [Listener() for _ in range(COUNT)]
        batches: list[Batch] = []
        try:
            time.sleep(SETTLED)
            began = time.monotonic()
            for listener in listeners:
                batches.append(way(listener.end))
                batches[-1].start()
            for listener in listeners:
                listener.await_byte()
            found = {RATE: round(COUNT / (time.monotonic() - began), 2)}
            if has_processes:
                guests = [pid for batch in batches for pid in batch.guests()]
                found[PRIVATE] = round(private_of(guests) / COUNT / MIB, 3)
            return found
        finally:
            for batch in batches:
                batch.end()
            for listener in listeners:
                listener.close()

    def freeze(self) -> dict[str, Round]:
        """One freeze of a guest that has filled some of its memory, and the writing of as much."""
        with self._counting(self._fills, FROZEN_MEMORY) as (machine, listener):
            time.sleep(SETTLED)
            listener.begin()
            machine.freeze(self._large)
            time.sleep(SETTLED)
            gap = listener.longest_gap()
        parts = [path for path in self._large.iterdir() if path.suffix == ""]
        size = sum(path.stat().st_blocks * 512 for path in parts)
        return {
            FREEZE: {STANDSTILL: round(1000 * gap, 2)},
            WRITE: {STANDSTILL: round(1000 * time_to_write(size), 2), "MiB": round(size / MIB, 2)},
        }


class Listener:
    """A pipe that guests write to, which is always emptied; and the times between what came."""

    def __init__(self) -> None:
        self._read, self.end = os.pipe()
        self._came = threading.Event()
        self._last, self._gap = time.monotonic(), 0.0
        self._stops, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._empty)
        self._thread.start()

    def _empty(self) -> None:
        while True:
            ready, _, _ = select.select([self._read, self._stops], [], [])
            if self._stops in ready:
                return
            os.read(self._read, 1 << 16)
            now = time.monotonic()
            self._gap = max(self._gap, now - self._last)
            self._last = now
            self._came.set()

    def await_byte(self) -> None:
        """Until one has come. Raises GuestError."""
        if not self._came.wait(LIMIT):
            raise GuestError(f"nothing came from a guest; see {WORK / 'errors'}")

    def begin(self) -> None:
        """Look at the times between two from now on."""
        self._gap = 0.0

    def longest_gap(self) -> float:
        """Seconds."""
        return self._gap

    def close(self) -> None:
        """Whoever writes there has ended."""
        os.write(self._stop, b"\0")
        self._thread.join()
        for descriptor in (self._read, self.end, self._stop, self._stops):
            os.close(descriptor)

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _end(machine: Machine) -> None:
    machine.kill()
    machine.wait()
    machine.close()


@contextmanager
def ram_of(machine: Machine) -> Iterator[Callable[[int], bytes]]:
    """What reads a word of a thawed guest's RAM, at its address there."""
    inner = [machine.pid, *children_of(machine.pid)][-1]
    maps = Path(f"/proc/{inner}/maps").read_text()
    found = re.search(r"^([0-9a-f]+)-.*/ram$", maps, re.MULTILINE)
    if found is None:
        raise GuestError("a copy does not map the snapshot's memory: this kernel has it copied")
    base = int(found[1], 16)
    memory = os.open(f"/proc/{inner}/mem", os.O_RDONLY)
    try:
        yield lambda address: os.pread(memory, 4, base + address)
    finally:
        os.close(memory)


def private_of(guests: list[int]) -> int:
    """Bytes that processes have to themselves which are there for a mould's guests, but for what is
    those guests' memory: their own, and what their steward has, the mould and the spare included.
    """
    stewards = {parent_of(guest) for guest in guests}
    processes = {pid for steward in stewards for pid in (steward, *children_of(steward))}
    return sum(map(_private, processes))


def _private(pid: int) -> int:
    size, counts = 0, True
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        first, *words = line.split()
        if not first.endswith(":"):
            counts = not (words[-1:] and words[-1].endswith(("/ram", "/private")))
        elif first.startswith("Private_") and counts:
            size += int(words[0]) << 10
    return size


def time_to_write(size: int) -> float:
    """Seconds for so many bytes, into a new file beside the snapshots."""
    path, piece = WORK / "written", b"\xff" * MIB
    path.unlink(missing_ok=True)
    began = time.monotonic()
    with path.open("wb", buffering=0) as file:
        for start in range(0, size, MIB):
            file.write(piece[: min(MIB, size - start)])
    seconds = time.monotonic() - began
    path.unlink()
    return seconds


def report(measured: Rounds, frozen: Rounds, *, page: bool) -> None:
    """JSON, a plot, and the table in docs/performance.md."""
    rows: list[tuple[str, ...]] = []
    panels = []
    both = measured | frozen
    for measure, (title, unit) in TITLES.items():
        names = [name for name in both if any(measure in each for each in both[name])]
        medians = {name: results.median(both, name, measure) or 0.0 for name in names}
        values = {name: [each[measure] for each in both[name]] for name in names}
        panels.append(plot.Panel(title, unit, values, medians))
        cells = (f"{name}: {results.number(medians[name])} {unit}" for name in names)
        rows.append((title, ", ".join(cells), *verdict(both, measure)))
    result = {**newest_qemu.taken(), **both}
    results.write_json("clones", result)
    plot.bars(results.RESULTS / "clones.svg", "Copies of a frozen guest", panels, COLOURS)
    lines = [
        f"Medians of {len(measured[START])} rounds, {result['date']}{results.by_qemu(result)}.",
        "",
        *results.table(("", "", "is", "goal"), rows),
    ]
    if page:
        results.write_section("clones", lines)
    print("\n".join(lines))


def verdict(rounds: Rounds, measure: str) -> tuple[str, str]:
    """What the goal is of, and whether it is met."""
    goals = {goal.measure: goal for goal in (THAW_GOAL, RATE_GOAL, FREEZE_GOAL)}
    if measure in goals:
        goal = goals[measure]
        ratio = results.ratio(rounds, goal)
        sign = "≤" if goal.at_most else "≥"
        words = f"{goal.ours} {sign} {goal.bound} x {goal.theirs}: "
        return f"{ratio:.2f} x", words + results.verdict(goal.met(ratio))
    name, most = (HELD, MOST_TO_INSTRUCTION) if measure == INSTRUCTION else (THAW, MOST_PRIVATE)
    is_there = results.median(rounds, name, measure) or 0.0
    words = f"≤ {most:g} {TITLES[measure][1]}: {results.verdict(is_there <= most)}"
    return results.number(is_there), words


if __name__ == "__main__":
    sys.exit(command.status("clones", main))

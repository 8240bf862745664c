"""What the first write of a file's bytes takes its file system, and each later one.

    python -m bench.first_write [--rounds 11]

No guest: write(2) of 128 KiB and of 4 KiB, one after the other, to new files in build/bench,
through the page cache. A file is a hole, a hole that is not aligned as a huge page is (as overlays'
sectors were once), a hole near which a page was touched in memory, room that was taken before
(fallocate), or was written just before. Files take turns. Counted is the processor time of the
thread that writes, so other work here matters little.
Writes bench/results/first_write.json and a table in docs/performance.md.
"""

import mmap
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from bench.common import command, results
from bench.common.guests import WORK
from bench.common.results import Goal, Rounds
from vestige.host.backends.overlays import HUGE_PAGE, PAGE

NAME = "first_write"
LENGTH = 32 << 20  # bytes of a file that are written
SIZES = {"128 KiB": 128 << 10, "4 KiB": 4 << 10}
BEFORE, TAKEN = "written before", "room taken"
HOLE, UNALIGNED, TOUCHED = "a hole", "a hole, unaligned", "a hole, touched beside it"
PLACES = {
    BEFORE: HUGE_PAGE,
    HOLE: HUGE_PAGE,
    UNALIGNED: 9 * PAGE,
    TOUCHED: HUGE_PAGE,
    TAKEN: HUGE_PAGE,
}


def main() -> int:
    """The command line."""
    found = command.arguments(__doc__.partition("\n")[0], rounds="of all files", count=11)
    WORK.mkdir(parents=True, exist_ok=True)
    kinds = list(PLACES)
    measured: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    for _ in range(found.rounds):
        kinds = [*kinds[1:], kinds[0]]
        for kind in kinds:
            measured[kind].append({words: one(kind, size) for words, size in SIZES.items()})
    asked = ["df", "--output=fstype", str(WORK)]
    told = subprocess.run(asked, check=True, capture_output=True, text=True)
    result = {
        "date": results.today(),
        "rounds": found.rounds,
        "file system": told.stdout.split()[-1],
        "kernel": platform.release().partition("-")[0],
        "measured": measured,
    }
    results.write_json(NAME, result)
    lines = page_lines(result)
    print("\n".join(lines))
    if not found.no_page:
        results.write_section(NAME, lines)
    return 0


def one(kind: str, size: int) -> float:
    """Processor time of a write, in µs."""
    file = os.open(WORK, os.O_RDWR | os.O_TMPFILE, 0o600)
    try:
        place = PLACES[kind]
        os.ftruncate(file, place + LENGTH)
        if kind == TAKEN:
            os.posix_fallocate(file, place, LENGTH)
        elif kind == TOUCHED:
            with mmap.mmap(file, PAGE, offset=PAGE) as page:
                page[0] = 1
        elif kind == BEFORE:
            write(file, place, size)
        return write(file, place, size)
    finally:
        os.close(file)


def write(file: int, place: int, size: int) -> float:
    """All of it, from `place` on."""
    content = os.urandom(size)
    before = time.thread_time()
    for offset in range(place, place + LENGTH, size):
        os.pwrite(file, content, offset)
    return 1e6 * (time.thread_time() - before) / (LENGTH // size)


def page_lines(result: Mapping[str, Any]) -> list[str]:
    """The table for docs/performance.md."""
    rounds: Rounds = result["measured"]
    rows = []
    for words in SIZES:
        row = [f"{words}, µs"]
        for kind in PLACES:
            ratio = results.ratio(rounds, Goal(words, kind, BEFORE, 1.0))
            more = "" if kind == BEFORE else f" ({ratio:.2f} x)"
            row.append(results.number(results.median(rounds, kind, words)) + more)
        rows.append(row)
    head = f"Linux {result['kernel']}, {result['file system']}"
    return [
        f"Medians of {result['rounds']} rounds, {result['date']}. {head}.",
        "",
        *results.table(["a write", *PLACES], rows),
    ]


if __name__ == "__main__":
    sys.exit(command.status(NAME, main))

"""How long from exec to a guest's first instruction, and in how much memory.

    python -m bench.start [--rounds 9]

Vestige against QEMU's microvm with all its legacy off, in turns. Each is started with a pipe as
its standard output, and killed when the first byte comes out of it. The guest's program writes
that byte to port 0x3F8, a UART to both. So the time is from just before
exec to the program's first effect outside: all there is in between, and no tear-down.
Beside `vestige run`, vestige.launcher: what is left where Python has been started before.

"first instruction": the program is the guest's kernel, and the byte is what its first three
instructions do. QEMU runs its firmware before; "at reset" is QEMU with the program in place of
its firmware. Both natively, where KVM runs such a program, and in a software host.

Memory: the most that was resident until then, less the guest RAM that is. Prints a table and
writes bench/results/start.json.
"""

import argparse
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any

from bench.common import command, tiny_guest
from bench.common.batches import Commands, Machines, Way
from bench.common.pc import ROOT
from bench.common.places import INSIDE, NATIVE, in_the_software_host
from bench.common.tiny_guest import SIGNAL, VESTIGE, qemu
from bench.inside.processes import beyond_guest_memory
from vestige.errors import GuestError
from vestige.launcher import Launcher, Machine

WORK = ROOT / "build" / "bench"
MEMORY = 512 << 20
LIMIT = 240.0  # seconds, of one start
OURS, READY, THEIRS = "vestige run", "vestige.launcher", "QEMU microvm"
AT_RESET = f"{THEIRS}, at reset"
COLOURS = {OURS: "tab:green", READY: "tab:olive"} | dict.fromkeys((THEIRS, AT_RESET), "tab:gray")
GOALS = (  # what is reached there, and the most it may take of QEMU's time
    (NATIVE, "first instruction", 0.35),
    (INSIDE, "first instruction", 0.35),
)
RESIDENT = 15  # MiB beyond guest RAM
TIME, MEMORY_USED = "time", "memory"
UNITS = {TIME: "ms", MEMORY_USED: "MiB"}
Places = dict[str, list[dict[str, float]]]  # by who starts; ms and MiB of each round


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9, help="of starts (default 9)")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["XDG_CACHE_HOME"] = str(WORK / "cache")  # of compiled images; inside too
    if options.inside:
        print(json.dumps(first_instructions(options.rounds, json.loads(options.inside))))
        return 0
    report(prepared(options.rounds))
    return 0


def prepared(rounds: int) -> dict[str, Any]:
    """Everything measured, by place."""
    from bench.common import newest_qemu  # noqa: PLC0415 - not needed inside

    WORK.mkdir(parents=True, exist_ok=True)
    subprocess.run([VESTIGE[0], "build"], check=True, capture_output=True, timeout=LIMIT)
    say = command.Progress("start")
    theirs = newest_qemu.qemu()
    say("natively")
    native = first_instructions(rounds, theirs.microvm)
    words = ["--rounds", str(rounds), "--inside", json.dumps(theirs.microvm)]
    inside = in_the_software_host("bench.start", words, say)
    return {**newest_qemu.taken(), NATIVE: native, INSIDE: inside}


def first_instructions(rounds: int, program: Sequence[str]) -> Places:
    """Start the little programs; seconds and bytes by who starts them. `program` begins QEMU's
    command line.
    """
    WORK.mkdir(parents=True, exist_ok=True)
    kernel, firmware = WORK / "first.elf", WORK / "first.rom"
    tiny_guest.write_kernel(kernel)
    tiny_guest.write_firmware(firmware)
    commands = {
        OURS: (*VESTIGE, "--kernel", str(kernel)),
        THEIRS: (*qemu(program, MEMORY), "-kernel", str(kernel)),
        AT_RESET: (*qemu(program, MEMORY), "-bios", str(firmware)),
    }
    ways: dict[str, Way] = {
        name: partial(Commands, command=words, errors=WORK / "errors")
        for name, words in commands.items()
    }
    with Launcher() as launcher:

        def start(output: int) -> Machine:
            return launcher.start(kernel=kernel, stdout=output)

        ways[READY] = partial(Machines, start=start)
        return in_turns(ways, rounds)


def in_turns(ways: dict[str, Way], rounds: int) -> Places:
    """Each way once a round; the first round fills caches and does not count."""
    starts: Places = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            start = started(way)
            if number:
                starts[name].append(start)
    return starts


def started(way: Way) -> dict[str, float]:
    """Start a guest and wait for its first byte; the time until then, its memory then."""
    output, its_output = os.pipe()
    batch = way(its_output)
    try:
        began = time.monotonic()
        batch.start()
        ready, _, _ = select.select([output], [], [], LIMIT)
        seconds = time.monotonic() - began
        byte = os.read(output, 1) if ready else b""
        if byte != SIGNAL:
            raise GuestError(f"{byte!r} came from a guest; see {WORK / 'errors'}")
        [guest] = batch.guests()
        size = beyond_guest_memory(guest, MEMORY)
    finally:
        batch.end()
        os.close(output)
        os.close(its_output)
    return {TIME: round(1000 * seconds, 2), MEMORY_USED: round(size / (1 << 20), 2)}


def report(measured: dict[str, Any]) -> None:
    """JSON, a plot, and the table in docs/performance.md."""
    from bench.common import plot, results  # noqa: PLC0415 - not needed inside

    rows, panels = [], []
    for place, what, bound in GOALS:
        rounds: results.Rounds = measured[place]
        goals = {TIME: f"at most {bound} of QEMU's", MEMORY_USED: f"under {RESIDENT} MiB"}
        for measure, unit in UNITS.items():
            medians = {name: results.median(rounds, name, measure) or 0.0 for name in rounds}
            values = {name: [each[measure] for each in rounds[name]] for name in rounds}
            panels.append(plot.Panel(f"{place}: {measure} to {what}", unit, values, medians))
            for ours, other in product((OURS, READY), (THEIRS, AT_RESET)):
                ratio = results.ratio(rounds, results.Goal(measure, ours, other, bound))
                met = ratio <= bound if measure == TIME else medians[ours] < RESIDENT
                figures = [f"{results.number(medians[name])} {unit}" for name in (ours, other)]
                verdict = f"{goals[measure]}: {results.verdict(met)}"
                rows.append((f"{place}: {what}", ours, other, *figures, f"{ratio:.2f}", verdict))
    results.write_json("start", measured)
    plot.bars(results.RESULTS / "start.svg", "From exec to a guest", panels, COLOURS)
    head = ("", "by", "against", "Vestige", "QEMU", "ratio", "goal")
    lines = [results.taken(measured), "", *results.table(head, rows)]
    results.write_section("start", lines)
    print("\n".join(lines))


if __name__ == "__main__":
    sys.exit(command.status("start", main))

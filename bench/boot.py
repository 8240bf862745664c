"""How long from exec to the init of Debian's cloud kernel, and in how much memory.

    python -m bench.boot [--rounds 3]

One software host; the same kernel and initial RAM disk for Vestige (by `vestige run`, and by a
vestige.launcher that is ready), for QEMU's microvm with all its legacy off and with no more than
its RTC, and for QEMU's pc, each with a virtio console. Each is started once a round, and killed
when init writes to an I/O port, which KVM itself records. Writes bench/results/boot.json and .svg
and the table in docs/performance.md.
"""

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.common import command, guests, newest_qemu, results, tiny_guest
from bench.common.guests import ROOT, WORK, Guest
from bench.common.newest_qemu import Qemu
from tests.guests import kernels
from vestige.errors import GuestError
from vestige.host import images
from vestige.softhost import SoftHost
from vestige.softhost.cpio import Archive

NAME = "boot"
MEMORY = 512  # MiB of each guest
LIMIT = 240.0  # seconds, of one boot
PORT = 0xE9  # that Linux never writes to
INSIDE = "/dev/shm"  # the software host's own memory: nobody's boot waits for the shared files
RUN, LAUNCHED = "Vestige, vestige run", "Vestige, vestige.launcher"
OURS = (RUN, LAUNCHED)
MICROVM, WITH_RTC, PC = "QEMU microvm", "QEMU microvm, with RTC", "QEMU pc"
THEIRS = (MICROVM, WITH_RTC, PC)
COLOURS = {
    RUN: "#1b6ca8",
    LAUNCHED: "#5fa8d3",
    MICROVM: "#c0392b",
    WITH_RTC: "#e08e79",
    PC: "#7f8c8d",
}
TIME, MEMORY_USED = "time", "memory"
UNITS = {TIME: "ms", MEMORY_USED: "MiB"}
MOST_TIME = 0.5  # of QEMU's

# ioperm(PORT, 1, 1); mov edx, PORT; mov al, '!'; out dx, al; again: pause(); jmp again
INIT = bytes.fromhex(
    f"b8 ad000000 bf {PORT:02x}000000 be 01000000 ba 01000000 0f05"
    f"ba {PORT:02x}000000 b0 21 ee b8 22000000 0f05 eb f7"
)
INIT_ADDRESS = 1 << 22


def main() -> int:
    """The command line."""
    arguments = command.arguments(__doc__.partition("\n")[0], rounds="of all machines")
    report(measure(arguments.rounds), write_page=not arguments.no_page)
    return 0


def measure(rounds: int) -> dict[str, object]:
    """All of it, in one software host. The first round fills caches and does not count."""
    say = command.Progress(NAME)
    say("preparing the guest, from Debian's packages")
    images.ensure()
    kernel = kernels.kernel("cloud")
    archive = Archive()
    archive.file("init", tiny_guest.elf(INIT, INIT_ADDRESS), executable=True)
    WORK.mkdir(parents=True, exist_ok=True)
    initrd = WORK / "init.cpio"
    initrd.write_bytes(archive.finish())
    qemu = newest_qemu.qemu()
    host = SoftHost()
    host.start(say)
    with host:
        guests.inside(host, 'cp "$1" "$2" "$3"', str(kernel.bzimage), str(initrd), INSIDE)
        guest = Guest(Path(INSIDE, kernel.bzimage.name), Path(INSIDE, initrd.name), MEMORY)
        table = machines(guest, qemu)
        measured: dict[str, list[dict[str, float]]] = {name: [] for name in table}
        for number in range(rounds + 1):
            for name, words in table.items():
                say(f"round {number} of {rounds}: {name}")
                found = boot(host, words)
                say(f"  {found[TIME]:,.0f} ms, {found[MEMORY_USED]:.1f} MiB")
                if number:
                    measured[name].append(found)
    return {
        "date": results.today(),
        "kernel": kernel.release,
        "qemu": qemu.version,
        "rounds": rounds,
        "measured": measured,
    }


def machines(guest: Guest, qemu: Qemu) -> dict[str, list[str]]:
    """Every one's words for inside/until_port.py, in the order of a round."""
    options = {
        "kernel": str(guest.kernel),
        "initrd": str(guest.initrd),
        "console": guests.VIRTIO,
        "memory": f"{guest.memory}M",
        "append": guests.VIRTIO_APPEND,
    }
    microvm, pc = guest._replace(qemu=qemu.microvm), guest._replace(qemu=qemu.words)
    return {
        RUN: ["--", *guests.vestige(guest, "", (), console=guests.VIRTIO)],
        LAUNCHED: ["--launcher", json.dumps(options)],
        MICROVM: ["--", *guests.qemu_virtio(microvm, "", (), guests.BARE_MICROVM, pci=False)],
        WITH_RTC: ["--", *guests.qemu_virtio(microvm, "", (), guests.MICROVM, pci=False)],
        PC: ["--", *guests.qemu_virtio(pc, "", (), guests.PC)],
    }


def boot(host: SoftHost, how: Sequence[str]) -> dict[str, float]:
    """One boot to init: milliseconds and MiB. Raises GuestError if it does not get there."""
    words = (str(PORT), str(MEMORY << 20), str(LIMIT))
    line = [sys.executable, "-S", "-m", "bench.inside.until_port", *words, *how]
    done = host.capture(line, timeout=LIMIT + 60, cwd=ROOT)
    if done.status:
        raise GuestError(done.stderr.decode(errors="replace"))
    found: dict[str, float] = json.loads(done.stdout)
    return found


def report(result: dict[str, object], *, write_page: bool) -> None:
    """JSON, a plot, and the table in docs/performance.md."""
    from bench.common import plot  # noqa: PLC0415 - matplotlib is an extra, and slow to import

    results.write_json(NAME, result)
    measured: results.Rounds = result["measured"]  # type: ignore[assignment]
    panels = []
    for measure_, unit in UNITS.items():
        found = {
            name: [each[measure_] for each in measured[name] if measure_ in each]
            for name in measured
        }
        values = {name: some for name, some in found.items() if some}
        medians = {name: statistics.median(some) for name, some in values.items()}
        panels.append(plot.Panel(f"{measure_} to init", unit, values, medians))
    plot.bars(results.RESULTS / f"{NAME}.svg", "Linux in the software host", panels, COLOURS)
    lines = page_lines(result)
    print("\n".join(lines))
    if write_page:
        results.write_section(NAME, lines)


def page_lines(result: dict[str, object]) -> list[str]:
    """The table for docs/performance.md."""
    measured: results.Rounds = result["measured"]  # type: ignore[assignment]
    rows = []
    for name in (*OURS, *THEIRS):
        medians = [results.median(measured, name, each) for each in UNITS]
        figures = [
            "" if median is None else f"{results.number(median)} {unit}"
            for median, unit in zip(medians, UNITS.values(), strict=True)
        ]
        verdicts = [verdict(measured, ours, name) if name in THEIRS else "" for ours in OURS]
        rows.append([name, *figures, *verdicts])
    head = ["to init", *UNITS, *(f"{ours} ≤ {MOST_TIME} of its time" for ours in OURS)]
    return [
        f"Medians of {result['rounds']} rounds, {result['date']}{results.by_qemu(result)}.",
        "",
        *results.table(head, rows),
    ]


def verdict(measured: results.Rounds, ours: str, theirs: str) -> str:
    """What part of QEMU's time ours is, and whether that is the goal."""
    goal = results.Goal(TIME, ours, theirs, MOST_TIME, at_most=True)
    ratio = results.ratio(measured, goal)
    return f"{ratio:.2f}: {results.verdict(goal.met(ratio))}"


if __name__ == "__main__":
    sys.exit(command.status(NAME, main))

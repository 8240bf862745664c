"""A PC from exec and from reset to its disk's first sector, by SeaBIOS: exits, time and memory.

    python -m bench.pc_start [--rounds 5]

Vestige against QEMU's pc, with the same SeaBIOS, a disk of one sector, the BIOS's screen on the
serial port and no VGA. Beside `vestige run`, vestige.launcher: what is left where Python has been
started before. The sector says so on that port (bench/guest/sector.S). By turns, natively
and in one software host. The time is from just before exec to that line, memory the most that was
resident until then, less guest RAM. Right before, each starts with a firmware that does nothing but
say on that port, by its first instructions, that there was a reset: the time from reset is that to
the sector less that to this. Exits are returns of KVM_RUN of the guest's CPU until then, by
Vestige's --stats and by QEMU's trace, in a run of their own. Writes bench/results/pc_start.json
and .svg and the table in docs/performance.md.
"""

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.common import command, pc, tiny_guest
from bench.common.pc import KERNEL, OURS, READY, ROOT, SPLIT
from bench.common.places import INSIDE, NATIVE, in_the_software_host
from bench.common.tiny_guest import MIB
from vestige.launcher import Launcher, Machine

NAME = "pc_start"
WORK = ROOT / "build" / "bench"
FAST = "/dev/shm"  # a file system in memory, in the software host too
HERE = "sector: here"
RESET = ""  # what the firmware of tiny_guest says
TIME, SINCE_RESET, MEMORY, PROCESSOR = "time", "since reset", "memory", "processor"
UNITS = {TIME: "ms", SINCE_RESET: "ms", PROCESSOR: "ms", MEMORY: "MiB"}
THEIRS = (KERNEL, SPLIT)
EXITS = 1_200  # of the guest, at most
TIMES = 1.0  # of QEMU's time, at most
RESIDENT = 20  # MiB beyond guest RAM, at most
SHOWN = 0.02  # of all exits: causes of fewer are not shown
FIRMWARE = {OURS: "--firmware", **dict.fromkeys(THEIRS, "-bios")}  # the option before its file
Way = Sequence[str] | pc.Start


def main() -> int:
    """The command line."""
    return pc.command_line(__doc__, 5, measure, conclude)


def conclude(rounds: int, write_page: bool) -> None:
    """Measure, and tell."""
    from bench import pc_start_report  # noqa: PLC0415 - not needed inside

    pc_start_report.report(prepared(rounds), write_page=write_page)


def prepared(rounds: int) -> dict[str, Any]:
    """Everything measured, by place."""
    from bench.common import newest_qemu, ready  # noqa: PLC0415 - not needed inside

    say = command.Progress(NAME)
    WORK.mkdir(parents=True, exist_ok=True)
    disk = WORK / "sector.img"
    pc.disk(pc.GUESTS / "sector.S", disk)
    what: dict[str, Any] = {**ready.prepared(), "disk": str(disk), "rounds": rounds}
    say("natively")
    native = measure(**what)
    inside = in_the_software_host("bench.pc_start", ["--inside", json.dumps(what)], say)
    return {**newest_qemu.taken(), NATIVE: native, INSIDE: inside}


def measure(*, qemu: list[str], disk: str, rounds: int) -> dict[str, Any]:
    """Here. The first round fills caches and does not count. `qemu` begins its command lines."""
    drive = ("-drive", f"file={disk},if=ide,format=raw")
    commands = {OURS: pc.vestige("--disk", f"{disk},bus=ide")}
    commands |= {name: pc.qemu(qemu, name, *drive) for name in THEIRS}
    with TemporaryDirectory(dir=FAST) as name, Launcher() as launcher:
        folder = Path(name)
        firmware = folder / "reset.rom"
        tiny_guest.write_firmware(firmware)

        def launched(output: int, firmware: Path | str = "bios") -> Machine:
            return launcher.start(
                stdout=output,
                machine="pc",
                vga="none",
                memory=f"{pc.MEMORY // MIB}M",
                disk=f"{disk},bus=ide",
                firmware=firmware,
            )

        ways: dict[str, tuple[Way, Way]] = {
            name: ([*words, FIRMWARE[name], str(firmware)], words)
            for name, words in commands.items()
        }
        ways[READY] = partial(launched, firmware=firmware), launched
        times: dict[str, list[dict[str, float]]] = {each: [] for each in ways}
        for number in range(rounds + 1):
            for each, (to_reset, to_sector) in ways.items():
                reset = pc.measured(to_reset, (RESET,), folder / "errors")[RESET]
                mark = pc.measured(to_sector, (HERE,), folder / "errors")[HERE]
                if number:
                    times[each].append(
                        {
                            TIME: round(1000 * mark.seconds, 1),
                            SINCE_RESET: round(1000 * (mark.seconds - reset.seconds), 1),
                            PROCESSOR: round(1000 * mark.cpu, 1),
                            MEMORY: round(mark.memory / MIB, 2),
                        }
                    )
        counts = {
            each: pc.exits(each, words, HERE, folder)._asdict() for each, words in commands.items()
        }
    return {"rounds": times, "counts": counts}


if __name__ == "__main__":
    sys.exit(command.status(NAME, main))

"""For what a machine that efiemu.efi has taken over leaves its guest, how often, and at which cost.

    python -m bench.efiemu_exits

QEMU's emulator writes down each VMRUN, and what it ended with. One stock machine with OVMF boots
three times: from its taken-over disk, as bench.efiemu's small guest does; and twice with a guest of
Debian's kernel that reads 64 times, then 576 times, 128 KiB: the difference is what one read costs.
What an exit and a run of the monitor take, bench.efiemu has measured before. Writes
bench/results/efiemu_exits.json and the table in docs/performance.md.
"""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench import efiemu
from bench.common import command, readings, results
from bench.common.guests import WORK
from bench.efiemu_report import TAKEN
from vestige.abi import IOAPIC, PORT_CALL, PORT_PCI_DATA
from vestige.efiemu.shell.ide import COMMAND, COMMAND_BLOCK, PLACES, PRIMARY, PRIMARY_CONTROL
from vestige.efiemu.shell.pages import PAGE
from vestige.efiemu.shell.ports import IN
from vestige.efiemu.shell.vmcb import Exit

NAME = "efiemu_exits"
COUNTS = (64, 576)  # reads of the two boots
LIMIT = 300.0  # seconds, of a boot
# What QEMU logs of SVM is with its log of instructions, of which none are at this address.
LOGGED = ("-d", "in_asm", "-dfilter", "0x7fffffffffff0000+1", "-D")
RUN = re.compile(r"vmrun! ([0-9a-f]+)")
LEFT = re.compile(r"vmexit\(([0-9a-f]+), ([0-9a-f]+), ([0-9a-f]+), ")
BOOTING, READING = "from the firmware's shell to init", "a read of 128 KiB by Linux"
GUEST, MONITOR = "exits of the guest", "runs of the monitor"
REGISTERS = {
    PRIMARY: "Data",
    PRIMARY + COMMAND: "Status or Command",
    PRIMARY_CONTROL: "Alternate Status or Device Control",
    PLACES[0]: "bus-master command",
    PLACES[0] + 2: "bus-master status",
    PLACES[0] + 4: "bus-master table",
}
OTHERS = {Exit.CPUID: "CPUID", Exit.MSR: "MSRs", Exit.NMI: "interrupts"}
OWN = ("CPUID", "MSRs", "the I/O APIC", "configuration space")  # that no request of a disk has
LEAST = 0.05  # of a row in either column


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--no-page", action="store_true", help="leave docs/performance.md alone")
    arguments = parser.parse_args()
    found = measure()
    date = results.today()
    results.write_json(NAME, {"date": date, "reads": COUNTS, "counted": found})
    lines = [f"Taken on {date}.", "", *table(found, times())]
    print("\n".join(lines))
    if not arguments.no_page:
        results.write_section(NAME, lines)
    return 0


def measure() -> dict[str, dict[str, float]]:
    """Each count by its name: of a boot, and of a read."""
    bench = efiemu.prepared(0)
    say, taken = bench.say, efiemu.CONFIGURATIONS[TAKEN]
    log = WORK / "efiemu_exits.log"
    say(BOOTING)
    efiemu.boot(
        bench.booting, bench.bootable, taken, [f"\\efiemu.efi boot={efiemu.KERNEL}"], LIMIT,
        *LOGGED, str(log),
    )  # fmt: skip
    booting = counted(log)
    boots = []
    for reads in COUNTS:
        say(f"{reads} reads")
        script = ["\\efiemu.efi", f"{efiemu.KERNEL} disk={taken.disk} reads={reads}"]
        console = efiemu.boot(bench.measuring, bench.disk, taken, script, LIMIT, *LOGGED, str(log))
        if not any(efiemu.CLOSING in line for _, line in console):
            raise readings.ReadingError("\n".join(line for _, line in console))
        boots.append(counted(log))
    few, many = boots
    return {BOOTING: dict(booting), READING: difference(few, many, COUNTS[1] - COUNTS[0])}


def difference(few: Counter[str], many: Counter[str], reads: int) -> dict[str, float]:
    """What one read costs. What two boots differ in by themselves, such as CPUIDs, is left out."""
    each = {name: (many[name] - few[name]) / reads for name in many}
    found = {name: value for name, value in each.items() if name not in (GUEST, *OWN)}
    return found | {GUEST: sum(found.values()) - found.get(MONITOR, 0)}


def counted(log: Path) -> Counter[str]:
    """What a log has; it is removed, since it is large."""
    with log.open(errors="replace") as lines:
        found = count(lines)
    log.unlink()
    return found


def count(lines: Iterable[str]) -> Counter[str]:
    """The guest's exits by what they are for, and the monitor's runs: from one call to the next."""
    found: Counter[str] = Counter()
    exits: dict[str, Counter[str]] = {}
    vmcb, monitor = "", ""
    for line in lines:
        if run := RUN.match(line):
            vmcb = run[1]
        elif left := LEFT.match(line):
            code, information, place = (int(word, 16) for word in left.groups())
            if code == Exit.PORT and information >> 16 & 0xFFFF == PORT_CALL:
                monitor = vmcb
                found[MONITOR] += 1
            exits.setdefault(vmcb, Counter())[name_of(code, information, place)] += 1
    for one, counts in exits.items():
        if one != monitor:
            found += counts
            found[GUEST] += counts.total()
    return found


def name_of(code: int, information: int, place: int) -> str:
    """What an exit is for. `information` and `place`: EXITINFO1 and 2, APM volume 2, 15.10.2."""
    if code == Exit.PORT:
        port, reads = information >> 16 & 0xFFFF, information & IN
        if PORT_PCI_DATA <= port < PORT_PCI_DATA + 4:
            return "configuration space"
        word = "read" if reads else "written"
        if PRIMARY < port < PRIMARY + COMMAND < PRIMARY + COMMAND_BLOCK:
            return f"task file, {word}"
        return f"{REGISTERS[port]}, {word}" if port in REGISTERS else "other ports"
    if code == Exit.MEMORY:
        return "the I/O APIC" if place // PAGE * PAGE == IOAPIC else "other memory"
    return OTHERS.get(Exit(code), "others") if code in list(Exit) else "others"


def times() -> Mapping[str, float]:
    """Microseconds of one exit, and of one run of the monitor besides: medians of bench.efiemu."""
    path = results.RESULTS / "efiemu.json"
    rounds = json.loads(path.read_text())["measured"] if path.exists() else {}
    one = results.median(rounds, TAKEN, "one exit") if rounds else None
    both = results.median(rounds, TAKEN, "monitor") if rounds else None
    return {} if one is None or both is None else {GUEST: one / 1000, MONITOR: (both - one) / 1000}


def table(found: Mapping[str, Mapping[str, float]], cost: Mapping[str, float]) -> list[str]:
    """Counts, and what they come to."""
    booting, reading = found[BOOTING], found[READING]
    names = sorted({*booting, *reading} - {GUEST, MONITOR}, key=lambda name: -booting.get(name, 0))
    rows = []
    for name in (GUEST, *names, MONITOR):
        both = booting.get(name, 0), reading.get(name, 0)
        if max(both[0] / 1000, both[1]) > LEAST:
            words = name if name in (GUEST, MONITOR) else f"of these: {name}"
            rows.append([words, f"{both[0]:,.0f}", f"{both[1]:.1f}"])
    for name, time in cost.items():
        boot, read = (time * each.get(name, 0) for each in (booting, reading))
        words = f"{name}, at {results.number(time)} µs"
        rows.append([words, f"{boot / 1e6:.2f} s", f"{read / 1000:.2f} ms"])
    return results.table(["", *found], rows)


if __name__ == "__main__":
    sys.exit(command.status(NAME, main))

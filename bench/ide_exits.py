"""How often the guest's CPU returns to user space for one 128 KiB DMA read of an IDE disk.

    python -m bench.ide_exits

Counted by Linux's tracepoint kvm:kvm_userspace_exit in one software host, where Vestige (its disk
an NVMe controller passed through, its IDE's registers at ports, then in memory) and QEMU's pc (its
disk a file) boot the same kernel and the same initial RAM disk. Each boots twice; the difference
of the counts over the difference of the commands is what a command costs. Writes
bench/results/ide_exits.json and the table in docs/performance.md.
"""

import argparse
import json
import os
import sys
from typing import Any

from bench.common import command, guests, newest_qemu, results
from bench.common.guests import WORK, Guest
from tests.guests import images as disks
from tests.guests import initramfs, kernels, roots
from vestige.errors import UsageError
from vestige.host import images
from vestige.softhost import SoftHost

NAME = "ide_exits"
COUNTS = (64, 576)  # commands of the two boots
MEMORY = 512  # MiB of each guest
BOOT_TIMEOUT = 180.0  # seconds, of one guest
REGISTERS = {
    "port 0xc007": "Status or Command",
    "port 0xc00a": "Alternate Status",
    "memory 0xd0000002": "Alternate Status",
    "port 0xc020": "bus-master command",
    "memory 0xd0002000": "bus-master command",
    "port 0xc022": "bus-master status",
    "memory 0xd0002002": "bus-master status",
}
VESTIGE = {"ports": "Vestige, IDE at ports", "memory": "Vestige, IDE in memory"}
PLACES = {name: place for place, name in VESTIGE.items()}
QEMU = "QEMU pc"
EXITS = "guest exits to user space"
RETURNS = "returns of KVM_RUN, the monitor VM's included"
WORKER = "returns of the worker to user space"
POSTED = "posted starts, which wake the worker without an exit"
WAITS = "waits for posted starts"
NOISE = 0.05


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--no-page", action="store_true", help="leave docs/performance.md alone")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        raise UsageError("needs root's rights, inside of the software host: run it as root")
    boots_of = measure(newest_qemu.qemu().words)
    costs = {name: slopes(boots) for name, boots in boots_of.items()}
    result = {**newest_qemu.taken(), "commands": COUNTS, "cost of one": costs}
    results.write_json(NAME, result)
    lines = [results.taken(result), "", *table(costs)]
    print("\n".join(lines))
    if not arguments.no_page:
        results.write_section(NAME, lines)
    return 0


def measure(qemu: tuple[str, ...]) -> dict[str, list[dict[str, Any]]]:
    """Boot each twice, in one software host."""
    say = command.Progress(NAME)
    say("preparing the guest, from Debian's packages")
    images.ensure()
    guest = Guest(kernels.kernel("cloud").bzimage, initramfs.reads("cloud"), MEMORY, qemu)
    pristine = roots.data_disk(COUNTS[-1] // 8, 1)
    WORK.mkdir(parents=True, exist_ok=True)
    ours, theirs = (disks.copy(pristine, WORK / name) for name in ("nvme.img", "file.img"))
    stats = WORK / "ide_exits.stats.json"
    host = SoftHost(nvme=[ours])
    host.start(say)
    with host:
        disk = f"vfio:{host.nvme_addresses[0]},bus=ide"
        boots: dict[str, list[dict[str, Any]]] = {}
        for name in (*VESTIGE.values(), QEMU):
            boots[name] = []
            for count in COUNTS:
                say(f"{name}, {count} commands")
                append = f"reads={count}"
                if name == QEMU:
                    drive = ("-drive", f"file={theirs},if=ide,format=raw")
                    argv = guests.qemu(guest, append, drive, guests.PC)
                else:
                    words = ("--ide", PLACES[name], "--disk", disk, "--stats", str(stats))
                    argv = guests.vestige(guest, append, words)
                run = guests.observe(host, argv, BOOT_TIMEOUT, f"reads: {count} ok ")
                boot: dict[str, Any] = {"reads": count, "returns": run.exits}
                if name != QEMU:
                    boot["stats"] = json.loads(stats.read_text())
                boots[name].append(boot)
    return boots


def table(costs: dict[str, dict[str, float]]) -> list[str]:
    """The costs of one command, as Markdown."""
    ports, memory, theirs = (costs[name] for name in (*VESTIGE.values(), QEMU))
    lines = [
        f"| per 128 KiB DMA read | {' | '.join(costs)} |",
        "| --- | --- | --- | --- |",
        f"| {EXITS} | {ports[EXITS]:.2f} | {memory[EXITS]:.2f} | {theirs[RETURNS]:.2f} |",
    ]
    others = (EXITS, RETURNS, WORKER, POSTED, WAITS)
    for name in sorted((ports.keys() | memory.keys()) - set(others)):
        both = ports.get(name, 0.0), memory.get(name, 0.0)
        if max(both) > NOISE:
            lines.append(f"| of these: {name} | {both[0]:.2f} | {both[1]:.2f} | |")
    lines.append(
        f"| {RETURNS} | {ports[RETURNS]:.2f} | {memory[RETURNS]:.2f} | {theirs[RETURNS]:.2f} |"
    )
    for name in (WORKER, POSTED, WAITS):
        lines.append(f"| {name} | {ports.get(name, 0.0):.3f} | {memory.get(name, 0.0):.3f} | |")
    return lines


def slopes(boots: list[dict[str, Any]]) -> dict[str, float]:
    """What one command adds to each counter."""
    few, many = (counters(boot) for boot in boots)
    commands = boots[1]["reads"] - boots[0]["reads"]
    return {name: (count - few.get(name, 0)) / commands for name, count in many.items()}


def counters(boot: dict[str, Any]) -> dict[str, int]:
    """All that was counted in one boot, by name."""
    found = {RETURNS: boot["returns"]}
    stats = boot.get("stats")
    if stats is not None:
        found[EXITS] = sum(stats["guest_exits"].values())
        found[WORKER] = stats["worker"]["returns_to_user_space"]
        found[WAITS] = stats["waits_for_posted_starts"]
        for trap in stats["traps"]:
            place = f"{trap['where']} {trap['address']}"
            if trap["posted"]:
                found[POSTED] = found.get(POSTED, 0) + trap["count"]
            elif not trap["coalesced"]:
                name = f"{REGISTERS.get(place, place)}, {trap['access']}"
                found[name] = found.get(name, 0) + trap["count"]
    return found


if __name__ == "__main__":
    sys.exit(command.status(NAME, main))

"""How often the guest's CPU returns to user space for one 128 KiB DMA read of an IDE disk.

    python -m bench.ide_exits

Counted by Linux's tracepoint kvm:kvm_userspace_exit in one software host, where Vestige (its disk
an NVMe controller passed through, its IDE's registers at ports, then in memory) and QEMU's pc (its
disk a file) boot the same kernel and the same initial RAM disk. Each boots twice; the difference
of the counts over the difference of the commands is what a command costs. Prints a table and
writes bench/results/ide_exits.json.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
COUNTS = (64, 576)  # commands of the two boots
APPEND = "console=ttyS0 quiet panic=-1 reads={}"
TRACING = Path("/sys/kernel/tracing")
EVENT = TRACING / "events/kvm/kvm_userspace_exit"
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
QEMU = "QEMU pc"
EXITS = "guest exits to user space"
RETURNS = "returns of KVM_RUN, the monitor VM's included"
WORKER = "returns of the worker"
POSTED = "posted starts: wake the worker, no exit"
WAITS = "waits for posted starts"
NOISE = 0.05


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inside", nargs=4, metavar="PATH", help=argparse.SUPPRESS)
    inside = parser.parse_args().inside
    if inside:
        print(json.dumps(measure(*inside)))
        return 0
    costs = {name: slopes(boots) for name, boots in outside().items()}
    RESULTS.mkdir(exist_ok=True)
    result = {"commands": COUNTS, "cost of one": costs}
    (RESULTS / "ide_exits.json").write_text(json.dumps(result, indent=1) + "\n")
    for line in table(costs):
        print(line)
    return 0


def outside() -> dict[str, Any]:
    """Prepare the guest, and measure in a software host."""
    from tests.guests import images as disks  # noqa: PLC0415 - not needed inside
    from tests.guests import initramfs, kernels, roots  # noqa: PLC0415
    from vestige.host import images  # noqa: PLC0415
    from vestige.softhost import SoftHost  # noqa: PLC0415

    images.ensure()
    kernel, initrd = kernels.kernel("cloud"), initramfs.reads("cloud")
    pristine = roots.data_disk(COUNTS[-1] // 8, 1)
    work = ROOT / "build" / "bench"
    work.mkdir(parents=True, exist_ok=True)
    ours, theirs = (disks.copy(pristine, work / name) for name in ("nvme.img", "file.img"))
    with SoftHost(nvme=[ours]) as host:
        words = ["-m", "bench.ide_exits", "--inside", kernel.bzimage, initrd, theirs]
        argv = [sys.executable, *words, host.nvme_addresses[0]]
        done = host.capture([str(word) for word in argv], timeout=7 * BOOT_TIMEOUT, cwd=ROOT)
    if done.status:
        raise SystemExit(f"ide_exits: {done.stderr.decode(errors='replace')}")
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def measure(kernel: str, initrd: str, disk: str, address: str) -> dict[str, Any]:
    """Inside: boot each twice."""
    if not EVENT.exists():
        subprocess.run(["mount", "-t", "tracefs", "tracefs", str(TRACING)], check=True)
    stats = Path("/dev/shm/ide_exits.json")
    commands = {
        name: [
            *(sys.executable, "-m", "vestige.cli.main", "run", "--accel", "kvm"),
            *("--kernel", kernel, "--initrd", initrd, "--disk", f"vfio:{address},bus=ide"),
            *("--ide", place, "--stats", str(stats), "--append"),
        ]
        for place, name in VESTIGE.items()
    }
    commands[QEMU] = [
        *("qemu-system-x86_64", "-machine", "pc,accel=kvm", "-m", "512M", "-nodefaults"),
        *("-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", kernel),
        *("-initrd", initrd, "-drive", f"file={disk},if=ide,format=raw", "-append"),
    ]
    boots: dict[str, list[dict[str, Any]]] = {}
    for name, command in commands.items():
        boots[name] = []
        for count in COUNTS:
            stats.unlink(missing_ok=True)
            boot: dict[str, Any] = {"reads": count}
            boot["returns"], boot["console"] = counted([*command, APPEND.format(count)])
            if stats.exists():
                boot["stats"] = json.loads(stats.read_text())
            boots[name].append(boot)
    return boots


def counted(command: list[str]) -> tuple[int, str]:
    """Run a guest; how often KVM_RUN returned in all, and its console's last line."""
    (TRACING / "trace").write_text("")
    (EVENT / "enable").write_text("1")
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=BOOT_TIMEOUT,
        check=False,
    )
    (EVENT / "enable").write_text("0")
    said = [line for line in done.stdout.splitlines() if line.startswith("reads: ")]
    if done.returncode or not said or " ok " not in said[0]:
        raise SystemExit(f"{command[0]}: status {done.returncode}: {done.stdout}{done.stderr}")
    total = 0
    for file in TRACING.glob("per_cpu/cpu*/stats"):
        words = file.read_text().split()
        total += int(words[words.index("entries:") + 1]) + int(words[words.index("overrun:") + 1])
    return total, said[0]


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
    sys.exit(main())

"""Where the time of an IDE disk's request goes, on Vestige and on QEMU.

    python -m bench.ide_time [--requests 600]

One software host, whose one processor is traced by Linux while the same guest reads 128 KiB again
and again past its page cache: from an IDE disk on an NVMe controller, Vestige's at ports and in
memory, and QEMU's pc's. Prints progress; writes bench/results/ide_time.json and the table in
docs/performance.md.
"""

import argparse
import os
import sys

from bench import ide_speed
from bench.common import command, guests, newest_qemu, results, trace
from bench.common.guests import ROOT, WORK, Guest
from bench.common.trace import GUEST, MONITOR, WHO, WORKER, Share
from tests.guests import images as disks
from tests.guests import initramfs, kernels, roots
from vestige.errors import GuestError, UsageError
from vestige.host import images
from vestige.softhost import SoftHost

NAME = "ide_time"
LEAST = 200  # requests, to have enough that look alike
MEMORY = 256  # MiB of each guest
DISK = 256  # MiB
TIMEOUT = 240.0  # seconds, of a guest
BUFFER = 64 << 10  # KiB of trace

_TRACE = """
cd /sys/kernel/tracing 2>/dev/null && [ -e trace ] || {
    mount -t tracefs tracefs /sys/kernel/tracing && cd /sys/kernel/tracing || exit 1
}
echo 0 > tracing_on; echo mono > trace_clock; echo "$1" > buffer_size_kb; shift
for event; do echo 1 > "events/$event/enable" || exit 1; done
echo > trace; echo 1 > tracing_on
"""
_STOP = """
cd /sys/kernel/tracing && echo 0 > tracing_on && cat trace > "$1"
"""


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=600, help="of each guest (600)")
    parser.add_argument("--no-page", action="store_true", help="leave docs/performance.md alone")
    arguments = parser.parse_args()
    if arguments.requests < LEAST:
        raise UsageError(f"at least {LEAST} requests, or there are too few that look alike")
    if os.geteuid() != 0:
        raise UsageError("needs root's rights, inside of the software host: run it as root")
    shares = measure(arguments.requests, newest_qemu.qemu().words)
    result = {
        **newest_qemu.taken(),
        "measured": {name: share._asdict() for name, share in shares.items()},
    }
    results.write_json(NAME, result)
    taken = f"Taken on {result['date']}, of {arguments.requests} requests each"
    lines = [f"{taken}{results.by_qemu(result)}.", "", *table(shares)]
    if not arguments.no_page:
        results.write_section(NAME, lines)
    print("\n".join(lines))
    return 0


def measure(requests: int, qemu: tuple[str, ...]) -> dict[str, Share]:
    """Every configuration once."""
    images.ensure()
    guest = Guest(kernels.kernel("cloud").bzimage, initramfs.reads("cloud"), MEMORY, qemu)
    WORK.mkdir(parents=True, exist_ok=True)
    drive = disks.copy(roots.data_disk(DISK, 1), WORK / "nvme.img")
    modules = kernels.modules_for("standard", "nvme", "crc32c_generic")
    configurations = {
        "Vestige, IDE at ports": ("vfio-pci", ide_speed.vestige_nvme),
        "Vestige, IDE in memory": ("vfio-pci", ide_speed.vestige_memory),
        "QEMU pc, IDE": ("nvme", ide_speed.qemu_nvme("native")),
    }
    say = command.Progress(NAME)
    host = SoftHost(nvme=[drive])
    host.start(say)
    shares = {}
    with host:
        guests.load_modules(host, kernels.kernel("standard").release, modules)
        address = host.nvme_addresses[0]
        bench = ide_speed.Bench(host, guest, 0, address, "", say)
        for name, (driver, boot) in configurations.items():
            say(name)
            device = guests.bind(host, address, driver)
            argv = boot(bench, f"reads={requests}", device)
            shares[name] = traced(host, argv, driver)
    return shares


def traced(host: SoftHost, argv: list[str], driver: str) -> Share:
    """Run one guest, and look at the trace of it."""
    guests.inside(host, _TRACE, str(BUFFER), *trace.EVENTS)
    done = host.capture(argv, timeout=TIMEOUT, cwd=ROOT)
    file = WORK / "trace.txt"
    guests.inside(host, _STOP, str(file))
    console = done.stdout.decode(errors="replace")
    if done.status or " ok " not in console:
        raise GuestError(f"{' '.join(argv)}: status {done.status}\n{console}")
    with file.open(encoding="utf-8", errors="replace") as lines:
        return trace.share(trace.events(lines), "vfio-msix" if driver == "vfio-pci" else "nvme")


def table(shares: dict[str, Share]) -> list[str]:
    """Lines of Markdown."""
    rows = [
        [f"{who}, µs", *(f"{1e6 * share.seconds[who]:,.0f}" for share in shares.values())]
        for who in WHO
    ]
    whole = (1e6 * sum(share.seconds.values()) for share in shares.values())
    rows.append(["**in all, µs**", *(f"**{value:,.0f}**" for value in whole)])
    rows += [
        [f"entries of {who}", *(f"{share.entries[who]:.1f}" for share in shares.values())]
        for who in (GUEST, MONITOR, WORKER)
    ]
    return results.table(["per 128 KiB read", *shares], rows)


if __name__ == "__main__":
    sys.exit(command.status(NAME, main))

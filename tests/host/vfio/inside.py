"""Run in the software host by test_vfio.py: what VFIO and an NVMe controller really do.

    python -m tests.host.vfio.inside MONITOR GUEST RUN_LOOP ADDRESS

The first three are saved images. Prints one JSON object.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

from tests.host import harness
from tests.host.guest_payload import Report
from vestige import abi
from vestige.errors import UsageError
from vestige.host import images
from vestige.host.loop.statistics import collect
from vestige.host.vfio import device, sysfs
from vestige.lang.image import Image
from vestige.lang.native import NativeImage

MARK = 0x5A
OVERREACHED = 0x2000  # from Shared, as vfio_payload says


def guest_main(report: Report) -> None:
    """Stands for vfio_payload's, whose image is made outside."""


def main() -> None:
    """All of it, with one controller."""
    monitor, guest, run_loop = (Image.load(path) for path in sys.argv[1:4])
    runner = images.runner_of(NativeImage(run_loop))
    harness.runner = cache(lambda: runner)
    harness.guest_image = cache(lambda _function: guest)
    address = sys.argv[4]
    found: dict[str, Any] = {"problem": sysfs.problem(address)}
    with closing(harness.Payload(guest_main, monitor=monitor, controllers=[address])) as payload:
        found["busy"] = refusal(lambda: harness.Payload(monitor=monitor, controllers=[address]))
        found["one good, one bad"] = refusal(
            lambda: harness.Payload(monitor=monitor, controllers=["0000:00:1f.2", address])
        )
        shared = payload.twin.private.shared()
        found["bar"] = [shared.config.nvme[0].bar, shared.config.nvme[0].bar_size]
        private = payload.twin.private
        private.write(abi.SHARED + OVERREACHED, bytes([MARK]) * 4096)
        found["status"] = payload.run()
        found["values"] = list(payload.report.values)
        found["interrupts"] = interrupts()
        start = abi.SHARED + OVERREACHED - abi.IMAGE
        found["overreached"] = bytes(private.region.view[start : start + 4096]) != (
            bytes([MARK]) * 4096
        )
        found["worker"] = collect(payload.session, 0)["worker"]
    found["after"] = after(address)
    if os.geteuid() == 0:
        found["unbound"], found["bound again"] = rebound(address)
    print(json.dumps(found))


def refusal(make: Callable[[], harness.Payload]) -> str:
    """The line of a UsageError."""
    try:
        made = make()
    except UsageError as error:
        return str(error)
    made.close()
    return "accepted"


def interrupts() -> int:
    """How many MSI-X interrupts of vfio-pci this machine counted."""
    lines = Path("/proc/interrupts").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if "vfio-msix" in line)


def after(address: str) -> dict[str, int]:
    """The controller as the next one finds it, before anything resets it again."""
    config = Path(f"/sys/bus/pci/devices/{address}/config").read_bytes()
    container = device.Container("/dev/vfio")
    group = sysfs.check(address)
    with (
        closing(container),
        closing(device.Controller(address, group, container, abi.BAR_STRIDE)) as again,
    ):
        status = int.from_bytes(
            os.pread(again.descriptor, 2, 7 << 40 | 4),  # vfio-pci: region index above bit 40
            "little",
        )
    return {"command": int.from_bytes(config[4:6], "little"), "open": status}


def rebound(address: str) -> tuple[sysfs.Problem | None, sysfs.Problem | None]:
    """What is said of the controller without its driver, and after what that says was done."""
    Path(f"/sys/bus/pci/devices/{address}/driver/unbind").write_text(address)
    unbound = sysfs.problem(address)
    commands = sysfs.binding_commands(address, None)
    subprocess.run(  # the modules are loaded, and their files are not in here
        ["/bin/sh", "-c", commands.removeprefix("modprobe vfio-pci && ")], check=True
    )
    return unbound, sysfs.problem(address)


if __name__ == "__main__":
    main()

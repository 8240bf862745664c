"""The first talk's demo: the guest's IDE disk, root included, is an NVMe controller.

    python -m examples.demo_nvme.driver

In a software host with an IOMMU and QEMU's NVMe controller, which vfio-pci holds. The guest runs
the demo's init and examples/demo_nvme/checks. Exit status 0 if every check in the guest passed,
and the drive's image holds what the guest says it wrote.
"""

import json
import sys
from pathlib import Path

from examples.demo import driver
from examples.demo.driver import Demo
from tests.guests import roots
from vestige.errors import UsageError
from vestige.host import images

TIMEOUT = 480  # seconds, of the guest
GRACE = 120
CONTROLLER = "vfio:0000:00:10.0"  # the software host's first


def main() -> int:
    """Run the demo. Returns the exit status."""
    scripts = (roots.DEMO_INIT, roots.NVME_CHECKS)
    timeout = TIMEOUT + GRACE
    demo = Demo("demo-nvme", roots.demo_nvme_disk, scripts, _command, timeout, _counters)
    try:
        images.ensure()  # in the software host, compiling takes ten times as long
    except UsageError as error:
        print(f"demo-nvme: {error}", file=sys.stderr)
        return 2
    _stats().unlink(missing_ok=True)
    return driver.perform(demo)


def _stats() -> Path:
    return driver.WORK / "demo-nvme" / "stats.json"


def _command(kernel: Path, initrd: Path, disk: Path) -> list[str]:
    vestige = str(driver.VESTIGE)
    return [
        *(vestige, "softhost", "--nvme", str(disk), "--"),
        *(vestige, "run", "--accel", "kvm", "--kernel", str(kernel), "--initrd", str(initrd)),
        *("--append", driver.APPEND, "--disk", f"{CONTROLLER},bus=ide"),
        *("--timeout", str(TIMEOUT), "--stats", str(_stats())),
    ]


def _counters() -> list[str]:
    """Those that show the interrupt's path."""
    if not _stats().exists():
        return []
    counters = json.loads(_stats().read_text())
    names = ("guest_exits", "doorbells", "worker_wakeups", "worker")
    return [f"{name}: {json.dumps(counters[name])}" for name in names]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

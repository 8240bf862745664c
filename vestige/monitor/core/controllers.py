"""Power-on of NVMe controllers: the one place where the monitor waits for a device.

Only they know the size and the names of their drives, which a guest may ask for at once. It
waits as long as the controllers say they may take, which each says in CAP.TO.
"""

from vestige.abi import MAX_DISKS, DiskKind, Shared
from vestige.lang.intrinsics import pause
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.turn import time


def start_controllers(machine: Machine, shared: Shared) -> None:
    """Bring up all controllers and attach their disks; nothing else runs yet.

    The disk of a controller that failed is left out; `Statistics.nvme` tells the host why.
    """
    config = shared.config
    nvme = machine.nvme
    nvme.reset(config, time(machine, shared))
    if not nvme.present:
        return
    nvme.reap(shared.statistics, time(machine, shared))
    while not nvme.settled():
        pause()
        nvme.reap(shared.statistics, time(machine, shared))
    for i in range(MAX_DISKS):
        disk = config.disks[i]
        if disk.present and disk.kind == DiskKind.NVME and nvme.describe(disk):
            machine.attach(config, i)

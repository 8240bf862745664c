"""From a disk model's request to the driver of its drive, and the answer back."""

from vestige.abi import Config, DiskKind
from vestige.lang.types import u8, u32, u64
from vestige.monitor.block import BlockRequest, State
from vestige.monitor.core.machine import Machine


def answered(
    machine: Machine, config: Config, tag: u8, request: BlockRequest, now: u64, cpu: u64
) -> bool:
    """Move request number `tag` on, which `cpu` looks at; whether it is DONE now."""
    if request.state == State.QUEUED:
        request.state = State.BUSY
        start(machine, config, tag, request, cpu)
    return request.state == State.BUSY and advance(machine, config, tag, request, now)


def start(machine: Machine, config: Config, tag: u8, request: BlockRequest, cpu: u64) -> None:
    """Hand the request to its disk's driver."""
    disk = config.disks[request.drive]
    if disk.kind == DiskKind.NVME:
        machine.nvme.start(tag, request, disk.nvme, u32(cpu))
    else:
        machine.ring_driver.start(tag, request)


def advance(machine: Machine, config: Config, tag: u8, request: BlockRequest, now: u64) -> bool:
    """Let the driver go on with it; whether it is answered now."""
    disk = config.disks[request.drive]
    if disk.kind == DiskKind.NVME:
        machine.nvme.advance(tag, now)
        finished = machine.nvme.finished(tag)
        error = machine.nvme.error_of(tag)
    else:
        machine.ring_driver.advance(tag, request, disk, config.ram, config.ring)
        finished = machine.ring_driver.finished(tag, request, disk)
        error = machine.ring_driver.error_of(tag)
        if finished and error:
            machine.failures.note(request.drive, request.operation, error)
    if finished:
        request.complete(error)
    return finished

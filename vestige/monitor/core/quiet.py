"""Reads of one byte that move nothing on: most traps of a disk command are such, and a firmware's.

They end here, without a Trap: nothing settles, and a disk's controller needs no look at the time.
"""

from vestige.abi import Shared, TrapKind
from vestige.devices import DEVICES
from vestige.lang.intrinsics import cold
from vestige.lang.types import u8, u16, u32
from vestige.monitor.core.bus import read_at
from vestige.monitor.core.decode import is_config_data, offset_of, row_of
from vestige.monitor.core.dispatch import reads_header
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.statistics import count_trap
from vestige.monitor.core.turn import time
from vestige.place import NOBODY
from vestige.shapes import Device, QuietRegisters

NOT_QUIET = 0x100  # no byte


def read_quietly(machine: Machine, shared: Shared, where: u32, port: u16) -> u32:
    """The byte at a port that has been found, counted as a trap; or NOT_QUIET, and nothing is done.

    It is quiet if nothing can move because of it, and its guest waits for nothing. A controller of
    disks has no use for the time then: it is told when anybody looked last.
    """
    for row, place in enumerate(DEVICES):
        if place.quiet and place.disks is not None and row == row_of(where):
            quiet: QuietRegisters = getattr(machine, place.field)
            if not quiet.is_quiet_read(offset_of(where)):
                return NOT_QUIET
            count_trap(shared.statistics, port, TrapKind.PORT)
            device: Device = getattr(machine, place.field)
            return u8(device.read(offset_of(where), 1, machine.clock.last))
    return read_quietly_elsewhere(machine, shared, where, port)


@cold
def read_quietly_elsewhere(machine: Machine, shared: Shared, where: u32, port: u16) -> u32:
    """The same of what is no disk's."""
    if not is_quiet_elsewhere(machine, shared, where):
        return NOT_QUIET
    count_trap(shared.statistics, port, TrapKind.PORT)
    return u8(read_at(machine, shared.config, where, 1, time(machine, shared)))


def is_quiet_elsewhere(machine: Machine, shared: Shared, where: u32) -> bool:
    """Whether a read of one byte of what is no disk's is quiet."""
    for row, place in enumerate(DEVICES):
        if place.quiet and place.disks is None and row == row_of(where):
            device: QuietRegisters = getattr(machine, place.field)
            return device.is_quiet_read(offset_of(where))
    if row_of(where) == NOBODY:
        return True
    return is_config_data(where, 1) and reads_header(machine, shared.config)

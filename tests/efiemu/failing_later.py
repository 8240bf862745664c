"""A monitor that shows an IDE in configuration space, and fails where its guest uses a port."""

from tests import compiling
from vestige import abi
from vestige.abi import PORT_CALL, Call, Cpu, ExitReason
from vestige.lang.image import Image
from vestige.lang.intrinsics import check, port_out8, store64

NOTHING_THERE = 0x1000
# By word: who it is, command and status, class; the bus master's place.
CONFIGURATION = (0x7010_8086, 0x0280_0005, 0x0101_8A00, 0, 0, 0, 0, 0, 0xEF01)


def vcpu_main(cpu: Cpu) -> None:
    while True:
        if cpu.exit.reason == ExitReason.IO:
            store64(NOTHING_THERE, 0)  # what fails
        offset = cpu.exit.union[0] & 0xFF
        word = 0
        if offset >> 2 < len(CONFIGURATION):
            word = CONFIGURATION[offset >> 2]
        cpu.exit.union[1] = word >> 8 * (offset & 3)
        port_out8(PORT_CALL, Call.DONE)


def worker_main(cpu: Cpu) -> None:
    check(cpu.index != 0)


def image() -> Image:
    """It, compiled."""
    return compiling.image([vcpu_main, worker_main], base=abi.IMAGE, runtime="monitor")

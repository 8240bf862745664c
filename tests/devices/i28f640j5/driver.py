"""A flash memory of three blocks over memory of the test's, for CPython and the compiler."""

import ctypes

from vestige.abi import FLASH
from vestige.lang.intrinsics import load8, store8
from vestige.lang.types import u8, u32, u64
from vestige.monitor.devices.i28f640j5.model import Flash
from vestige.monitor.devices.i28f640j5.spec import BLOCK

BLOCKS = 3
SIZE = BLOCKS * BLOCK
FIRST = 0x7B_4000  # offset of its first byte from FLASH, where its place begins
MEMORY = (ctypes.c_uint8 * SIZE)()
ARRAY = ctypes.addressof(MEMORY)


def over_memory(flash: Flash) -> None:
    """As the host and a reset leave it, with bytes of which each differs from its neighbours."""
    for i in range(SIZE):
        store8(u64(ARRAY + i), content(i))
    flash.reset()
    flash.address = FLASH + FIRST
    flash.size = SIZE
    flash.array = ARRAY


def content(offset: u32) -> u8:
    """What is there at first."""
    return (offset ^ offset >> 8) & 0xFF


def array8(flash: Flash, offset: u32) -> u8:
    """A byte that the array has, whatever reads give."""
    return load8(u64(ARRAY + offset))

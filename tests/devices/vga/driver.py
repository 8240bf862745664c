"""A VGA in text mode, with a frame buffer, and its viewer, as CPython and the compiler run them."""

import ctypes
import mmap

from vestige.abi import Screen
from vestige.lang.intrinsics import fill, load8
from vestige.lang.types import u8, u32, u64
from vestige.monitor.devices.vga.model import Vga
from vestige.monitor.devices.vga.ports_spec import VIDEO_MEMORY

SCREEN_SIZE = ctypes.sizeof(Screen)
MEMORY = (ctypes.c_uint8 * SCREEN_SIZE)()
SCREEN = ctypes.addressof(MEMORY)
_MAPPING = mmap.mmap(-1, VIDEO_MEMORY)
FRAME_BUFFER = ctypes.addressof(ctypes.c_uint8.from_buffer(_MAPPING))


def in_text_mode(vga: Vga) -> None:
    """As a BIOS leaves it; nobody has looked yet."""
    fill(SCREEN, 0, SCREEN_SIZE)
    fill(FRAME_BUFFER, 0, VIDEO_MEMORY)
    vga.reset()
    vga.dispi.memory = FRAME_BUFFER
    vga.registers.set_text_mode()


def shown(vga: Vga, offset: u32) -> u8:
    """A byte of what a viewer is told."""
    vga.show_screen(Screen.at(SCREEN))
    return load8(u64(SCREEN + offset))

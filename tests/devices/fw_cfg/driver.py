"""fw_cfg with items and RAM, and what a driver does to it, as CPython and the compiler run it."""

import ctypes
from itertools import product

from vestige.abi import FirmwareKey
from vestige.host.firmware.fw_cfg import region
from vestige.lang.intrinsics import fill
from vestige.lang.types import u8, u32, u64
from vestige.monitor.devices.fw_cfg.model import FwCfg, swapped
from vestige.monitor.devices.fw_cfg.spec import Control, DmaAccess, Register

FILES = {"etc/long": bytes(range(256)) * 2, "etc/none": b"", "opt/short": b"short"}
LONG, NONE, SHORT = (FirmwareKey.FIRST_FILE + number for number in range(len(FILES)))
ARCHITECTURE, CPUS = 0x8003, 0x05
REGION = bytes(region(FILES, {CPUS: b"\1\0", ARCHITECTURE: b"e820"}))
KEYS = (0, 1, CPUS, 0x19, 0x1F, *range(0x20, 0x24), 0x4020, ARCHITECTURE, 0xC003, 0x8000)
CONTROLS = tuple(
    flags | key << 16
    for flags, key in product((0, 2, 2, 4, 8, 10, 10, 12, 0x10, 0x12, 0x14, 0x1F, 0x20), KEYS)
)

RAM_SIZE = 2048
MEMORY = (ctypes.c_uint8 * RAM_SIZE)()
RAM = ctypes.addressof(MEMORY)
STORE = ctypes.create_string_buffer(REGION, len(REGION))
ITEMS = ctypes.addressof(STORE)


def power_on(fw_cfg: FwCfg) -> None:
    """With the items above, and RAM that is all zeroes."""
    fill(RAM, 0, RAM_SIZE)
    fw_cfg.reset()
    fw_cfg.ram.low = RAM
    fw_cfg.ram.low_size = RAM_SIZE
    fw_cfg.items = ITEMS
    fw_cfg.select(FirmwareKey.SIGNATURE)


def transfer(fw_cfg: FwCfg, at: u64, control: u32, length: u32, target: u64) -> u32:
    """An operation by a structure at guest-physical `at`; its control word afterwards.

    Where no structure can be, it is ERROR if that is told, and what was there if not.
    """
    ram = fw_cfg.ram
    if ram.contains(at, 16):
        ram.store32(u64(at + DmaAccess.CONTROL), swapped(control))
        ram.store32(u64(at + DmaAccess.LENGTH), swapped(length))
        ram.store32(u64(at + DmaAccess.ADDRESS), swapped(target >> 32))
        ram.store32(u64(at + DmaAccess.ADDRESS + 4), swapped(u32(target)))
    fw_cfg.write(Register.DMA_HIGH, 4, swapped(at >> 32), 0)
    fw_cfg.write(Register.DMA_LOW, 4, swapped(u32(at)), 0)
    return swapped(ram.load32(at)) if ram.contains(at, 4) else u32(Control.ERROR)


def ram8(fw_cfg: FwCfg, address: u64) -> u8:
    """A byte of RAM."""
    return fw_cfg.ram.load8(address)

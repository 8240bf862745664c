"""The firmware configuration device: items for the guest's firmware. QEMU, docs/specs/fw_cfg.rst.

The host has put the items into private memory (vestige/abi/firmware.py). The guest reads them byte
by byte, or by DMA, which is done within the write that starts it. It can write none.
"""

from vestige.abi import (
    FIRMWARE_ITEMS_SIZE,
    MAX_FIRMWARE_ITEMS,
    Config,
    FirmwareKey,
    FirmwareTable,
)
from vestige.lang.intrinsics import check, copy, fill, load8
from vestige.lang.memory import Memory
from vestige.lang.types import Struct, u8, u16, u32, u64
from vestige.monitor.devices.fw_cfg.spec import (
    DMA_ACCESS_SIZE,
    DMA_SIGNATURE,
    KEY_SHIFT,
    WRITE_MODE,
    Control,
    DmaAccess,
    Register,
)
from vestige.monitor.sized import part_of

HALVES = (Register.DMA_HIGH, Register.DMA_LOW)


class FwCfg(Struct):
    """Sizes and positions are in bytes."""

    ram: Memory  # what DMA reaches
    items: u64  # the monitor's address of a FirmwareTable; 0: there are no items
    offset: u32  # of the selected item from there
    size: u32  # of the selected item; 0: there is none with that key
    position: u32  # of its next byte; `size`: it is at its end
    dma_high: u32  # the upper half of the next operation's address

    def reset(self) -> None:
        """No items."""

    def configure(self, config: Config) -> None:
        """Have the host's items; the first of all is selected."""
        self.ram.set(config.ram)
        self.items = config.firmware_items
        self.select(FirmwareKey.SIGNATURE)

    # ---- the guest ------------------------------------------------------------------------

    def takes_whole(self, offset: u32, size: u8) -> bool:
        """Whether an access of 2 or 4 bytes is one: to the selector, to a half of the address."""
        if offset == Register.SELECTOR:
            return size == 2
        return offset in HALVES and size == 4

    def read(self, offset: u32, size: u8, now: u64) -> u64:
        """A byte of the item, or 1 to 4 bytes of DMA's signature. The selector reads 0."""
        if offset == Register.DATA:
            return self.next_byte()
        if Register.DMA_HIGH <= offset < Register.DMA_LOW + 4:
            return part_of(DMA_SIGNATURE, u8(offset - Register.DMA_HIGH), size)
        return 0

    def write(self, offset: u32, size: u8, value: u64, now: u64) -> None:
        """A register as a whole; data and parts of others take none."""
        if offset == Register.SELECTOR and size == 2:
            self.select(u16(value))
        elif offset == Register.DMA_HIGH and size == 4:
            self.dma_high = swapped(u32(value))
        elif offset == Register.DMA_LOW and size == 4:
            address = self.dma_high << 32 | swapped(u32(value))
            self.dma_high = 0
            self.operate(address)

    # ---- items ----------------------------------------------------------------------------

    def select(self, key: u16) -> None:
        """Go to an item's first byte, Selector Register; without such an item to the end of none.

        An item that reaches out of the host's memory is a bug of the host's, and PANICs.
        """
        self.position = 0
        self.size = 0
        if self.items == 0:
            return
        table = FirmwareTable.at(self.items)
        count = table.count
        check(count <= MAX_FIRMWARE_ITEMS)
        for i in range(count):
            item = table.items[i]
            if item.key == key & ~WRITE_MODE:
                size = item.size
                offset = item.offset
                check(size <= FIRMWARE_ITEMS_SIZE)
                check(offset <= FIRMWARE_ITEMS_SIZE - size)
                self.offset = offset
                self.size = size
                return

    def next_byte(self) -> u8:
        """One byte, and go on; Data Register: behind the end they are 0."""
        at = self.place()
        return load8(at) if self.advance(1) == 1 else 0

    def place(self) -> u64:
        """The monitor's address of the next byte."""
        return u64(self.items + self.offset + self.position)

    def advance(self, length: u32) -> u32:
        """Go on by so many bytes, to the end at most; by how many."""
        length = min(length, u32(self.size - self.position))
        self.position += length
        return length

    # ---- DMA ------------------------------------------------------------------------------

    def operate(self, address: u64) -> None:
        """Do what the DmaAccess at a guest-physical address says, Guest-side DMA Interface.

        The item goes on even where the operation fails.
        """
        ram = self.ram
        if not ram.contains(address, DMA_ACCESS_SIZE):
            self.answer(address, Control.ERROR)
            return
        control = load_big32(ram, u64(address + DmaAccess.CONTROL))
        length = load_big32(ram, u64(address + DmaAccess.LENGTH))
        high = load_big32(ram, u64(address + DmaAccess.ADDRESS))
        target = high << 32 | load_big32(ram, u64(address + DmaAccess.ADDRESS + 4))
        if control & Control.SELECT:
            self.select(control >> KEY_SHIFT)
        done = True
        if control & (Control.READ | Control.WRITE | Control.SKIP):
            source = self.place()
            ready = self.advance(length)
            if control & Control.READ:
                done = self.deliver(target, length, source, ready)
            elif control & Control.WRITE:
                done = length == 0
        self.answer(address, 0 if done else Control.ERROR)

    def deliver(self, target: u64, length: u32, source: u64, ready: u32) -> bool:
        """Copy `ready` bytes to a guest-physical address, and zeroes to fill `length`.

        All or nothing; False where some of it is not RAM.
        """
        if length == 0:
            return True
        if not self.ram.contains(target, length):
            return False
        place = self.ram.pointer(target, length)
        copy(place, source, ready)
        fill(u64(place + ready), 0, u32(length - ready))
        return True

    def answer(self, address: u64, control: u32) -> None:
        """Store an operation's control word, if that is in RAM."""
        if self.ram.contains(address, 4):
            self.ram.store32(address, swapped(control))


def load_big32(ram: Memory, address: u64) -> u32:
    """32 bits of RAM, big-endian."""
    return swapped(ram.load32(address))


def swapped(value: u32) -> u32:
    """32 bits with their bytes in the other order."""
    middle = (value & 0xFF00) << 8 | value >> 8 & 0xFF00
    return (value & 0xFF) << 24 | middle | value >> 24

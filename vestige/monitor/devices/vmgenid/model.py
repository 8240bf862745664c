"""The virtual machine generation ID: 16 bytes that differ between copies of a guest.

Microsoft, Virtual Machine Generation ID (2012).
"""

from vestige.abi import GENERATION_SIZE, Config
from vestige.lang.types import Struct, u8, u32, u64
from vestige.monitor.line import Line


class VmGeneration(Struct):
    """The identifier of this copy. An edge of the line says that it is another now."""

    identifier: u8[GENERATION_SIZE]
    line: Line

    def reset(self) -> None:
        """There is none yet."""

    def configure(self, config: Config) -> None:
        """Power on."""
        self.take(config)

    def go_on(self, config: Config) -> None:
        """The guest was frozen, and others may go on as it does."""
        self.take(config)
        self.line.set(True)
        self.line.set(False)

    def take(self, config: Config) -> None:
        """Have the identifier that the host has drawn for this start of the guest."""
        for number in range(GENERATION_SIZE):
            self.identifier[number] = config.generation[number]

    # ---- the guest ------------------------------------------------------------------------

    def read(self, offset: u32, size: u8, now: u64) -> u64:
        """1 to 8 bytes of it; behind it there are zeroes."""
        value = u64(0)
        for i in range(8):
            if i < size and offset + i < GENERATION_SIZE:
                value |= u64(self.identifier[u32(offset + i)] << 8 * i)
        return value

    def write(self, offset: u32, size: u8, value: u64, now: u64) -> None:
        """Nothing: it is only read."""

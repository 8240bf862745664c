"""What a controller is given for the monitor's addresses: the same, or where it finds them."""

from vestige.abi import NVME_WINDOWS, Nvme, Window
from vestige.lang.types import Struct, u8, u64
from vestige.monitor.drivers.nvme.spec import PAGE


class Bus(Struct):
    """As abi.Nvme tells of it."""

    moved: u8
    windows: Window[NVME_WINDOWS]
    elsewhere: u64

    def connect(self, description: Nvme) -> None:
        """Take it from there."""
        self.moved = description.moved
        self.elsewhere = description.elsewhere
        for number in range(NVME_WINDOWS):
            self.windows[number] = description.windows[number]

    def address(self, address: u64) -> u64:
        """Where the controller finds this byte. What follows it in the page, it finds behind it."""
        if not self.moved:
            return address
        for number in range(NVME_WINDOWS):
            window = self.windows[number]
            offset = u64(address - window.address)
            if offset < window.size:
                return u64(window.bus + offset)
        return u64(self.elsewhere + address % PAGE)

"""Regions: private memory that the guest VM maps, too, where the monitor's calls say (Call.MAP).

And a window in the guest's RAM, at which it finds a part of a region, or nothing, for some time.

Threat: a subverted monitor asks for any region anywhere, as often as it likes. A region has its
host memory for good, and nothing else is in that; where it may be is checked here, in numbers of
this process alone. So is which part of one the window shows.
"""

from _collections_abc import Sequence

from vestige import abi
from vestige.host.kvm.memory import Region
from vestige.host.kvm.vm import VirtualMachine


class Regions:
    """Those of abi.REGIONS, at no address of the guest's yet, and the window, at which is RAM."""

    def __init__(
        self,
        guest: VirtualMachine,
        monitor: VirtualMachine,
        ram: int,
        files: Sequence[int] = (),
    ) -> None:
        """Show each to the monitor. `files`: of each the descriptor of one that is its memory.

        `ram`: the address of the guest's in this process. Raises UsageError where there is no
        memory for them.
        """
        self._guest = guest
        self.memory: list[Region] = []
        self._slots: list[int] = []
        self.places = [0] * len(abi.REGIONS)
        for address, size in abi.REGIONS:
            memory = Region(size)
            self.memory.append(memory)
            if files:
                memory.share(0, size, files[len(self.memory) - 1])
            monitor.map(address, size, memory.address)
            self._slots.append(guest.new_slot())
        self._window, self._ram = guest.new_slot(), ram + abi.WINDOW
        self.shown = abi.WINDOW_NOTHING
        self._show(abi.WINDOW_RAM)

    def map(self, number: int, address: int) -> bool:
        """Have the guest find region `number` at `address`, or nowhere for 0; False: it may not.

        The window is number WINDOW_NUMBER, and `address` one of what abi says it can show.
        For one thread at a time. Raises GuestError where KVM has no memory for it.
        """
        if number == abi.WINDOW_NUMBER:
            return self._show(address)
        if number >= len(self.memory) or not self._is_free(number, address):
            return False
        memory, slot = self.memory[number], self._slots[number]
        if self.places[number] != address:
            if self.places[number]:
                self._guest.unmap(slot)
            self.places[number] = address
            if address:
                self._guest.map_slot(slot, address, memory.size, memory.address)
        return True

    def _show(self, what: int) -> bool:
        """Have the guest find that at the window; False: there is no such part."""
        source = self.memory[0]
        offset = (what - abi.WINDOW_PARTS) * abi.WINDOW_SIZE
        if offset >= source.size:
            return False
        if what != self.shown:
            if self.shown != abi.WINDOW_NOTHING:
                self._guest.unmap(self._window)
            self.shown = what
            if what != abi.WINDOW_NOTHING:
                address = self._ram if what == abi.WINDOW_RAM else source.address + offset
                self._guest.map_slot(self._window, abi.WINDOW, abi.WINDOW_SIZE, address)
        return True

    def _is_free(self, number: int, address: int) -> bool:
        """Whether a region may be there: in the hole behind RAM, and overlapping nothing."""
        size = self.memory[number].size
        if address == 0:
            return True
        if address % size or address + size > abi.IOAPIC:
            return False
        others = [
            (place, each.size)
            for other, (place, each) in enumerate(zip(self.places, self.memory, strict=True))
            if place and other != number
        ]
        taken = [(each.guest_address, each.size) for each in self._guest.mapped]
        return not any(
            address < first + length and first < address + size
            for first, length in (*taken, *others)
        )

    def close(self) -> None:
        """Give the memory back; the VMs are closed."""
        for memory in self.memory:
            memory.close()

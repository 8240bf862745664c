"""A firmware's flash memory: private memory that the guest VM maps, too, at one place, to be read,
or not at all, as the monitor's calls say (Call.MAP).

Threat: a subverted monitor asks for it anywhere, as often as it likes. Where it may be is checked
here, in numbers of this process alone.
"""

from vestige import abi
from vestige.host.kvm.memory import Region
from vestige.host.kvm.vm import VirtualMachine


class Flash:
    """Its memory is a file's. It is at no address of the guest's at first."""

    def __init__(
        self,
        guest: VirtualMachine,
        file: int,
        size: int,
        address: int,
        *,
        read_only: bool,
        shared: bool = True,
    ) -> None:
        """`size` bytes of `file`, whole pages, which the guest is to find at `address`.

        Those that are not `shared` are as the file has them at first, and then a copy.
        Where KVM can't map memory that is to be read only, the guest never finds it. Raises
        UsageError where there is no memory for it.
        """
        self.memory = Region(size, None if shared else file)
        if shared:
            self.memory.share(0, size, file, what="a firmware's variables")
        self._guest, self._address, self._read_only = guest, address, read_only
        self._slot = guest.new_slot()
        self.place = 0  # where the guest finds it; 0: nowhere

    def map(self, address: int) -> bool:
        """Have the guest find it at `address`, or nowhere for 0; False: it may not.

        For one thread at a time. Raises GuestError where KVM has no memory for it.
        """
        if address and not (self._read_only and address == self._address):
            return False
        if address != self.place:
            self.place = address
            if address:
                memory = self.memory
                self._guest.map_slot(
                    self._slot,
                    address,
                    memory.size,
                    memory.address,
                    read_only=True,
                )
            else:
                self._guest.unmap(self._slot)
        return True

    @property
    def range(self) -> tuple[int, int]:
        """Where the monitor has it, and how many bytes."""
        return abi.FLASH_ARRAY, self.memory.size

    def close(self) -> None:
        """Give the memory back; the VMs are closed."""
        self.memory.close()

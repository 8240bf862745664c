"""A PC's gate for bit 20 of addresses: while it is closed, the second MiB is the first once more.

Threat: a subverted monitor closes and opens it as often as it likes. Both are the guest's own RAM.
"""

from vestige import abi
from vestige.host.kvm.vm import VirtualMachine


class Gate:
    """It is open at first. What it gates is abi.WRAPPED, of which the guest VM maps nothing yet."""

    def __init__(self, guest: VirtualMachine, ram: int) -> None:
        """`ram`: the address of the guest's in this process; it has more than it gates."""
        self._guest, self._ram = guest, ram
        self._slot = guest.new_slot()
        self.state = abi.GATE_OPEN
        self._show()

    def set(self, state: int) -> bool:
        """GATE_OPEN or GATE_CLOSED; False: it has no such state. For one thread at a time."""
        if state not in (abi.GATE_OPEN, abi.GATE_CLOSED):
            return False
        if state != self.state:
            self.state = state
            self._guest.unmap(self._slot)
            self._show()
        return True

    def _show(self) -> None:
        start = abi.WRAPPED if self.state == abi.GATE_OPEN else 0
        self._guest.map_slot(self._slot, abi.WRAPPED, abi.WRAPPED_SIZE, self._ram + start)

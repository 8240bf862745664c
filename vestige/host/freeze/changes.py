"""Which of guest RAM is written from some moment on: so it can be told while the guest runs.

Three write there. Of both VMs, and of what KVM itself writes for them, KVM keeps a log
(KVM_GET_DIRTY_LOG). Of the rings nobody does: a chunk that they have ever registered counts as
written. So does, on a PC, all below LOW, where a VM has memory by more stretches than one, which
its monitor moves. Python writes nothing to RAM once the guest runs.

Threat: a log says no more than which pages of its own the guest and its monitor have written.
"""

import struct
from _collections_abc import Iterator, Sequence

from vestige import abi
from vestige.host.backends.ring import Ring
from vestige.host.files.sparse import PAGE
from vestige.host.kvm import api as kvm
from vestige.host.kvm.cpu_state import Buffer
from vestige.host.kvm.twin import Twin
from vestige.host.kvm.vm import VirtualMachine

LOG = struct.Struct("<I4xQ")  # struct kvm_dirty_log: a slot, where its bitmap is to be
WORD = 64  # pages of which a bitmap has a whole number
LOW = 2 * abi.MIB  # whatever a PC's gate and window are of
IS_ANY = bytes(bool(each) for each in range(256))


class _Log:
    """Of one stretch of RAM that a VM has."""

    def __init__(self, machine: VirtualMachine, shown: kvm.MemoryRegion, ram: int) -> None:
        self._machine, self._shown = machine, shown
        self.start = shown.host_address - ram
        self.end = self.start + shown.size
        self._bitmap = Buffer(WORD // 8)

    def switch(self, *, on: bool) -> bool:
        """Whether KVM does."""
        self._shown.flags = kvm.LOG_DIRTY_PAGES if on else 0
        request = kvm.Request.SET_USER_MEMORY_REGION
        if on:
            self._bitmap = Buffer(-(-self._shown.size // (PAGE * WORD)) * WORD // 8)
        return kvm.attempt(self._machine.descriptor, request, self._shown) == 0

    def written(self) -> Iterator[tuple[int, int]]:
        """(first byte of RAM, last + 1), since it was switched on. Raises GuestError."""
        asked = Buffer(0, LOG.pack(self._shown.slot, self._bitmap.address))
        kvm.call(self._machine.descriptor, kvm.Request.GET_DIRTY_LOG, asked.address)
        for first, last in pages_of(self._bitmap.bytes):
            yield self.start + first * PAGE, min(self.start + last * PAGE, self.end)


class Changes:
    """Of one machine's RAM, from `begin` to `end`."""

    def __init__(self, twin: Twin, rings: Sequence[Ring]) -> None:
        region = twin.memory.region
        self._rings, self._memory = rings, twin.memory
        self._logs = [
            _Log(machine, shown, region.address)
            for machine in (twin.guest, twin.monitor)
            for shown in machine.mapped
            if region.address <= shown.host_address < region.address + region.size
        ]
        self._has_low = twin.gate is not None or twin.regions is not None
        self.is_on = False

    def begin(self) -> None:
        """Log from now on; where KVM doesn't, `is_on` stays False."""
        self.is_on = True
        for log in self._logs:
            if not log.switch(on=True):
                self.end()
                return

    def written(self) -> list[tuple[int, int]]:
        """(first byte, last + 1) of what was, or of what nobody can say whether it was. The guest
        stands still. Raises GuestError.
        """
        found = [(0, min(LOW, self._memory.region.size))] if self._has_low else []
        for chunk in {chunk for ring in self._rings for chunk in ring.ever_pinned}:
            if (place := self._memory.chunk(chunk)) is not None:
                start = place[0] - self._memory.region.address
                found.append((start, start + place[1]))
        for log in self._logs:
            found.extend(log.written())
        return found

    def end(self) -> None:
        """Log no more; a second time does nothing."""
        if self.is_on:
            self.is_on = False
            for log in self._logs:
                log.switch(on=False)


def pages_of(bitmap: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """(first, last + 1) of the bits that are set: of the first byte's lowest on.

    The guest stands still: no step here is of Python's for each page.
    """
    there = bitmap.translate(IS_ANY)
    start = there.find(1)
    while start >= 0:
        end = there.find(0, start)
        end = end if end >= 0 else len(there)
        bits = f"{int.from_bytes(bitmap[start:end], 'little'):b}"[::-1]
        first = bits.find("1")
        while first >= 0:
            last = bits.find("0", first)
            last = last if last >= 0 else len(bits)
            yield 8 * start + first, 8 * start + last
            first = bits.find("1", last)
        start = there.find(1, end)

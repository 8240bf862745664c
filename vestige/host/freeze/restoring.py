"""What the machine's process does to go on with a frozen machine.

Threat: the parts may be a forged folder's. Memory is the guest's and its monitor's, who may have
anything there; what else is read of it, untrusted.py bounds. Of the state each number is bounded
here or is KVM's to check.
"""

import ctypes
import os
from _collections_abc import Mapping, Sequence

from vestige import abi
from vestige.errors import GuestError, UsageError
from vestige.host.backends.ring import takes_files_memory
from vestige.host.files.sparse import data_of
from vestige.host.freeze.parts import (
    CLOCK_AT,
    CPUID_AT,
    CPUS_AT,
    HEAD,
    Part,
    size_of,
    state_size,
)
from vestige.host.freeze.saving import memories
from vestige.host.kvm import api as kvm
from vestige.host.kvm import cpu_state, guest
from vestige.host.kvm.memory import Region
from vestige.host.kvm.twin import Twin
from vestige.host.loop.clocks import Clocks, Time
from vestige.host.loop.untrusted import Untrusted
from vestige.machine.cpu_features import Entry, lacking

MOST_CPUID = 256
LEAST_KHZ, MOST_KHZ = 100_000, 100_000_000  # of a TSC
OF_A_FIRMWARE = Part.FIRMWARE, Part.ITEMS
DAMAGED = "the snapshot's state is damaged: memory is nowhere that it can be"
OTHER = "; thaw it where it was frozen, or on a machine like that"
# Of Config, what a thaw has its own of: files, rings, and what KVM is.
OWN = (
    "ring", "date", "generation", "power_on", "attend_port", "coalesced", "coalesced_entries",
    "thaws", "freezes", "paravirtual_eoi", "shadow", "entropy", "columns", "rows",
)  # fmt: skip
OWN_WITHIN = {
    "disks": ("file", "overlay_file", "disc"),
    "console": ("input", "output"),
    "ports": ("input", "output"),
    "events": ("file",),
    "net": ("files", "mac"),
}
# What else of a field can be as it was not: the words of options are compared before (given.py).
OTHERWISE = {
    "disks": "disks have other sizes or overlays than when it was frozen",
    "net": "--net leads to another kind of interface than the one that it was frozen with: to a tap"
    " of as many queues as it had (multi_queue), or to a passt that takes as long packets",
}


class Thawed:
    """A frozen machine, from the moment that its memory is there."""

    def __init__(
        self, twin: Twin, files: Mapping[Part, int], *, jumps: bool, shows: bool = False
    ) -> None:
        """Have its memory be that of `twin`. `files`: its parts; `jumps`: its time is now; `shows`:
        what a viewer sees of it the twin gets otherwise, see viewer/memory.py.

        Raises UsageError.
        """
        self._twin, self._shows = twin, shows
        self.bases: dict[Part, int] = {
            part: file for part, file in files.items() if part != Part.STATE
        }
        self._state = _state(files[Part.STATE], len(twin.guest.cpus))
        realtime, monitor_tsc, self._khz, _, *self._maps = HEAD.unpack_from(self._state)
        self._copies = False
        for part, region in memories(twin).items():
            _check_size(region, files[part])
            self._take(part, region)
        self.configs = [abi.Config.from_buffer_copy(each.config) for each in twin.shared()]
        for each in twin.shared()[1:]:
            each.config = abi.Config()
        frozen = Time.from_buffer_copy(self._state, CLOCK_AT)
        self.clocks = Clocks(
            jumps=jumps, realtime=realtime, khz=self._khz, monitor_tsc=monitor_tsc, alike=1,
            frozen=frozen,
        )  # fmt: skip
        self._cpus: list[cpu_state.Waiting] = []

    def _take(self, part: Part, region: Region) -> None:
        """Have a region be a part; a copy of it, where io_uring takes no memory of such files."""
        file = self.bases[part]
        region.take(file)
        if part == Part.PRIVATE:  # the first
            self._copies = not takes_files_memory(region.address)
        if self._copies:
            region.fill(file, list(data_of(file, region.size)))
            del self.bases[part]

    def place(self) -> None:
        """Before `wire`: have the memories that a PC has more than others."""
        twin, files = self._twin, self.bases
        if Part.FIRMWARE in files and Part.ITEMS in files:
            taken = (Region(size_of(files[each]), files[each]) for each in OF_A_FIRMWARE)
            twin.take_firmware(*taken)
        if Part.FLASH in files and twin.firmware is not None:
            size = size_of(files[Part.FLASH])
            end = abi.HIGH_RAM - twin.firmware.size
            twin.place_flash(files[Part.FLASH], size, end, shared=False)
        if twin.regions is not None:
            if Part.REGION not in files:
                raise UsageError(DAMAGED)
            _check_size(twin.regions.memory[0], files[Part.REGION])
            if not self._shows:
                twin.regions.memory[0].take(files[Part.REGION])

    def map(self) -> None:
        """Behind `wire`: have the guest find them where it did. Raises UsageError."""
        twin = self._twin
        window, gate, region, flash = self._maps
        done = [
            twin.regions is None
            or (twin.regions.map(0, region) and twin.regions.map(abi.WINDOW_NUMBER, window)),
            twin.gate is None or twin.gate.set(gate),
            twin.flash is None or twin.flash.map(flash),
        ]
        if not all(done):
            raise UsageError(DAMAGED)

    def set_frequency(self) -> None:
        """Have the CPUs of both VMs count as fast as they did. Raises UsageError."""
        khz = self._khz
        if not LEAST_KHZ <= khz <= MOST_KHZ:
            raise UsageError(f"the snapshot's state is damaged: no CPU counts {khz} kHz")
        for cpu in (*self._twin.guest.cpus, *self._twin.monitor.cpus):
            here = cpu.tsc_khz()
            self.clocks.alike &= here == khz
            if here != khz and kvm.attempt(cpu.descriptor, kvm.Request.SET_TSC_KHZ, khz) < 0:
                raise UsageError(
                    f"the guest was frozen where a CPU counts {khz} kHz, and here it is"
                    f" {here}{OTHER}"
                )

    def set_cpuid(self, here: Sequence[Entry], *, apart: bool) -> list[Entry]:
        """Show the guest's CPUs the processor that they were, which `here` is to have all of.

        That processor. Raises UsageError.
        """
        table = kvm.Cpuid.from_buffer_copy(self._state, CPUID_AT)
        if not 0 < table.count <= MOST_CPUID:
            raise UsageError("the snapshot's state is damaged: it names no processor")
        there: list[Entry] = [
            kvm.CPUID_ENTRY.unpack(bytes(memoryview(table.entries[number])))
            for number in range(table.count)
        ]
        if (missing := lacking(there, here)) is not None:
            raise UsageError(f"this machine's processor, by KVM, lacks {missing}{OTHER}")
        guest.set_cpuid(self._twin.guest.cpus, there, apart=apart)
        return there

    def check(self) -> None:
        """Raise UsageError where what was asked for is another machine than the frozen one."""
        for each, before in zip(self._twin.shared(), self.configs, strict=True):
            now = abi.Config.from_buffer_copy(each.config)
            for name, *_ in abi.Config._fields_:
                if name not in OWN and _plain(now, name) != _plain(before, name):
                    words = OTHERWISE.get(name, f"{name} are not as they were frozen")
                    raise UsageError(f"the guest's {words}; give what it was frozen with")

    def set_cpus(self) -> None:
        """Have the guest's CPUs be where they were, and no time pass until the `clocks` go on.

        Raises UsageError for what KVM refuses.
        """
        config, before = self._twin.private.shared().config, self.configs[0]
        config.power_on = before.power_on
        config.date = before.date
        twin = self._twin
        clocks, cpus = self.clocks, (*twin.guest.cpus, *twin.monitor.cpus)
        clocks.vm, clocks.count = cpu_state.Setting(twin.guest).descriptor, len(cpus)
        settings = list(map(cpu_state.Setting, cpus))
        for number, cpu in enumerate(settings):
            cpu.count_by(clocks.counters[number])
        try:
            for cpu in settings[: len(twin.guest.cpus)]:
                place = CPUS_AT + cpu.index * cpu_state.SIZE
                state = self._state[place : place + cpu_state.SIZE]
                self._cpus.append(cpu_state.Waiting(cpu, state, clocks.counters[cpu.index]))
        except GuestError as error:
            raise UsageError(
                f"the snapshot's state is damaged, or another KVM's: {error}"
            ) from None

    def restore_routes(self, untrusted: Untrusted) -> None:
        """Wire the doorbells that the monitor may ring for."""
        messages: dict[int, tuple[int, int]] = {}
        for domain in range(len(self._twin.workers)):
            messages |= untrusted.routes(domain)
        if messages:
            self._twin.doorbells.restore(messages)


def _state(file: int, cpus: int) -> bytes:
    """What a file has of it. Raises UsageError."""
    size = state_size(cpus)
    data = os.pread(file, size, 0)
    if size_of(file) != size or len(data) != size or HEAD.unpack_from(data)[3] != cpus:
        raise UsageError("the snapshot's state is damaged: it is not of so many CPUs")
    return data


def _check_size(region: Region, file: int) -> None:
    if size_of(file) != region.size:
        raise UsageError(
            "the snapshot's memory is damaged: a file of it has not the size that it had"
        )


def _plain(config: abi.Config, name: str) -> bytes:
    """A field's bytes, but for those that a thaw has its own of."""
    field = getattr(config, name)
    if isinstance(field, int):
        return field.to_bytes(8, "little", signed=field < 0)
    within = OWN_WITHIN.get(name, ())
    parts = field if isinstance(field, ctypes.Array) else [field]
    for part in parts:
        for own in within:
            kind = dict(type(part)._fields_)[own]
            setattr(part, own, kind())
    return bytes(field)

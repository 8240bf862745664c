"""All of a guest's virtual CPU that KVM keeps, and of its clock: read, and put into another one.

The order of both matters, and where the kernel's documentation (Documentation/virt/kvm/api.rst and
devices/vcpu.rst) does not say why, this does:

- An MP_STATE is read before the registers, as that takes in an INIT or a SIPI that waits.
- CPUID comes before all: it says which registers there are.
- The local APIC comes before the MSRs, of which the TSC's deadline is the last: its timer is
  counted by what both say. Events come behind them, as setting a local APIC looks for more.
- The TSC is set by its offset, not by its MSR, where KVM can: KVM takes MSRs that are written one
  after the other for an attempt to have them all the same.
- What counts time comes last of all, when the CPU is to run: the TSC, and then, as they are counted
  by it, the local APIC's timer and the TSC's deadline (loop/clocks.py). Until then neither is set.

Threat: what is put in may be a forged file's. Each part has its size, and KVM refuses what is none
of a processor's.
"""
# On the way to every run, and a Struct takes a while to make: a state is bytes here.

import fcntl
import struct
from _collections_abc import Iterator, Sequence

from vestige.errors import GuestError
from vestige.host import limits, steps
from vestige.host.kvm import api as kvm
from vestige.host.kvm.api import Request
from vestige.host.kvm.vm import VirtualCpu, VirtualMachine
from vestige.host.loop.clocks import Counter, Register, Time
from vestige.lang.foreign import addressof, c_char, sizeof
from vestige.lang.intrinsics import address_of


class Part:
    """One of a state: who reads it, who sets it, and its bytes. `may_lack`: not every KVM has it.

    `counts`: it begins with how many there are (32 bits), and where that is 0 KVM takes none.
    """

    __slots__ = ("counts", "get", "may_lack", "place", "put", "size")

    def __init__(
        self,
        place: int,
        get: Request,
        put: Request,
        size: int,
        *,
        may_lack: bool = False,
        counts: bool = False,
    ) -> None:
        self.place, self.get, self.put, self.size = place, get, put, size
        self.may_lack, self.counts = may_lack, counts


# A state: which of the parts are there (32 bits, by their order here), then the parts.
HEAD = struct.Struct("<IIQI4x")  # that, whether the TSC's offset is there, that, how many MSRs
MSR = struct.Struct("<I4xQ")  # struct kvm_msr_entry
MSRS = 256  # of a CPU, at most
FIRST = HEAD.size + MSRS * MSR.size
MP_STATE = Part(FIRST, Request.GET_MP_STATE, Request.SET_MP_STATE, 4)
REGISTERS = Part(FIRST + 8, Request.GET_REGS, Request.SET_REGS, 144)
SYSTEM = Part(FIRST + 152, Request.GET_SREGS, Request.SET_SREGS, 312)
SYSTEM_2 = Part(FIRST + 464, Request.GET_SREGS2, Request.SET_SREGS2, 320, may_lack=True)
XCRS = Part(FIRST + 784, Request.GET_XCRS, Request.SET_XCRS, 392, may_lack=True, counts=True)
DEBUG = Part(FIRST + 1176, Request.GET_DEBUGREGS, Request.SET_DEBUGREGS, 128)
EVENTS = Part(FIRST + 1304, Request.GET_VCPU_EVENTS, Request.SET_VCPU_EVENTS, 64)
LOCAL_APIC = Part(FIRST + 1368, Request.GET_LAPIC, Request.SET_LAPIC, 1024)
XSAVE = Part(FIRST + 2392, Request.GET_XSAVE, Request.SET_XSAVE, 4096)
PARTS = MP_STATE, REGISTERS, SYSTEM, SYSTEM_2, XCRS, DEBUG, EVENTS, LOCAL_APIC, XSAVE
SIZE = XSAVE.place + XSAVE.size
BEFORE_MSRS = MP_STATE, REGISTERS, SYSTEM, SYSTEM_2, XSAVE, XCRS, DEBUG
SET_BEFORE_MSRS = MP_STATE, REGISTERS, SYSTEM, SYSTEM_2, XSAVE, XCRS, DEBUG, LOCAL_APIC
BEHIND_MSRS = LOCAL_APIC, EVENTS
TIMER_COUNT, TIMER_LEFT, APIC_REGISTER = 0x380, 0x390, 4  # of a local APIC; bytes of one

MSRS_HEAD = struct.Struct("<I4x")  # struct kvm_msrs
NAMES = struct.Struct("<I")  # of a struct kvm_msr_list: how many, and each
NEW_LIST = 4096  # registers that KVM may name at once
TSC, TSC_DEADLINE = 0x10, 0x6E0
TSC_CONTROL, TSC_OFFSET = 0, 0  # KVM_VCPU_TSC_CTRL, a group of attributes, and one of them
CLOCK_SIZE = sizeof(Time)
# Numbers of descriptors by which, and by no others, the jail lets state be set: host/jail/calls.py.
# All that a machine has open before its last vCPU is fewer: link.MOST_DESCRIPTORS, and two a vCPU.
SETTING = 512
SYS_FCNTL = 72


class Buffer:
    """Bytes that KVM reads or fills."""

    def __init__(self, size: int, data: bytes = b"") -> None:
        """`data`, then zeroes."""
        self.bytes = bytearray(data.ljust(size, b"\0"))
        self._hold = c_char.from_buffer(self.bytes)  # of an array's length a type is made
        self.address = addressof(self._hold)


class Setting:
    """A vCPU, or a VM, as long as its state may be set: until its clock goes on."""

    __slots__ = ("descriptor", "index")

    def __init__(self, of: VirtualCpu | VirtualMachine) -> None:
        """Raises UsageError where this process may not have so many files open."""
        self.index = of.index if isinstance(of, VirtualCpu) else 0
        self.descriptor = steps.make_call(
            SYS_FCNTL, of.descriptor, fcntl.F_DUPFD_CLOEXEC, SETTING, stays=True
        )
        if self.descriptor < 0:
            raise limits.refusal("a frozen machine's CPUs", -self.descriptor)

    def count_by(self, counter: Counter) -> None:
        """Have `counter` be this vCPU's."""
        counter.cpu = self.descriptor
        counter.attribute = _tsc_offset(address_of(counter.moved))
        counter.register = Register(count=1, number=TSC)


def msr_numbers(system: kvm.System) -> list[int]:
    """The model-specific registers that are a guest's state, in the order to be set.

    Raises GuestError where KVM names more than there is room for.
    """
    names = Buffer(NAMES.size * (1 + NEW_LIST), NAMES.pack(NEW_LIST))
    with steps.Aside():
        kvm.call(system.descriptor, Request.GET_MSR_INDEX_LIST, names.address)
    (count,) = NAMES.unpack_from(names.bytes)
    named = [NAMES.unpack_from(names.bytes, NAMES.size * (1 + place))[0] for place in range(count)]
    numbers = [number for number in named if number != TSC_DEADLINE]
    if len(numbers) >= MSRS:
        raise GuestError(f"KVM has {len(numbers)} model-specific registers, over {MSRS - 1}")
    return [*numbers, TSC_DEADLINE]


def read(cpu: VirtualCpu, numbers: Sequence[int]) -> bytes:
    """That of a vCPU that does not run, and for which nothing is under way in KVM.

    `numbers`: of MSRs; those that this vCPU has not are left out. Raises GuestError.
    """
    state = Buffer(SIZE)
    there = _read_parts(cpu, state, BEFORE_MSRS)
    msrs = _read_msrs(cpu.descriptor, numbers)
    there |= _read_parts(cpu, state, BEHIND_MSRS)
    offset = Buffer(8)
    got = kvm.attempt(cpu.descriptor, Request.GET_DEVICE_ATTR, _tsc_offset(offset.address))
    HEAD.pack_into(
        state.bytes, 0, there, got == 0, int.from_bytes(offset.bytes, "little"), len(msrs)
    )
    for place, (number, value) in enumerate(msrs):
        MSR.pack_into(state.bytes, HEAD.size + place * MSR.size, number, value)
    return bytes(state.bytes)


def _read_parts(cpu: VirtualCpu, state: Buffer, parts: Sequence[Part]) -> int:
    """Have KVM fill these in; a bit for each that is there."""
    there = 0
    for part in parts:
        place = state.address + part.place
        if not part.may_lack:
            kvm.call(cpu.descriptor, part.get, place)
        elif kvm.attempt(cpu.descriptor, part.get, place) < 0:
            continue
        if not part.counts or any(state.bytes[part.place : part.place + 4]):
            there |= 1 << PARTS.index(part)
    return there


def _read_msrs(descriptor: int, numbers: Sequence[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    left = list(numbers)
    while left:
        asked = _msrs([(number, 0) for number in left])
        done = kvm.call(descriptor, Request.GET_MSRS, asked.address)
        found += _entries(asked.bytes, MSRS_HEAD.size, done)
        del left[: done + 1]  # that behind those is refused
    return found


def _msrs(values: Sequence[tuple[int, int]]) -> Buffer:
    data = b"".join(MSR.pack(*value) for value in values)
    return Buffer(0, MSRS_HEAD.pack(len(values)) + data)


def _entries(data: bytes | bytearray, first: int, count: int) -> list[tuple[int, int]]:
    return [MSR.unpack_from(data, first + place * MSR.size) for place in range(count)]


def _tsc_offset(address: int) -> kvm.DeviceAttribute:
    return kvm.DeviceAttribute(group=TSC_CONTROL, attribute=TSC_OFFSET, address=address)


def tsc_of(cpu: VirtualCpu) -> int:
    """A vCPU's time-stamp counter. Raises GuestError."""
    return _read_msrs(cpu.descriptor, [TSC])[0][1]


def read_clock(guest: VirtualMachine) -> bytes:
    """The guest's, a Time. Raises GuestError."""
    clock = Buffer(CLOCK_SIZE)
    kvm.call(guest.descriptor, Request.GET_CLOCK, clock.address)
    return bytes(clock.bytes)


class Waiting:
    """A vCPU that is to go on where another was frozen, once its `counter` does."""

    def __init__(self, cpu: Setting, state: bytes, counter: Counter) -> None:
        """Set all of `cpu`, which is new and has its CPUID, but what counts time.

        `state`: SIZE bytes. Raises GuestError for what KVM refuses.
        """
        there, has_offset, offset, count = HEAD.unpack_from(state)
        self._whole, self._still = Buffer(SIZE, state), Buffer(SIZE, state)
        for register in (TIMER_COUNT, TIMER_LEFT):
            place = LOCAL_APIC.place + register
            self._still.bytes[place : place + APIC_REGISTER] = bytes(APIC_REGISTER)
        _write_parts(cpu, self._still, there, SET_BEFORE_MSRS)
        values = _entries(state, HEAD.size, min(count, MSRS))
        _write_msrs(cpu, [each for each in values if each[0] not in (TSC, TSC_DEADLINE)])
        _write_parts(cpu, self._still, there, (EVENTS,))
        known = dict(values)
        counter.is_guests, counter.tsc = 1, known.get(TSC, 0)
        counter.has_offset, counter.offset = bool(has_offset), offset
        deadline = known.get(TSC_DEADLINE, 0)
        self._deadlines = [_msrs([(TSC_DEADLINE, value)]) for value in (deadline, 0)]
        counts = self._whole.bytes != self._still.bytes
        if deadline:
            counter.deadline, counter.no_deadline = (each.address for each in self._deadlines)
        if counts:
            counter.local_apic = self._whole.address + LOCAL_APIC.place
        if deadline or counts:
            counter.still_local_apic = self._still.address + LOCAL_APIC.place
            counter.events = self._whole.address + EVENTS.place


def _write_msrs(cpu: Setting, values: Sequence[tuple[int, int]]) -> None:
    msrs = _msrs(values)  # as long as KVM reads them
    steps.keep(msrs)
    done = kvm.call(cpu.descriptor, Request.SET_MSRS, msrs.address)
    if done < len(values):
        number, value = values[done]
        raise GuestError(
            f"KVM refuses {value:#x} for the model-specific register {number:#x} of CPU {cpu.index}"
        )


def _write_parts(cpu: Setting, state: Buffer, there: int, parts: Sequence[Part]) -> None:
    for part in _set(there, parts):
        kvm.call(cpu.descriptor, part.put, state.address + part.place)


def _set(there: int, parts: Sequence[Part]) -> Iterator[Part]:
    """Those that are there; of the two that have the system registers, the one that says more."""
    for part in parts:
        is_there = there >> PARTS.index(part) & 1
        if part is SYSTEM and there >> PARTS.index(SYSTEM_2) & 1:
            continue
        if is_there:
            yield part

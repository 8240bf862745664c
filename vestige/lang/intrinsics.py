"""What typed Python can do beyond arithmetic: raw memory, ports, MSRs, atomics, fences.

Each function here has two lives. Called from CPython it does the same thing to this
process's own memory (`load32(address)` reads it). What only a virtual CPU can do (ports, MSRs,
HLT) raises `OnlyInAVm`, or is done by the `Processor` that the code is `running_on`. Compiled, it
becomes the instruction named in its docstring.
Device models use none of these: their guest memory comes in as a `Memory`.
"""

from _contextvars import ContextVar

from vestige.lang.foreign import (
    addressof,
    c_int32,
    c_uint8,
    c_uint16,
    c_uint32,
    c_uint64,
    function,
    get_errno,
)
from vestige.lang.types import TYPE_CHECKING, Struct, i64, u8, u16, u32, u64

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")

_system_call = function("syscall", *[c_uint64] * 7)
_memmove = function("memmove", *[c_uint64] * 3)
_memset = function("memset", c_uint64, c_int32, c_uint64)


class OnlyInAVm(RuntimeError):
    """An instruction that CPython can't execute: it needs a virtual CPU."""


class Processor:
    """A virtual CPU for code that CPython runs: what it does at each such instruction.

    This one can do nothing but PAUSE, which does nothing.
    """

    def before_ordered_access(self) -> None:
        """An atomic access, an acquire, a release or a fence follows: CPUs meet there."""

    def pause(self) -> None:
        """PAUSE: what another CPU does can be done here."""

    def timestamp(self) -> int:
        """RDTSC."""
        raise OnlyInAVm("timestamp")

    def port_in8(self, port: int) -> int:
        """IN AL, DX."""
        raise OnlyInAVm("port_in8")

    def port_in16(self, port: int) -> int:
        """IN AX, DX."""
        raise OnlyInAVm("port_in16")

    def port_in32(self, port: int) -> int:
        """IN EAX, DX."""
        raise OnlyInAVm("port_in32")

    def port_out8(self, port: int, value: int) -> None:
        """OUT DX, AL."""
        raise OnlyInAVm("port_out8")

    def port_out16(self, port: int, value: int) -> None:
        """OUT DX, AX."""
        raise OnlyInAVm("port_out16")

    def port_out32(self, port: int, value: int) -> None:
        """OUT DX, EAX."""
        raise OnlyInAVm("port_out32")

    def read_msr(self, number: int) -> int:
        """RDMSR."""
        raise OnlyInAVm("read_msr")

    def write_msr(self, number: int, value: int) -> None:
        """WRMSR."""
        raise OnlyInAVm("write_msr")

    def wait_for_interrupt(self) -> None:
        """STI; HLT; CLI."""
        raise OnlyInAVm("wait_for_interrupt")

    def cpuid_answer(self, leaf: int, subleaf: int) -> "tuple[int, int, int, int]":
        """CPUID: EAX, EBX, ECX and EDX."""
        raise OnlyInAVm("cpuid")

    def read_state(self, place: int) -> None:
        """SGDT, SIDT, MOV from segment, control and debug registers."""
        raise OnlyInAVm("read_state")

    def run_guest(self, vmcb: int, registers: int) -> None:
        """VMRUN."""
        raise OnlyInAVm("run_guest")

    def run_aside(self, vmcb: int, registers: int, other: int) -> None:
        """VMSAVE, VMLOAD, VMRUN, VMLOAD."""
        raise OnlyInAVm("run_aside")

    def take_over(self, world: int) -> None:
        """Go on as the guest."""
        raise OnlyInAVm("take_over")

    def let_interrupts_in(self) -> None:
        """STGI; NOP; CLGI."""
        raise OnlyInAVm("let_interrupts_in")

    def nmi_entry(self) -> int:
        """LEA of it."""
        raise OnlyInAVm("nmi_entry")

    def startup_page(self) -> int:
        """LEA of it."""
        raise OnlyInAVm("startup_page")

    def shut_interrupts_out(self) -> None:
        """CLI; CLGI."""
        raise OnlyInAVm("shut_interrupts_out")

    def end_shutting_out(self) -> None:
        """STGI; STI."""
        raise OnlyInAVm("end_shutting_out")

    def call_firmware(self, function: int, *arguments: int) -> int:
        """CALL of a function of UEFI firmware, Microsoft's convention: RAX."""
        raise OnlyInAVm("call_firmware")


_NO_PROCESSOR = Processor()
_processor = ContextVar("processor", default=_NO_PROCESSOR)


class _Running:
    """What `running_on` answers; contextlib would make every start slower."""

    def __init__(self, processor: Processor) -> None:
        self._processor = processor

    def __enter__(self) -> None:
        self._token = _processor.set(self._processor)

    def __exit__(self, *_: object) -> None:
        _processor.reset(self._token)


def running_on(processor: Processor) -> _Running:
    """For `with`: what this thread runs inside runs on `processor`."""
    return _Running(processor)


class CheckFailed(RuntimeError):
    """A run-time check of typed Python failed; compiled code ends in a PANIC here."""


def at_callers_line(function: "Callable[P, R]") -> "Callable[P, R]":
    """Decorator: checks that fail in `function` PANIC at the line of whoever called it."""
    function.panics_at_caller = True  # type: ignore[attr-defined]
    return function


def cold(function: "Callable[P, R]") -> "Callable[P, R]":
    """Decorator: `function` is called seldom, so its callers are made as if it never were.

    It is no part of them then, and what it needs of registers costs them nothing.
    """
    function.is_cold = True  # type: ignore[attr-defined]
    return function


def check(condition: bool) -> None:
    """Go on if `condition` holds, else PANIC at the caller's line (CheckFailed in CPython)."""
    if not condition:
        raise CheckFailed("check failed")


def address_of(place: Struct | object) -> int:
    """The address of a struct or an array field: what hardware below the monitor is given."""
    return addressof(place)  # type: ignore[arg-type]


def load8(address: u64) -> u8:
    """MOV, 8 bits; the address is not checked."""
    return c_uint8.from_address(address).value


def load16(address: u64) -> u16:
    """MOV, 16 bits, any alignment; the address is not checked."""
    return c_uint16.from_address(address).value


def load32(address: u64) -> u32:
    """MOV, 32 bits, any alignment; the address is not checked."""
    return c_uint32.from_address(address).value


def load64(address: u64) -> u64:
    """MOV, 64 bits, any alignment; the address is not checked."""
    return c_uint64.from_address(address).value


def store8(address: u64, value: u8) -> None:
    """MOV, 8 bits; the address is not checked."""
    c_uint8.from_address(address).value = value


def store16(address: u64, value: u16) -> None:
    """MOV, 16 bits, any alignment; the address is not checked."""
    c_uint16.from_address(address).value = value


def store32(address: u64, value: u32) -> None:
    """MOV, 32 bits, any alignment; the address is not checked."""
    c_uint32.from_address(address).value = value


def store64(address: u64, value: u64) -> None:
    """MOV, 64 bits, any alignment; the address is not checked."""
    c_uint64.from_address(address).value = value


def copy(destination: u64, source: u64, length: u64) -> None:
    """REP MOVS of `length` bytes; overlapping regions copy as memmove does."""
    _memmove(destination, source, length)


def fill(destination: u64, value: u8, length: u64) -> None:
    """REP STOS of `length` bytes."""
    _memset(destination, value, length)


def atomic_exchange32(address: u64, value: u32) -> u32:
    """XCHG: store `value`, return what was there. A full barrier."""
    _processor.get().before_ordered_access()
    old = load32(address)
    store32(address, value)
    return old


def atomic_compare_exchange32(address: u64, expected: u32, value: u32) -> u32:
    """LOCK CMPXCHG: store `value` if `expected` is there; return what was there."""
    _processor.get().before_ordered_access()
    old = load32(address)
    if old == expected:
        store32(address, value)
    return old


def atomic_add64(address: u64, value: u64) -> u64:
    """LOCK XADD, modulo 2**64: return what was there."""
    _processor.get().before_ordered_access()
    old = load64(address)
    store64(address, (old + value) & 0xFFFF_FFFF_FFFF_FFFF)
    return old


def load_acquire32(address: u64) -> u32:
    """A 32-bit load that later memory accesses stay behind."""
    _processor.get().before_ordered_access()
    return load32(address)


def store_release32(address: u64, value: u32) -> None:
    """A 32-bit store that earlier memory accesses stay before."""
    _processor.get().before_ordered_access()
    store32(address, value)


def fence() -> None:
    """A full memory barrier (LOCK OR to the stack: MFENCE needs SSE2)."""
    _processor.get().before_ordered_access()


def pause() -> None:
    """PAUSE: this CPU is spinning."""
    _processor.get().pause()


def timestamp() -> u64:
    """RDTSC: this CPU's time-stamp counter."""
    return _processor.get().timestamp()


def port_in8(port: u16) -> u8:
    """IN AL, DX."""
    return _processor.get().port_in8(port)


def port_in16(port: u16) -> u16:
    """IN AX, DX."""
    return _processor.get().port_in16(port)


def port_in32(port: u16) -> u32:
    """IN EAX, DX."""
    return _processor.get().port_in32(port)


def port_out8(port: u16, value: u8) -> None:
    """OUT DX, AL."""
    _processor.get().port_out8(port, value)


def port_out16(port: u16, value: u16) -> None:
    """OUT DX, AX."""
    _processor.get().port_out16(port, value)


def port_out32(port: u16, value: u32) -> None:
    """OUT DX, EAX."""
    _processor.get().port_out32(port, value)


def read_msr(number: u32) -> u64:
    """RDMSR."""
    return _processor.get().read_msr(number)


def write_msr(number: u32, value: u64) -> None:
    """WRMSR."""
    _processor.get().write_msr(number, value)


def wait_for_interrupt() -> None:
    """STI; HLT; CLI: sleep until an interrupt, with no window in which one is missed.

    The monitor's handlers return behind it, should one have come before HLT: not all that emulates
    a processor keeps STI's promise.
    """
    _processor.get().wait_for_interrupt()


def cpuid(leaf: u32, subleaf: u32, place: u64) -> None:
    """CPUID; EAX, EBX, ECX and EDX are stored at `place`, 32 bits each. It is not checked."""
    for number, value in enumerate(_processor.get().cpuid_answer(leaf, subleaf)):
        store32(place + 4 * number, value)


def call_firmware(function: u64, a: u64, b: u64, c: u64, d: u64, e: u64, f: u64) -> u64:
    """CALL, UEFI 2.10, 2.3.4.2: what the function answers. It takes as many as it takes."""
    return _processor.get().call_firmware(function, a, b, c, d, e, f)


def read_state(place: u64) -> None:
    """SGDT, SIDT, MOV from segment, control and debug registers: a struct at `place`."""
    _processor.get().read_state(place)


def run_guest(vmcb: u64, registers: u64) -> None:
    """VMRUN, with the guest's registers but RAX and RSP, 8 bytes each by their numbers."""
    _processor.get().run_guest(vmcb, registers)


def run_aside(vmcb: u64, registers: u64, other: u64) -> None:
    """The same while the VMCB `other` keeps what VMRUN does not switch: VMSAVE and VMLOAD."""
    _processor.get().run_aside(vmcb, registers, other)


def take_over(world: u64) -> None:
    """Go on as the guest of a copy of this code, whose `efi_serve` is entered: runtime/efi.s."""
    _processor.get().take_over(world)


def let_interrupts_in() -> None:
    """STGI; NOP; CLGI: an SMI or NMI that waits is taken here, by the host."""
    _processor.get().let_interrupts_in()


def nmi_entry() -> u64:
    """Where an NMI is taken and nothing done: the address for a gate."""
    return _processor.get().nmi_entry()


def startup_page() -> u64:
    """Where the beginning of a page is that a STARTUP IPI leads to: see runtime/efi.s."""
    return _processor.get().startup_page()


def shut_interrupts_out() -> None:
    """CLI; CLGI: no interrupt at all until `end_shutting_out`, as after a VMRUN."""
    _processor.get().shut_interrupts_out()


def end_shutting_out() -> None:
    """STGI; STI."""
    _processor.get().end_shutting_out()


def panic(code: u32) -> "NoReturn":
    """End here with a PANIC of the caller's line; `code` is for the reader."""
    raise CheckFailed(f"panic({code})")


def syscall(number: u64, a: u64, b: u64, c: u64, d: u64, e: u64, f: u64) -> i64:
    """SYSCALL, Linux x86-64: the kernel's answer, -4095 … -1 an errno. Host code only."""
    answer: int = _system_call(number, a, b, c, d, e, f)
    return -get_errno() if answer == -1 else answer

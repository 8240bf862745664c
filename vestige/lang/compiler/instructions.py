"""The intrinsics as x86-64 instructions. Arguments are i64 operands in LLVM's text.

Whatever touches a device or another CPU is a compiler barrier (`~{memory}`), and raw loads
and stores are volatile: each is one access, made once, of the width it names. So a value
read from memory the guest can change is checked and used as the same value.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vestige.lang.compiler.emit import Emitter

CLOBBERS = "~{memory},~{dirflag},~{fpsr},~{flags}"


def _narrow(emitter: "Emitter", word: str, bits: int) -> str:
    return word if bits == 64 else emitter.new(f"trunc i64 {word} to i{bits}")


def _widen(emitter: "Emitter", register: str, bits: int) -> str:
    return register if bits == 64 else emitter.new(f"zext i{bits} {register} to i64")


def _pointer(emitter: "Emitter", address: str) -> str:
    return emitter.new(f"inttoptr i64 {address} to ptr")


def _load(bits: int, emitter: "Emitter", address: str) -> str:
    pointer = _pointer(emitter, address)
    value = emitter.new(f"load volatile i{bits}, ptr {pointer}, align 1")
    return _widen(emitter, value, bits)


def _store(bits: int, emitter: "Emitter", address: str, value: str) -> None:
    pointer, narrow = _pointer(emitter, address), _narrow(emitter, value, bits)
    emitter.line(f"store volatile i{bits} {narrow}, ptr {pointer}, align 1")


def _load_acquire(emitter: "Emitter", address: str) -> str:
    pointer = _pointer(emitter, address)
    value = emitter.new(f"load atomic volatile i32, ptr {pointer} acquire, align 4")
    return _widen(emitter, value, 32)


def _store_release(emitter: "Emitter", address: str, value: str) -> None:
    pointer, narrow = _pointer(emitter, address), _narrow(emitter, value, 32)
    emitter.line(f"store atomic volatile i32 {narrow}, ptr {pointer} release, align 4")


def _exchange(emitter: "Emitter", address: str, value: str) -> str:
    pointer, narrow = _pointer(emitter, address), _narrow(emitter, value, 32)
    old = emitter.new(f"atomicrmw volatile xchg ptr {pointer}, i32 {narrow} seq_cst, align 4")
    return _widen(emitter, old, 32)


def _compare_exchange(emitter: "Emitter", address: str, expected: str, value: str) -> str:
    pointer = _pointer(emitter, address)
    old, new = _narrow(emitter, expected, 32), _narrow(emitter, value, 32)
    pair = emitter.new(
        f"cmpxchg volatile ptr {pointer}, i32 {old}, i32 {new} seq_cst seq_cst, align 4"
    )
    return _widen(emitter, emitter.new(f"extractvalue {{i32, i1}} {pair}, 0"), 32)


def _add(emitter: "Emitter", address: str, value: str) -> str:
    pointer = _pointer(emitter, address)
    return emitter.new(f"atomicrmw volatile add ptr {pointer}, i64 {value} seq_cst, align 8")


def _runtime(name: str, emitter: "Emitter", *words: str) -> None:
    arguments = ", ".join(f"i64 {word}" for word in words)
    emitter.line(f"call void @{name}({arguments})")


def _assembly(text: str, constraints: str, result: str, operands: str) -> str:
    listed = f"{constraints},{CLOBBERS}" if constraints else CLOBBERS
    return f'call {result} asm sideeffect "{text}", "{listed}"({operands})'


def _plain(text: str, emitter: "Emitter") -> None:
    """An instruction without operands."""
    emitter.line(_assembly(text, "", "void", ""))


def _pair(text: str, emitter: "Emitter", constraints: str = "", operands: str = "") -> str:
    """An instruction whose result is EDX:EAX."""
    listed = f"={{eax}},={{edx}}{constraints}"
    pair = emitter.new(_assembly(text, listed, "{i32, i32}", operands))
    low = _widen(emitter, emitter.new(f"extractvalue {{i32, i32}} {pair}, 0"), 32)
    high = _widen(emitter, emitter.new(f"extractvalue {{i32, i32}} {pair}, 1"), 32)
    return emitter.new(f"or i64 {low}, {emitter.new(f'shl i64 {high}, 32')}")


ACCUMULATORS = {8: ("al", "b"), 16: ("ax", "w"), 32: ("eax", "l")}  # and how a size is written


def _port_in(bits: int, emitter: "Emitter", port: str) -> str:
    number = _narrow(emitter, port, 16)
    register, suffix = ACCUMULATORS[bits]
    text, listed = f"in{suffix} $1, $0", f"={{{register}}},{{dx}}"
    value = emitter.new(_assembly(text, listed, f"i{bits}", f"i16 {number}"))
    return _widen(emitter, value, bits)


def _port_out(bits: int, emitter: "Emitter", port: str, value: str) -> None:
    number, narrow = _narrow(emitter, port, 16), _narrow(emitter, value, bits)
    register, suffix = ACCUMULATORS[bits]
    emitter.line(
        _assembly(
            f"out{suffix} $1, $0", f"{{dx}},{{{register}}}", "void",
            f"i16 {number}, i{bits} {narrow}",
        )
    )  # fmt: skip


def _read_msr(emitter: "Emitter", number: str) -> str:
    return _pair("rdmsr", emitter, ",{ecx}", f"i32 {_narrow(emitter, number, 32)}")


def _write_msr(text: str, emitter: "Emitter", number: str, value: str) -> None:
    index, low = _narrow(emitter, number, 32), _narrow(emitter, value, 32)
    high = _narrow(emitter, emitter.new(f"lshr i64 {value}, 32"), 32)
    operands = f"i32 {index}, i32 {low}, i32 {high}"
    emitter.line(_assembly(text, "{ecx},{eax},{edx}", "void", operands))


def _system_call(emitter: "Emitter", *words: str) -> str:
    registers = ("rax", "rdi", "rsi", "rdx", "r10", "r8", "r9")
    constraints = ",".join(f"{{{register}}}" for register in registers)
    operands = ", ".join(f"i64 {word}" for word in words)
    return emitter.new(
        _assembly("syscall", f"={{rax}},{constraints},~{{rcx}},~{{r11}}", "i64", operands)
    )


def _cpuid(emitter: "Emitter", leaf: str, subleaf: str, place: str) -> None:
    four = "{i32, i32, i32, i32}"
    words = f"i32 {_narrow(emitter, leaf, 32)}, i32 {_narrow(emitter, subleaf, 32)}"
    listed = "={eax},={ebx},={ecx},={edx},{eax},{ecx}"
    values = emitter.new(_assembly("cpuid", listed, four, words))
    for number in range(4):
        address = emitter.new(f"add i64 {place}, {4 * number}")
        value = emitter.new(f"extractvalue {four} {values}, {number}")
        emitter.line(f"store volatile i32 {value}, ptr {_pointer(emitter, address)}, align 1")


def _address(name: str, emitter: "Emitter") -> str:
    return emitter.new(f"call i64 @{name}()")


def _call_firmware(emitter: "Emitter", function: str, *words: str) -> str:
    arguments = ", ".join(f"i64 {word}" for word in words)
    return emitter.new(f"call win64cc i64 {_pointer(emitter, function)}({arguments})")


EMIT: dict[str, Callable[..., str | None]] = {
    **{f"port_in{bits}": partial(_port_in, bits) for bits in ACCUMULATORS},
    **{f"port_out{bits}": partial(_port_out, bits) for bits in ACCUMULATORS},
    **{f"load{bits}": partial(_load, bits) for bits in (8, 16, 32, 64)},
    **{f"store{bits}": partial(_store, bits) for bits in (8, 16, 32, 64)},
    "load_acquire32": _load_acquire,
    "store_release32": _store_release,
    "atomic_exchange32": _exchange,
    "atomic_compare_exchange32": _compare_exchange,
    "atomic_add64": _add,
    "copy": partial(_runtime, "vestige_copy"),
    "fill": partial(_runtime, "vestige_fill"),
    "fence": partial(_plain, "lock orl $$0, (%rsp)"),
    "pause": partial(_plain, "pause"),
    "timestamp": partial(_pair, "rdtsc"),
    "read_msr": _read_msr,
    "write_msr": partial(_write_msr, "wrmsr"),
    "wait_for_interrupt": partial(_plain, "sti; hlt; cli"),
    "syscall": _system_call,
    "cpuid": _cpuid,
    "call_firmware": _call_firmware,
    "read_state": partial(_runtime, "vestige_read_state"),
    "run_guest": partial(_runtime, "vestige_run_guest"),
    "run_aside": partial(_runtime, "vestige_run_aside"),
    "take_over": partial(_runtime, "vestige_take_over"),
    "nmi_entry": partial(_address, "vestige_nmi_entry"),
    "startup_page": partial(_address, "vestige_startup_page"),
    "let_interrupts_in": partial(_plain, "stgi; nop; nop; clgi"),
    "shut_interrupts_out": partial(_plain, "cli; clgi"),
    "end_shutting_out": partial(_plain, "stgi; sti"),
}
BY_GATE = EMIT | {  # in ring 3: runtime/monitor.s
    "write_msr": partial(_write_msr, "int3"),
    "wait_for_interrupt": lambda emitter: emitter.line(_assembly("int3", "{ecx}", "void", "i32 0")),
}


def of(runtime: str) -> dict[str, Callable[..., str | None]]:
    """What emits each intrinsic in code of this runtime."""
    return BY_GATE if runtime == "monitor" else EMIT

"""The assembly every image carries: memory routines, panic, and the way in."""

from pathlib import Path

from vestige.lang import vcpu

FOLDER = Path(__file__).parent.parent / "runtime"
RUNTIMES = ("monitor", "kernel", "process", "efi")
# What LLVM takes for its own, and what the assembly defines: no entry can be called so.
RUNTIME_NAMES = {
    "memset", "memcpy", "memmove", "vestige_call", "vestige_copy", "vestige_fill", "vestige_panic",
    "vestige_nmi_entry", "vestige_read_state",
    "vestige_run_aside", "vestige_run_guest", "vestige_startup_page", "vestige_take_over",
    "efi_start", "efi_constants", "efi_room", "exception", "interrupt_wake", "gate",
    "tell_panic",
    *(f"exception_{vector}" for vector in range(32)),
    *(f"interrupt_signal_{number}" for number in range(vcpu.SIGNALS)),
}  # fmt: skip


def assembly(runtime: str) -> str:
    """The source for a runtime, with the numbers and offsets of vcpu.py."""
    constants = {
        "STACK_SIZE": vcpu.STACK_SIZE,
        "PRIVILEGED_STACK": vcpu.PRIVILEGED_STACK,
        "PORT_CALL": vcpu.PORT_CALL,
        "CALL_PANIC": vcpu.PANIC,
        "CPU_SIGNALS": vcpu.Vcpu.signals.offset,  # type: ignore[attr-defined]
        "CPU_ENDED": vcpu.Vcpu.ended.offset,  # type: ignore[attr-defined]
        **{
            f"PANIC_{field[0].upper()}": getattr(vcpu.Panic, field[0]).offset
            for field in vcpu.Panic._fields_
        },
    }
    lines = [f".set {name}, {int(value)}" for name, value in constants.items()]
    virtual = ("virtual.s",) if runtime in ("monitor", "kernel") else ()
    for file in ("common.s", *virtual, f"{runtime}.s"):
        lines += (FOLDER / file).read_text(encoding="utf-8").splitlines()
    return "\n".join(line.partition("#")[0].rstrip() for line in lines)

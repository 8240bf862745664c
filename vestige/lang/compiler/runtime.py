"""The assembly every image carries: memory routines, panic, and the way in."""

from pathlib import Path

from vestige import abi

FOLDER = Path(__file__).parent.parent / "runtime"
RUNTIMES = ("monitor", "process")
# What LLVM takes for its own, and what the assembly defines: no entry can be called so.
RUNTIME_NAMES = {
    "memset", "memcpy", "memmove", "vestige_call", "vestige_copy", "vestige_fill", "vestige_panic",
    "exception", "interrupt_wake", *(f"exception_{vector}" for vector in range(32)),
    *(f"interrupt_signal_{number}" for number in range(abi.SIGNALS)),
}  # fmt: skip


def assembly(runtime: str) -> str:
    """The source for a runtime, with the addresses and offsets the host shares with it."""
    constants = {
        "STACK_SIZE": abi.STACK_SIZE,
        "PORT_CALL": abi.PORT_CALL,
        "CALL_PANIC": abi.Call.PANIC,
        "CPU_SIGNALS": abi.Cpu.signals.offset,  # type: ignore[attr-defined]
        "CPU_ENDED": abi.Cpu.ended.offset,  # type: ignore[attr-defined]
        **{
            f"PANIC_{field[0].upper()}": getattr(abi.Panic, field[0]).offset
            for field in abi.Panic._fields_
        },
    }
    lines = [f".set {name}, {int(value)}" for name, value in constants.items()]
    for file in ("common.s", f"{runtime}.s"):
        lines += (FOLDER / file).read_text(encoding="utf-8").splitlines()
    return "\n".join(line.partition("#")[0].rstrip() for line in lines)

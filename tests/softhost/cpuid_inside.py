"""Run in the software host by test_real.py: its processor's CPUID, and what a guest is given of it.

    python -m tests.softhost.cpuid_inside

Prints "host" or "guest", a leaf, its index, and EAX, EBX, ECX and EDX of each that isn't all zero.
"""

import ctypes
import mmap

from vestige.host.kvm import api as kvm
from vestige.host.kvm.memory import mapping_address
from vestige.machine import cpuid

CODE = bytes.fromhex(
    "53"  # push rbx
    "89f8"  # mov eax, edi: the leaf
    "89f1"  # mov ecx, esi: the index
    "4989d0"  # mov r8, rdx: where the registers go
    "0fa2"  # cpuid
    "418900"  # mov [r8], eax
    "41895804"  # mov [r8+4], ebx
    "41894808"  # mov [r8+8], ecx
    "4189500c"  # mov [r8+12], edx
    "5bc3"  # pop rbx; ret
)
INDICES = {0x7: 2, 0xD: 64, 0x12: 2, 0x14: 2, 0x1D: 2, 0x1E: 2, 0x24: 2}  # 1 of all others


def main() -> None:
    """Print both."""
    with mmap.mmap(
        -1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    ) as page:
        page[: len(CODE)] = CODE
        execute = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p)(
            mapping_address(page)
        )
        registers = (ctypes.c_uint32 * 4)()
        for base in (0, 0x8000_0000):
            execute(base, 0, registers)
            for leaf in range(base, registers[0] + 1):
                for index in range(INDICES.get(leaf, 1)):
                    execute(leaf, index, registers)
                    show("host", leaf, index, *registers)
        del execute
    system = kvm.open_system()
    machine = cpuid.of_machine(
        system.supported_cpuid(), cores=2, tsc_khz=1_000_000, tsc_deadline=True
    )
    for entry in cpuid.of_cpu(machine, 1, 2):
        show("guest", entry[0], entry[1], *entry[3:])


def show(whose: str, leaf: int, index: int, *registers: int) -> None:
    """Print one line, if there is something to say."""
    if any(registers):
        print(whose, *map(hex, (leaf, index, *registers)))


if __name__ == "__main__":
    main()

"""efiemu.efi: the code of the shell, and what its checks are, in a PE32+ file."""

import ctypes
import struct
from collections.abc import Sequence

from vestige.efiemu import pe
from vestige.efiemu.shell.main import efi_failed, efi_main
from vestige.efiemu.shell.serve import efi_serve
from vestige.efiemu.shell.state import Shell
from vestige.lang import vcpu
from vestige.lang.build import compile_functions
from vestige.lang.image import Site

if ctypes.sizeof(Shell) > vcpu.STACK_SIZE:
    raise MemoryError("the shell's state is larger than what runtime/efi.s leaves for it")


def application() -> bytes:
    """The file: the same sources, the same bytes."""
    image = compile_functions([efi_main, efi_failed, efi_serve], base=None, runtime="efi")
    zeroed = image.memory_size - image.code_size
    code = bytearray(image.code)
    place = image.symbols["efi_checks"]
    struct.pack_into("<Q", code, place, pe.constants_at(image.code, zeroed) - place)
    return pe.application(bytes(code), image.symbols["efi_start"], zeroed, checks(image.sites))


def checks(sites: Sequence[Site]) -> bytes:
    """The table of checks: where the line of each begins, and the last one ends; then the lines."""
    lines = [f"{file}:{line}: {reason}".encode("ascii", "replace") for file, line, reason in sites]
    begin = 4 * (len(lines) + 1)
    starts = [begin]
    for line in lines:
        starts.append(starts[-1] + len(line))
    return struct.pack(f"<{len(starts)}I", *starts) + b"".join(lines)

"""Applications of firmware that are not efiemu.efi: one entry of a test's, and the shell's runtime.

Such an application takes no machine over and starts no processor as the shell does.
"""

from collections.abc import Callable

from tests import compiling
from vestige.efiemu import pe
from vestige.efiemu.shell import uefi
from vestige.lang.intrinsics import panic
from vestige.lang.types import u64


def efi_failed(check: u64, table: u64, state: u64, constants: u64) -> u64:
    return uefi.ABORTED


def efi_serve(state: u64) -> None:
    panic(0)


def efi_join(state: u64, cr0: u64) -> None:
    panic(0)


def application(efi_main: Callable[[u64, u64, u64, u64], u64]) -> bytes:
    """The file of one whose entry this is."""
    image = compiling.image([efi_main, efi_failed, efi_serve, efi_join], base=None, runtime="efi")
    zeroed = image.memory_size - image.code_size
    return pe.application(image.code, image.symbols["efi_start"], zeroed, bytes(16))

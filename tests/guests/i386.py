"""Debian's last kernel for 32-bit x86, and its initial RAM file system: of Debian 12."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.guests import initramfs, kernels
from tests.guests.store import built
from vestige.softhost import debian_kernel, suites

SUITE = "bookworm"
FLAVOUR = "686"
MODULES = ("sd_mod", "ata_piix", "virtio_pci", "virtio_blk")


class Kernel(NamedTuple):
    """`pc`: says what it found of a PC, see pc-init."""

    bzimage: Path
    pc: Path


@cache
def kernel() -> Kernel:
    """Raises UsageError if apt can't fetch it."""
    configuration = suites.configuration(SUITE, architecture="i386")
    current = debian_kernel.current(FLAVOUR, configuration)

    def build(directory: Path) -> None:
        with kernels.unpacked(current, configuration) as tree:
            (directory / "vmlinuz").write_bytes(tree.image.read_bytes())
            kernels.keep_modules(tree, MODULES, directory)

    directory = built("kernel-i386", (kernels.files_of(current), MODULES), build)
    pc = initramfs.pc_of("i386", kernels.in_order(directory), configuration)
    return Kernel(directory / "vmlinuz", pc)

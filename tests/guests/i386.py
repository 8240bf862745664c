"""Debian's last kernels for 32-bit x86, Debian 12's, and their initial RAM file systems."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.guests import initramfs, kernels
from tests.guests.store import built
from vestige.softhost import debian_kernel, suites

SUITE = "bookworm"
# Not the one with PAE: in the software host it has a #GP at its first change of CR4. As the sources
# tell, QEMU's emulator marks the entries of the page directory pointer table as accessed (its
# mmu_translate), a bit that must be 0 there, and so KVM's load_pdptrs refuses the table.
FLAVOUR = "686"
MODULES = (*kernels.UNTIL_LATELY, "sd_mod", "ata_piix", "ext4", "floppy")


class Kernel(NamedTuple):
    """`reached` and `root`: see reached-init, and root-init, for a root on an IDE disk."""

    bzimage: Path
    reached: Path
    root: Path
    shell: Path  # a busybox


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
    shell = initramfs.busybox(configuration)
    return Kernel(
        bzimage=directory / "vmlinuz",
        reached=initramfs.reached(configuration),
        root=initramfs.root_of("i386", kernels.in_order(directory), shell),
        shell=shell,
    )

"""Debian's last kernels for 32-bit x86, Debian 12's, and their initial RAM file systems."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.guests import initramfs, kernels
from tests.guests.store import built
from vestige.softhost import debian_kernel, suites

SUITE = "bookworm"
FLAVOUR = "686"  # the one with PAE has a #GP at its first change of CR4 in the software host


class Kernel(NamedTuple):
    """`reached`: see reached-init."""

    bzimage: Path
    reached: Path


@cache
def kernel() -> Kernel:
    """Raises UsageError if apt can't fetch it."""
    configuration = suites.configuration(SUITE, architecture="i386")
    current = debian_kernel.current(FLAVOUR, configuration)

    def build(directory: Path) -> None:
        with kernels.unpacked(current, configuration) as tree:
            (directory / "vmlinuz").write_bytes(tree.image.read_bytes())

    directory = built("kernel-i386", (kernels.files_of(current),), build)
    return Kernel(
        bzimage=directory / "vmlinuz",
        reached=initramfs.reached(configuration),
    )

"""Debian's kernels, unmodified, and the modules that a root on an IDE or virtio disk needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from tests.guests.store import built
from vestige.softhost import bzimage, debian_kernel, packages
from vestige.softhost.debian_kernel import KernelPackages, Tree

Flavour = Literal["cloud", "standard"]

_META_PACKAGES = {"cloud": "cloud-amd64", "standard": "amd64"}

# ext4 asks for crc32c by the algorithm's name, which .modinfo does not list. In newer kernels it
# has that without a module.
UNTIL_LATELY = ("crc32c_generic",)
ROOT_MODULES = (*UNTIL_LATELY, "sd_mod", "ata_piix", "virtio_pci", "virtio_blk", "ext4")


@dataclass(frozen=True)
class Kernel:
    """One of Debian's kernels. `modules` are the .ko files, each after those it needs."""

    release: str  # such as 6.1.0-56-cloud-amd64
    bzimage: Path
    vmlinux: Path  # the ELF file inside the bzImage
    modules: tuple[Path, ...]


@cache
def kernel(flavour: Flavour) -> Kernel:
    """Debian's current cloud or standard kernel. Raises UsageError if apt can't fetch it."""
    current = debian_kernel.current(_META_PACKAGES[flavour])

    def build(directory: Path) -> None:
        with unpacked(current) as tree:
            image = tree.image.read_bytes()
            (directory / "vmlinuz").write_bytes(image)
            (directory / "vmlinux").write_bytes(bzimage.extract(image))
            keep_modules(tree, ROOT_MODULES, directory)

    directory = built(f"kernel-{flavour}", (files_of(current), ROOT_MODULES), build)
    return Kernel(
        release=current.release,
        bzimage=directory / "vmlinuz",
        vmlinux=directory / "vmlinux",
        modules=in_order(directory),
    )


@cache
def modules_for(flavour: Flavour, *names: str) -> tuple[Path, ...]:
    """The named modules of a kernel and all they need, each after those it needs."""
    current = debian_kernel.current(_META_PACKAGES[flavour])

    def build(directory: Path) -> None:
        with unpacked(current) as tree:
            keep_modules(tree, names, directory)

    recipe = (files_of(current), names)
    return in_order(built(f"modules-{flavour}-{'-'.join(names)}", recipe, build))


def files_of(kernel: KernelPackages) -> tuple[str, ...]:
    """The names of its packages' files, which change with their content."""
    return tuple(package.file_name for package in kernel.all)


@contextmanager
def unpacked(kernel: KernelPackages, configuration: Path | None = None) -> Iterator[Tree]:
    """The kernel's packages, fetched and unpacked for as long as this lasts."""
    archives = packages.fetch(kernel.all, configuration)
    with TemporaryDirectory(prefix="vestige-kernel-") as name:
        packages.unpack(archives, Path(name))
        yield Tree(Path(name), kernel.release)


def in_order(directory: Path) -> tuple[Path, ...]:
    """What `keep_modules` has put into a directory."""
    order = (directory / "order").read_text().split()
    return tuple(directory / f"{name}.ko" for name in order)


def keep_modules(tree: Tree, names: tuple[str, ...], directory: Path) -> None:
    """Keep the named modules of a kernel and all they need, but for what is built in.

    Each module is a .ko file in `directory` then; their order is written down beside them.
    """
    order = tree.load_order(names, if_there=UNTIL_LATELY)
    for name in order:
        (directory / f"{name}.ko").write_bytes(tree.module(name))
    (directory / "order").write_text("".join(f"{name}\n" for name in order))

"""Debian's kernels, unmodified, and the modules that a root on an IDE or virtio disk needs."""

import lzma
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from tests.guests.store import built
from vestige.softhost import bzimage, modules, packages

Flavour = Literal["cloud", "standard"]

_META_PACKAGES = {"cloud": "cloud-amd64", "standard": "amd64"}

# ext4 asks for crc32c by the algorithm's name, which .modinfo does not list.
ROOT_MODULES = ("crc32c_generic", "sd_mod", "ata_piix", "virtio_pci", "virtio_blk", "ext4")


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
    package = packages.kernel_package(_META_PACKAGES[flavour])
    release = package.name.removeprefix("linux-image-")

    def build(directory: Path) -> None:
        tree = directory / "tree"
        packages.unpack(packages.fetch([package]), tree)
        image = (tree / "boot" / f"vmlinuz-{release}").read_bytes()
        (directory / "vmlinuz").write_bytes(image)
        (directory / "vmlinux").write_bytes(bzimage.extract(image))
        keep_modules(tree, release, ROOT_MODULES, directory)

    directory = built(f"kernel-{flavour}", (package.file_name, *ROOT_MODULES), build)
    return Kernel(
        release=release,
        bzimage=directory / "vmlinuz",
        vmlinux=directory / "vmlinux",
        modules=in_order(directory),
    )


@cache
def modules_for(flavour: Flavour, *names: str) -> tuple[Path, ...]:
    """The named modules of a kernel and all they need, each after those it needs."""
    package = packages.kernel_package(_META_PACKAGES[flavour])

    def build(directory: Path) -> None:
        tree = directory / "tree"
        packages.unpack(packages.fetch([package]), tree)
        release = package.name.removeprefix("linux-image-")
        keep_modules(tree, release, names, directory)

    recipe = (package.file_name, names)
    return in_order(built(f"modules-{flavour}-{'-'.join(names)}", recipe, build))


def in_order(directory: Path) -> tuple[Path, ...]:
    """What `keep_modules` has put into a directory."""
    order = (directory / "order").read_text().split()
    return tuple(directory / f"{name}.ko" for name in order)


def keep_modules(tree: Path, release: str, names: tuple[str, ...], directory: Path) -> None:
    """Of a package unpacked into `tree`, which goes, keep the named modules and all they need.

    Each module is a .ko file in `directory` then; their order is written down beside them.
    """
    folder = tree / "lib" / "modules" / release
    paths = {modules.canonical(path.name.partition(".")[0]): path for path in folder.rglob("*.ko*")}
    built_in = {
        modules.canonical(Path(line).stem)
        for line in (folder / "modules.builtin").read_text().splitlines()
    }
    requirements = {name: modules.needs(_module(path)) for name, path in paths.items()}
    wanted = [name for name in names if modules.canonical(name) not in built_in]
    order = modules.load_order(wanted, requirements)
    for name in order:
        (directory / f"{name}.ko").write_bytes(_module(paths[name]))
    (directory / "order").write_text("".join(f"{name}\n" for name in order))
    shutil.rmtree(tree)


def _module(path: Path) -> bytes:
    """A module's ELF file: newer packages have it compressed."""
    content = path.read_bytes()
    return lzma.decompress(content) if path.suffix == ".xz" else content

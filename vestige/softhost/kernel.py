"""The software host's kernel: Debian's own, fetched with apt and kept in the user's cache.

Nothing is installed: the package that linux-image-amd64 stands for, and busybox-static, are
fetched and unpacked into the cache directory. The cloud flavour of the kernel won't do, since it
has no 9p.
"""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from vestige.softhost import bzimage, debian_kernel, packages
from vestige.softhost.cpio import Archive

_FLAVOUR = "amd64"
_SHELL_PACKAGE = "busybox-static"

# Loaded at every boot, in the initial RAM file system's /modules/base.
_BASE = ["virtio_pci", "9p", "9pnet_virtio", "virtio_console", "virtio_blk", "kvm_amd"]
# Loaded where there are NVMe controllers to hand over: /modules/vfio.
_VFIO = ["vfio_pci", "vfio_iommu_type1"]

# Loaded where there is a network: /modules/network.
_NETWORK = ["virtio_net", "tun"]

_FORMAT = 3  # of the cached directory

Progress = Callable[[str], None]


class Kernel:
    """A cached kernel: paths of the ELF file (or bzImage) and of the initial RAM file system."""

    def __init__(self, directory: Path) -> None:
        self.image = directory / "kernel"
        self.initramfs = directory / "initramfs.cpio"
        self.release = (directory / "release").read_text().strip()  # such as 6.1.0-56-amd64


def cached() -> Path:
    """The directory of the cached kernel, whether it is there yet or not."""
    recipe = repr((_FORMAT, _FLAVOUR, _SHELL_PACKAGE, _BASE, _VFIO, _NETWORK))
    key = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    return packages.cache_directory("softhost") / f"debian-{key}"


def ensure(progress: Progress) -> Kernel:
    """The cached kernel, fetched first where there is none.

    Raises UsageError if it can't be fetched or kept, or is not as it was kept.
    """
    ready = cached()
    needs = "the software host's kernel needs 500 MB"
    packages.keep(ready, lambda directory: _fetch(directory, progress), needs)
    packages.check(ready)
    return Kernel(ready)


def _fetch(directory: Path, progress: Progress) -> None:
    kernel = debian_kernel.current(_FLAVOUR)
    needed = [*kernel.all, *packages.describe([_SHELL_PACKAGE])]
    size = sum(package.size for package in needed) // 1_000_000
    progress(f"fetching and unpacking Debian's {kernel.all[0].name} ({size} MB, once)")
    tree = directory / "tree"
    packages.unpack(packages.fetch(needed), tree)
    _assemble(tree, kernel.release, directory)
    shutil.rmtree(tree)


def _assemble(tree: Path, release: str, result: Path) -> None:
    """Write kernel, initial RAM file system and release into `result`."""
    kernel = debian_kernel.Tree(tree, release)
    packed = kernel.image.read_bytes()
    try:
        image = bzimage.extract(packed)
    except bzimage.ImageError:
        image = packed  # packed in an unknown way: QEMU boots it all the same, slower
    (result / "kernel").write_bytes(image)
    shell = packages.place(tree, "bin/busybox").read_bytes()
    (result / "initramfs.cpio").write_bytes(_base_archive(kernel, shell))
    (result / "release").write_text(release + "\n")


def _base_archive(kernel: debian_kernel.Tree, shell: bytes) -> bytes:
    """Busybox, the modules, and the orders in which to load them."""
    base = kernel.load_order(_BASE)
    orders = {"base": base}
    for kind, wanted in (("vfio", _VFIO), ("network", _NETWORK)):
        orders[kind] = [name for name in kernel.load_order(wanted) if name not in base]
    archive = Archive()
    for directory in ("bin", "modules", "proc", "sys", "dev", "cached", "root"):
        archive.directory(directory)
    archive.file("bin/busybox", shell, executable=True)
    archive.link("bin/sh", "busybox")
    for name in dict.fromkeys(name for order in orders.values() for name in order):
        archive.file(f"modules/{name}.ko", kernel.module(name))
    for kind, order in orders.items():
        archive.file(f"modules/{kind}", "".join(f"{name}\n" for name in order).encode())
    return archive.finish()

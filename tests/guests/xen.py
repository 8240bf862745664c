"""Xen as Debian packages it: a Multiboot kernel."""

import gzip
from functools import cache
from pathlib import Path

from tests.guests.store import built
from vestige.softhost import packages

META_PACKAGE = "xen-system-amd64"
PREFIX = "xen-hypervisor-"


@cache
def hypervisor() -> Path:
    """The ELF file. Raises UsageError if apt can't fetch it."""
    (meta,) = packages.describe([META_PACKAGE])
    names = (words[0] for each in meta.depends.split(",") if (words := each.split()))
    (package,) = packages.describe([next(name for name in names if name.startswith(PREFIX))])

    def build(directory: Path) -> None:
        packages.unpack(packages.fetch([package]), directory / "tree")
        (image,) = (directory / "tree" / "boot").glob("xen-*.gz")
        (directory / "xen").write_bytes(gzip.decompress(image.read_bytes()))

    return built("xen", (package.file_name,), build) / "xen"

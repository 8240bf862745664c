"""A newer series of Debian's kernel than its release has: the cloud kernel of its backports."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.guests import kernels
from tests.guests.store import built
from vestige.errors import UsageError
from vestige.softhost import backports, packages


class Kernel(NamedTuple):
    """`modules` are .ko files, each after those it needs."""

    release: str  # such as 6.12.95+deb12-cloud-amd64
    bzimage: Path
    modules: tuple[Path, ...]


@cache
def kernel(*names: str) -> Kernel | None:
    """The kernel with the named modules and all they need; None: there are no backports."""
    try:
        configuration = backports.configuration()
        package = packages.kernel_package("cloud-amd64", configuration)
        (archive,) = packages.fetch([package], configuration)
    except UsageError:
        return None
    release = package.name.removeprefix("linux-image-")

    def build(directory: Path) -> None:
        tree = directory / "tree"
        packages.unpack([archive], tree)
        (tree / "boot" / f"vmlinuz-{release}").rename(directory / "vmlinuz")
        kernels.keep_modules(tree, release, names, directory)

    directory = built("kernel-backports", (package.file_name, names), build)
    return Kernel(release, directory / "vmlinuz", kernels.in_order(directory))

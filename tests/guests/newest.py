"""The newest of Debian's kernels that can be had, from whatever suite of its archive."""

from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.guests import kernels
from tests.guests.store import built
from vestige.errors import UsageError
from vestige.softhost import debian_kernel, packages, suites

CLOUD, STANDARD = "cloud-amd64", "amd64"
# Stable's own is older than its backports', testing's comes from unstable, and what experimental
# has beyond these are candidates for a release.
LATER = ("trixie-backports", "sid")


class Kernel(NamedTuple):
    """`modules` are .ko files, each after those it needs."""

    release: str  # such as 7.3.4+deb13-cloud-amd64
    bzimage: Path
    modules: tuple[Path, ...]


@cache
def kernel(*names: str, flavour: str = CLOUD) -> Kernel:
    """The kernel with the named modules and all they need.

    Where later suites can't be had it is that of the release's backports, and without these that of
    the release. Raises UsageError if apt has none at all.
    """
    candidates: list[tuple[str, ...]] = [LATER]
    with suppress(UsageError):
        candidates.append((suites.backports(),))
    for candidate in candidates:
        try:
            configuration = suites.configuration(*candidate)
            current = debian_kernel.current(flavour, configuration)
            packages.fetch(current.all, configuration)
        except UsageError:
            continue
        return _kept(current, configuration, names)
    return _kept(debian_kernel.current(flavour), None, names)


def _kept(
    current: debian_kernel.KernelPackages, configuration: Path | None, names: tuple[str, ...]
) -> Kernel:
    def build(directory: Path) -> None:
        with kernels.unpacked(current, configuration) as tree:
            (directory / "vmlinuz").write_bytes(tree.image.read_bytes())
            kernels.keep_modules(tree, names, directory)

    directory = built("kernel-newest", (kernels.files_of(current), names), build)
    return Kernel(current.release, directory / "vmlinuz", kernels.in_order(directory))

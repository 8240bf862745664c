"""A newer series of Debian's kernel than its release has: the cloud kernel of its backports.

The machine's own apt need not know of those: they are asked for at the mirror it has Debian from,
with lists of their own. Sources: apt.conf(5), apt-get(8) indextargets.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from tests.guests import kernels
from tests.guests.store import built
from vestige.errors import UsageError
from vestige.softhost import packages

RELEASE = "bookworm"
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
_TIMEOUT = 120.0  # seconds
_CONFIGURATION = """\
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "{folder}/lists";
Dir::Cache "{folder}/cache";
APT::Sandbox::User "root";
"""


class Kernel(NamedTuple):
    """`modules` are .ko files, each after those it needs."""

    release: str  # such as 6.12.95+deb12-cloud-amd64
    bzimage: Path
    modules: tuple[Path, ...]


@cache
def kernel(*names: str) -> Kernel | None:
    """The kernel with the named modules and all they need; None: there are no backports."""
    try:
        with _apt():
            package = packages.kernel_package("cloud-amd64")
            (archive,) = packages.fetch([package])
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


@contextmanager
def _apt() -> Iterator[None]:
    """Within, apt knows the backports and nothing else."""
    folder = packages.cache_directory("backports")
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    line = f"deb [signed-by={KEYS}] {_mirror()} {RELEASE}-backports main\n"
    (folder / "sources.list").write_text(line)
    configuration = folder / "apt.conf"
    configuration.write_text(_CONFIGURATION.format(folder=folder))
    with mock.patch.dict(os.environ, APT_CONFIG=str(configuration)):
        packages.command(["apt-get", "-q", "update"], timeout=_TIMEOUT)
        yield


def _mirror() -> str:
    """Where the machine has the release from. Raises UsageError if it has it from nowhere."""
    targets = ["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)"]
    for line in packages.command(targets, timeout=_TIMEOUT).splitlines():
        release, _, mirror = line.partition(" ")
        if release == RELEASE:
            return mirror
    raise UsageError(f"apt has no lists of Debian {RELEASE}; run 'apt-get update' as root")

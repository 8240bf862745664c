"""A complete Debian on a disk image, by debootstrap, of packages that apt fetches and verifies.

The release is the machine's own.

debootstrap would download by itself, past the machine's apt configuration. So it gets an archive
of just these packages, in files.

Sources: debootstrap(8), the repository format of Debian's archive (Release, Packages).
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from tests.guests.images import TOOLS, FileSystem, tool, whole_disk
from tests.guests.initramfs import SCRIPTS
from tests.guests.store import built
from vestige.errors import UsageError
from vestige.softhost import packages, suites

# Those of any Debian: what debootstrap installs by itself.
_PRIORITIES = ("required", "important")
_ALSO = ("usr-is-merged",)
_MEBIBYTES = 1024  # of the file system, a third of it used; the rest are holes of the image
_QUICK = 120.0  # seconds

Progress = Callable[[str], None]


def _say_nothing(_line: str) -> None:
    """For who wants no progress."""


def as_root() -> list[str]:
    """What stands before a command to run it as root. Raises UsageError where nothing can."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        raise UsageError("debootstrap installs as root only; run this as root, or install sudo")
    return ["sudo"]


@cache
def disk(progress: Progress = _say_nothing) -> Path:
    """The image: one ext4 file system without partitions, root's password empty.

    `progress` gets debootstrap's lines. Raises UsageError if apt or debootstrap fails.
    """
    wanted = packages.closure((*packages.of_priority(*_PRIORITIES), *_ALSO))
    script = (SCRIPTS / "debian-configure").read_text()
    sources, suite = packages.sources(), suites.release().codename

    def build(directory: Path) -> None:
        archive, tree = directory / "archive", directory / "tree"
        _make_archive(archive, wanted, suite)
        _install(archive, tree, suite, progress)
        _run_as_root(["chroot", str(tree), "sh", "-e", "-c", script, "configure", *sources])
        whole_disk(directory / "disk.img", FileSystem(_MEBIBYTES, tree), as_root())
        shutil.rmtree(archive)
        _run_as_root(["rm", "--recursive", "--one-file-system", str(tree)])

    recipe = (tuple(package.file_name for package in wanted), script, sources)
    return built("debian", recipe, build) / "disk.img"


def _make_archive(archive: Path, wanted: list[packages.Package], suite: str) -> None:
    """An archive of `wanted` alone."""
    pool = archive / "pool"
    pool.mkdir(parents=True)
    for file in packages.fetch(wanted):
        (pool / file.name).symlink_to(file)
    entries = [package.index_entry(f"pool/{package.file_name}") for package in wanted]
    content = "".join(f"{entry}\n\n" for entry in entries).encode()
    release = archive / "dists" / suite
    index = release / "main" / "binary-amd64" / "Packages"
    index.parent.mkdir(parents=True)
    index.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    (release / "Release").write_text(
        f"Suite: {suite}\nCodename: {suite}\nComponents: main\nArchitectures: amd64\n"
        f"SHA256:\n {digest} {len(content)} {index.relative_to(release)}\n"
    )


def _install(archive: Path, tree: Path, suite: str, progress: Progress) -> None:
    """Have debootstrap install the archive's packages into `tree`.

    In a mount namespace of its own: what it mounts goes with it, however it ends. Nothing is left
    to check a signature of: apt has.
    """
    argv = [
        *(*as_root(), "unshare", "--mount", tool("debootstrap"), "--no-check-gpg"),
        *("--arch=amd64", suite, str(tree), f"file://{archive}"),
    ]
    lines = ["no message"]
    try:
        with subprocess.Popen(
            argv,
            env={**os.environ, "LC_ALL": "C", "PATH": TOOLS},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            for line in process.stdout or ():
                lines.append(line.rstrip())
                progress(lines[-1])
    except FileNotFoundError as error:
        raise UsageError(f"{error.filename}: not found; `make setup` installs it") from None
    if process.returncode != 0:
        raise UsageError(f"debootstrap failed: {lines[-1]}")


def _run_as_root(argv: Sequence[str]) -> None:
    """Run a command that ends at once."""
    environment = ["env", f"PATH={TOOLS}"]
    packages.command([*as_root(), *environment, *argv], timeout=_QUICK)

"""Root file systems from Debian's packages, on disk images: the demo's and the tests'."""

import shutil
from functools import cache
from pathlib import Path

from tests.guests import programs
from tests.guests.images import (
    MEBIBYTE,
    SECTOR,
    FileSystem,
    file_system_uuid,
    partitioned,
    random_bytes,
    whole_disk,
)
from tests.guests.initramfs import SCRIPTS, busybox
from tests.guests.store import ROOT, built
from vestige.softhost import packages

DEMO_INIT = ROOT / "examples" / "demo" / "init"
NVME_CHECKS = ROOT / "examples" / "demo_nvme" / "checks"
NVME_JOBS = ROOT / "examples" / "demo_nvme" / "jobs.fio"

# What the demo's guest shows and needs; apt adds what these need.
_DEMO_PACKAGES = (
    "base-files",
    "busybox-static",
    "coreutils",
    "dash",
    "fdisk",
    "grep",
    "hdparm",
    "lsscsi",
    "mawk",
    "mount",
    "pciutils",
    "util-linux",
)
# What fio needs to run; the languages that its packages' scripts are in, it doesn't.
_NOT_FOR_FIO = (
    "adduser",
    "init-system-helpers",
    "libperl",
    "libpython",
    "passwd",
    "perl",
    "python3",
)
_ROOT_MEBIBYTES = 96
_FIO_ROOT_MEBIBYTES = 288
_PROGRAMS_MEBIBYTES = 128  # fio's libraries take 86
_DATA_MEBIBYTES = 96  # the 64 MiB that the demo writes, and the journal
_SCRATCH_MEBIBYTES = 64
_SMALL_MEBIBYTES = 16
_SMALL_APPLETS = [
    *("awk", "blkdiscard", "cat", "cut", "dd", "dmesg", "fstrim", "grep", "ip", "ls", "mkdir"),
    *(
        "mount",
        "nproc",
        "poweroff",
        "printf",
        "readlink",
        "rm",
        "sed",
        "sh",
        "sha256sum",
        "sleep",
        "sync",
    ),
    *("taskset", "uname", "wget"),
]
_PATTERN_SEED = 1

# A running system has no use for these.
_UNUSED = ("doc", "info", "lintian", "locale", "man")
_MERGED = ("bin", "lib", "lib64", "sbin")  # into /usr, as Debian has them since 12


def small_root(*, partition: bool) -> str:
    """What root= calls the small disk's file system, whichever name Linux gives the disk."""
    return f"UUID={file_system_uuid(1 if partition else 0)}"


@cache
def demo_disk() -> Path:
    """The demo's disk: Debian on /dev/sda1, its init /demo/init; /dev/sda2 is empty ext4."""
    wanted = packages.closure(_DEMO_PACKAGES)
    sizes = (_ROOT_MEBIBYTES, _DATA_MEBIBYTES)
    return _debian_disk("demo", wanted, {"init": DEMO_INIT.read_bytes()}, sizes)


@cache
def demo_nvme_disk() -> Path:
    """As the demo's disk, with fio, more checks for init, and /dev/sda3 for fio to write on."""
    wanted = [
        package
        for package in packages.closure((*_DEMO_PACKAGES, "fio"))
        if not package.name.startswith(_NOT_FOR_FIO)
    ]
    files = {
        "init": DEMO_INIT.read_bytes(),
        **{path.name: path.read_bytes() for path in (NVME_CHECKS, NVME_JOBS)},
    }
    sizes = (_FIO_ROOT_MEBIBYTES, _DATA_MEBIBYTES, _SCRATCH_MEBIBYTES)
    return _debian_disk("demo-nvme", wanted, files, sizes)


@cache
def programs_disk(name: str) -> Path:
    """A disk that is one ext4 with a program and its libraries, as programs.programs() has them."""
    files = programs.programs(name)

    def build(directory: Path) -> None:
        tree = files[f"bin/{name}"].parents[1]
        whole_disk(directory / "disk.img", FileSystem(_PROGRAMS_MEBIBYTES, tree))

    recipe = (tuple(str(file) for file in files.values()), _PROGRAMS_MEBIBYTES)
    return built(f"disk-{name}", recipe, build) / "disk.img"


def _debian_disk(
    name: str, wanted: list[packages.Package], files: dict[str, bytes], sizes: tuple[int, ...]
) -> Path:
    """A disk of partitions of `sizes` MiB; on the first `wanted`, and `files` in /demo."""

    def build(directory: Path) -> None:
        tree = directory / "tree"
        for merged in _MERGED:
            (tree / "usr" / merged).mkdir(parents=True)
            (tree / merged).symlink_to(f"usr/{merged}")
        packages.unpack(packages.fetch(wanted), tree)
        for unused in _UNUSED:
            shutil.rmtree(tree / "usr" / "share" / unused, ignore_errors=True)
        for folder in ("data", "demo"):
            (tree / folder).mkdir()
        for file, content in files.items():
            _put_script(tree / "demo" / file, content)
        sectors = (1 + sum(sizes)) * MEBIBYTE // SECTOR
        (tree / "demo" / "disk-sectors").write_text(f"{sectors}\n")
        partitioned(
            directory / "disk.img",
            [FileSystem(sizes[0], tree), *(FileSystem(size, None) for size in sizes[1:])],
        )
        shutil.rmtree(tree)

    names = tuple(package.file_name for package in wanted)
    return built(name, (names, tuple(files.items()), sizes), build) / "disk.img"


@cache
def small_disk(*, partition: bool) -> Path:
    """A 16 MiB root of busybox and scripts/disk-init; on a partition or on the whole disk."""
    shell = busybox()

    def build(directory: Path) -> None:
        tree = directory / "tree"
        fill_small(tree, shell)
        contents = FileSystem(_SMALL_MEBIBYTES, tree)
        if partition:
            partitioned(directory / "disk.img", [contents])
        else:
            whole_disk(directory / "disk.img", contents)
        shutil.rmtree(tree)

    name = "small-partition" if partition else "small-whole"
    return built(name, (str(shell),), build) / "disk.img"


def fill_small(tree: Path, shell: Path) -> None:
    """Put the small root into `tree`; `shell` is a busybox for the processor that is to run it."""
    for name in ("bin", "dev", "proc", "sbin", "sys"):
        (tree / name).mkdir(parents=True)
    shutil.copy2(shell, tree / "bin" / "busybox")
    for applet in _SMALL_APPLETS:
        (tree / "bin" / applet).symlink_to("busybox")
    _put_script(tree / "sbin" / "init", (SCRIPTS / "disk-init").read_bytes())
    (tree / "pattern").write_bytes(pattern())


@cache
def data_disk(mebibytes: int, seed: int) -> Path:
    """A disk of random bytes, the same for the same seed."""

    def build(directory: Path) -> None:
        (directory / "disk.img").write_bytes(random_bytes(mebibytes, seed))

    return built(f"data-{mebibytes}-{seed}", (), build) / "disk.img"


def pattern() -> bytes:
    """What the small root's init puts on the start of a disk when asked to write."""
    return random_bytes(1, _PATTERN_SEED)


def _put_script(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o755)

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
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from tests.guests import grub, initramfs
from tests.guests.images import (
    TOOLS,
    FileSystem,
    SystemPartition,
    file_system_uuid,
    partitioned,
    tool,
    whole_disk,
)
from tests.guests.initramfs import SCRIPTS
from tests.guests.kernels import kernel
from tests.guests.store import built
from vestige.errors import UsageError
from vestige.softhost import packages, suites

# Those of any Debian: what debootstrap installs by itself.
_PRIORITIES = ("required", "important")
_ALSO = ("usr-is-merged",)
_SHOWING = ("hdparm", "lsscsi", "pciutils")  # a PC's devices
_PYTHON_ALSO = ("python3-numpy", "qemu-guest-agent")
_PC_ALSO = ("acpica-tools", "grub-pc-bin", "grub2-common", *_SHOWING)
ENTRY = "Debian"
_MENU = f"""set timeout=0
menuentry "{ENTRY}" {{
    linux16 /boot/vmlinuz root=/dev/sda1 console=tty0 console=ttyS0 noapic nolapic quiet
    initrd16 /boot/initrd.img
}}
"""
EFI_ROOT = 2  # the partition
# An emulator's timer may be late: Linux would take it for none, and the TSC for a bad one.
_EFI_WORDS = "tsc=reliable no_timer_check quiet systemd.show_status=true"
_EFI_UUID = file_system_uuid(EFI_ROOT)  # whichever name Linux gives the disk
_EFI_MENU = f"""set timeout=0
menuentry "{ENTRY}" {{
    linux /boot/vmlinuz root=UUID={_EFI_UUID} console=ttyS0 {_EFI_WORDS}
    initrd /boot/initrd.img
}}
"""
# As grub-install has it on the firmware's partition.
_EFI_EARLY = f"""search.fs_uuid {_EFI_UUID} root
set prefix=($root)'/boot/grub'
configfile $prefix/grub.cfg
"""
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
    return _built("debian", (), "/dev/vda", _write_whole, progress)


@cache
def python_disk(progress: Progress = _say_nothing) -> Path:
    """The same with Python, NumPy, and QEMU's agent, which starts where there is a port for it."""
    return _built("debian-python", _PYTHON_ALSO, "/dev/vda", _write_whole, progress)


@cache
def pc_disk(progress: Progress = _say_nothing) -> Path:
    """An image that a BIOS boots: GRUB, and the same with a kernel on the first partition.

    The kernel is the standard one, which has a driver for the mouse, with the project's own initial
    RAM disk. Its interrupts come by the two 8259A, its ticks from the 8254. Debian's own tools of
    GRUB are there to install it anew, and those that show a PC's devices.
    """
    boot = {"vmlinuz": kernel("standard").bzimage, "initrd.img": initramfs.debian_pc()}

    def write(image: Path, tree: Path) -> None:
        _put_boot(tree, image, boot, _MENU)
        partitioned(image, [FileSystem(_MEBIBYTES, tree)], as_root())
        grub.install(image, grub.core(image.parent, "(hd0,msdos1)/boot/grub"))

    return _built("debian-pc", _PC_ALSO, "/dev/sda1", write, progress, (*boot.values(), _MENU))


@cache
def efi_disk(progress: Progress = _say_nothing) -> Path:
    """An image that UEFI firmware boots: Debian's signed GRUB on a partition of the firmware's,
    and the same with the cloud kernel on partition EFI_ROOT.

    It boots from an IDE disk and from an NVMe controller. The tools that show a PC's devices are
    there.
    """
    boot = {"vmlinuz": kernel("cloud").bzimage, "initrd.img": initramfs.debian_efi()}

    def write(image: Path, tree: Path) -> None:
        write_efi_disk(image, tree, boot, _MEBIBYTES)

    more = (*boot.values(), grub.signed(), _EFI_MENU, _EFI_EARLY)
    return _built("debian-efi", _SHOWING, f"UUID={_EFI_UUID}", write, progress, more)


def _write_whole(image: Path, tree: Path) -> None:
    """An image that is one file system, with a Debian of `tree`."""
    whole_disk(image, FileSystem(_MEBIBYTES, tree), as_root())


def write_efi_disk(image: Path, tree: Path, boot: Mapping[str, Path], mebibytes: int) -> None:
    """Such an image, with a Debian of `tree` in so many MiB; `boot` has vmlinuz and initrd.img."""
    _put_boot(tree, image, boot, _EFI_MENU)
    early = image.with_suffix(".early")
    early.write_text(_EFI_EARLY)
    files = {"EFI/BOOT/BOOTX64.EFI": grub.signed(), "EFI/debian/grub.cfg": early}
    partitioned(image, [SystemPartition(files), FileSystem(mebibytes, tree)], as_root())


def _put_boot(tree: Path, image: Path, boot: Mapping[str, Path], menu: str) -> None:
    """Put the files of `boot` there, and GRUB's menu. `image` is what is to be made of the tree."""
    folder = tree / "boot"
    _run_as_root(["mkdir", "--parents", str(folder / "grub")])
    for name, file in boot.items():
        _run_as_root(["cp", str(file), str(folder / name)])
    # A PC may have no network.
    interfaces = str(tree / "etc/network/interfaces")
    _run_as_root(["sed", "-i", "s/^auto eth0/allow-hotplug eth0/", interfaces])
    configuration = image.with_suffix(".cfg")
    configuration.write_text(menu)
    _run_as_root(["cp", str(configuration), str(folder / "grub" / "grub.cfg")])


def _built(
    name: str,
    also: tuple[str, ...],
    root: str,
    write: Callable[[Path, Path], None],
    progress: Progress,
    more: tuple[object, ...] = (),
) -> Path:
    """disk.img, by `write` of it and of a tree in which Debian is installed, with packages `also`.

    `root` is what the guest has its root on. What `write` needs besides is in `more`.
    """
    wanted = packages.closure((*packages.of_priority(*_PRIORITIES), *_ALSO, *also))
    script = (SCRIPTS / "debian-configure").read_text()
    sources, suite = packages.sources(), suites.release().codename

    def build(directory: Path) -> None:
        archive, tree = directory / "archive", directory / "tree"
        _make_archive(archive, wanted, suite)
        _install(archive, tree, suite, also, progress)
        _run_as_root(["chroot", str(tree), "sh", "-e", "-c", script, "configure", root, *sources])
        write(directory / "disk.img", tree)
        shutil.rmtree(archive)
        _run_as_root(["rm", "--recursive", "--one-file-system", str(tree)])

    recipe = (tuple(package.file_name for package in wanted), script, sources, more)
    return built(name, recipe, build) / "disk.img"


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


def _install(
    archive: Path, tree: Path, suite: str, also: tuple[str, ...], progress: Progress
) -> None:
    """Have debootstrap install the archive's packages into `tree`, those `also` by their names.

    In a mount namespace of its own: what it mounts goes with it, however it ends. Nothing is left
    to check a signature of: apt has.
    """
    argv = [
        *(*as_root(), "unshare", "--mount", tool("debootstrap"), "--no-check-gpg"),
        *(["--include", ",".join(also)] if also else []),
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

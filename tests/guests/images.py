"""Disk images: ext4 file systems made from directory trees, on partitions or on whole disks.

Made by e2fsprogs and fdisk without root's rights or a loop device. Images are sparse. A partition
that UEFI firmware boots from has a FAT.
Sources: mke2fs(8), sfdisk(8).
"""

import os
import random
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.guests import fat

SECTOR = 512
MEBIBYTE = 1 << 20
FIRST_PARTITION = MEBIBYTE  # bytes: where today's partitioning tools begin
_TIMEOUT = 300.0
_PARTITION_TABLE = 446  # bytes from the start of an MBR
_NAMESPACE = "7e571ce0-0000-4000-8000-{:012x}"  # UUIDs and hash seeds: the same in every image
TOOLS = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"  # not in every user's PATH


class ImageError(Exception):
    """A tool could not make, check or read an image; carries its output."""


@dataclass(frozen=True)
class FileSystem:
    """An ext4 file system of `mebibytes`, filled from `tree` (None: empty)."""

    mebibytes: int
    tree: Path | None
    kind = "83"  # of a partition: Linux's


@dataclass(frozen=True)
class SystemPartition:
    """What UEFI firmware boots from: a FAT with `files`, as fat.make has them."""

    files: Mapping[str, Path]
    mebibytes = 64
    kind = "ef"  # UEFI 2.10, 5.2.2


def partitioned(
    image: Path, file_systems: Sequence[FileSystem | SystemPartition], before: Sequence[str] = ()
) -> None:
    """Write a disk with an MBR and one partition for each file system, in order.

    `before` as of `whole_disk`.
    """
    starts = []
    end = FIRST_PARTITION
    for each in file_systems:
        starts.append(end)
        end += each.mebibytes * MEBIBYTE
    _allocate(image, end)
    table = ["label: dos", "label-id: 0x7e571ce0"]
    for start, each in zip(starts, file_systems, strict=True):
        size = each.mebibytes * MEBIBYTE // SECTOR
        table.append(f"start={start // SECTOR}, size={size}, type={each.kind}")
    script = image.with_suffix(".sfdisk")
    script.write_text("\n".join(table) + "\n")
    with script.open("rb") as stdin:
        _run([tool("sfdisk"), "--quiet", "--no-reread", "--no-tell-kernel", str(image)], stdin)
    script.unlink()
    for number, (start, each) in enumerate(zip(starts, file_systems, strict=True), 1):
        if isinstance(each, SystemPartition):
            fat.make(image, each.mebibytes, each.files, start)
        else:
            _make_ext4(image, each, number, start, before)


def whole_disk(image: Path, file_system: FileSystem, before: Sequence[str] = ()) -> None:
    """Write a disk that is one file system, without a partition table.

    `before` stands before the command that reads the tree: sudo, for one that only root can read.
    """
    _allocate(image, file_system.mebibytes * MEBIBYTE)
    _make_ext4(image, file_system, 0, 0, before)


def partition_offset(image: Path, number: int) -> int:
    """Where partition `number` (1 to 4) of a disk with an MBR begins, in bytes."""
    with image.open("rb") as file:
        file.seek(_PARTITION_TABLE + (number - 1) * 16 + 8)
        return int.from_bytes(file.read(4), "little") * SECTOR


def random_bytes(mebibytes: int, seed: int) -> bytes:
    """Bytes that no file system or partition table gives a meaning, the same for the same seed."""
    source = random.Random(seed)
    return b"".join(source.randbytes(MEBIBYTE) for _ in range(mebibytes))


def file_system_uuid(number: int) -> str:
    """The UUID of every image's file system on partition `number`; 0 stands for a whole disk."""
    return _NAMESPACE.format(number)


def copy(image: Path, target: Path) -> Path:
    """Copy an image for a guest to write to; holes stay holes. Returns `target`."""
    _run(["cp", "--sparse=always", "--reflink=auto", str(image), str(target)])
    return target


def check_ext4(image: Path, offset: int = 0) -> None:
    """Have e2fsck look at the file system at `offset` bytes; it changes nothing.

    Raises ImageError with e2fsck's verdict if there is any fault, a journal to replay included.
    """
    _run([tool("e2fsck"), "-f", "-n", f"{image}?offset={offset}"])


def read_file(image: Path, path: str, offset: int = 0) -> bytes:
    """A file's content out of the ext4 file system at `offset` bytes of an image."""
    target = image.with_suffix(".dump")
    target.unlink(missing_ok=True)
    _run([tool("debugfs"), "-R", f"dump {path} {target}", f"{image}?offset={offset}"])
    if not target.is_file():  # debugfs ends with status 0 all the same
        raise ImageError(f"{image}: no file {path} in the file system at {offset:#x}")
    content = target.read_bytes()
    target.unlink()
    return content


def _allocate(image: Path, size: int) -> None:
    with image.open("wb") as file:
        file.truncate(size)


def _make_ext4(
    image: Path, file_system: FileSystem, number: int, offset: int, before: Sequence[str] = ()
) -> None:
    identifier = file_system_uuid(number)
    argv = [
        *before,
        tool("mkfs.ext4"),
        *("-q", "-F", "-m", "0", "-b", "4096", "-U", identifier),
        *("-E", f"offset={offset},hash_seed={identifier},root_owner=0:0,lazy_itable_init=0"),
    ]
    if file_system.tree is not None:
        argv += ["-d", str(file_system.tree)]
    _run([*argv, str(image), f"{file_system.mebibytes * 1024}k"])


def _run(argv: list[str], stdin: IO[bytes] | None = None) -> None:
    done = subprocess.run(
        argv,
        stdin=stdin or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=_TIMEOUT,
        check=False,
    )
    if done.returncode != 0:
        raise ImageError(f"{shlex.join(argv)}: status {done.returncode}\n{done.stdout}")


def tool(name: str) -> str:
    """The path of one of Debian's administration tools."""
    return shutil.which(name, path=TOOLS) or name

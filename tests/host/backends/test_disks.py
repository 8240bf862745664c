"""Disk images: what is opened, what is refused and with which words, and who holds the lock."""

import errno
import fcntl
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from vestige import abi, image_lock
from vestige.errors import UsageError
from vestige.host.backends import disks
from vestige.host.backends.disks import open_disk
from vestige.host.options import FLOPPY, DiskOption

NOBODY = 65534
PATIENCE = 30  # seconds


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(4096))
    return path


@contextmanager
def as_a_user() -> Iterator[None]:
    """Without root's right to open everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def open_the_way_to(path: Path) -> None:
    """Let every user reach `path`: pytest's own folders are private."""
    top = Path(tempfile.gettempdir())
    for parent in path.parents:
        if top in parent.parents and parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o011)


def refusal(path: Path | str, *, read_only: bool = False) -> str:
    with pytest.raises(UsageError) as error:
        open_disk(DiskOption(str(path), read_only=read_only))
    return str(error.value)


def test_an_image_longer_than_this_process_may_write_is_refused_unless_it_is_read(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (4095, 4095))
    assert refusal(image) == (
        f"{image}: 4096 bytes; RLIMIT_FSIZE allows 3 KiB of a file, raise it: ulimit -f unlimited,"
        " or add ,readonly"
    )
    open_disk(DiskOption(str(image), read_only=True)).close()


def test_an_image_is_described_to_the_monitor(image: Path) -> None:
    described = abi.Disk()
    with closing(open_disk(DiskOption(str(image)))) as disk:
        disk.describe(described, 3, 2)
    assert (described.present, described.read_only, described.file) == (1, 0, 2)
    assert described.sectors == 8
    assert bytes(described.serial) == b"VESTIGE0004         "
    assert bytes(described.model).rstrip() == b"VESTIGE DISK"


def test_an_image_that_may_shrink_says_so_and_is_left_as_it_is(image: Path) -> None:
    described = abi.Disk()
    image.write_bytes(b"content!" * 512)
    os.utime(image, ns=(1, 1))
    with closing(open_disk(DiskOption(str(image), discard=True))) as disk:
        disk.describe(described, 0, 0)
    assert (described.can_discard, described.discards_to_zeroes) == (1, 1)
    assert image.stat().st_mtime_ns == 1  # by which a snapshot knows it
    assert image.read_bytes() == b"content!" * 512


def test_an_image_where_no_holes_can_be_made_is_refused(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disks, "_punch", lambda *_: errno.EOPNOTSUPP)
    with pytest.raises(UsageError, match=r"file system makes no holes \(.*leave discard=unmap out"):
        open_disk(DiskOption(str(image), discard=True))
    open_disk(DiskOption(str(image))).close()


def test_a_read_only_disk_can_not_be_written_by_its_descriptor(image: Path) -> None:
    with (
        closing(open_disk(DiskOption(str(image), read_only=True))) as disk,
        pytest.raises(OSError, match="Bad file descriptor"),
    ):
        os.pwrite(disk.descriptor, b"x", 0)


def test_a_missing_image_is_refused(tmp_path: Path) -> None:
    assert "no such disk image; make one: truncate" in refusal(tmp_path / "none.img")


def test_what_of_a_missing_image_is_missing_is_said(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("nowhere")
    assert refusal(link) == (
        f"{link}: a link to nowhere, which isn't there; have it lead to a disk image"
    )
    assert f"nor is there a directory {tmp_path}/no;" in refusal(tmp_path / "no" / "image")


def test_what_can_not_be_opened_or_read_is_refused_with_a_cure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, image: Path
) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    cure = "give a raw image or a block device"
    assert refusal(loop) == f"{loop}: Too many levels of symbolic links; {cure}"

    def fail(*_words: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", fail)
    assert refusal(image) == f"{image}: Input/output error; {cure}"


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert "a directory; give a raw image" in refusal(tmp_path)


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "neither a file nor a block device" in refusal(tmp_path / "pipe")


def test_an_empty_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.img").touch()
    assert "empty" in refusal(tmp_path / "empty.img")


def test_a_file_without_a_size_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A read of /proc/kmsg, a regular file, waits until the kernel has something to say."""

    def wait(*_words: object) -> bytes:
        raise AssertionError("it would wait for ever")

    monkeypatch.setattr(os, "pread", wait)
    (tmp_path / "empty").touch()
    for path in (tmp_path / "empty", Path("/proc/self/status")):
        assert "empty; give a raw image" in refusal(path, read_only=True)


def test_an_image_that_is_no_multiple_of_512_is_refused(image: Path) -> None:
    os.truncate(image, 1000)
    assert "1000 bytes, not a multiple of 512" in refusal(image)


def test_a_name_with_a_nul_byte_is_refused() -> None:
    assert "embedded null" in refusal("disk\0.img")


def test_a_write_protected_image_needs_readonly(image: Path) -> None:
    image.chmod(0o444)
    open_the_way_to(image)
    with as_a_user():
        assert "add ,readonly" in refusal(image)
        open_disk(DiskOption(str(image), read_only=True)).close()


def test_an_image_in_use_is_refused_and_free_again_when_closed(image: Path) -> None:
    with closing(open_disk(DiskOption(str(image)))):
        assert "in use by another run" in refusal(image)
        assert "in use by another run" in refusal(image, read_only=True)
    open_disk(DiskOption(str(image))).close()


def test_readers_share_an_image_and_keep_writers_out(image: Path) -> None:
    option = DiskOption(str(image), read_only=True)
    with closing(open_disk(option)), closing(open_disk(option)):
        assert "or give both of them ,readonly" in refusal(image)


def test_a_refused_image_is_not_left_locked(image: Path) -> None:
    os.truncate(image, 1000)
    refusal(image)
    os.truncate(image, 1024)
    open_disk(DiskOption(str(image))).close()


HOLDER = """
import sys
from vestige.host.backends.disks import open_disk
from vestige.host.options import FLOPPY, DiskOption
disk = open_disk(DiskOption(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


def test_the_lock_of_a_killed_process_blocks_nobody(image: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(image)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        assert "in use by another run" in refusal(image)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    open_disk(DiskOption(str(image))).close()


def is_waited_for(path: Path) -> bool:
    """Whether somebody waits for a lock on the file: "->" in /proc/locks, proc_locks(5)."""
    inode = f":{path.stat().st_ino} "
    lines = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and inode in line for line in lines)


def test_operations_of_a_killed_run_are_waited_for(image: Path) -> None:
    """As long as the kernel writes for that run, nobody else begins."""
    left = os.open(image, os.O_RDWR)
    image_lock.wait_for_operations(left, str(image), read_only=False)
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(open_disk, DiskOption(str(image), read_only=True))
        try:
            deadline = time.monotonic() + PATIENCE
            while not is_waited_for(image):
                assert not opening.done()
                assert time.monotonic() < deadline
        finally:
            os.close(left)
        opening.result(PATIENCE).close()


def test_flocks_lock_is_not_waited_for_where_it_is_one_of_the_other_kind(image: Path) -> None:
    """NFS and 9p turn it into a lock of the whole file that conflicts with operations' locks."""
    whole_file = struct.pack(image_lock.OPERATIONS, fcntl.F_WRLCK, 0, 0, 0, 0)
    claim = os.open(image, os.O_RDWR)
    operations = os.open(image, os.O_RDWR)
    try:
        fcntl.fcntl(claim, fcntl.F_OFD_SETLK, whole_file)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(
                image_lock.wait_for_operations, operations, str(image), read_only=False
            )
            try:
                waiting.result(PATIENCE)
            finally:
                os.close(claim)
    finally:
        os.close(operations)


def test_a_restart_waits_for_the_operations_of_the_guest_before(image: Path) -> None:
    with closing(open_disk(DiskOption(str(image)))) as disk, ThreadPoolExecutor(1) as pool:
        under_way = os.dup(disk.descriptor)  # as the kernel holds it for a write
        renewing = pool.submit(disk.renew)
        try:
            deadline = time.monotonic() + PATIENCE
            while not is_waited_for(image):
                assert not renewing.done()
                assert time.monotonic() < deadline
        finally:
            os.close(under_way)
        renewing.result(PATIENCE)
        assert "in use by another run" in refusal(image)


def test_a_restart_finds_an_image_that_has_lost_its_name(image: Path) -> None:
    with closing(open_disk(DiskOption(str(image)))) as disk:
        image.unlink()
        disk.renew()
        assert os.pread(disk.descriptor, 1, 0) == b"\0"


@pytest.fixture
def loop_device(tmp_path: Path) -> Iterator[str]:
    backing = tmp_path / "backing.img"
    backing.write_bytes(bytes(1 << 20))
    made = subprocess.run(
        ["losetup", "--find", "--show", str(backing)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no loop device: {made.stderr.strip()}")
    device = made.stdout.strip()
    yield device
    subprocess.run(["losetup", "--detach", device], check=True)


def test_a_block_device_has_the_size_the_kernel_says(loop_device: str) -> None:
    with closing(open_disk(DiskOption(loop_device))) as disk:
        assert disk.sectors == 2048
        assert "in use" in refusal(loop_device)


@pytest.mark.parametrize("size", [737_280, 1_228_800, 1_474_560, 2_949_120])
def test_an_image_of_a_floppy_disk_s_size_is_one(tmp_path: Path, size: int) -> None:
    path = tmp_path / "floppy.img"
    path.write_bytes(bytes(size))
    with closing(open_disk(DiskOption(str(path), FLOPPY))) as opened:
        assert opened.sectors * abi.SECTOR == size


@pytest.mark.parametrize("size", [1_474_559, 512, 368_640, 10_485_760])
def test_another_size_is_told_with_those_that_there_are(tmp_path: Path, size: int) -> None:
    path = tmp_path / "floppy.img"
    path.write_bytes(bytes(size))
    with pytest.raises(UsageError) as error:
        open_disk(DiskOption(str(path), FLOPPY))
    assert str(error.value) == (
        f"{path}: {size} bytes, no floppy disk's size; there are 720 KiB (737280 bytes), 1.2 MB"
        " (1228800), 1.44 MB (1474560) and 2.88 MB (2949120); is it a disk (--disk), or a disc"
        " (--cdrom)?"
    )


def test_a_floppy_s_size_alone_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "floppy.img"
    path.write_bytes(b"PK\x03\x04".ljust(1_474_560, b"\0"))
    open_disk(DiskOption(str(path), FLOPPY)).close()
    path.write_bytes(b"PK\x03\x04".ljust(4096, b"\0"))
    with pytest.raises(UsageError, match="no floppy disk's size"):
        open_disk(DiskOption(str(path), FLOPPY))


def test_a_floppy_that_is_not_there_is_made_in_its_size(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"make one: truncate -s 1474560 .*a\.img$"):
        open_disk(DiskOption(str(tmp_path / "a.img"), FLOPPY))

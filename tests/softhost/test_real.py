"""The software host itself, booted: the run's shared one, and one of its own for devices."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine.processor_rules import Registers, broken
from vestige.softhost import SoftHost, SoftHostError
from vestige.softhost.host import Completed

TIMEOUT = 60.0


def python(softhost: SoftHost, script: str, *arguments: str | Path) -> Completed:
    """Run a script inside, with nothing but the standard library."""
    return softhost.capture([sys.executable, "-S", "-c", script, *arguments], timeout=TIMEOUT)


def test_kvm_is_real_and_has_nested_paging(softhost: SoftHost) -> None:
    done = python(
        softhost,
        "import fcntl, os\n"
        "kvm = os.open('/dev/kvm', os.O_RDWR)\n"
        "print(fcntl.ioctl(kvm, 0xAE00, 0))\n"  # KVM_GET_API_VERSION
        "print(fcntl.ioctl(kvm, 0xAE03, 117))\n"  # KVM_CHECK_EXTENSION, KVM_CAP_X86_SMM
        "fcntl.ioctl(fcntl.ioctl(kvm, 0xAE01, 0), 0xAE41, 0)\n"  # KVM_CREATE_VM, _VCPU
        "print(open('/sys/module/kvm_amd/parameters/npt').read().strip())\n",
    )
    assert done.stderr == b""
    assert done.stdout.split() == [b"12", b"1", b"Y"]


def test_kvm_takes_two_measurements_of_the_tsc_for_one(softhost: SoftHost) -> None:
    """Else a guest stands still: docs/softhost.md, Limits."""
    parameter = "/sys/module/kvm/parameters/tsc_tolerance_ppm"
    assert int(softhost.capture(["cat", parameter], timeout=TIMEOUT).stdout) >= 100_000


def test_no_nested_guest_sleeps_through_an_interrupt(softhost: SoftHost) -> None:
    """One that waits behind STI comes after HLT, and ends it: not before, as in QEMU 7.2."""
    inside = [sys.executable, "-m", "tests.softhost.sleep_inside"]
    done = softhost.capture(inside, timeout=TIMEOUT)
    assert (done.stdout, done.stderr) == (b"1\n", b"")


def test_its_processor_is_one_that_could_be_and_its_guests_are_too(softhost: SoftHost) -> None:
    inside = [sys.executable, "-m", "tests.softhost.cpuid_inside"]
    done = softhost.capture(inside, timeout=TIMEOUT)
    assert done.stderr == b""
    leaves: dict[str, dict[tuple[int, int], Registers]] = {"host": {}, "guest": {}}
    for line in done.stdout.decode().splitlines():
        whose, *words = line.split()
        leaf, index, eax, ebx, ecx, edx = (int(word, 16) for word in words)
        leaves[whose][leaf, index] = eax, ebx, ecx, edx
    assert broken(leaves["host"]) == []
    assert broken(leaves["guest"]) == []
    assert all((1, 0) in processor for processor in leaves.values())


def test_our_own_detection_calls_it_good(softhost: SoftHost) -> None:
    done = softhost.capture(
        [sys.executable, "-c", "from vestige.softhost.detect import *; print(kvm_state().kvm)"],
        timeout=TIMEOUT,
    )
    assert (done.stdout, done.stderr) == (b"Kvm.GOOD\n", b"")


def test_each_side_sees_the_others_writes_at_once(softhost: SoftHost, tmp_path: Path) -> None:
    file = tmp_path / "shared"
    for text in ("one", "another, longer"):
        file.write_text(text)
        assert softhost.capture(["cat", file], timeout=TIMEOUT).stdout.decode() == text
    assert softhost.run(["sh", "-c", f"echo inside > {file}"], timeout=TIMEOUT) == 0
    assert file.read_text() == "inside\n"
    assert softhost.run(["rm", file], timeout=TIMEOUT) == 0
    assert not file.exists()


def test_what_a_disk_images_user_needs_works_on_the_callers_files(
    softhost: SoftHost, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    done = python(
        softhost,
        "import fcntl, mmap, os, sys\n"
        "first, second = (os.open(sys.argv[1], os.O_RDWR) for _ in range(2))\n"
        "fcntl.flock(first, fcntl.LOCK_EX)\n"
        "try:\n"
        "    fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except BlockingIOError:\n"
        "    print('locked')\n"
        "os.pwrite(first, b'written', 4096)\n"
        "os.fsync(first)\n"
        "with mmap.mmap(first, 8192) as view:\n"
        "    print(view[4096:4103].decode())\n"
        "    view[0:6] = b'mapped'\n"
        "    view.flush()\n"
        "print(os.pread(second, 6, 0).decode())\n",
        image,
    )
    assert (done.stdout, done.stderr) == (b"locked\nwritten\nmapped\n", b"")
    assert image.read_bytes()[:6] == b"mapped"
    assert image.read_bytes()[4096:4103] == b"written"


def test_a_temporary_overlay_is_refused_on_the_callers_files_with_its_cure(
    softhost: SoftHost, tmp_path: Path
) -> None:
    """What has no name there can't be opened again."""
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    script = (
        "import sys\n"
        "from vestige.errors import UsageError\n"
        "from vestige.host.backends.disks import open_disk\n"
        "from vestige.host.options import DiskOption\n"
        "try:\n"
        "    open_disk(DiskOption(sys.argv[1], raw=True, overlay='temporary')).close()\n"
        "except UsageError as error:\n"
        "    print(error)\n"
    )
    command: list[str | Path] = [sys.executable, "-c", script, disk]
    for folder, problem in ((tmp_path, "have TMPDIR name a directory of"), ("/dev/shm", "")):
        environment = {**os.environ, "TMPDIR": str(folder)}
        done = softhost.capture(command, timeout=TIMEOUT, env=environment)
        said = done.stdout.decode()
        assert (problem in said, bool(said), done.stderr) == (True, bool(problem), b"")


def test_usr_is_read_only(softhost: SoftHost) -> None:
    done = softhost.capture(["touch", "/usr/vestige-test"], timeout=TIMEOUT)
    assert done.status == 1
    assert b"Read-only file system" in done.stderr
    assert not Path("/usr/vestige-test").exists()


def test_devices_memory_and_loopback_are_its_own(softhost: SoftHost) -> None:
    # Others that share it have files there, too.
    script = "touch /dev/shm/x && ls /dev/shm/x; hostname"
    done = softhost.capture(["sh", "-c", script], timeout=TIMEOUT)
    assert done.stdout == b"/dev/shm/x\nsofthost\n"
    assert not Path("/dev/shm/x").exists()
    script = (
        "import socket; server = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(server.getsockname()); print('connected')"
    )
    assert python(softhost, script).stdout == b"connected\n"


def test_a_runtime_directory_is_its_own(softhost: SoftHost, tmp_path: Path) -> None:
    """The caller's is shared: runs of two kernels, of one number, would be in each other's way."""
    user = os.geteuid()
    script = 'echo "$XDG_RUNTIME_DIR"; stat -c "%a %u %m" "$XDG_RUNTIME_DIR"'
    env = {"XDG_RUNTIME_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = softhost.capture(["sh", "-c", script], env=env, timeout=TIMEOUT)
    assert done.stdout.decode().splitlines() == [f"/dev/run/{user}", f"700 {user} /dev"]


def test_commands_share_it(softhost: SoftHost) -> None:
    statuses: dict[int, int] = {}

    def run(number: int) -> None:
        statuses[number] = softhost.run(["sh", "-c", f"sleep 0.2; exit {number}"], timeout=TIMEOUT)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert statuses == {number: number for number in range(4)}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three images of 1 MiB, the second of which begins with a word."""
    directory = tmp_path_factory.mktemp("images")
    paths = [directory / name for name in ("written,to", "read", "nvme")]
    for path in paths:
        path.write_bytes(bytes(1 << 20))
    with paths[1].open("r+b") as file:
        file.write(b"content")
    return paths


@pytest.fixture(scope="module")
def streams() -> Iterator[list[socket.socket]]:
    """Our ends of two streams, then theirs."""
    pairs = [socket.socketpair() for _ in range(2)]
    ends = [end for side in zip(*pairs, strict=True) for end in side]
    yield ends
    for end in ends:
        end.close()


@pytest.fixture(scope="module")
def crowded() -> Iterator[Path | None]:
    """An image larger than its file system; None where only root could mount one for it.

    The file system is in a namespace of its own, which that of a process there leads to.
    """
    script = (
        "mount -t tmpfs -o size=1M none /mnt && truncate --size 8M /mnt/disk && echo && read line"
    )
    line = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        ready = holder.stdout.readline()
        yield Path(f"/proc/{holder.pid}/root/mnt/disk") if ready else None
        holder.communicate()


@pytest.fixture(scope="module")
def with_devices(
    images: list[Path], streams: list[socket.socket], crowded: Path | None
) -> Iterator[SoftHost]:
    """A software host with two disks or three, an NVMe controller and two streams."""
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("needs qemu-system-x86_64")
    host = SoftHost(
        disks=[(images[0], False), (images[1], True), *([(crowded, False)] if crowded else [])],
        nvme=[images[2]],
        streams=[end.fileno() for end in streams[2:]],
    )
    with host:
        yield host


@pytest.mark.softhost
def test_a_full_file_system_is_an_io_error_and_no_standstill(
    with_devices: SoftHost, crowded: Path | None
) -> None:
    if crowded is None:
        pytest.skip("needs user namespaces (sysctl kernel.unprivileged_userns_clone=1)")
    script = "dd if=/dev/zero of=/dev/vdc bs=64k count=32 oflag=direct; dd of=/dev/null < /dev/vdc"
    done = with_devices.capture(["sh", "-c", f"LC_ALL=C; export LC_ALL; {script}"], timeout=TIMEOUT)
    assert b"/dev/vdc': Input/output error" in done.stderr
    assert done.status == 0, done.stderr


@pytest.mark.softhost
def test_disks_nvme_streams_and_a_panic(
    with_devices: SoftHost, images: list[Path], streams: list[socket.socket]
) -> None:
    soft = with_devices
    assert soft.disk_names[:2] == ["/dev/vda", "/dev/vdb"]

    script = "printf flushed | dd of=/dev/vda conv=fsync,notrunc status=none; head -c 7 /dev/vdb"
    assert soft.capture(["sh", "-c", script], timeout=TIMEOUT).stdout == b"content"
    assert images[0].read_bytes()[:7] == b"flushed"
    assert soft.capture(["sh", "-c", "echo x > /dev/vdb"], timeout=TIMEOUT).status != 0

    (address,) = soft.nvme_addresses
    device = f"/sys/bus/pci/devices/{address}"
    script = f"basename $(readlink {device}/driver); ls {device}/iommu_group/devices; ls /dev/vfio"
    driver, alone, *nodes = soft.capture(["sh", "-c", script], timeout=TIMEOUT).stdout.split()
    assert (driver, alone.decode()) == (b"vfio-pci", address)
    assert len(nodes) == 2  # the group's and vfio itself

    for name, end in zip(soft.stream_names, streams, strict=False):
        end.sendall(f"to {name}\n".encode())
        script = f"read -r line; echo $line; echo from {name} >&0"
        done = soft.capture(["sh", "-c", f"exec <> {name}; {script}"], timeout=TIMEOUT)
        assert done.stdout == f"to {name}\n".encode()
        assert end.recv(100) == f"from {name}\n".encode()

    with pytest.raises(SoftHostError, match=r"its kernel panicked \(not syncing: sysrq"):
        soft.run(["sh", "-c", "echo c > /proc/sysrq-trigger; sleep 60"], timeout=TIMEOUT)

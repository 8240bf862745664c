"""Debian's own kernels, unmodified, on Vestige: their drivers judge our devices.

Each boot is a `vestige run` as a user types it. Where KVM is not good for it, that runs in the
software host: in the shared one, but for what only an own one can show, and for many CPUs.
"""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from tests.guests import images, initramfs, interrupts, kernels, roots
from tests.guests.boots import boot
from tests.host import layers
from vestige.softhost import SoftHost

pytestmark = [
    pytest.mark.softhost,
    pytest.mark.skipif(
        not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64 (software host)"
    ),
]

DATA_MEBIBYTES = 4
HOLE = 2 * images.MEBIBYTE  # where the guest discards one
TYPED = [f"{number:02} typed before anything could read it" for number in range(12)]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_the_cloud_kernels_elf_file_boots_on_two_cpus(there: SoftHost | None) -> None:
    guest = boot(
        kernels.kernel("cloud").vmlinux,
        initramfs.reached(),
        "marker=one typed earlyprintk=ttyS0",
        *("--cpus", "2", "--memory", "256M"),
        typed="".join(f"{line}\n" for line in [*TYPED, "end"]),
        there=there,
    )
    assert "INIT-REACHED" in guest.lines, guest
    assert guest.after("cpus:") == ["2"]
    assert "marker=one" in guest.after("command line:")[0].split()
    (memory,) = guest.after("memory:")
    assert 200 << 10 < int(memory.removesuffix(" KiB")) <= 256 << 10
    assert guest.after("typed:") == TYPED
    assert guest.status == 0, guest


def test_the_standard_kernel_runs_from_a_partition_of_a_read_only_disk(
    there: SoftHost | None, tmp_path: Path
) -> None:
    pristine = roots.small_disk(partition=True)
    disk = images.copy(pristine, tmp_path / "disk.img")
    guest = boot(
        kernels.kernel("standard").vmlinux,
        initramfs.root("standard"),
        f"root={roots.small_root(partition=True)} ro write=0:0 show=0:0",
        *("--disk", f"{disk},bus=ide,readonly"),
        there=there,
    )
    assert guest.after("root:") == ["0:0 partition 1 ro"], guest
    assert guest.after("write:") == ["0:0 failed"]
    content = pristine.read_bytes()
    told = f"0:0 sectors {len(content) // images.SECTOR} sha256 {digest(content)}"
    assert guest.after("disk:") == [told, told]
    assert guest.after("file:") == ["refused"]
    assert guest.after("guest:") == ["done"]
    assert guest.status == 0, guest
    assert disk.read_bytes() == content


def runs_beside_two_others(
    folder: Path,
    kernel: Path,
    bus: str,
    names: tuple[str, str, str],
    *words: str,
    overlay: Path | None = None,
) -> None:
    """The root on a whole disk, one to write and a read-only one, by the guest's names for them.

    `overlay`: where the second disk has what is written.
    """
    first, second, third = names
    root = images.copy(roots.small_disk(partition=False), folder / "root.img")
    source = roots.data_disk(DATA_MEBIBYTES, seed=2)
    writable = images.copy(source, folder / "writable.img")
    read_only = images.copy(source, folder / "read-only.img")
    blocks = [root.stat().st_blocks, writable.stat().st_blocks]
    above = "" if overlay is None else f",overlay={overlay}"
    guest = boot(
        kernel,
        initramfs.root("cloud"),
        f"root={roots.small_root(partition=False)} rw show={second} write={second} write={third}"
        f" discard={second} trim",
        *("--disk", f"{root},bus={bus},discard=unmap"),
        *("--disk", f"{writable},bus={bus},discard=unmap{above}"),
        *("--disk", f"{read_only},bus={bus},readonly", *words),
    )
    before = source.read_bytes()
    pattern = roots.pattern()
    written = pattern + before[len(pattern) :]
    assert written != before
    after = written[:HOLE] + bytes(images.MEBIBYTE) + written[HOLE + images.MEBIBYTE :]
    sectors = len(before) // images.SECTOR
    assert guest.after("root:") == [f"{first} whole rw"], guest
    assert guest.after("write:") == [f"{second} ok", f"{third} failed"]
    assert guest.after("disk:") == [
        f"{second} sectors {sectors} sha256 {digest(before)}",
        f"{second} sectors {sectors} sha256 {digest(written)}",
        f"{third} sectors {sectors} sha256 {digest(before)}",
        f"{second} sectors {sectors} sha256 {digest(after)}",
    ]
    assert guest.after("discard:") == [f"{second} ok"]
    assert guest.after("trim:") == ["ok"]
    assert guest.after("file:") == ["written"]
    assert guest.status == 0, guest
    if overlay is None:
        assert writable.read_bytes() == after
        assert writable.stat().st_blocks < blocks[1] - images.MEBIBYTE * 3 // 4 // 512
    else:
        assert writable.read_bytes() == before
        assert layers.content(writable, overlay) == after
    assert read_only.read_bytes() == before
    # Of the root, 4 MiB were written and given back; the rest of what it grew by is its journal.
    assert root.stat().st_blocks < blocks[0] + 2 * images.MEBIBYTE // 512
    images.check_ext4(root)
    assert images.read_file(root, "/written") == b"written by the guest\n"


def test_the_cloud_kernel_runs_from_a_whole_disk_beside_two_others(tmp_path: Path) -> None:
    kernel = kernels.kernel("cloud").bzimage
    runs_beside_two_others(tmp_path, kernel, "ide", ("0:0", "0:1", "1:0"))


def test_the_cloud_kernel_runs_with_its_ide_in_memory(
    there: SoftHost | None, tmp_path: Path
) -> None:
    root = images.copy(roots.small_disk(partition=True), tmp_path / "root.img")
    source = roots.data_disk(DATA_MEBIBYTES, seed=2)
    writable = images.copy(source, tmp_path / "writable.img")
    stats = tmp_path / "stats.json"
    guest = boot(
        kernels.kernel("cloud").vmlinux,
        initramfs.root("cloud"),
        f"root={roots.small_root(partition=True)} rw show=0:0 write=0:1",
        *("--disk", f"{root},bus=ide", "--disk", f"{writable},bus=ide"),
        *("--ide", "memory", "--cpus", "2", "--stats", str(stats)),
        there=there,
    )
    before = source.read_bytes()
    pattern = roots.pattern()
    after = pattern + before[len(pattern) :]
    assert guest.after("root:") == ["0:0 partition 1 rw"], guest
    assert guest.after("write:") == ["0:1 ok"]
    told = f"0:1 sectors {len(before) // images.SECTOR} sha256 {digest(after)}"
    assert guest.after("disk:")[-1] == told
    assert guest.after("file:") == ["written"]
    assert guest.status == 0, guest
    assert writable.read_bytes() == after
    images.check_ext4(root, images.partition_offset(root, 1))
    counters = json.loads(stats.read_text())
    assert sum(trap["count"] for trap in counters["traps"] if trap["posted"]) > 50
    assert counters["waits_for_posted_starts"] == 0
    reads = [trap for trap in counters["traps"] if trap["access"] == "read"]
    assert not [trap for trap in reads if trap["address"].startswith("0xd000")]


def test_the_cloud_kernel_runs_from_a_virtio_disk_beside_two_others(tmp_path: Path) -> None:
    statistics = tmp_path / "statistics.json"
    words = ("--cpus", "2", "--stats", str(statistics))
    kernel = kernels.kernel("cloud").vmlinux
    names, overlay = ("@2", "@3", "@4"), tmp_path / "overlay"
    runs_beside_two_others(tmp_path, kernel, "virtio", names, *words, overlay=overlay)
    counters = json.loads(statistics.read_text())
    functions = counters["virtio"]
    assert len(functions) == 3
    for function in functions:
        assert function["requests"] > 0
        assert function["notifications"] == function["failures"] == 0
    workers = counters["workers"]
    assert [worker["virtio"] for worker in workers] == [[0, 2], [1]]
    for worker in workers:
        assert worker["wakeups"] > 1


@pytest.mark.slow
def test_workers_share_a_disk_of_a_guest_with_eight_cpus(tmp_path: Path) -> None:
    cpus, part = 8, 256 << 10
    root = images.copy(roots.small_disk(partition=False), tmp_path / "root.img")
    source = roots.data_disk(DATA_MEBIBYTES, seed=2)
    image = images.copy(source, tmp_path / "data.img")
    statistics = tmp_path / "statistics.json"
    guest = boot(
        kernels.kernel("cloud").bzimage,
        initramfs.root("cloud"),
        f"root={roots.small_root(partition=False)} rw each=@2 cpus=@2",
        *("--disk", f"{root},bus=ide", "--disk", str(image)),
        *("--cpus", str(cpus), "--stats", str(statistics)),
    )
    assert guest.status == 0, guest
    pattern = roots.pattern()[:part]
    assert guest.after("cpu ") == [f"{cpu}: {digest(pattern)}" for cpu in range(cpus)], guest
    written = pattern * cpus + source.read_bytes()[part * cpus :]
    sectors = len(written) // images.SECTOR
    assert guest.after("disk:") == [f"@2 sectors {sectors} sha256 {digest(written)}"]
    assert image.read_bytes() == written
    interrupts.check_that_each_cpu_has_a_queue(guest, cpus)
    counters = json.loads(statistics.read_text())
    (function,) = counters["virtio"]
    assert function["requests"] >= (4 + 4 + 16) * cpus
    assert function["notifications"] == function["failures"] == 0
    workers = counters["workers"]
    assert [worker["virtio"] for worker in workers] == [[0], [0]]
    assert all(worker["requests"] >= (4 + 4 + 16) * cpus // 2 for worker in workers), workers
    assert sum(worker["requests"] for worker in workers) == function["requests"]

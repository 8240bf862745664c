"""Debian's kernel on IDE and virtio disks over QEMU's NVMe controllers, in the software host.

The root's file system begins at sector 63 of a drive with blocks of 4 KiB, so that every page
Linux writes there begins and ends inside a block.
"""

import hashlib
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.guests import images, initramfs, kernels, roots
from vestige.host import images as machine_code
from vestige.softhost import SoftHost, emulator

pytestmark = [
    pytest.mark.softhost,
    pytest.mark.skipif(
        not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64 (software host)"
    ),
]

SECTOR = 512
START = 63  # of the root's partition, in sectors: where the partitions of old began
GUEST_TIMEOUT = 300  # seconds
DATA_MEBIBYTES = 4

# QEMU, but the first controller has blocks of 4 KiB and takes 64 KiB at most.
LARGE_BLOCKS = """#!{python}
import os, sys
extra = ",logical_block_size=4096,physical_block_size=4096,mdts=4"
words = [word + extra * word.startswith("nvme,drive=nvme0,") for word in sys.argv[1:]]
os.execv({qemu[0]!r}, {qemu!r} + words)
"""


@dataclass(frozen=True)
class Ran:
    """One guest: how it ended, what it said, the images it left, the counters."""

    status: int
    lines: list[str]
    errors: str
    root: Path
    data: Path
    pristine: bytes  # what was on the data drive
    counters: dict[str, Any]
    places: tuple[str, str]  # of both disks, as the guest calls them

    def after(self, prefix: str) -> list[str]:
        """What follows `prefix` in each line that begins with it."""
        return [line.removeprefix(prefix).strip() for line in self.lines if line.startswith(prefix)]


def misaligned_root(image: Path) -> None:
    """A disk whose one partition begins at START and is the tests' small root."""
    content = roots.small_disk(partition=False).read_bytes()
    sectors = len(content) // SECTOR
    entry = bytes((0, 0, 0, 0, 0x83, 0, 0, 0)) + START.to_bytes(4, "little")
    entry += sectors.to_bytes(4, "little")
    size = START * SECTOR + len(content)
    with image.open("wb") as file:
        file.write(bytes(446) + entry + bytes(48) + b"\x55\xaa")
        file.seek(START * SECTOR)
        file.write(content)
        file.truncate(-(-size // 4096) * 4096)


@pytest.fixture(scope="module", params=["ide", pytest.param("virtio", marks=pytest.mark.slow)])
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A guest on two controllers: its root on one, data to read and write on the other."""
    bus = str(request.param)
    places = ("0:0", "0:1") if bus == "ide" else ("@2", "@3")
    folder = tmp_path_factory.mktemp("nvme")
    qemu = emulator.ensure(print).words
    program = folder / "qemu-system-x86_64"
    program.write_text(LARGE_BLOCKS.format(python=sys.executable, qemu=qemu))
    program.chmod(0o755)
    root, stats = folder / "root.img", folder / "stats.json"
    misaligned_root(root)
    source = roots.data_disk(DATA_MEBIBYTES, seed=3)
    data = images.copy(source, folder / "data.img")
    kernel, initrd = kernels.kernel("cloud").vmlinux, initramfs.root("cloud")
    machine_code.ensure()
    append = f"console=ttyS0 quiet panic=-1 root={roots.small_root(partition=False)} rw"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        with SoftHost(nvme=[root, data]) as host:
            disks = [f"vfio:{address},bus={bus}" for address in host.nvme_addresses]
            done = host.capture(
                [
                    *(sys.executable, "-m", "vestige.cli.main", "run", "--accel", "kvm"),
                    *("--kernel", kernel, "--initrd", initrd, "--memory", "256M", "--cpus", "2"),
                    *("--append", f"{append} show={places[1]} write={places[1]} show={places[1]}"),
                    *("--disk", disks[0], "--disk", disks[1], "--stats", stats),
                    *("--timeout", str(GUEST_TIMEOUT)),
                ],
                timeout=GUEST_TIMEOUT + 120,
            )
    lines = done.stdout.decode(errors="replace").splitlines()
    errors = done.stderr.decode(errors="replace")
    assert stats.exists(), errors
    counters = json.loads(stats.read_text())
    return Ran(done.status, lines, errors, root, data, source.read_bytes(), counters, places)


def test_the_guest_runs_from_it_and_powers_off(ran: Ran) -> None:
    assert ran.after("root:") == [f"{ran.places[0]} partition 1 rw"], ran
    assert ran.after("guest:") == ["done"]
    assert ran.status == 0


def test_what_the_guest_reads_is_on_the_drive_and_what_it_writes_gets_there(ran: Ran) -> None:
    pattern = roots.pattern()
    after = pattern + ran.pristine[len(pattern) :]
    digests = [hashlib.sha256(content).hexdigest() for content in (ran.pristine, after, after)]
    sectors = len(after) // SECTOR
    told = [f"{ran.places[1]} sectors {sectors} sha256 {digest}" for digest in digests]
    assert ran.after("disk:") == told
    assert ran.data.read_bytes() == after


def test_writes_into_large_blocks_leave_a_sound_file_system(ran: Ran) -> None:
    assert ran.after("file:") == ["written"]
    images.check_ext4(ran.root, START * SECTOR)
    written = images.read_file(ran.root, "/written", START * SECTOR)
    assert written == b"written by the guest\n"
    assert ran.counters["nvme"][0]["bounced_bytes"] > 0


def test_nothing_is_copied_where_blocks_are_sectors(ran: Ran) -> None:
    data = ran.counters["nvme"][1]
    assert data["read_bytes"] >= len(ran.pristine)
    assert data["write_bytes"] >= len(roots.pattern())
    assert data["bounced_bytes"] == 0


def test_no_command_was_late_or_failed(ran: Ran) -> None:
    for controller in ran.counters["nvme"]:
        assert [controller[name] for name in ("failure", "timeouts", "resets", "errors")] == [0] * 4
        assert controller["flushes"] > 0


def test_the_interrupts_do_not_go_through_user_space(ran: Ran) -> None:
    """The worker leaves the kernel for the console's output and an interrupt's new message."""
    worker = ran.counters["worker"]
    assert set(worker["host_calls"]) <= {"KICK", "ROUTE"}
    completed = sum(each["reads"] + each["writes"] for each in ran.counters["nvme"])
    console = ran.counters["ring"]["writes"] + ran.counters["ring"]["reads"]
    assert worker["returns_to_user_space"] <= 2 * console + 8
    assert completed > 4 * worker["returns_to_user_space"]

"""A guest whose disks are on a file system that has no room left."""

import sys
from pathlib import Path

import pytest

from tests.guests import initramfs, kernels
from tests.guests.store import ROOT
from vestige.softhost import SoftHost
from vestige.softhost.host import Completed

FOLDER = "/dev/shm/full-disk"  # of the software host's own
ROOM = "1M"
TIMEOUT = 300  # seconds
MODULES = ("sd_mod", "ata_piix", "virtio_pci", "virtio_blk")
# By the guest's names: an IDE and a virtio disk on the full file system, and one that is elsewhere.
DISKS = {"vda": "virtio.img", "sda": "ide.img,bus=ide", "vdb": "../full-disk-elsewhere.img"}


@pytest.fixture(scope="module")
def ended(softhost: SoftHost) -> Completed:
    """A guest that has written 2 MiB to each of them in turn."""
    words = [
        *(sys.executable, "-m", "vestige.cli.main", "run", "--accel", "kvm"),
        *("--kernel", str(kernels.kernel("cloud").vmlinux), "--initrd", str(initrd())),
        *("--append", f"console=ttyS0 quiet panic=-1 disks={','.join(DISKS)}"),
        *("--memory", "256M", "--timeout", str(TIMEOUT)),
        *(word for disk in DISKS.values() for word in ("--disk", f"{FOLDER}/{disk}")),
    ]
    images = [f"{FOLDER}/{disk.partition(',')[0]}" for disk in DISKS.values()]
    script = (
        f"mkdir -p {FOLDER} && mount -t tmpfs -o size={ROOM} none {FOLDER}"
        f' && truncate --size 8M {" ".join(images)} && exec "$@"'
    )
    # In a user namespace anyone may mount one.
    apart = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    try:
        return softhost.capture([*apart, *words], timeout=TIMEOUT + 60, cwd=ROOT)
    finally:
        softhost.run(["rm", "-rf", FOLDER, images[-1]])


def initrd() -> Path:
    """One that writes to disks."""
    modules = kernels.modules_for("cloud", *MODULES)
    return initramfs.with_programs("full", initramfs.SCRIPTS / "full-init", "cloud", {}, modules)


def test_the_guest_finds_io_errors_of_these_disks_and_goes_on(ended: Completed) -> None:
    lines = ended.stdout.decode(errors="replace").splitlines()
    found = [line for line in lines if line.startswith(tuple(f"{disk}: " for disk in DISKS))]
    expected = ["vda: Input/output error", "sda: Input/output error", "vdb: written"]
    assert found == expected, (lines, ended.stderr)
    assert ended.status == 0, ended.stderr


def test_a_line_says_once_of_each_image_why(ended: Completed) -> None:
    reason = "No space left on device: the guest's write failed; make room"
    told = [line for line in ended.stderr.decode().splitlines() if FOLDER in line]
    assert told == [f"vestige: {FOLDER}/{name}: {reason}" for name in ("virtio.img", "ide.img")]

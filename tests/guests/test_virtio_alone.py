"""The newest of Debian's kernels, with two CPUs, on virtio alone: disk, network and console."""

import hashlib
from pathlib import Path

import pytest

from tests.guests import (
    images,
    initramfs,
    interrupts,
    kernels,
    network,
    network_host,
    newest,
    roots,
)
from tests.guests.network_guest import TAP_GUEST, TAP_HOST, Guest
from vestige.softhost import SoftHost

pytestmark = [pytest.mark.slow, pytest.mark.softhost]

CPUS = 2
MODULES = (*kernels.ROOT_MODULES, *network.MODULES, "virtio_console")


def test_the_newest_kernel_runs_on_virtio_alone(networked: SoftHost, tmp_path: Path) -> None:
    kernel = newest.kernel(*MODULES)
    disk = images.copy(roots.small_disk(partition=True), tmp_path / "disk.img")
    guest = Guest(
        networked,
        tmp_path,
        initramfs.root_of("virtio", kernel.modules),
        *("--disk", str(disk), "--net", "tap:alone", "--console", "virtio"),
        *("--cpus", str(CPUS)),
        tap="alone",
        kernel=kernel.bzimage,
        append=f"console=hvc0 quiet panic=-1 root={roots.small_root(partition=True)} rw"
        f" address={TAP_GUEST}/24 download={TAP_HOST}:{network_host.SEND} cpus=@2",
    )
    assert guest.after("kernel:") == [f"{kernel.release}, {CPUS} CPUs"], guest.words()
    assert guest.after("root:") == ["@2 partition 1 rw"]
    assert guest.after("file:") == ["written"]
    sent = hashlib.sha256(network_host.DATA).hexdigest()
    assert guest.after("download:") == [f"{sent}  -"]
    assert guest.after("guest:") == ["done"]
    assert guest.status == 0, guest.words()
    images.check_ext4(disk, images.partition_offset(disk, 1))
    interrupts.check_that_each_cpu_has_a_queue(guest, CPUS)
    counts = interrupts.of_vectors(guest, CPUS)
    assert any(sum(each) > 0 for name, each in counts.items() if "-input." in name), counts
    for function in guest.stats["virtio"]:
        assert function["requests"] > 0
        assert function["notifications"] == function["failures"] == 0

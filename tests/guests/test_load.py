"""Debian's drivers under load on virtio: fio and iperf3 judge the data, and exits are counted.

Two guests do the same but for how much of it, so what one more operation costs is the difference
of their counters: what a guest's start and end cost is in both.
"""

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.guests import network
from tests.guests.network_guest import GUEST_EXITS, TAP_GUEST, TAP_HOST, Guest
from vestige.softhost import SoftHost

pytestmark = [pytest.mark.slow, pytest.mark.softhost]

DISK_MEBIBYTES = 64
MEMORY = "512M"  # fio's libraries are 80
MODULES = ("crc32c_generic", "virtio_blk", "ext4", *network.MODULES)

# Returns of the worker for an operation: it wakes the thread, which sleeps where a busy machine
# has let 50 ms pass between two of them.
WAKING = 0.1


class Load(NamedTuple):
    """How much: of fio's jobs one part in so many, and what iperf3 sends each way."""

    part: int
    stream: str


LITTLE, MUCH = Load(16, "128K"), Load(1, "3M")

# fio(1): all jobs at once, each on its own part of the disk. Written, read back and compared.
GLOBAL = """[global]
filename=/dev/vda
ioengine=libaio
direct=1
verify=crc32c
verify_fatal=1
verify_state_save=0
do_verify=1
"""
JOBS = (  # name, kind, blocks, queue depth, KiB
    ("sequential-4k", "write", "bs=4k", 1, 512),
    ("random-4k", "randwrite", "bs=4k", 8, 1024),
    ("random-4k-to-1m", "randwrite", "bsrange=4k-1m", 4, 16384),
    ("sequential-1m", "write", "bs=1m", 2, 16384),
)


def fio_jobs(part: int) -> str:
    """All of them; at least one block of each."""
    text = GLOBAL
    for number, (name, kind, blocks, depth, size) in enumerate(JOBS):
        text += f"[{name}]\nrw={kind}\n{blocks}\niodepth={depth}\nsize={size // part}k\n"
        text += f"offset={number * DISK_MEBIBYTES // len(JOBS)}m\n"
    return text


def job(load: Load) -> str:
    """What the guest runs."""
    return f"""
cat > /jobs.fio <<end
{fio_jobs(load.part)}end
fio --eta=never --output=/fio.txt /jobs.fio
status=$?
echo "fio: $status, $(grep -c 'err= 0' /fio.txt) jobs"
[ $status = 0 ] || cat /fio.txt
ip address add {TAP_GUEST}/24 dev eth0
for way in "" -R; do
    timeout 300 iperf3 -c {TAP_HOST} -n {load.stream} $way > /iperf3.txt 2>&1
    status=$?
    echo "iperf3: $status"
    [ $status = 0 ] || cat /iperf3.txt
done
"""


def loaded(host: SoftHost, folder: Path, load: Load, ring: str) -> Guest:
    """A guest under `load`; all it did was right."""
    initrd = network.with_job("cloud", job(load), folder / "initrd", ("fio", "iperf3"), MODULES)
    disk = f"/dev/shm/{folder.name}.img"
    assert host.run(["truncate", "--size", f"{DISK_MEBIBYTES}M", disk]) == 0
    words = ("--disk", disk, "--net", "tap:load", "--ring", ring)
    try:
        guest = Guest(host, folder, initrd, *words, tap="load", memory=MEMORY)
    finally:
        host.run(["rm", disk])
    assert guest.status == 0, guest.words()
    assert guest.after("fio:") == [f"0, {len(JOBS)} jobs"], guest.words()
    assert guest.after("iperf3:") == ["0", "0"], guest.words()
    return guest


@pytest.fixture(scope="module")
def little(networked: SoftHost, tmp_path_factory: pytest.TempPathFactory) -> Guest:
    """What the other is compared with: few operations."""
    return loaded(networked, tmp_path_factory.mktemp("little"), LITTLE, "poll")


def test_with_a_polling_thread_no_request_and_no_frame_costs_an_exit(
    networked: SoftHost, little: Guest, tmp_path: Path
) -> None:
    guest = loaded(networked, tmp_path, MUCH, "poll")
    count = guest.operations() - little.operations()
    assert count > 1000, guest.stats
    assert guest.exits() - little.exits() <= count * GUEST_EXITS, (guest.stats, little.stats)
    assert guest.stats["worker"]["returns_to_user_space"] <= count * WAKING, guest.stats
    assert guest.stats["network"]["down"] == guest.stats["ring"]["errors"] == 0
    for function in guest.stats["virtio"]:
        assert function["notifications"] == function["failures"] == 0

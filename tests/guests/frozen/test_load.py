"""Debian's drivers under load, frozen at moments that nobody chooses, and thawed elsewhere.

One guest: fio writes a disk with a temporary overlay, and reads and compares what it wrote; iperf3
sends through passt; a third writes records to a file system and has each flushed; a fourth sleeps,
and looks how long. It is frozen in one software host, again and again, and goes on there; its last
snapshot goes on in another, which has it from a tar file. There its run is killed.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.guests import images, kernels, network
from tests.guests.freeze_inside import PATIENCE
from tests.guests.frozen.load_inside import JOURNALED, MOST, PACKED, RECORD, SCRATCH
from tests.guests.network_guest import GATEWAY
from tests.guests.store import ROOT
from tests.guests.test_freeze import OLD, TROUBLE
from tests.guests.test_load import GLOBAL
from vestige.host import images as monitors
from vestige.softhost import SoftHost

CPUS = ("1", "2")
FREEZES = 6  # of those that are while fio runs
DISK_MEBIBYTES = 16
TOOLS = ("fio", "iperf3", "qemu-ga")
MODULES = ("crc32c_generic", "virtio_blk", "virtio_console", "ext4", *network.MODULES)
ASLEEP, LONGEST = 20, 3000  # hundredths of a second: as asked for, and on a busy machine at most

pytestmark = [pytest.mark.slow, pytest.mark.softhost]

FIO = f"""{GLOBAL}[random]
rw=randwrite
bsrange=4k-64k
iodepth=8
size=8m
[sequential]
rw=write
bs=64k
iodepth=2
offset=8m
size=8m
"""
# Each round of fio's is of other data, so what an earlier one wrote is no match. What the agent
# asks for is in files, whole ones: what is read while it is written would be no number.
JOB = f"""
ip address add 10.0.2.15/24 dev eth0
mount -t ext4 /dev/vdb /mnt
cat > /tmp/jobs.fio <<end
{FIO}end
say() {{ echo "$2" > "/tmp/.$1" && /bin/busybox mv "/tmp/.$1" "/tmp/$1"; }}
for name in rounds network flushed; do say $name 0; done
fio_rounds() {{
    n=0 status=0
    until [ -e /tmp/stop ] || [ $status != 0 ]; do
        n=$((n + 1))
        say running $n
        fio --eta=never --randseed=$n --output=/tmp/fio /tmp/jobs.fio > /dev/null
        status=$?
        rm /tmp/running
        say rounds $n
    done
    [ $status = 0 ] || cat /tmp/fio
    say fio.ended "status $status"
}}
net_rounds() {{
    n=0
    until [ -e /tmp/stop ]; do
        timeout 60 iperf3 -c {GATEWAY} -n 256K > /dev/null 2>&1 && n=$((n + 1)) && say network $n
    done
    say net.ended ""
}}
records() {{
    n=0
    while printf '%07d\\n' $n |
        dd of=/mnt/log bs={RECORD} seek=$n conv=notrunc,fsync 2> /dev/null; do
        echo "flushed $n"
        n=$((n + 1))
        say flushed $n
        sleep 0.1
    done
}}
hundredths() {{ read -r up _ < /proc/uptime; echo "${{up%.*}}${{up#*.}}"; }}
sleeper() {{
    n=0 least=1000000 most=0
    while :; do
        before=$(hundredths)
        sleep 0.2
        took=$(($(hundredths) - before))
        [ $took -ge $least ] || least=$took
        [ $took -le $most ] || most=$took
        n=$((n + 1))
        say timers "$n $least $most"
    done
}}
fio_rounds &
net_rounds &
records &
sleeper &
cd /tmp
until set -- /dev/vport*p1 && [ -e "$1" ]; do sleep 0.1; done
qemu-ga --method virtio-serial --path "$1" --statedir /tmp --pidfile /tmp/pid
"""


class Found(NamedTuple):
    """What came of it: `told` by the freezes and the runs, `said` on the consoles.

    `meant`: the freezes that were while fio ran.
    """

    told: list[str]
    meant: int
    judged: dict[str, Any]
    said: str
    disk: Path


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[SoftHost]:
    """Another one."""
    with SoftHost(network=True) as host:
        yield host


def inside(host: SoftHost, timeout: float, *words: str | Path) -> Any:
    """What load_inside prints there, beside a server of iperf3's."""
    command = [sys.executable, "-m", "tests.guests.network_host", "--"]
    command += [sys.executable, "-m", "tests.guests.frozen.load_inside", *map(str, words)]
    # The overlay is a file without a name, which can't be among the caller's.
    surroundings = {**os.environ, "TMPDIR": "/dev/shm"}
    done = host.capture(command, timeout=timeout, cwd=ROOT, env=surroundings)
    assert done.status == 0, done.stderr.decode()
    return json.loads(done.stdout)


@pytest.fixture(scope="module", params=CPUS)
def found(
    request: pytest.FixtureRequest,
    networked: SoftHost,
    elsewhere: SoftHost,
    tmp_path_factory: pytest.TempPathFactory,
) -> Found:
    """What the guest did in all of its lives."""
    monitors.ensure()
    folder = tmp_path_factory.mktemp("load")
    initrd = network.with_job("cloud", JOB, folder / "initrd", TOOLS, MODULES)
    with (folder / SCRATCH).open("wb") as file:
        file.truncate(DISK_MEBIBYTES << 20)
    images.whole_disk(folder / JOURNALED, images.FileSystem(DISK_MEBIBYTES, None))
    words = ("freeze", kernels.kernel("cloud").bzimage, initrd, folder, request.param, str(FREEZES))
    first = inside(networked, MOST * FREEZES * PATIENCE / 2, *words)
    judged = inside(elsewhere, 6 * PATIENCE, "judge", folder)
    (folder / PACKED).unlink()  # pytest keeps folders for days, and this is large
    consoles = sorted(folder.glob("console*"), key=lambda path: int(path.name[7:]))
    said = "".join(path.read_text(errors="replace") for path in consoles)
    told = [*first["told"], judged["told"]]
    return Found(told, first["meant"], judged, said, folder / JOURNALED)


def test_no_freeze_is_worth_a_word(found: Found) -> None:
    assert found.told == ["", *[OLD] * (len(found.told) - 1)]
    assert [line for line in found.judged["dmesg"].splitlines() if TROUBLE.search(line)] == []


def test_fio_finds_all_that_it_has_written(found: Found) -> None:
    rounds, status = found.judged["fio"].splitlines()[-2:]
    assert status == "status 0", found.judged["fio"]
    assert found.meant == FREEZES
    assert int(rounds) > 1


def test_iperf3_goes_both_ways_through_passt(found: Found) -> None:
    assert found.judged["iperf3"].count("iperf3: ok") == 2, found.judged["iperf3"]


def test_no_timer_is_early_or_forgotten(found: Found) -> None:
    count, least, most = map(int, found.judged["timers"].split())
    assert count > FREEZES
    assert ASLEEP - 1 <= least <= most <= LONGEST


def records(number: int) -> list[str]:
    """The first of them."""
    return [f"{n:07d}" for n in range(number)]


def test_what_was_flushed_is_on_the_disk_of_the_thawed_guest(found: Found) -> None:
    flushed: list[str] = found.judged["flushed"].split()
    assert len(flushed) > FREEZES
    assert flushed == records(len(flushed))


def test_what_was_flushed_is_there_though_the_run_was_killed(found: Found) -> None:
    flushed = [int(n) for n in re.findall(r"^flushed (\d+)\r?$", found.said, re.MULTILINE)]
    assert flushed == list(range(len(flushed)))  # none is lost, and none said twice
    assert len(flushed) > FREEZES
    # The journal of one that was killed is carried out first, as a kernel would.
    check = [images.tool("e2fsck"), "-f", "-p", str(found.disk)]
    assert subprocess.run(check, check=False, stdout=subprocess.DEVNULL).returncode in (0, 1)
    log = images.read_file(found.disk, "/log").decode()
    assert log.split()[: len(flushed)] == records(len(flushed))

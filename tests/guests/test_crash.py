"""What Debian's kernel was told is on the disk is there, though Vestige was killed meanwhile."""

import io
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.guests import images, network
from tests.guests.network_guest import command
from tests.guests.store import ROOT
from vestige.softhost import SoftHost
from vestige.softhost.command import Command

pytestmark = pytest.mark.softhost

PATIENCE = 480  # seconds
WRITERS = ("one", "two", "three")
ENOUGH = 9  # files that are on the disk, as the guest was told
FILE_SIZE = 20_000
MODULES = ("crc32c_generic", "virtio_blk", "ext4", *network.MODULES)

# Each writer says which files fsync() has answered for; beside them fio keeps two disks busy.
JOB = f"""
mount -t ext4 /dev/vda /mnt || exit
cat > /jobs.fio <<end
[global]
ioengine=libaio
direct=1
size=16m
rw=randwrite
time_based
runtime={PATIENCE}
[files]
directory=/mnt
bsrange=4k-256k
iodepth=8
fsync=4
[disk]
filename=/dev/vdb
bs=64k
iodepth=8
fsync=8
end
fio --eta=never --output=/fio.txt /jobs.fio &
write() {{
    number=1
    while yes "$1 $number" | head -c {FILE_SIZE} |
        dd of=/mnt/$1.$number bs={FILE_SIZE} iflag=fullblock conv=fsync 2> /dev/null
    do
        echo "on the disk: $1 $number"
        number=$((number + 1))
    done
}}
for writer in {" ".join(WRITERS)}; do
    write $writer &
done
wait
"""

# As a next run does: the kernel goes on with what was under way in the ring, which is waited for.
REOPEN = """
import sys
from vestige.host.backends.disks import open_disk
from vestige.host.options import DiskOption
open_disk(DiskOption(sys.argv[1])).close()
"""


class Acknowledged(io.BytesIO):
    """What the guest says; its Vestige is killed once that is enough."""

    def __init__(self) -> None:
        super().__init__()
        self.command: Command | None = None

    def write(self, data: object) -> int:
        """More output."""
        count = super().write(data)  # type: ignore[arg-type]
        files = self.files()
        if self.command is not None and len(files) >= ENOUGH and writers(files) == set(WRITERS):
            self.command.signal(signal.SIGKILL)
        return count

    def files(self) -> list[tuple[str, int]]:
        """The writers and numbers of the files that whole lines tell of."""
        prefix = "on the disk: "
        *lines, _ = self.getvalue().decode(errors="replace").split("\n")
        told = [line.removeprefix(prefix).split() for line in lines if line.startswith(prefix)]
        return [(writer, int(number)) for writer, number in told]


def writers(files: list[tuple[str, int]]) -> set[str]:
    """Whose files these are."""
    return {writer for writer, _ in files}


def content(writer: str, number: int) -> bytes:
    """What a writer puts into a file."""
    line = f"{writer} {number}\n".encode()
    return (line * (FILE_SIZE // len(line) + 1))[:FILE_SIZE]


def test_what_fsync_answered_for_outlives_a_kill(networked: SoftHost, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    images.whole_disk(image, images.FileSystem(64, None))
    inside, scratch = "/dev/shm/crash.img", "/dev/shm/crash-scratch.img"
    assert networked.run(["cp", str(image), inside]) == 0
    assert networked.run(["truncate", "--size", "16M", scratch]) == 0
    initrd = network.with_job("cloud", JOB, tmp_path / "initrd", ("fio", "iperf3"), MODULES)
    told = Acknowledged()
    line = command(initrd, "--disk", inside, "--disk", scratch, memory="512M")
    killed = networked.spawn(line, cwd=ROOT, stdout=told)
    told.command = killed
    try:
        assert killed.wait(PATIENCE) == 128 + signal.SIGKILL, told.getvalue()
    finally:
        killed.kill()
    assert networked.run([sys.executable, "-c", REOPEN, inside], cwd=ROOT) == 0
    assert networked.run(["cp", inside, str(image)]) == 0
    assert networked.run(["rm", inside, scratch]) == 0
    files = told.files()
    assert len(files) >= ENOUGH
    assert writers(files) == set(WRITERS)
    # Status 1: it replayed the journal.
    repaired = subprocess.run(
        [images.tool("e2fsck"), "-f", "-y", str(image)], capture_output=True, check=False
    )
    assert repaired.returncode in (0, 1), repaired
    for writer, number in files:
        assert images.read_file(image, f"/{writer}.{number}") == content(writer, number)

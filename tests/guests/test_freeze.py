"""Debian's kernel, frozen at moments that nobody chooses, and thawed, in the software host."""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guests import initramfs, kernels
from tests.guests.freeze_inside import PATIENCE
from vestige.host import images
from vestige.softhost import SoftHost

FREEZES = 10
OFF = 10  # seconds, less than a freeze takes there, and more than a date that is asked for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.softhost,
    pytest.mark.skipif(
        not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64 (software host)"
    ),
]
FLAVOURS: dict[str, kernels.Flavour] = {"told": "standard"}  # with a driver that is told; or cloud
MACHINES = {
    "1": ("1",),
    "2": ("2",),
    "4": ("4",),
    "pc": ("2", "--machine", "pc"),
    "told": ("1",),
}
RESEEDED = "crng reseeded due to virtual machine fork"
# Of a guest that has but busybox.
OLD = (
    "vestige: the guest is not told apart from others of its snapshot: there is neither perl nor"
    " python3, nor has its kernel the driver vmgenid\n"
)
TROUBLE = re.compile(r"lockup|hung task|rcu.*stall|BUG:|Oops|Call Trace")


@pytest.fixture
def place(softhost: SoftHost, tmp_path: Path) -> Iterator[Path]:
    """A folder in the software host's memory: files of the caller's have no holes in there."""
    folder = Path("/dev/shm", tmp_path.name)
    assert softhost.run(["mkdir", folder]) == 0
    yield folder
    assert softhost.run(["rm", "-r", folder]) == 0


@pytest.mark.parametrize("machine", MACHINES)
def test_linux_goes_on_where_it_was_frozen(softhost: SoftHost, place: Path, machine: str) -> None:
    flavour = FLAVOURS.get(machine, "cloud")
    kernel, initrd = kernels.kernel(flavour).bzimage, initramfs.agent(flavour)
    images.ensure()
    cpus, *words = MACHINES[machine]
    command: list[str | Path] = [sys.executable, "-m", "tests.guests.freeze_inside"]
    command += [kernel, initrd, place, cpus, str(FREEZES), *words]
    command += ["--append", "console=ttyS0 panic=-1 loglevel=1"]
    done = softhost.capture(command, timeout=(FREEZES + 2) * PATIENCE)
    assert done.status == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    knows = RESEEDED in found["dmesg"]
    assert found["told"] == ["", *[("" if knows else OLD)] * (FREEZES - 1)]
    assert found["cpus"] == f"{cpus}\n"
    trouble = [line for line in found["dmesg"].splitlines() if TROUBLE.search(line)]
    assert trouble == []
    ticks = [int(number) for number in re.findall(r"^tick (\d+)\r?$", found["said"], re.MULTILINE)]
    assert ticks == list(range(len(ticks)))  # none is lost, and none said twice
    assert len(ticks) > FREEZES
    ups = [up for _, _, up in found["dates"]]
    assert ups == sorted(ups)
    lags = [now - date for now, date, _ in found["dates"]]
    assert lags[:-1] == sorted(lags[:-1])  # the more, the longer it was frozen in all
    assert lags[-1] - lags[-2] < OFF  # but for the last, whose clocks jumped
    if machine == "told":
        assert found["dmesg"].count(RESEEDED) == FREEZES - 1
        first, second = found["random"]
        assert first != second

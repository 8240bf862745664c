"""A PC that SeaBIOS has started, frozen while somebody looks on, and thawed: on this KVM."""

import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.host import graphics_sector, planes_sector
from tests.host.freeze.test_runs import vestige
from tests.host.harness import PATIENCE, why_not
from tests.host.planes_sector import Filling
from tests.host.test_graphics_runs import BUSY, NAME, Ours, ended
from tests.host.test_viewer_runs import Seen
from vestige.errors import GuestError, UsageError
from vestige.host.options import BIOS, FIRMWARES, VGA_BIOS

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.skipif(
        not (Path(FIRMWARES[BIOS]).exists() and Path(VGA_BIOS).exists()), reason="needs seabios"
    ),
]
LINEAR = {0x144: (1024, 768), 0x13: (640, 400)}
FILLED = {  # by the window at 0xA0000: planes, banks
    Filling(0x12, 4, 19_200): (640, 480),
    Filling(0x111, 10, 0x8000): (640, 480),
}
DISKS = {
    "linear": (graphics_sector.disk(list(LINEAR)), list(LINEAR.values())),
    "window": (planes_sector.disk(list(FILLED)), list(FILLED.values())),
}
STOPPED = 143


class Thawed(Ours):
    """Another life of such a run."""

    def __init__(self, snapshot: Path) -> None:
        words = ("thaw", str(snapshot), "--name", NAME, "--timeout", "400")
        self.process = subprocess.Popen(
            (sys.executable, "-m", "vestige.cli.main", *words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        self._marks = 0

    def picture(self) -> tuple[int, int, bytes]:
        """Once there is one."""
        deadline = time.monotonic() + BUSY
        while True:
            try:
                return super().picture()
            except (GuestError, UsageError):
                assert time.monotonic() < deadline
                assert self.process.poll() is None


@pytest.mark.parametrize("disk", DISKS)
def test_a_pc_shows_what_it_showed_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: str
) -> None:
    """Its viewer ends with its first life; in each of the others it fills another mode."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    image, screen, snapshot = (tmp_path / name for name in ("disk", "screen", "snapshot"))
    data, sizes = DISKS[disk]
    image.write_bytes(data)
    run, before = Ours(image, "--display", f"vnc:unix:{screen}"), None
    for size in sizes:
        with ended(run.process):
            viewer = None
            if before is None:
                viewer = Seen(screen)
            else:
                assert run.picture() == before
                run.press()
            run.wait(1)
            before = run.picture()
            assert before[:2] == size
            assert vestige("freeze", NAME, str(snapshot), "--stop") == (0, "")
            if viewer is not None:
                with closing(viewer):
                    assert not viewer.socket.recv(1)
            assert run.process.wait(PATIENCE) == STOPPED
        assert not screen.exists()
        run = Thawed(snapshot)
    with ended(run.process):
        assert run.picture() == before

"""The demo's verdict, and its guest on a second PIIX3: QEMU's."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from examples.demo import driver
from tests.guests import images
from tests.guests.store import ROOT

SCRIPT = """\
check first "why" true
check second "why" true
"""
GOOD = ["check: first ok", "noise", "check: second ok", "payload: 00", driver.PASSED]


def test_a_guest_that_passed_every_check_is_good() -> None:
    assert driver.judge(GOOD, 0, SCRIPT) == []


def test_a_monitor_that_failed_is_not() -> None:
    assert driver.judge(GOOD, 1, SCRIPT) == ["the monitor ended with status 1, not 0"]


def test_a_failed_check_is_told_with_its_reason() -> None:
    lines = ["check: first FAILED no disk", *GOOD[1:]]
    assert driver.judge(lines, 0, SCRIPT) == ["check: first FAILED no disk"]


def test_a_check_that_was_never_made_is_missed() -> None:
    assert driver.judge(GOOD[1:], 0, SCRIPT) == ["the guest never got to its checks first"]


def test_a_guest_that_died_before_its_last_line_is_not_good() -> None:
    assert driver.judge(GOOD[:-1], 0, SCRIPT) == [f"the guest did not end with '{driver.PASSED}'"]


def test_a_disk_that_holds_something_else_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "check_ext4", lambda _image, _offset: None)
    monkeypatch.setattr(images, "read_file", lambda _image, _path, _offset: b"other")
    (tmp_path / "disk.img").touch()
    (problem,) = driver.inspect(tmp_path / "disk.img", GOOD)
    assert "the guest wrote ['00']" in problem


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="qemu-system-x86_64 not found")
def test_the_guest_passes_on_qemus_piix3() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo.driver", "--vmm", "qemu"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.stdout.endswith("demo: ok\n"), done.stdout + done.stderr
    assert done.returncode == 0

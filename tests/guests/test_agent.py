"""Debian's guest agent in a guest: asked by a launcher's machine, and through a software host."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.guests import initramfs, kernels
from tests.guests.agent_inside import PATIENCE, WRITTEN
from tests.guests.named import NamedRun
from vestige.host import images
from vestige.softhost import SoftHost

STANDSTILL = 30  # seconds; Linux's watchdogs complain of 20

pytestmark = [
    pytest.mark.slow,
    pytest.mark.softhost,
    pytest.mark.skipif(
        not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64 (software host)"
    ),
]


@pytest.fixture(scope="module")
def found(softhost: SoftHost, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What agent_inside found."""
    kernel, initrd = kernels.kernel("cloud").bzimage, initramfs.agent("cloud")
    images.ensure()
    done = softhost.capture(
        [
            *(sys.executable, "-m", "tests.guests.agent_inside"),
            *(kernel, initrd, tmp_path_factory.mktemp("agent")),
        ],
        timeout=4 * PATIENCE,
    )
    assert done.status == 0, done.stderr.decode()
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_command_has_its_status_its_streams_and_its_signal(found: dict[str, Any]) -> None:
    assert found["run"] == [3, "out\n", "err\n", None]
    assert found["input"] == [0, "HELLO", "", None]
    assert found["signal"] == [137, "", "", 9]
    assert "/bin/nothing" in found["refused"]


def test_a_file_is_kept(found: dict[str, Any]) -> None:
    assert found["kept"] is True
    assert found["size"] == f"{WRITTEN}\n"


def test_a_command_that_never_ends_is_killed_with_what_it_has_started(
    found: dict[str, Any],
) -> None:
    line = "the command has not ended within 2 s; killed in the guest"
    assert found["timeout"] == [line, [137, "begun\n", "", 9]]
    assert found["left"] == ""


def test_output_without_end_is_cut_and_that_is_told(found: dict[str, Any]) -> None:
    assert found["cut"] == [16 << 20, True, False]


def test_commands_run_beside_each_other(found: dict[str, Any]) -> None:
    assert found["asyncio"] == [[0, "one\n", "", None], [0, "two\n", "", None]]


def test_vestige_exec_asks_a_launchers_machine(found: dict[str, Any]) -> None:
    status, output, errors = found["exec"]
    assert (status, errors) == (0, "")
    assert output.startswith("Linux version ")


def test_the_machine_ends_when_it_is_told(found: dict[str, Any]) -> None:
    assert found["status"] == 143


def test_the_example_of_the_page_runs(found: dict[str, Any]) -> None:
    assert found["example"] == [0, "0 b'3\\n'\n", ""]


def test_a_guest_in_a_software_host_is_asked_out_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    kernel, initrd = kernels.kernel("cloud").bzimage, initramfs.agent("cloud")
    words = ("--kernel", str(kernel), "--initrd", str(initrd), "--append", "console=ttyS0 panic=-1")
    with NamedRun("soft", tmp_path / "log", "--accel", "soft", "--agent", *words) as run:
        while not (tmp_path / "vestige" / "soft@agent").exists():
            run.pause()
        wait = ("--wait", f"{PATIENCE:.0f}s")
        done = run.ask("exec", *wait, "--", "sh", "-c", "echo out; echo err >&2; exit 5")
        assert (done.returncode, done.stdout, done.stderr) == (5, "out\n", "err\n"), run.said()
        done = run.ask("exec", *wait, "--timeout", "2", "--", "sleep", "1000")
        line = "vestige: soft: the command has not ended within 2 s; killed in the guest\n"
        assert (done.returncode, done.stdout, done.stderr) == (124, "", line)
        assert run.ask("pause").returncode == 0
        done = run.ask("exec", "--wait", f"{STANDSTILL}s", "--", "true")
        assert (done.returncode, done.stdout) == (2, "")
        assert "is paused" in done.stderr
        assert run.ask("resume").returncode == 0
        complaints = "dmesg | grep -c -e lockup -e 'stalls on'"
        done = run.ask("exec", *wait, "--", "sh", "-c", f"sleep 5; {complaints}")
        assert (done.returncode, done.stdout, done.stderr) == (1, "0\n", "")

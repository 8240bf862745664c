"""`vestige run --accel soft`: names mean what they mean out here, wherever they are."""

import json
import os
import pty
import select
import subprocess
import sys
import tempfile
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.kernel_payload import FEW_SECTORS, HELLO, Kernels
from vestige.host import images

pytestmark = [pytest.mark.softhost, pytest.mark.xdist_group("softhost")]

COMMAND = [sys.executable, "-P", "-m", "vestige.cli.main", "run", "--accel", "soft"]
PATIENCE = 120.0


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    images.ensure()
    return Kernels(tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def hidden() -> Iterator[Path]:
    """A folder that the software host can't see: it has a /dev/shm of its own."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="vestige-") as folder:
        yield Path(folder)


def test_files_are_those_out_here_and_nothing_of_the_directory_is_imported(
    kernels: Kernels, hidden: Path
) -> None:
    """Kernel from a pipe; disk, statistics, cache and directory where none are inside."""
    for module in ("struct", "os", "select", "vestige"):
        (hidden / f"{module}.py").write_text("raise SystemExit('executed')")
    (hidden / "disk,1.img").write_bytes(bytes(1 << 20))
    os.mkfifo(hidden / "port")
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append((hidden / "port").read_bytes()))
    reader.start()
    script = (
        'exec "${@:2}" --kernel <(cat "$1") --disk disk,,1.img --stats stats --port p=port'
        " --memory 64M"
    )
    done = subprocess.run(
        ["bash", "-c", script, "bash", kernels("virtio_few"), *COMMAND],
        cwd=hidden,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    reader.join(PATIENCE)
    assert (done.returncode, done.stdout) == (0, b"." * FEW_SECTORS), done.stderr
    assert b"executed" not in done.stderr
    content = (hidden / "disk,1.img").read_bytes()
    held = [int.from_bytes(content[512 * n : 512 * n + 8], "little") for n in range(FEW_SECTORS)]
    assert held == [n + 1 for n in range(FEW_SECTORS)]
    (function, _) = json.loads((hidden / "stats").read_text())["virtio"]
    assert function["requests"] == 2 * FEW_SECTORS
    assert received == [b""]


def test_keys_go_to_the_guest_where_only_the_input_is_a_terminal(kernels: Kernels) -> None:
    """As in `vestige run … | tee log`: each at once, Ctrl-C too, and echoed by the guest alone."""
    ours, theirs = pty.openpty()
    tty.setcbreak(theirs)  # but for echoing
    process = subprocess.Popen(
        [*COMMAND, "--kernel", kernels("echo")],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == HELLO
    os.write(ours, b"a\x03b")
    assert process.stdout.read(3) == b"a\x03b"
    os.write(ours, b".")
    assert process.stdout.read() == b"."
    assert process.wait(PATIENCE) == 0
    assert not select.select([ours], [], [], 0)[0]
    os.close(ours)
    os.close(theirs)

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
from vestige.errors import GuestError
from vestige.host import images
from vestige.host.control.client import find
from vestige.softhost import SoftHost
from vestige.softhost.host import trees_apart

pytestmark = pytest.mark.softhost

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


def test_a_run_in_the_software_host_is_asked_out_here(
    kernels: Kernels, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """While it boots, too; what its machine's process has to say comes out."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    process = subprocess.Popen(
        [*COMMAND, "--kernel", kernels("idle"), "--name", "soft", "--memory", "64M"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        while not (tmp_path / "vestige" / "soft").exists():
            assert process.poll() is None
        with find("soft") as run:
            told = run.ask({"do": "status"})
            assert (told["pid"], told["accel"], told["state"]) == (process.pid, "soft", "starting")
            with pytest.raises(GuestError, match="the guest does not run now"):
                run.ask({"do": "exits"})
            assert process.stdout.readline() == HELLO
            while (told := run.ask({"do": "status"}))["state"] == "starting":
                assert process.poll() is None
            assert (told["state"], told["restarts"]) == ("running", 0)
            assert told["seconds"] < 4, "it is not the software host's time"
            for _ in range(3):
                (exits,) = run.ask({"do": "exits"})["cpus"]
                assert exits > 0
            assert run.ask({"do": "pause"}) == {}
            assert run.ask({"do": "status"})["state"] == "paused"
            assert run.ask({"do": "exits"}) == run.ask({"do": "exits"})
            assert run.ask({"do": "resume"}) == {}
            assert run.ask({"do": "status"})["state"] == "running"
            stop = [sys.executable, "-m", "vestige.cli.main", "stop", "soft"]
            assert subprocess.run(stop, timeout=PATIENCE, check=False).returncode == 0
        assert process.wait(PATIENCE) == 143
    finally:
        process.kill()
        process.communicate()


def test_of_the_callers_files_a_run_has_what_programs_are_made_of_to_be_read(
    tmp_path: Path,
) -> None:
    (tmp_path / "private").write_text("private")
    trees = trees_apart()
    script = """
        for tree; do
            ls "$tree" > /dev/shm/seen && [ -s /dev/shm/seen ] && echo "seen $tree"
            touch "$tree/written" 2> /dev/null || echo "kept $tree"
        done
        ls -A / /etc
        grep -c "^tree.* 9p ro," /proc/mounts
        grep -c " 9p rw," /proc/mounts
        cat "$PRIVATE" || echo nothing
    """
    with SoftHost(apart=True) as host:
        done = host.capture(
            ["sh", "-c", script, "sh", *trees],
            timeout=PATIENCE,
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "PRIVATE": str(tmp_path / "private")},
        )
    lines = done.stdout.decode().splitlines()
    said = [f"{word} {tree}" for tree in trees for word in ("seen", "kept")]
    assert lines[: len(said)] == said, done.stderr
    assert lines[-3:] == [str(len(trees)), "0", "nothing"], done.stderr
    listed = set(lines[len(said) : -3]) - {""}
    firsts = {tree.split("/")[1] for tree in trees}
    expected = {"/:", "/etc:", "bin", "dev", "etc", "group", "lib", "lib32", "lib64"}
    expected |= {"libx32", "passwd", "proc", "resolv.conf", "run", "sbin", "sys", "tmp"}
    assert listed <= expected | firsts
    assert not [tree for tree in trees if Path(tree, "written").exists()]

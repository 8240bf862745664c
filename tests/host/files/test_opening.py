"""All files of a run, opened in one place: whatever kind they are, nothing waits for ever."""

import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.machine import images
from vestige.errors import UsageError
from vestige.host import options
from vestige.host.files.opening import Files, open_files
from vestige.host.files.outputs import open_output
from vestige.host.options import PC, ConsoleOption, DiskOption, PortOption, RunOptions
from vestige.host.resources import Resources
from vestige.signals import Ended, Signals, Watch

KERNEL = bytes(images.bzimage())

Open = Callable[..., Files]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens the files of a run, whose deadline is a second away."""
    kernel = images.write(tmp_path, KERNEL)
    with Signals() as signals, Resources() as resources:

        def run(**options: Any) -> Files:
            asked = RunOptions(**({"kernel": kernel} | options))
            return open_files(asked, resources, Watch(signals, options.get("timeout", 10)))

        yield run


def content(files: Files) -> bytes:
    """Of the kernel."""
    assert files.start is not None
    data = bytearray(files.start.size)
    files.start.read_at(0, memoryview(data))
    return bytes(data)


def fed(path: str, data: bytes) -> threading.Thread:
    """Somebody who opens `path` and writes to it."""

    def feed() -> None:
        with suppress(BrokenPipeError):
            Path(path).write_bytes(data)

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    return thread


def test_a_kernel_may_come_out_of_a_pipe(opened: Open) -> None:
    reader, writer = os.pipe()

    def feed() -> None:
        with os.fdopen(writer, "wb") as file:
            file.write(KERNEL * 100)

    feeder = threading.Thread(target=feed)
    feeder.start()
    assert content(opened(kernel=f"/dev/fd/{reader}")) == KERNEL * 100
    feeder.join()
    os.close(reader)


def test_a_kernel_and_an_initrd_may_come_out_of_fifos(opened: Open, tmp_path: Path) -> None:
    names = [str(tmp_path / name) for name in ("one", "two")]
    for name in names:
        os.mkfifo(name)
    feeders = [fed(names[0], KERNEL), fed(names[1], b"initrd")]
    files = opened(kernel=names[0], initrd=names[1])
    assert content(files) == KERNEL
    assert files.initrd is not None
    assert files.initrd.size == 6
    for feeder in feeders:
        feeder.join()


@pytest.mark.parametrize("what", ["kernel", "initrd"])
def test_a_fifo_that_nobody_feeds_waits_until_the_deadline(
    opened: Open, tmp_path: Path, what: str
) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(Ended) as ended:
        opened(**{what: str(tmp_path / "fifo")}, timeout=0.1)
    assert ended.value.status == 124


def test_a_pipe_without_a_word_is_refused(opened: Open) -> None:
    reader, writer = os.pipe()
    os.close(writer)
    with pytest.raises(UsageError, match=r"nothing came out of this pipe; give an x86 kernel"):
        opened(kernel=f"/dev/fd/{reader}")
    os.close(reader)


def test_a_pipe_with_more_than_the_machines_memory_is_refused(opened: Open, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    fed(str(tmp_path / "fifo"), bytes(65 << 20))
    with pytest.raises(UsageError, match=r"more than the 67108864 bytes of the machine's memory"):
        opened(kernel=str(tmp_path / "fifo"), memory=64 << 20)


@pytest.mark.parametrize(
    "options",
    [
        lambda path: {"ports": (PortOption("p", path),)},
        lambda path: {"console": ConsoleOption(path)},
        lambda path: {"stats": path},
    ],
)
def test_output_into_a_fifo_waits_for_who_reads_it_until_the_deadline(
    opened: Open,
    tmp_path: Path,
    options: Callable[[str], dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    with pytest.raises(Ended) as ended:
        opened(**options(path), timeout=0.1)
    assert ended.value.status == 124
    assert capsys.readouterr().err == f"vestige: {path}: waiting for somebody who reads it\n"


def test_output_into_a_fifo_reaches_who_reads_it(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(path.read_bytes()))
    reader.start()
    consoles = opened(ports=(PortOption("p", str(path)),)).consoles
    os.write(consoles.ports[0].output, b"said")
    consoles.close()
    reader.join(10)
    assert received == [b"said"]


def test_what_is_opened_never_waits(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    descriptor = open_output(str(path), None)
    while select.select([], [descriptor], [], 0)[1]:
        os.write(descriptor, bytes(65536))
    with pytest.raises(BlockingIOError):
        os.write(descriptor, bytes(65536))
    os.close(descriptor)
    os.close(reader)


def test_files_that_are_written_are_emptied_at_the_guests_start_and_not_before(
    opened: Open, tmp_path: Path
) -> None:
    names = ("console", "port", "stats")
    for name in names:
        (tmp_path / name).write_text("precious")
    options = {
        "console": ConsoleOption(str(tmp_path / "console")),
        "ports": (PortOption("p", str(tmp_path / "port")),),
        "stats": str(tmp_path / "stats"),
    }
    with pytest.raises(UsageError, match="no such disk image"):
        opened(**options, disks=(DiskOption(str(tmp_path / "none")),))
    files = opened(**options)
    assert {(tmp_path / name).read_text() for name in names} == {"precious"}
    files.begin()
    assert {(tmp_path / name).read_text() for name in names} == {""}


def written(tmp_path: Path) -> dict[str, Any]:
    """Options of a run that writes all files that there can be."""
    template = tmp_path / "OVMF_VARS.fd"
    template.write_bytes((bytes(0x20) + (4096).to_bytes(8, "little") + b"_FVH").ljust(4096))
    (tmp_path / "OVMF_CODE.fd").write_bytes(KERNEL)
    (tmp_path / "disk").write_bytes(bytes(512))
    return {
        "kernel": None,
        "machine": PC,
        "vga": "none",
        "firmware": str(tmp_path / "OVMF_CODE.fd"),
        "disks": (DiskOption(str(tmp_path / "disk")),),
        "console": ConsoleOption(str(tmp_path / "console")),
        "ports": (PortOption("p", str(tmp_path / "port")),),
        "stats": str(tmp_path / "stats"),
        "variables": str(tmp_path / "variables"),
    }


def test_a_run_that_is_refused_leaves_no_file_behind(tmp_path: Path) -> None:
    options = written(tmp_path)
    before = sorted(tmp_path.iterdir())
    with Signals() as signals, Resources() as resources:
        open_files(RunOptions(**options), resources, Watch(signals))
    assert sorted(tmp_path.iterdir()) == before
    with Signals() as signals, Resources() as resources:
        open_files(RunOptions(**options), resources, Watch(signals)).begin()
    made = {"console", "port", "stats", "variables"}
    assert {each.name for each in set(tmp_path.iterdir()) - set(before)} == made


def test_nor_does_one_whose_kernel_its_machine_refuses(tmp_path: Path) -> None:
    (tmp_path / "kernel").write_bytes(bytes(1024))
    (tmp_path / "stats").write_text("precious")
    before = sorted(tmp_path.iterdir())
    command = (sys.executable, "-m", "vestige.cli.main", "run", "--accel", "kvm")
    words = ("--kernel", "kernel", "--console", "console", "--port", "p=port", "--stats", "stats")
    done = subprocess.run(
        [*command, *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "stats").read_text() == "precious"


def test_where_a_file_can_not_be_made_none_is_emptied(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "console").write_text("precious")
    (tmp_path / "stats").write_text("precious")
    files = opened(**written(tmp_path))
    (tmp_path / "port").write_text("precious")
    with pytest.raises(UsageError, match="/port: somebody has made this file since the run"):
        files.begin()
    texts = [(tmp_path / name).read_text() for name in ("console", "port", "stats")]
    assert texts == ["precious"] * 3


def test_a_vga_s_bios_is_opened_or_its_package_named(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "file"
    image.write_bytes(bytes(512))
    words = {"machine": PC, "firmware": str(image), "disks": (DiskOption(str(image), "ide", True),)}
    monkeypatch.setattr(options, "VGA_BIOS", str(tmp_path / "none"))
    with pytest.raises(UsageError, match=r"none: no such file .* install seabios\), or --vga none"):
        opened(kernel=None, **words)
    assert opened(machine=PC).vga_bios is None  # a kernel starts without it
    monkeypatch.setattr(options, "VGA_BIOS", str(image))
    bios = opened(kernel=None, **words).vga_bios
    assert bios is not None
    assert bios.size == 512
    assert opened(kernel=None, vga="none", **words).vga_bios is None
    assert opened(machine=PC).vga_bios is not None
    assert opened().vga_bios is None

"""Whole runs of disks with overlays: little kernels, the real monitor, the machine's own KVM."""

import contextlib
import ctypes
import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.host import layers
from tests.host.harness import why_not
from tests.host.kernel_payload import FEW_SECTORS, FLUSHED_SECTORS, QUEUES, Kernels
from tests.host.processes import killed_behind
from vestige.host import images

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

COMMAND = [sys.executable, "-m", "vestige.cli.main", "run", "--accel", "kvm"]
PATIENCE = 30
SIZE = 1 << 20
OLD = b"as before" * (SIZE // 9) + b"." * (SIZE % 9)


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    images.ensure()
    return Kernels(tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.img"
    path.write_bytes(OLD + bytes(SIZE))
    path.chmod(0o444)
    return path


def run(*words: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [*COMMAND, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )


def numbers(disk: bytes, count: int, start: int = 0) -> list[int]:
    """What the first words of its sectors are."""
    sectors = range(start, start + count)
    return [int.from_bytes(disk[512 * n : 512 * n + 8], "little") for n in sectors]


@pytest.mark.parametrize("stops", [1, 200])
@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        ("flush", ("bus=ide",)),
        ("virtio_flush", ("bus=virtio",)),
        ("virtio_flush", ("bus=virtio", "poll")),
    ],
)
def test_a_killed_runs_overlay_holds_all_that_the_guest_flushed(
    kernels: Kernels, base: Path, stops: int, kernel: str, words: tuple[str, ...]
) -> None:
    """And the next run writes over it."""
    overlay = base.parent / "overlay"
    disk = f"{base},overlay={overlay},{words[0]}"
    ring = ("--ring", *words[1:]) if words[1:] else ()
    command = [*COMMAND, "--kernel", kernels(kernel), "--disk", disk, *ring]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        flushed = killed_behind(process, stops)
    assert set(flushed) == {ord(".")}
    held = layers.content(base, overlay)
    assert numbers(held, len(flushed)) == [n + 1 for n in range(len(flushed))]
    behind = 512 * FLUSHED_SECTORS  # the guest goes on until its own process ends
    assert held[behind:] == base.read_bytes()[behind:]
    done = run("--kernel", kernels("virtio_few"), "--disk", f"{base},overlay={overlay}")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"." * FEW_SECTORS, b"")
    again = layers.content(base, overlay)
    most = max(FEW_SECTORS, len(flushed))
    assert numbers(again, most) == [n + 1 for n in range(most)]
    assert again[behind:] == held[behind:]
    assert base.read_bytes() == OLD + bytes(SIZE)


@pytest.mark.parametrize("ring", ["kick", "poll"])
def test_disks_over_one_base_keep_apart_what_is_written(
    kernels: Kernels, base: Path, ring: str
) -> None:
    """By several queues and workers, which set bits of the same words."""
    overlays = [base.parent / f"overlay-{number}" for number in range(3)]
    disks = [word for each in overlays for word in ("--disk", f"{base},overlay={each}")]
    options = ("--cpus", "16", "--ring", ring)
    done = run("--kernel", kernels("virtio_queues"), *disks, *options)
    assert (done.returncode, done.stdout) == (0, b"." * FEW_SECTORS), done
    count = QUEUES * FEW_SECTORS
    for number, each in enumerate(overlays):
        held = layers.content(base, each)
        assert numbers(held, count) == [n + 1 | number << 32 for n in range(count)]
        assert held[512 * count :] == base.read_bytes()[512 * count :]
        _, bits, _ = layers.parts(each)
        assert sum(byte.bit_count() for byte in bits) == count
    assert base.read_bytes() == OLD + bytes(SIZE)


def test_of_an_overlay_no_page_is_in_memory_but_what_was_written(
    kernels: Kernels, base: Path
) -> None:
    """And the header, and a page of the map: what is around them was not read."""
    overlay = base.parent / "overlay"
    done = run("--kernel", kernels("virtio_few"), "--disk", f"{base},overlay={overlay}")
    assert done.returncode == 0
    assert 2 < in_memory(overlay) <= 2 + -(-FEW_SECTORS * 512 // mmap.PAGESIZE)


def in_memory(path: Path) -> int:
    """How many pages of a file are in the page cache: mincore(2)."""
    with (
        path.open("r+b") as file,
        contextlib.closing(mmap.mmap(file.fileno(), 0)) as mapping,
    ):
        count = -(-len(mapping) // mmap.PAGESIZE)
        pages = ctypes.create_string_buffer(count)
        start = ctypes.c_char.from_buffer(mapping)
        address = ctypes.c_void_p(ctypes.addressof(start))
        library = ctypes.CDLL(None, use_errno=True)
        answer = library.mincore(address, ctypes.c_size_t(len(mapping)), pages)
        del start
        assert answer == 0, os.strerror(ctypes.get_errno())
        return sum(page & 1 for page in pages.raw)


def test_a_temporary_overlay_leaves_nothing(
    kernels: Kernels, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = base.parent / "folder"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    words = ("--kernel", kernels("virtio_few"), "--disk", f"{base},overlay=temporary")
    for _ in range(2):
        done = run(*words)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"." * FEW_SECTORS, b"")
    assert list(folder.iterdir()) == []
    assert base.read_bytes() == OLD + bytes(SIZE)


def test_sectors_that_are_discarded_hide_the_base(kernels: Kernels, base: Path) -> None:
    overlay = base.parent / "overlay"
    disk = f"{base},overlay={overlay},discard=unmap"
    done = run("--kernel", kernels("virtio_discards"), "--disk", disk)
    if b"makes no holes" in done.stderr:
        pytest.skip(done.stderr.decode())
    assert (done.returncode, done.stdout, done.stderr) == (0, b"./", b"")
    content = bytearray(base.read_bytes())
    content[4096:8192] = bytes(4096)
    assert layers.content(base, overlay) == content


def test_an_overlay_outlives_a_guest_that_resets(kernels: Kernels, base: Path) -> None:
    overlay = base.parent / "overlay"
    disk = f"{base},overlay={overlay}"
    words = ("--kernel", kernels("resets_for_ever"), "--on-reboot", "restart", "--timeout", "3")
    done = run(*words, "--disk", disk)
    assert done.returncode == 124
    assert done.stdout.count(b"r") > 2


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("{base},readonly,overlay=x", "a disk that is only read has no overlay; leave overlay=x"),
        ("vfio:01:00.0,overlay=x", "a controller's disk has no overlay; leave overlay=x out"),
        ("{base},overlay=", "overlay=: no file; give overlay=FILE once"),
        ("{base},overlay=x,overlay=y", "overlay=y: two of them; give overlay=FILE once"),
        ("{base},overlay={base}", "; give another file"),
    ],
)
def test_overlays_that_can_not_be_are_refused_in_a_line(
    kernels: Kernels, base: Path, words: str, line: str
) -> None:
    done = run("--kernel", kernels("hello"), "--disk", words.format(base=base))
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert line in done.stderr.decode()


def test_one_overlay_of_two_disks_is_refused(kernels: Kernels, base: Path) -> None:
    disks = ("--disk", f"{base},overlay=x", "--disk", f"{base},overlay=./x")
    done = run("--kernel", kernels("hello"), *disks)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert b"overlay=./x: given twice" in done.stderr
    assert not Path("x").exists()


def test_a_refused_run_leaves_no_overlay(kernels: Kernels, base: Path) -> None:
    overlay = base.parent / "overlay"
    disks = ("--disk", f"{base},overlay={overlay}", "--disk", str(base.parent / "none"))
    assert run("--kernel", kernels("hello"), *disks).returncode == 2
    assert not overlay.exists()


def test_an_overlay_that_somebody_cuts_off_is_told_of(kernels: Kernels, base: Path) -> None:
    overlay = base.parent / "overlay"
    words = ["--kernel", kernels("virtio_flush"), "--disk", f"{base},overlay={overlay}"]
    with subprocess.Popen([*COMMAND, *words], stdout=-1, stderr=-1) as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"."
        os.truncate(overlay, 8192)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    told = f"vestige: --disk {base}: overlay={overlay}: somebody has cut off this file while"
    assert told in errors.decode()

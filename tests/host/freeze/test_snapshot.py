"""What a snapshot has to be to be thawed, and the words in it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vestige import __version__
from vestige.cli.run import SYNTAX, options_of
from vestige.errors import UsageError
from vestige.host.backends.disks import open_disk
from vestige.host.freeze.layout import difference, layout
from vestige.host.freeze.marks import check_disks, check_files, mark_of
from vestige.host.freeze.parts import IDENTITY_SIZE, NAMES, Part, sign, sizes
from vestige.host.freeze.snapshot import FORMAT, MANIFEST, open_snapshot
from vestige.host.freeze.words import words_of
from vestige.host.options import TEMPORARY, DiskOption

MEMORY, CPUS = 64 << 20, 1
TOLD: dict[str, Any] = {
    "format": FORMAT,
    "vestige": __version__,
    "memory": MEMORY,
    "cpus": CPUS,
    "domains": 1,
    "identity": bytes(IDENTITY_SIZE).hex(),
    "monitor": "0" * 64,
    "words": ["--kernel=/boot/vmlinuz", "--memory=64M"],
    "parts": ["state", "ram", "private"],
    "disks": [],
    "layout": {},
}
Change = Callable[[Path], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A snapshot, as far as opening one looks."""
    path = tmp_path / "snapshot"
    path.mkdir(mode=0o700)
    for part, size in sizes(MEMORY, CPUS).items():
        with (path / NAMES[part]).open("wb") as file:
            file.truncate(size)
            sign(file.fileno(), bytes(IDENTITY_SIZE))
    (path / MANIFEST).write_text(json.dumps(TOLD))
    return path


def test_a_file_of_another_freeze_is_told(folder: Path) -> None:
    other = bytes(IDENTITY_SIZE - 1) + b"x"
    for part, size in sizes(MEMORY, CPUS).items():
        place = folder / NAMES[part]
        shutil.copyfile(place, folder / "mine")
        with place.open("r+b") as file:
            file.truncate(size)
            sign(file.fileno(), other)
        line = f"^{place}: not of the freeze that manifest.json beside it is of"
        with pytest.raises(UsageError, match=line):
            open_snapshot(str(folder))
        (folder / "mine").rename(place)
    open_snapshot(str(folder)).close()
    told(identity=other.hex())(folder)
    with pytest.raises(UsageError, match="state: not of the freeze"):
        open_snapshot(str(folder))


def test_a_copy_of_an_overlay_of_another_freeze_is_told(folder: Path) -> None:
    told(disks=[{"copied": True}])(folder)
    overlay = folder / "overlay-0"
    for data in (b"", b"x", bytes(8192)):
        overlay.write_bytes(data)
        with pytest.raises(UsageError, match="overlay-0: not of the freeze"):
            open_snapshot(str(folder))
    with overlay.open("r+b") as file:
        sign(file.fileno(), bytes(IDENTITY_SIZE))
    open_snapshot(str(folder)).close()


def told(**changes: object) -> Change:
    return lambda path: (path / MANIFEST).write_text(json.dumps(TOLD | changes))


def test_a_whole_one_opens(folder: Path) -> None:
    snapshot = open_snapshot(str(folder))
    assert list(snapshot.parts) == [Part.STATE, Part.RAM, Part.PRIVATE]
    snapshot.close()


def linked(path: Path) -> None:
    """Have the state be elsewhere."""
    (path / "state").rename(path / "x")
    (path / "state").symlink_to("x")


BAD: list[tuple[Change, str]] = [
    (told(format=FORMAT + 1, vestige="9.0"), r"knows 2; thaw it by Vestige 9\.0$"),
    (told(format="1"), "not a manifest"),
    (told(identity=1), "not a manifest"),
    (told(identity="00"), "not a manifest"),
    (told(identity="x" * 32), "not a manifest"),
    (told(memory=0), "not a manifest"),
    (told(memory=True), "not a manifest"),
    (told(memory=1 << 60), "not a manifest"),
    (told(memory=MEMORY + 1), "not a manifest"),
    (told(cpus=-1), "not a manifest"),
    (told(cpus=1.0), "not a manifest"),
    (told(domains=1000), "not a manifest"),
    (told(words="--kernel"), "not a manifest"),
    (told(words=[1]), "not a manifest"),
    (told(disks={}), "not a manifest"),
    (told(layout={"a": 1}), "not a manifest"),
    (told(parts=None), "not a manifest"),
    (told(renewing="ab"), "not a manifest"),
    (told(renewing={"given": 1000}), "not a manifest"),
    (told(renewing={"given": 1000, "told": "1001", "process": 7}), "not a manifest"),
    (told(renewing={"given": 1000, "told": 1001, "process": -1}), "not a manifest"),
    (told(cpus=2), r"state: \d+ bytes, and \d+ were frozen"),
    (told(memory=2 * MEMORY), r"ram: \d+ bytes, and \d+ were frozen"),
    (told(parts=["flash"]), "No such file or directory; give the folder that"),
    (lambda path: (path / MANIFEST).write_text("{"), "not a manifest"),
    (lambda path: (path / MANIFEST).write_text("[" * 100_000), "not a manifest"),
    (lambda path: (path / MANIFEST).write_bytes(b"\xff"), "not a manifest"),
    (lambda path: (path / MANIFEST).unlink(), "No such file or directory; give the folder"),
    (lambda path: (path / "ram").write_bytes(b"x"), r"ram: 1 bytes, and 67108896 were frozen"),
    (lambda path: (path / "ram").chmod(0o666), "others may write there"),
    (lambda path: path.chmod(0o777), "others may write there"),
    (lambda path: os.link(path / "ram", path.parent / "other"), "has another name"),
    (linked, "a symbolic link"),
]


@pytest.mark.parametrize(("change", "line"), BAD)
def test_one_that_is_damaged_or_somebody_else_s_is_refused(
    folder: Path, change: Change, line: str
) -> None:
    change(folder)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(UsageError, match=line) as raised:
        open_snapshot(str(folder))
    assert "\n" not in str(raised.value)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_place_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for name in ("nowhere", "file"):
        with pytest.raises(UsageError, match=rf"{name}: .*; give the folder that `vestige freeze"):
            open_snapshot(str(tmp_path / name))


def test_a_disk_that_was_changed_since_is_refused(folder: Path, tmp_path: Path) -> None:
    image = tmp_path / "disk"
    image.write_bytes(bytes(4096))
    disk = open_disk(DiskOption(str(image)))
    try:
        told(disks=[mark_of(disk)])(folder)
        snapshot = open_snapshot(str(folder))
        check_disks(snapshot, {0: disk}, {})
        with pytest.raises(UsageError, match="it has 1 disks, and its words have 0"):
            check_disks(snapshot, {}, {})
        os.utime(image, ns=(1, 1))
        changed = "/disk: not as it was when .* last change was on 20.* then, and is on 19.* now"
        with pytest.raises(UsageError, match=changed):
            check_disks(snapshot, {0: disk}, {})
        os.truncate(image, 8192)
        longer = "^--disk x: not as it was when .*: it has 8192 bytes, and had 4096; .*cp -p"
        with pytest.raises(UsageError, match=longer):
            check_disks(snapshot, {0: disk}, {0: "--disk x"})
        snapshot.close()
    finally:
        disk.close()


@pytest.mark.parametrize("overlay", [None, TEMPORARY, "FILE"])
def test_what_a_thaw_tells_of_a_disk_is_not_what_a_run_does(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overlay: str | None
) -> None:
    """As a new disk can't serve, nor a new overlay."""
    image, file = tmp_path / "disk", tmp_path / "overlay"
    image.write_bytes(bytes(4096))
    option = DiskOption(str(image), overlay=str(file) if overlay == "FILE" else overlay)
    disk = open_disk(option)
    if disk.overlay is not None:
        disk.overlay.begin()
    told(disks=[{**mark_of(disk), "copied": False}])(folder)
    disk.close()
    snapshot = open_snapshot(str(folder))

    def refused(start: str, names: dict[int, str] | None = None) -> None:
        there = set(tmp_path.iterdir())
        with pytest.raises(UsageError, match=f"^{start}") as raised:
            check_files(snapshot, [option], names or {})
        assert "cp -p" in str(raised.value)
        assert set(tmp_path.iterdir()) == there

    check_files(snapshot, [option], {})
    if overlay == "FILE":
        file.rename(tmp_path / "moved")
        refused(f"{image}: overlay={file}: no such file, and the guest of {folder} goes on with")
        (tmp_path / "moved").rename(file)
    with monkeypatch.context() as readable:
        readable.setattr(os, "access", lambda *_: False)  # as root, who may all
        if overlay == TEMPORARY:
            check_files(snapshot, [option], {})
        else:
            refused(f"{image}: .*may not be written")
    changed = image.stat().st_mtime_ns
    os.utime(image, ns=(1, 1))
    refused(f"{image}: not as it was when {folder} was frozen: its last change was on 20")
    os.truncate(image, 0)
    os.utime(image, ns=(changed, changed))
    refused("--disk x: not as it was .* it has 0 bytes, and had 4096", {0: "--disk x"})
    image.unlink()
    refused(f"{image}: no such file")
    image.mkdir()
    check_files(snapshot, [option], {})  # who opens it says so
    snapshot.close()


def test_the_first_struct_that_is_laid_out_otherwise_is_named() -> None:
    here = layout()
    assert difference(here) == "the same state, but other code"
    name = "monitor.devices.uart16550.model.Uart"
    assert name in here
    assert difference(here | {name: "0"}) == (
        f"its {name} is laid out in another way, or is not there any more"
    )
    without = {key: value for key, value in here.items() if key != name}
    assert difference(without) == f"there was no {name}"
    assert "is not there any more" in difference(here | {"monitor.Gone": "0"})


RUNS = [
    ["--kernel", "vmlinuz"],
    ["--kernel", "k", "--memory", "96M", "--cpus", "4", "--rng", "--tablet", "--hpet"],
    ["--kernel", "k", "--disk", "a,,b,readonly", "--disk", "c,bus=ide,discard=unmap,format=raw"],
    ["--kernel", "k", "--disk", "a,overlay=temporary", "--disk", "b,overlay=o,,p"],
    ["--kernel", "k", "--console", "virtio,early:unix:/x", "--port", "one=unix:/y", "--agent"],
    ["--kernel", "k", "--net", "user", "--ide", "memory", "--cdrom", "none"],
    ["--machine", "pc", "--disk", "a", "--floppy", "f,readonly", "--floppy", "none"],
    ["--machine", "pc", "--kernel", "k", "--vga", "none", "--cdrom", "d,format=raw"],
    ["--machine", "pc", "--firmware", "uefi", "--disk", "a"],
]


@pytest.mark.parametrize("words", RUNS)
def test_the_words_ask_for_the_same_machine_from_anywhere(words: list[str]) -> None:
    asked = options_of(SYNTAX.read(words))
    again = words_of(asked)
    thawed = options_of(SYNTAX.read(again))
    assert words_of(thawed) == again
    for name in ("memory", "cpus", "machine", "entropy", "tablet", "devices", "ide", "net", "vga"):
        assert getattr(thawed, name) == getattr(asked, name)
    assert (thawed.agent, thawed.by_firmware) == (asked.agent, asked.by_firmware)
    assert thawed.console.device == asked.console.device
    assert [port.name for port in thawed.ports] == [port.name for port in asked.ports]
    for one, other in zip(thawed.disks, asked.disks, strict=True):
        assert one.path == (str(Path.cwd() / other.path) if other.path else "")
        for name in ("bus", "discard", "raw", "is_optical", "read_only"):
            assert getattr(one, name) == getattr(other, name)
        assert (one.overlay is None) == (other.overlay is None)

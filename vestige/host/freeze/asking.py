"""What whoever asks for a freeze does: make the folder, have the run fill it, make it whole.

A folder is filled beside its place and under another name; the manifest is written last, all is
synchronised, and then it gets its name: so there is the old snapshot, or the new one, or none.
"""

import contextlib
import ctypes
import errno
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vestige.bounds import MAX_DISKS
from vestige.errors import GuestError, UsageError
from vestige.host import images, limits
from vestige.host.control.client import Run, SlowError
from vestige.host.control.commands import FREEZE
from vestige.host.freeze.parts import IDENTITY_SIZE, NAMES, sign
from vestige.host.freeze.snapshot import MANIFEST, overlay_name
from vestige.host.kvm.monitor_code import MonitorCode
from vestige.lang.intrinsics import syscall

SYS_RENAMEAT2 = 316
AT_WORKING_DIRECTORY = (1 << 64) - 100
EXCHANGE = 1 << 1
LONGEST = 200  # characters of a folder's name that are in its other name
LOOK = 0.5  # seconds from one look at how far it is to the next
PATIENCE = 60.0  # seconds without anything written, until it is given up
OURS = {MANIFEST, *NAMES.values(), *map(overlay_name, range(MAX_DISKS))}

Told = Callable[[int], object]


def freeze(
    run: Run,
    path: str,
    *,
    stays: bool = False,
    told: Told = lambda _: None,
    more: Mapping[str, Any] | None = None,
) -> Mapping[str, Any]:
    """Freeze the guest of a run into the folder `path`, which is made, or replaced as a whole.

    `stays`: it is paused behind it, as long as `run` is connected; else it goes on. `told` hears
    now and then how many bytes are written. `more`: what the manifest is to say besides. What it
    says. Raises UsageError for a place that can't be, GuestError where it can't be frozen now;
    there is nothing new then, and the guest goes on once `run` is closed.
    """
    place = _place(path)
    part = place.parent / f".{place.name[:LONGEST]}.{os.urandom(8).hex()}.part"
    try:
        part.mkdir(mode=0o700)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; give a place for a new folder") from None
    try:
        manifest = _ask(run, part, stays=stays, told=told)
        manifest = {**manifest, **(more or {})}
        _complete(part, place, manifest)
    except OSError as error:
        words = limits.with_cure(f"{path}: {error.strerror}", error.errno or 0)
        raise UsageError(words) from None
    except (GuestError, UsageError) as error:
        raise type(error)(str(error).replace(str(part), path)) from None
    finally:
        _remove(part)
    return manifest


def _place(path: str) -> Path:
    """Where that is. Raises UsageError for what is there and is no snapshot."""
    try:
        place = Path(os.path.realpath(path))
        is_here = place.exists() and place.samefile(".")  # which may have no name any more
        if not path or is_here or place == Path("/"):
            raise UsageError(f"{path!r}: no place for a snapshot, which is a folder of its own")
        if os.path.ismount(place):
            raise UsageError(f"{path}: a file system of its own; give a folder in it")
        if place.is_dir():
            if any(place.iterdir()) and not _is_snapshot(place):
                raise UsageError(
                    f"{path}: a folder that holds something else; give one that is not there, or a"
                    " snapshot to be replaced"
                )
        elif place.exists():
            raise UsageError(f"{path}: not a folder; give one that is not there")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{path!r}: {reason}; give a place for a new folder") from None
    return place


def _is_snapshot(place: Path) -> bool:
    """Whether a folder has nothing but files that a snapshot may have, and a manifest."""
    there = list(place.iterdir())
    if not all(each.name in OURS and each.is_file() and not each.is_symlink() for each in there):
        return False
    try:
        told = json.loads((place / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and {"format", "vestige", "monitor"} <= told.keys()


def _remove(part: Path) -> None:
    """Have a folder go, and a snapshot's files in it. Raises GuestError where there are others."""
    for name in OURS:
        with contextlib.suppress(OSError):
            (part / name).unlink()
    try:
        part.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        raise GuestError(
            f"{part}: what was put into the snapshot meanwhile is there now ({error.strerror})"
        ) from None


def _ask(run: Run, part: Path, *, stays: bool, told: Told) -> Mapping[str, Any]:
    """Have the run fill the folder; what it tells of itself."""
    run.send({"do": FREEZE, "folder": str(part), "stays": stays})
    written, since = -1, time.monotonic()
    while True:
        try:
            answer = run.wait(LOOK)
        except SlowError:
            now = sum(_size(part / name) for name in NAMES.values())
            if now != written:
                written, since = now, time.monotonic()
            told(written)
            if time.monotonic() - since > PATIENCE:
                raise SlowError(
                    f"{run.name}: nothing came for {PATIENCE:.0f} s; is its process stopped?"
                ) from None
            continue
        if not isinstance(answer, dict):
            raise GuestError(f"{run.name}: an answer that is none of a run's")
        return answer


def _size(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0


def _complete(part: Path, place: Path, manifest: Mapping[str, Any]) -> None:
    """Sign all, write the manifest, synchronise them, and give it its name. Raises OSError."""
    for disk in manifest.get("disks", ()):
        for path in (disk.get("path"), disk.get("overlay_path")):
            if isinstance(path, str):
                with contextlib.suppress(OSError):  # it has gone, as a temporary one's name has
                    _synchronise(path)
    identity = os.urandom(IDENTITY_SIZE)
    for each in part.iterdir():
        with each.open("r+b") as file:
            sign(file.fileno(), identity)
    more = {"identity": identity.hex(), "layout": _layout(manifest)}
    text = json.dumps({**manifest, **more}, indent=1)
    (part / MANIFEST).write_text(text + "\n", "utf-8")
    for each in part.iterdir():
        _synchronise(str(each))
    _synchronise(str(part))
    try:
        part.rename(place)  # over an empty folder, too
    except OSError:
        _exchange(part, place)
    _synchronise(str(place.parent))


def _synchronise(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange(part: Path, place: Path) -> None:
    """Have both change their names, at once where the file system does that. Raises OSError."""
    names = [os.fsencode(each) + b"\0" for each in (part, place)]
    buffers = [ctypes.create_string_buffer(name) for name in names]
    first, second = map(ctypes.addressof, buffers)
    here = AT_WORKING_DIRECTORY
    answer = syscall(SYS_RENAMEAT2, here, first, here, second, EXCHANGE, 0)
    if answer in (-errno.EINVAL, -errno.ENOSYS):
        aside = part.with_suffix(".old")
        place.rename(aside)
        try:
            part.rename(place)
        except OSError:
            aside.rename(place)
            raise
        aside.rename(part)
    elif answer < 0:
        raise OSError(-answer, os.strerror(-answer))


def _layout(manifest: Mapping[str, Any]) -> Mapping[str, str]:
    """How the machine's state is laid out, if this is the Vestige that runs it."""
    if manifest.get("monitor") != MonitorCode(images.monitor_image()).key:
        return {}
    from vestige.host.freeze.layout import layout  # noqa: PLC0415 - slow to import

    return layout()

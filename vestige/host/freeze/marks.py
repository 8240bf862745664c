"""How the files of a guest's disks were when it was frozen: what it keeps in memory is of that."""

import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any

from vestige.errors import UsageError
from vestige.host.backends.disks import DiskImage
from vestige.host.files import dates
from vestige.host.freeze.snapshot import Snapshot
from vestige.host.options import EMPTY, TEMPORARY, DiskOption

COPY = "a copy that was made then and has its date (cp -p)"


def mark_of(disk: DiskImage) -> "dict[str, Any]":
    """A disk, and how its files are now: what is other once they were changed.

    Of a block device that is its size alone.
    """
    path = os.path.abspath(disk.path) if disk.path else None  # noqa: PTH100
    mark: dict[str, Any] = {"path": path, "image": _mark(disk.claim)}
    overlay = disk.overlay
    is_copied = overlay is not None and overlay.is_temporary
    if overlay is not None and not is_copied:
        mark["overlay_path"] = os.path.abspath(overlay.path)  # noqa: PTH100
        mark["overlay"] = _mark(overlay.claim)
    mark["copied"] = is_copied
    mark["written"] = disk.written is not None and not is_copied
    return mark


def _mark(descriptor: int) -> "dict[str, int]":
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return {"size": os.lseek(descriptor, 0, os.SEEK_END)}
    return {"size": status.st_size, "changed": status.st_mtime_ns}


def check_files(snapshot: Snapshot, disks: Sequence[DiskOption], names: Mapping[int, str]) -> None:
    """Raise UsageError where the files of one are not as they were, or not there.

    Before they are opened: what is told then is told of a guest that starts, which may have another
    disk, or a new one. `names`: as of check_disks. What can't be looked at is left to who opens it.
    """
    for number, (disk, before) in enumerate(zip(disks, snapshot.disks, strict=False)):
        what = names.get(number, disk.path)
        is_written = not disk.read_only and disk.overlay is None
        _check_file(snapshot, what, disk.path, before.get("image"), is_written=is_written)
        if disk.overlay is not None and disk.overlay != TEMPORARY:
            words = f"{what}: overlay={disk.overlay}"
            _check_file(snapshot, words, disk.overlay, before.get("overlay"), is_written=True)


def _check_file(
    snapshot: Snapshot, what: str, path: str, before: object, *, is_written: bool
) -> None:
    """`path`: may be empty, of a drive that is; `is_written`: by the guest, which does not become
    one that only reads.
    """
    try:
        status = os.stat(path) if path else None  # noqa: PTH116
        if status is not None and is_written and not os.access(path, os.R_OK | os.W_OK):
            raise UsageError(
                f"{what}: may not be written, and the guest of {snapshot.path} writes it; have it"
                f" be yours to write, or give {COPY}"
            )
        now = None if status is None else _mark_at(path, status.st_mode)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            f"{what}: no such file, and the guest of {snapshot.path} goes on with what was in it;"
            f" give the one that it was frozen with, or {COPY}"
        ) from None
    except (OSError, ValueError):
        return
    if now is not None and now != before:
        raise _changed(snapshot, what, before, now)


def _mark_at(path: str, mode: int) -> "dict[str, int] | None":
    """None: by its `mode` it is neither a file nor a block device. Raises OSError."""
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return _mark(descriptor)
    finally:
        os.close(descriptor)


def check_disks(
    snapshot: Snapshot, disks: Mapping[int, DiskImage], names: Mapping[int, str]
) -> None:
    """Raise UsageError where one is not as it was: what the guest keeps in memory is of that.

    `names`: what a disk is called, by its number, where it is not by its path.
    """
    if len(disks) != len(snapshot.disks):
        raise UsageError(
            f"{snapshot.path}: its manifest is damaged: it has {len(snapshot.disks)} disks, and its"
            f" words have {len(disks)}"
        )
    for (number, disk), before in zip(disks.items(), snapshot.disks, strict=True):
        now = mark_of(disk)
        for part in ("image", "overlay"):
            if now.get(part) != before.get(part):
                what = names.get(number, disk.path or f"--cdrom {EMPTY}")
                if part == "overlay" and disk.overlay is not None:
                    what += f": overlay={disk.overlay.path}"
                raise _changed(snapshot, what, before.get(part), now.get(part))


def _changed(snapshot: Snapshot, what: str, before: object, now: object) -> UsageError:
    return UsageError(
        f"{what}: not as it was when {snapshot.path} was frozen: {_difference(before, now)}; what"
        f" its guest has in memory is of what it was: give {COPY}, or freeze once more"
    )


def _difference(before: object, now: object) -> str:
    """Of two marks, in words."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        return "it has a mark of another kind"
    if before.get("size") != now.get("size"):
        return f"it has {now.get('size')} bytes, and had {str(before.get('size'))[:20]}"
    then, since = before.get("changed"), now.get("changed")
    if isinstance(then, int) and isinstance(since, int):
        return (
            f"its last change was {dates.in_words(then)} then, and is {dates.in_words(since)} now"
        )
    return "one of both is a block device"

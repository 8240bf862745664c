"""What a run tells of itself for a manifest: snapshot.py says what becomes of it."""

import os
import time
from _collections_abc import Mapping

from vestige import __version__, abi
from vestige.host.backends.disks import DiskImage
from vestige.host.files import sparse
from vestige.host.freeze.marks import mark_of
from vestige.host.freeze.snapshot import FORMAT, overlay_name
from vestige.host.freeze.words import words_of
from vestige.host.freeze.writing import NEW
from vestige.host.kvm.monitor_code import MonitorCode
from vestige.host.options import IDE, DiskOption, RunOptions
from vestige.lang.types import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


def of_run(
    asked: RunOptions,
    disks: Mapping[int, DiskImage],
    domains: int,
    code: MonitorCode,
    folder: int,
) -> "dict[str, Any]":
    """Of one whose guest has come to rest: its disks are as they are now.

    Of temporary overlays there is a copy in `folder` then. Raises OSError.
    """
    for number, disk in disks.items():
        if disk.overlay is not None and disk.overlay.is_temporary:
            copy = os.open(overlay_name(number), NEW, 0o600, dir_fd=folder)
            try:
                sparse.copy(disk.overlay.claim, copy)
                os.ftruncate(copy, disk.overlay.end * abi.SECTOR)  # it may be of a snapshot itself
            finally:
                os.close(copy)
    return {
        "format": FORMAT,
        "vestige": __version__,
        "frozen": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "memory": asked.memory,
        "cpus": asked.cpus,
        "domains": domains,
        "monitor": code.key,
        "words": words_of(asked, _disc(asked, disks)),
        "disks": [mark_of(disk) for disk in disks.values()],
    }


def _disc(asked: RunOptions, disks: Mapping[int, DiskImage]) -> DiskOption | None:
    """What is in the drive for discs, which `vestige insert` and `eject` change."""
    if asked.drive is None:
        return None
    image = disks[asked.drive]
    return DiskOption(image.path, IDE, read_only=True, raw=image.raw, is_optical=True)

"""What a run tells of itself for a manifest: snapshot.py says what becomes of it."""

import time
from _collections_abc import Mapping

from vestige import __version__
from vestige.host.backends.disks import DiskImage
from vestige.host.freeze.snapshot import FORMAT, key_of, mark_of
from vestige.host.freeze.words import words_of
from vestige.host.kvm.monitor_code import MonitorCode
from vestige.host.options import RunOptions
from vestige.lang.types import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


def of_run(
    asked: RunOptions, disks: Mapping[int, DiskImage], domains: int, code: MonitorCode
) -> "dict[str, Any]":
    """Of one whose guest has come to rest: its disks are as they are now."""
    return {
        "format": FORMAT,
        "vestige": __version__,
        "frozen": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "memory": asked.memory,
        "cpus": asked.cpus,
        "domains": domains,
        "monitor": key_of(code),
        "words": words_of(asked),
        "disks": [mark_of(disk) for disk in disks.values()],
    }

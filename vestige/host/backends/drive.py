"""A run's drive for discs, in the run's own process: which image is in it, and who changes that.

The process opens the image, as its user may, and passes the open file to the machine's process,
which can open nothing. What was in before stays open and locked until the other is in.
"""

import os
from _collections_abc import Callable, Mapping, MutableMapping

from vestige.errors import GuestError, UsageError
from vestige.host.backends.disks import DiskImage, open_disk
from vestige.host.options import IDE, DiskOption
from vestige.lang.types import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

EJECT, INSERT = "eject", "insert"
NO_DRIVE = "no drive for discs; one comes with --cdrom: vestige run --cdrom none"


class Drive:
    """The disk of this `number` among a run's `images`."""

    def __init__(
        self,
        number: int,
        images: MutableMapping[int, DiskImage],
        opened: Callable[[DiskOption], DiskImage] = open_disk,
    ) -> None:
        """`opened` opens what a name stands for."""
        self._number, self._images, self._opened = number, images, opened
        self._next: DiskImage | None = None

    @property
    def path(self) -> str | None:
        """Of the image that is in; None: it is empty."""
        return self._images[self._number].path or None

    def take(self, command: str, request: "Mapping[str, Any]") -> DiskImage:
        """Open what is to be in it. Raises UsageError for what can't, GuestError for not now.

        `settle` is called once the machine has it, or not.
        """
        path, raw = request.get("image"), request.get("raw", False)
        if self._next is not None:
            raise GuestError("the disc is being changed; try again")
        if command == EJECT:
            path = ""
        elif not isinstance(path, str) or not isinstance(raw, bool):
            raise UsageError('a disc is an image\'s path: {"image": "/home/me/debian.iso"}')
        elif not os.path.isabs(path):  # noqa: PTH117 - pathlib is slow to import
            raise UsageError(f"{path!r}: not an absolute path; who asks may be in another folder")
        option = DiskOption(path, IDE, read_only=True, raw=raw is True, is_optical=True)
        self._next = self._opened(option)
        return self._next

    def settle(self, *, is_in: bool) -> None:
        """The machine has what was taken, or has not."""
        image, self._next = self._next, None
        if image is None:
            return
        if is_in:
            image, self._images[self._number] = self._images[self._number], image
        image.close()

    def close(self) -> None:
        """Close what is in, and what is not yet."""
        self.settle(is_in=False)
        self._images[self._number].close()

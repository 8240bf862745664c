"""What a run has open, closed in the end: contextlib's ExitStack without its time to import."""

import os
from _collections_abc import Callable

from vestige.lang.types import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Protocol, Self, TypeVar

    class Closable(Protocol):
        """Whatever can be closed."""

        def close(self) -> object:
            """Give it back."""

    T = TypeVar("T", bound=Closable)


class Resources:
    """A context that closes what it keeps, the last first, also where closing one fails."""

    def __init__(self) -> None:
        self._closers: list[Callable[[], object]] = []

    def keep(self, resource: "T") -> "T":
        """Close `resource` in the end, and answer it."""
        self._closers.append(resource.close)
        return resource

    def keep_file(self, descriptor: int) -> int:
        """The same for a file descriptor."""
        self._closers.append(lambda: os.close(descriptor))
        return descriptor

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close everything; raise what the last of those raised that failed."""
        while self._closers:
            closer = self._closers.pop()
            try:
                closer()
            finally:
                self.close()

"""Limits on the size of files that a test sets, and lifts again."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

from vestige.host.files.size_limit import limit_file_size


@contextmanager
def own_file_size_limit() -> Iterator[None]:
    """At the end the limit on the size of files is as it was."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def limited_file_size(largest: int) -> Iterator[None]:
    """No file of this process's grows beyond `largest` bytes meanwhile."""
    with own_file_size_limit():
        limit_file_size(largest)
        yield

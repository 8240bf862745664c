"""A limit on the size of files while the guest runs: no image grows beyond the largest disk.

The ring's restrictions let writes through whatever their offset, and a write behind an image's end
makes the image longer: a subverted monitor could so fill the host's disk. The kernel applies
RLIMIT_FSIZE to every thread of the process, the ring's own among them, and answers EFBIG.
setrlimit(2). The limit is soft, and ours to lift: the monitor can make no system call.

Where a console is a file, which grows as the guest prints, there is no limit.
"""

import os
import resource
import stat
from _collections_abc import Iterable

# Never smaller, since what this process writes itself counts too: compiled images for the cache,
# and messages, where standard error is a file.
LEAST = 16 << 20  # bytes
STANDARD_ERROR = 2


class FileSizeLimit:
    """Holds from its making to `close`; files that are longer already stay as they are."""

    def __init__(self, largest: int, written: Iterable[int]) -> None:
        """`largest`: bytes of the largest disk; `written`: descriptors of the consoles' outputs."""
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)
        soft, hard = self._before
        wanted = max(largest, LEAST + _length(STANDARD_ERROR))
        if any(map(_is_file, written)) or (soft != resource.RLIM_INFINITY and soft <= wanted):
            return
        resource.setrlimit(resource.RLIMIT_FSIZE, (wanted, hard))

    def close(self) -> None:
        """As it was before."""
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)


def _length(descriptor: int) -> int:
    return os.fstat(descriptor).st_size if _is_file(descriptor) else 0


def _is_file(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)

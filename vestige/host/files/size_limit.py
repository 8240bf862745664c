"""A limit on the size of files while the guest runs: no image grows beyond the largest disk.

The ring's restrictions let writes through whatever their offset, and a write behind an image's end
makes the image longer: a subverted monitor could so fill the host's disk. The kernel applies
RLIMIT_FSIZE to every thread of the process, the ring's own among them, and answers EFBIG.
setrlimit(2). The limit is soft, and ours to lift: the monitor can make no system call.

The consoles' files, which this process writes itself, count too, and grow as the guest prints: the
limit makes way for them, and is never further ahead of the longest of them than it was of all at
first. What a guest may fill by printing it can't fill faster by its images.
"""

import os
import resource
import stat

# Never smaller, since what this process writes itself counts too: compiled images for the cache,
# and messages, where standard error is a file.
LEAST = 16 << 20  # bytes
STANDARD_ERROR = 2


class FileSizeLimit:
    """Holds from its making to `close`; files that are longer already stay as they are."""

    def __init__(self, largest: int) -> None:
        """`largest`: bytes of the largest disk."""
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)
        self._set(max(largest, LEAST + _length(STANDARD_ERROR)))

    def extend(self, descriptor: int) -> bool:
        """Let a file of ours that has reached the limit grow; whether it may."""
        before = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        if before == resource.RLIM_INFINITY:  # it is not this limit that was reached
            return False
        self._set(max(_length(descriptor), os.lseek(descriptor, 0, os.SEEK_CUR)) + LEAST)
        return resource.getrlimit(resource.RLIMIT_FSIZE)[0] > before

    def _set(self, wanted: int) -> None:
        """The limit that is wanted, as far as the user allows as much."""
        soft, hard = self._before
        if soft != resource.RLIM_INFINITY:
            wanted = min(wanted, soft)
        resource.setrlimit(resource.RLIMIT_FSIZE, (wanted, hard))

    def close(self) -> None:
        """As it was before; a second time does nothing."""
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)


def _length(descriptor: int) -> int:
    status = os.fstat(descriptor)
    return status.st_size if stat.S_ISREG(status.st_mode) else 0

"""A limit on the size of files that the machine's process writes: that of the largest disk.

The ring's restrictions let writes through whatever their offset, and a write behind an image's end
makes the image longer: a subverted monitor could so fill the host's disk. The kernel applies
RLIMIT_FSIZE to every thread of the process, the ring's own among them, and answers EFBIG.
setrlimit(2). The files of consoles are another process's, the run's own.
"""

import resource


def limit_file_size(largest: int) -> None:
    """From now on no file of this process's grows beyond `largest` bytes, or what the user allows.

    Files that are longer already stay as they are.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    wanted = largest if soft == resource.RLIM_INFINITY else min(largest, soft)
    resource.setrlimit(resource.RLIMIT_FSIZE, (wanted, hard))

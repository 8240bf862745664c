"""The limit on the size of files, which holds in a process from then on."""

import errno
import os
import resource
from collections.abc import Iterator

import pytest

from tests.host.files.lifted import own_file_size_limit
from vestige.host.files.size_limit import limit_file_size

LARGEST = 8192
HARD = resource.getrlimit(resource.RLIMIT_FSIZE)[1]


@pytest.fixture(autouse=True)
def kept() -> Iterator[None]:
    with own_file_size_limit():
        yield


@pytest.fixture
def file() -> Iterator[int]:
    descriptor = os.memfd_create("file")
    yield descriptor
    os.close(descriptor)


def test_no_file_grows_beyond_the_largest_disk(file: int) -> None:
    limit_file_size(LARGEST)
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == (LARGEST, HARD)
    assert os.pwrite(file, bytes(8192), LARGEST - 4096) == 4096
    for grow in (
        lambda: os.pwrite(file, b"x", LARGEST),
        lambda: os.pwrite(file, b"x", 1 << 40),
        lambda: os.ftruncate(file, LARGEST + 1),
        lambda: os.posix_fallocate(file, LARGEST, 1),
    ):
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            grow()
        assert os.fstat(file).st_size == LARGEST


def test_without_a_disk_no_file_grows_at_all(file: int) -> None:
    limit_file_size(0)
    with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        os.write(file, b"x")
    assert os.fstat(file).st_size == 0


def test_a_file_that_is_longer_stays_as_it_is(file: int) -> None:
    os.pwrite(file, b"x" * 512, 2 * LARGEST - 512)
    limit_file_size(LARGEST)
    assert os.fstat(file).st_size == 2 * LARGEST
    assert os.pread(file, 512, 2 * LARGEST - 512) == b"x" * 512
    assert os.pwrite(file, b"y", 0) == 1


@pytest.mark.parametrize("allowed", [0, 4096, LARGEST])
def test_what_the_user_allows_is_not_exceeded(allowed: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (allowed, HARD))
    limit_file_size(LARGEST)
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == (allowed, HARD)


def test_the_limit_is_never_raised() -> None:
    limit_file_size(LARGEST)
    limit_file_size(2 * LARGEST)
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == (LARGEST, HARD)

"""The limit on the size of files: always there, and making way for what this process writes."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from vestige.host.files.outlet import Outlet
from vestige.host.files.size_limit import LEAST, FileSizeLimit


@pytest.fixture(autouse=True)
def kept() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def now() -> int:
    return resource.getrlimit(resource.RLIMIT_FSIZE)[0]


def test_a_file_of_ours_grows_and_the_limit_stays_close_behind_it(tmp_path: Path) -> None:
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    before = now()
    with closing(FileSizeLimit(4096)) as limit, closing(Outlet(log, limit.extend)) as outlet:
        assert now() == LEAST
        os.truncate(log, LEAST - 10)
        os.lseek(log, 0, os.SEEK_END)
        assert outlet.put(b"x" * 100) == 100
        assert (outlet.failure, now()) == (None, 2 * LEAST)
        somebody_else = ["prlimit", "--fsize=unlimited", "truncate", "-s", str(3 * LEAST)]
        subprocess.run([*somebody_else, str(tmp_path / "log")], check=True)
        os.lseek(log, 0, os.SEEK_END)
        assert outlet.put(b"x" * 100) == 100
        assert (outlet.failure, now()) == (None, 4 * LEAST)
    assert now() == before
    assert not limit.extend(log), "it is no longer what stops a file"
    assert now() == before
    os.close(log)


def test_what_the_user_allows_is_not_exceeded(tmp_path: Path) -> None:
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    allowed = LEAST + 8192
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (allowed, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    )
    with closing(FileSizeLimit(4096)) as limit, closing(Outlet(log, limit.extend)) as outlet:
        os.lseek(log, LEAST, os.SEEK_SET)
        assert outlet.put(b"x" * 8192) == 8192
        assert (outlet.failure, now()) == (None, allowed)
        outlet.put(b"x")
        assert isinstance(outlet.failure, OSError)
        assert "too large" in str(outlet.failure)
    os.close(log)


def test_a_limit_that_is_lower_already_stays() -> None:
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    with closing(FileSizeLimit(1 << 30)):
        assert now() == 4096
    assert now() == 4096

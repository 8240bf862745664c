"""What the tests of whole guests share."""

import shutil
from collections.abc import Iterator

import pytest

from vestige.softhost import SoftHost


@pytest.fixture(scope="package")
def networked() -> Iterator[SoftHost]:
    """A software host with a network, booted once for all guests on one."""
    programs = ("qemu-system-x86_64", "passt", "ip", "iperf3")
    if missing := [name for name in programs if shutil.which(name) is None]:
        pytest.skip(f"needs {', '.join(missing)}")
    with SoftHost(network=True) as host:
        yield host

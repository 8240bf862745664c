"""What every test may ask for."""

import os
import shutil
import signal
from collections.abc import Iterator

import hypothesis
import pytest

from tests import compiling  # noqa: F401 - notes what the sources are, before more of them are imported
from vestige.softhost import SoftHost

# A shared machine may take any time over any example: how long is no business of a test.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")

# A cache whose folders others may write is refused; some users' own umask gives that right.
os.umask(0o022)

# What is started in the background ignores some signals, and so would all that tests start.
for number, handler in (
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGINT, signal.default_int_handler),
):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)


# Fixtures that boot a software host for all that ask for them.
SHARED = ("softhost", "there", "networked")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With xdist, one worker runs all tests that share a software host, or are in a file with one.

    Files are apart: else the other worker would have too little to do.
    """
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "softhost" in fixtures:
            item.add_marker(pytest.mark.softhost)
        shared = [name for name in SHARED if name in fixtures]
        if shared or item.get_closest_marker("softhost") is not None:
            name = shared[0].replace("there", "softhost") if shared else item.path.stem
            item.add_marker(pytest.mark.xdist_group(f"softhost {name}"))


@pytest.fixture(scope="session")
def softhost() -> Iterator[SoftHost]:
    """A software host with a real /dev/kvm, booted once for all its tests."""
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("needs qemu-system-x86_64")
    with SoftHost() as host:
        yield host

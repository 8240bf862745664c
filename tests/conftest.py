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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With xdist, one worker runs all tests of a file that use the software host.

    Each worker boots one: a single one for all would leave the other worker with too little to do.
    """
    for item in items:
        if "softhost" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.softhost)
        if item.get_closest_marker("softhost") is not None:
            item.add_marker(pytest.mark.xdist_group(f"softhost {item.path.stem}"))


@pytest.fixture(scope="session")
def softhost() -> Iterator[SoftHost]:
    """A software host with a real /dev/kvm, booted once for all tests of this worker."""
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("needs qemu-system-x86_64")
    with SoftHost() as host:
        yield host

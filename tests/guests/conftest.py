"""What the tests of whole guests share."""

import shutil
from collections.abc import Iterator

import pytest

from tests.guests import uefi
from vestige.host import images
from vestige.softhost import SoftHost
from vestige.softhost.detect import kvm_state


@pytest.fixture(scope="session")
def there(request: pytest.FixtureRequest) -> SoftHost | None:
    """Where `vestige run` is typed: None, here, if KVM is good for it; or a software host."""
    if kvm_state().is_good:
        return None
    host: SoftHost = request.getfixturevalue("softhost")
    return host


@pytest.fixture(scope="package")
def networked() -> Iterator[SoftHost]:
    """A software host with a network, booted once for all guests on one."""
    programs = ("qemu-system-x86_64", "passt", "ip", "iperf3")
    if missing := [name for name in programs if shutil.which(name) is None]:
        pytest.skip(f"needs {', '.join(missing)}")
    with SoftHost(network=True) as host:
        yield host


@pytest.fixture(scope="package")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which a PC with OVMF runs: its QEMU is the copy that uefi.py makes."""
    images.ensure()  # what is compiled is copied, too
    return uefi.surroundings(tmp_path_factory.mktemp("cache"))

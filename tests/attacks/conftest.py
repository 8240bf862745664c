"""What the attacks share."""

from pathlib import Path

import pytest

from tests.attacks.harness import Attacks
from vestige.host import images


@pytest.fixture(scope="session")
def attacks(tmp_path_factory: pytest.TempPathFactory) -> Attacks:
    """All that is compiled, once."""
    images.ensure()
    return Attacks(tmp_path_factory.mktemp("attacks"))


@pytest.fixture
def image(tmp_path: Path) -> str:
    """A disk of 1 MiB, no two sectors the same."""
    path = tmp_path / "disk.img"
    path.write_bytes(b"".join(number.to_bytes(8, "little") * 64 for number in range(2048)))
    return str(path)

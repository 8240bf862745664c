"""The interval timer in a guest of `vestige run`, with its option and without."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import compiling
from tests.host.harness import why_not
from tests.host.kernel_payload import LOAD_ADDRESS, write_elf
from tests.visitor.inside.kernel import ABSENT, SEEN, main

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

COMMAND = [sys.executable, "-m", "vestige.cli.main", "run", "--accel", "kvm", "--timeout", "120"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernel's file."""
    image = compiling.image([main], base=LOAD_ADDRESS, runtime="kernel")
    made = tmp_path_factory.mktemp("kernel") / "kernel"
    write_elf(image.code, LOAD_ADDRESS + image.symbols["main"], made)
    return made


@pytest.mark.parametrize(("words", "said"), [(["--interval-timer"], SEEN), ([], bytes([ABSENT]))])
def test_a_guest_finds_it_where_it_was_asked_for(path: Path, words: list[str], said: bytes) -> None:
    done = subprocess.run(
        [*COMMAND, "--kernel", str(path), *words], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, said), done.stderr

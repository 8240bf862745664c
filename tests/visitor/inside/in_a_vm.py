"""The interval timer in a guest of `vestige run`, with its option and without."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import compiling
from tests.host.harness import why_not
from tests.host.kernel_payload import LOAD_ADDRESS, write_elf
from tests.visitor.inside.kernel import ABSENT, FROZEN, SEEN, main, waits

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

VESTIGE = [sys.executable, "-m", "vestige.cli.main"]
COMMAND = [*VESTIGE, "run", "--accel", "kvm", "--timeout", "120"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the kernels' files are, by their functions' names."""
    made = tmp_path_factory.mktemp("kernels")
    for function in (main, waits):
        name = function.__name__
        image = compiling.image([function], base=LOAD_ADDRESS, runtime="kernel")
        write_elf(image.code, LOAD_ADDRESS + image.symbols[name], made / name)
    return made


@pytest.mark.parametrize(("words", "said"), [(["--interval-timer"], SEEN), ([], bytes([ABSENT]))])
def test_a_guest_finds_it_where_it_was_asked_for(
    folder: Path, words: list[str], said: bytes
) -> None:
    done = subprocess.run(
        [*COMMAND, "--kernel", str(folder / "main"), *words], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, said), done.stderr


def test_it_is_frozen_in_the_middle_of_its_work_and_thawed(folder: Path) -> None:
    """Which takes not a line of its own, nor any of its name anywhere else."""
    snapshot = str(folder / "snapshot")
    words = [*COMMAND, "--kernel", str(folder / "waits"), "--interval-timer", "--name", "visitor"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == FROZEN[:1]
        command = [*VESTIGE, "freeze", "visitor", snapshot, "--stop"]
        done = subprocess.run(command, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        assert process.stdout.read() == b""
    command = [*VESTIGE, "thaw", snapshot, "--time", "keep", "--timeout", "120"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, FROZEN[1:]), done.stderr

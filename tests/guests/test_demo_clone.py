"""What the demo of clones makes of its clones, and the demo."""

import shutil
import subprocess
import sys

import pytest

from examples.demo_clone import clones
from examples.demo_clone.clones import SIZE, Clone, content, expected
from examples.telling import Failure
from tests.guests.store import ROOT
from vestige.agent import Done
from vestige.launcher import Machine


def clone(number: int, result: int | None = None, random: str = "") -> Clone:
    """One that is right, but for what is given."""
    result = expected(number) if result is None else result
    return Clone(number, 1.0, 2.0, result, random or f"random {number}")


def test_what_numpy_is_to_compute_is_known_without_it() -> None:
    assert expected(0) == 0
    # Of the matrix with 1, 2, … in it: the sum of its products with its transpose.
    rows = range(SIZE)
    products = (
        (SIZE * row + column + 1) * (SIZE * column + row + 1) for row in rows for column in rows
    )
    assert expected(1) % 1_000_003 == sum(products) % 1_000_003


def test_clones_that_differ_in_all_are_good(capsys: pytest.CaptureFixture[str]) -> None:
    clones.judge([clone(1), clone(2)])
    assert "/dev/urandom of clone 2: random 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (clone(2, result=5), "NumPy computed 5 of 2"),
        (clone(2, random="random 1"), "random numbers FAILED"),
    ],
)
def test_clones_that_are_wrong_or_alike_are_not(second: Clone, why: str) -> None:
    with pytest.raises(Failure, match=why):
        clones.judge([clone(1), second])


class Disk(Machine):
    """A machine whose guest reads this in its file."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def run(self, *_words: object, **_options: object) -> Done:
        """As of Asking."""
        return Done(0, self.data, b"")


def test_a_disk_with_another_s_content_is_told() -> None:
    clones.judge_disks([Disk(content(1)), Disk(content(2))])
    with pytest.raises(Failure, match="clone 2 has not on its disk"):
        clones.judge_disks([Disk(content(1)), Disk(content(1))])


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="qemu-system-x86_64 not found")
def test_the_demo_ends_well() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo_clone.driver"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1100,
        check=False,
    )
    assert done.stdout.endswith("demo-clone: ok\n"), done.stdout + done.stderr
    assert done.returncode == 0

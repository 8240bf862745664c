"""A firmware of the test's and its flash memory: in whole runs on this machine's KVM."""

import json
from pathlib import Path

import pytest

from tests.assembly import NEEDED, assembled
from tests.host.backends.test_variables import SIZE, volume
from tests.host.harness import why_not
from tests.host.test_firmware import vestige

SOURCE = Path(__file__).with_name("flash_firmware.s")
IMAGE_SIZE = 128 << 10
PROGRAMMED, ERASED = 0x100, 0x1000
# The array; after 50; the status after 50; the array; the status; what was programmed; what was
# erased; who made it; the array.
SAID = b"_" + b"_" + b"\0" + b"_" + b"\x80" + b"\x5a" + b"\xff" + b"\x89" + b"_FVH"
WRITES, READS_ELSEWHERE, UNMAPPED = 11, 3, 4

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    NEEDED,
]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """A PC with that firmware."""
    folder = tmp_path_factory.mktemp("flash")
    image, disk = folder / "TEST_CODE", folder / "disk"
    image.write_bytes(assembled(SOURCE, folder).rjust(IMAGE_SIZE, b"\0"))
    disk.write_bytes(bytes(1 << 20))
    machine = ("--machine", "pc", "--memory", "64M", "--vga", "none", "--timeout", "50")
    return (*machine, "--firmware", str(image), "--disk", f"{disk},readonly")


@pytest.fixture
def variables(tmp_path: Path) -> Path:
    path = tmp_path / "variables"
    path.write_bytes(volume(fill=0x7E))
    return path


def after(contents: bytes) -> bytes:
    """What the firmware makes of them."""
    expected = bytearray(contents)
    expected[PROGRAMMED] &= 0x5A
    expected[ERASED : ERASED + 4096] = b"\xff" * 4096
    return bytes(expected)


def test_a_firmware_s_writes_are_in_the_file(
    words: tuple[str, ...], variables: Path, tmp_path: Path
) -> None:
    before, stats = variables.read_bytes(), tmp_path / "stats.json"
    done = vestige(*words, "--variables", str(variables), "--stats", str(stats))
    assert (done.returncode, done.stderr, done.stdout) == (0, b"", SAID)
    assert variables.read_bytes() == after(before)
    counters = json.loads(stats.read_text())
    # Reads of the array cost nothing, but for the first, before the monitor has had a trap.
    assert counters["guest_exits"]["MMIO"] in (WRITES + READS_ELSEWHERE + n for n in (0, 1))
    assert counters["host_calls"]["MAP"] == 1 + 2 * UNMAPPED


def test_a_run_without_a_file_has_the_template_s_variables(
    words: tuple[str, ...], variables: Path
) -> None:
    image = Path(words[words.index("--firmware") + 1])
    template = image.with_name("TEST_VARS")
    template.write_bytes(variables.read_bytes())
    try:
        done = vestige(*words)
        assert (done.returncode, done.stderr, done.stdout) == (0, b"", SAID)
        assert template.read_bytes() == variables.read_bytes()
        made = variables.with_name("made")
        done = vestige(*words, "--variables", str(made))
        assert (done.returncode, done.stderr, done.stdout) == (0, b"", SAID)
        assert made.read_bytes() == after(template.read_bytes())
    finally:
        template.unlink()


def test_what_is_no_file_of_variables_is_refused(words: tuple[str, ...], variables: Path) -> None:
    variables.write_bytes(bytes(SIZE))
    done = vestige(*words, "--variables", str(variables))
    line = "no variables of a UEFI firmware (no _FVH at 0x28)"
    assert done.returncode == 2
    assert done.stderr.startswith(f"vestige: --variables {variables}: {line}".encode())
    assert done.stderr.count(b"\n") == 1

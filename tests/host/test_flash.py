"""A firmware of the test's and its flash memory: in whole runs on this machine's KVM."""

import json
from pathlib import Path

import pytest

from tests.assembly import NEEDED, assembled
from tests.host.backends.test_variables import SIZE, volume
from tests.host.harness import why_not
from tests.host.test_firmware import vestige
from vestige.abi import HIGH_RAM

SOURCE = Path(__file__).with_name("flash_firmware.s")
IMAGE_SIZE = 128 << 10
# Debian 12's OVMF_CODE.fd and OVMF_VARS.fd, of 2 MiB together.
SMALL_CODE, SMALL_VARIABLES = 0x1E_0000, 0x2_0000
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
    return words_for(tmp_path_factory.mktemp("flash") / "TEST_CODE", IMAGE_SIZE, SIZE)


def words_for(image: Path, size: int, variables: int) -> tuple[str, ...]:
    """A PC with that firmware, made as an image of `size` bytes that has so many of variables."""
    disk = image.with_name("disk")
    code = assembled(SOURCE, image.parent, FLASH=HIGH_RAM - size - variables)
    image.write_bytes(code.rjust(size, b"\0"))
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


def test_a_pair_of_2_mib_has_its_variables_below_its_code_and_in_a_file_of_their_size(
    tmp_path: Path,
) -> None:
    words = words_for(tmp_path / "OVMF_CODE.fd", SMALL_CODE, SMALL_VARIABLES)
    template, made = tmp_path / "OVMF_VARS.fd", tmp_path / "made"
    template.write_bytes(volume(SMALL_VARIABLES, fill=0x7E))
    done = vestige(*words, "--variables", str(made))
    assert (done.returncode, done.stderr, done.stdout) == (0, b"", SAID)
    assert made.read_bytes() == after(template.read_bytes())


def test_what_is_no_file_of_variables_is_refused(words: tuple[str, ...], variables: Path) -> None:
    variables.write_bytes(bytes(SIZE))
    done = vestige(*words, "--variables", str(variables))
    line = "no variables of a UEFI firmware (no _FVH at 0x28)"
    assert done.returncode == 2
    assert done.stderr.startswith(f"vestige: --variables {variables}: {line}".encode())
    assert done.stderr.count(b"\n") == 1

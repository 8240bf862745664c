"""Images: DWARF lines that real tools read, listings, saving and loading."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.lang import payload
from tests.lang.snippets import build, load
from vestige import abi
from vestige.lang.build import Built, compile_functions
from vestige.lang.build import build as build_entries
from vestige.lang.errors import Refusal
from vestige.lang.image import Image, ImageError
from vestige.lang.listing import listing
from vestige.lang.memory import Memory
from vestige.lang.vcpu import GATE_VECTOR

FILE = "tests/lang/payload.py"
SOURCE = Path(payload.__file__).read_text().splitlines()


@pytest.fixture(scope="module")
def built() -> Built:
    functions = [payload.vcpu_main, payload.worker_main]
    return build_entries(functions, base=abi.IMAGE, runtime="monitor")


@pytest.fixture(scope="module")
def image(built: Built) -> Image:
    return built.image


@pytest.fixture
def elf(built: Built, tmp_path: Path) -> Path:
    path = tmp_path / "monitor.elf"
    path.write_bytes(built.elf)
    return path


def run(*command: str | Path) -> str:
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"needs {command[0]}")
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def line_of(text: str) -> int:
    return next(number for number, line in enumerate(SOURCE, 1) if text in line)


def disassembled(elf: Path) -> list[tuple[int, str]]:
    """(address, instruction) of everything in the image."""
    found = []
    for line in run("objdump", "-d", "--no-show-raw-insn", elf).splitlines():
        address, colon, instruction = line.strip().partition(":\t")
        if colon:
            found.append((int(address, 16), instruction))
    return found


def test_addr2line_and_the_image_agree_on_every_instruction(image: Image, elf: Path) -> None:
    addresses = [address for address, _ in disassembled(elf)]
    # The linker puts the runtime's assembly, which has no lines, in front of what was compiled.
    symbols = (line.split() for line in run("nm", elf).splitlines())
    compiled = next(int(value, 16) for value, _, name in symbols if name == "vcpu_main")
    lines = run("addr2line", "-e", elf, *(hex(address) for address in addresses)).splitlines()
    known = 0
    for address, said in zip(addresses, lines, strict=True):
        place = image.line_of(address - abi.IMAGE)
        file, _, line = said.partition(" ")[0].rpartition(":")
        if place is None:
            assert line in ("?", "0")
        else:
            known += 1
            assert address >= compiled
            assert file.endswith(place[0])
            assert int(line) == place[1]
    ours = sum(address >= compiled for address in addresses)
    assert known > 0.9 * ours, (known, ours)  # LLVM gives some of what it moves no line


def test_a_division_is_on_the_line_that_divides(image: Image, elf: Path) -> None:
    places = {
        image.line_of(address - abi.IMAGE)
        for address, instruction in disassembled(elf)
        if "div" in instruction
    }
    assert places == {(FILE, line_of("100 // value")), (FILE, line_of("100 % value"))}


def test_gdb_lists_the_function_at_its_line(elf: Path) -> None:
    said = run("gdb", "-batch", "-ex", "info line *vcpu_main", "-ex", "info scope vcpu_main", elf)
    first = line_of("def vcpu_main")
    assert f'of "{FILE}"' in said or "payload.py" in said
    assert f"Line {first}" in said or f"Line {first + 2}" in said


def test_no_instruction_needs_sse_or_x87(elf: Path) -> None:
    assert not [text for _, text in disassembled(elf) if "xmm" in text or "st(" in text]


def test_the_code_is_whole_pages_and_memory_follows(image: Image) -> None:
    assert image.code_size % 4096 == 0
    assert image.memory_size >= image.code_size
    assert all(0 <= offset <= image.memory_size for offset in image.symbols.values())


def test_the_monitor_has_an_entry_for_every_exception(image: Image) -> None:
    vectors = set(range(32)) - {GATE_VECTOR}
    entries = {image.symbols[f"exception_{vector}"] for vector in vectors}
    assert len(entries) == len(vectors)
    assert {"interrupt_wake", "gate"} <= image.symbols.keys()


def test_an_image_linked_elsewhere_has_the_same_code(image: Image) -> None:
    functions = [payload.vcpu_main, payload.worker_main]
    elsewhere = compile_functions(functions, base=1 << 40, runtime="monitor")
    assert elsewhere.code == image.code


def test_building_twice_gives_the_same_image(image: Image) -> None:
    functions = [payload.vcpu_main, payload.worker_main]
    again = compile_functions(functions, base=abi.IMAGE, runtime="monitor")
    assert again.to_bytes() == image.to_bytes()


def test_a_listing_shows_source_above_its_machine_code(built: Built) -> None:
    if shutil.which("objdump") is None:
        pytest.skip("needs objdump")
    lines = listing(built).splitlines()
    header = f"{FILE}:{line_of('100 // value')}: return i64(100 // value)"
    assert header in lines
    after = lines[lines.index(header) + 1 :]
    assert any("idiv" in line for line in after[:20])
    assert any(line.endswith("<vcpu_main>:") for line in lines)


def test_a_saved_image_is_the_same_when_loaded(image: Image, tmp_path: Path) -> None:
    path = str(tmp_path / "image")
    image.save(path)
    assert Image.load(path).to_bytes() == image.to_bytes()
    assert Image.load(path).sites == image.sites


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "other"])
def test_a_damaged_image_is_not_loaded(image: Image, damage: str) -> None:
    data = image.to_bytes()
    middle = len(data) // 2
    damaged = {
        "truncated": data[:middle],
        "flipped": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
        "empty": b"",
        "other": b"something else entirely, and long enough to be one" * 4,
    }[damage]
    with pytest.raises(ImageError):
        Image.from_bytes(damaged)


@pytest.mark.parametrize("offset", [-1, 1 << 30])
def test_no_line_is_known_outside_the_image(image: Image, offset: int) -> None:
    assert image.line_of(offset) is None


def test_symbols_do_not_hold_addresses(image: Image) -> None:
    assert image.symbols["vcpu_main"] < image.code_size


def test_an_entry_cannot_have_a_name_of_the_runtime(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="memset is a name of the runtime"):
        build("def memset() -> None:\n    pass\n", tmp_path)


def test_two_entries_cannot_have_one_name(tmp_path: Path) -> None:
    module = load("def f() -> None:\n    pass\n", tmp_path)
    other = load("def f() -> None:\n    pass\n", tmp_path)
    with pytest.raises(Refusal, match="two entries are named f"):
        compile_functions([module.f, other.f], base=None, runtime="process")


def test_an_entry_has_no_caller_to_panic_at() -> None:
    with pytest.raises(Refusal, match=r"Memory\.load8 PANICs at its caller's line"):
        compile_functions([Memory.load8], base=None, runtime="process")


def test_an_unknown_runtime_is_an_error() -> None:
    with pytest.raises(ValueError, match="none of"):
        compile_functions([], base=None, runtime="bios")

"""Which functions go into their callers, and programs in two parts."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.lang.snippets import PRELUDE, load
from vestige.errors import UsageError
from vestige.lang.build import Built, build, find_entries
from vestige.lang.compiler import plan
from vestige.lang.compiler.program import Program
from vestige.lang.compiler.whole import analyze
from vestige.lang.native import NativeImage, PanicError
from vestige.lang.types import Struct

TABLE = "(" + ", ".join(str(7 * number % 251) for number in range(64)) + ")"
SOURCE = f"""
TABLE = {TABLE}
@cold
def rare(place: Channel, value: u32) -> None:
    check(value < 1_000_000)
    place.position = u16(value)
def small(value: u32) -> u32:
    return u32(value + TABLE[value & 63])
def once(place: Channel, value: u32) -> u32:
    total: u32 = 0
    for number in range(16):
        total = u32(total + small(u32(place.data[number] + value)) + TABLE[number])
    return total
def often(place: Channel, value: u32) -> u32:
    total = once(place, value)
    for number in range(16):
        place.data[number] = u8(total + small(u32(number)))
    if total > 5000:
        rare(place, total)
    return total
def first(place: Channel, value: u32) -> u32:
    return u32(often(place, value) + often(place, u32(value + 1)))
def second(place: Channel, value: u32) -> u32:
    return u32(often(place, value) * 3 + small(value))
"""
ENTRIES = "first", "second"


Entry = Callable[[Struct, int], int]


@pytest.fixture
def module(tmp_path: Path) -> ModuleType:
    return load(SOURCE, tmp_path)


@pytest.fixture(params=[0, 1000])
def in_two(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs are in two parts, which are lent functions of so many instructions."""
    monkeypatch.setattr(plan, "LARGE", 0)
    monkeypatch.setattr(plan, "LENT", request.param)


def entries(module: ModuleType) -> list[Entry]:
    return [getattr(module, name) for name in ENTRIES]


def built(module: ModuleType) -> Built:
    return build(entries(module), base=None, runtime="process")


def planned(module: ModuleType) -> tuple[list[list[set[str]]], set[str]]:
    """The parts by their functions' names, and what goes into its callers."""
    program = Program("process")
    found = find_entries(program, entries(module))
    analyze(program)
    parts = [
        [{each.name for each in kind} for kind in (part.defined, part.lent, part.declared)]
        for part in plan.plan(found)
    ]
    return parts, {each.name for each in program.functions.values() if each.inlined}


def test_what_is_small_or_called_at_one_place_goes_into_its_callers(module: ModuleType) -> None:
    parts, inlined = planned(module)
    assert inlined == {"small", "once"}
    assert parts == [[{"first", "second", "often", "rare", "small", "once"}, set(), set()]]


@pytest.mark.parametrize("lent", [0, 1000])
def test_a_large_program_has_two_parts(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, lent: int
) -> None:
    monkeypatch.setattr(plan, "LARGE", 0)
    monkeypatch.setattr(plan, "LENT", lent)
    parts, _ = planned(module)
    others = {"often", "rare"} if lent else set(), set() if lent else {"often"}
    assert parts == [
        [{"often", "rare", "small", "once"}, set(), set()],
        [{"first", "second", "small"} | ({"once"} if lent else set()), *others],
    ]


@pytest.mark.usefixtures("in_two")
def test_two_parts_do_what_one_does(module: ModuleType) -> None:
    native = NativeImage(built(module).image)
    for name, entry in zip(ENTRIES, entries(module), strict=True):
        for value in (0, 1, 77, 255):
            ours, theirs = module.Channel(), module.Channel()
            assert native[name](ours, value) == entry(theirs, value)
            assert bytes(ours) == bytes(theirs)


@pytest.mark.usefixtures("in_two")
def test_two_parts_are_the_same_bytes_each_time(module: ModuleType) -> None:
    one, another = built(module), built(module)
    assert one.image.to_bytes() == another.image.to_bytes()
    assert one.elf == another.elf


@pytest.mark.usefixtures("in_two")
def test_a_check_in_either_part_is_told_by_its_line(module: ModuleType) -> None:
    native = NativeImage(built(module).image)
    with pytest.raises(PanicError) as told:
        native["first"](module.Channel(), 4_000_000_000)
    line = (PRELUDE + SOURCE).splitlines()[told.value.line - 1]
    assert line.strip() == "check(value < 1_000_000)"


@pytest.mark.usefixtures("in_two")
def test_debuggers_find_the_lines_of_both_parts(module: ModuleType, tmp_path: Path) -> None:
    made = built(module)
    path = tmp_path / "made.elf"
    path.write_bytes(made.elf)
    lines = (PRELUDE + SOURCE).splitlines()
    for name, offset in made.image.symbols.items():
        function = name.rpartition(".")[0].rpartition(".")[2] or name
        if function not in ("first", "second", "often", "rare"):
            continue
        place = made.image.line_of(offset)
        assert place is not None
        above = [line for line in lines[: place[1]] if line.startswith("def ")]
        assert above[-1].startswith(f"def {function}(")
        command = ["addr2line", "-e", str(path), hex(offset)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        assert said == f"{module.__file__}:{place[1]}"


@pytest.mark.usefixtures("in_two")
def test_a_process_that_fails_is_one_line(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(UsageError, match="a process of the compiler failed: status 1; try again"):
        built(module)

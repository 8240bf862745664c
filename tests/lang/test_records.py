"""Records never change, and compiled code that loops over them does what CPython does."""

import copy
import mmap
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mypy import api

from tests.lang.conftest import Both
from tests.lang.snippets import PRELUDE_LINES, build, load
from tests.lang.stepping import NoSteppingError, instructions
from vestige.lang.build import compile_functions
from vestige.lang.enumeration import IntEnum
from vestige.lang.native import NativeImage, PanicError
from vestige.lang.records import Record, fields, made_at, remade
from vestige.lang.types import i8, u8, u16, u32

ROOT = Path(__file__).parents[2]


class Trigger(IntEnum):
    EDGE = 1
    LEVEL = 2


class Line(Record):
    pin: u8
    trigger: Trigger = Trigger.EDGE


class Place(Record):
    field: str
    first: u16
    timed: bool = False
    lines: tuple[Line, ...] = ()
    owner: str | None = None

    @property
    def last(self) -> int:
        """The last of its eight ports."""
        return self.first + 7


class Pci(Place):
    slot: "u8" = 0


def loose(kind: type[Record]) -> Any:
    """The class as a caller without a type checker has it."""
    return kind


# ---- in CPython ----------------------------------------------------------------------------------
def test_fields_are_given_in_order_by_name_or_by_default() -> None:
    place = Place("uart", 0x3F8, lines=(Line(4),))
    assert (place.field, place.first, place.timed, place.owner) == ("uart", 0x3F8, False, None)
    assert (place.lines[0].pin, place.lines[0].trigger) == (4, Trigger.EDGE)
    assert place.last == 0x3FF


def test_a_class_derived_from_one_adds_fields() -> None:
    function = Pci("ide", 0x1F0, slot=1)
    assert (function.first, function.slot) == (0x1F0, 1)
    assert not hasattr(Place("uart", 1), "slot")


def test_a_field_annotated_again_stays_where_it_was() -> None:
    class Wide(Place):
        first: u32 = 0x1_0000
        timed: bool = True

    assert Wide("rom") == Wide("rom", 0x1_0000, True)
    assert (Wide("rom").timed, Place("rom", 1).timed) == (True, False)


def test_a_record_never_changes() -> None:
    place = loose(Place)("uart", 0x3F8)
    with pytest.raises(AttributeError, match="a Place never changes: give first when it is made"):
        place.first = 1
    with pytest.raises(AttributeError, match="first can't be deleted"):
        del place.first
    assert place.first == 0x3F8


def test_records_of_one_class_with_equal_fields_are_equal() -> None:
    assert Line(4) == Line(4, Trigger.EDGE) != Line(5)
    assert len({Place("a", 1, lines=(Line(4),)), Place("a", 1, lines=(Line(4),))}) == 1
    assert Pci("a", 1) != Place("a", 1)
    assert Line(4) != 4
    assert copy.deepcopy(Place("a", 1, lines=(Line(4),))) == Place("a", 1, lines=(Line(4),))


def test_a_record_shows_what_it_is_made_of() -> None:
    shown = "Place(field='a', first=1, timed=True, lines=(Line(pin=4, trigger=2),), owner=None)"
    assert repr(Place("a", 1, True, (Line(4, Trigger.LEVEL),))) == shown

    class Called(Record):
        what: object

    assert repr(Called(made_at)) == "Called(what=made_at)"


def test_a_record_knows_where_it_was_made() -> None:
    place = Place("a", 1)
    file, line = made_at(place)
    assert file == __file__
    assert 'place = Place("a", 1)' in Path(file).read_text().splitlines()[line - 1]


@pytest.mark.parametrize(
    ("values", "named", "reason"),
    [
        (("a",), {}, "Place.first is missing"),
        (("a", 1), {"frist": 2}, "frist is none of its fields: field, first, timed"),
        (("a", 1), {"first": 2}, "first is given twice"),
        (("a", 1, True, (), None, 6), {}, "Place has 5 fields, 6 are given"),
        (("a", 1), {"lines": [Line(4)]}, "Place.lines is a list, no constant"),
        (("a", 1), {"lines": (Line(4), 0.5)}, "Place.lines is a tuple, no constant"),
        (("a", 1.5), {}, "Place.first is a float, no constant"),
        (("a", 1), {"lines": Line(4)}, "Place.lines is a Line, no tuple; one of a single value is"),
    ],
)
def test_fields_that_can_not_be_are_refused(
    values: tuple[object, ...], named: dict[str, object], reason: str
) -> None:
    with pytest.raises(TypeError, match=reason):
        loose(Place)(*values, **named)


@pytest.mark.parametrize(
    ("kind", "fields", "reason"),
    [
        (Place, ("a", 65536), "Place.first is 65536, which is no u16"),
        (Line, (-1,), "Line.pin is -1, which is no u8"),
        (Pci, ("a", 1, False, (), None, 256), "Pci.slot is 256, which is no u8"),
    ],
)
def test_integers_that_do_not_fit_their_annotation_are_refused(
    kind: type[Record], fields: tuple[object, ...], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        loose(kind)(*fields)


def test_integers_that_fit_are_taken_as_they_are() -> None:
    class Widths(Record):
        small: i8
        flag: u8

    assert (Widths(-128, True).small, Widths(127, True).flag) == (-128, True)


def test_records_bring_none_of_what_makes_a_start_slow() -> None:
    slow = "{'dataclasses', 'enum', 'inspect', 're', 'typing'}"
    program = f"import sys, vestige.lang.records; print(sorted({slow} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, check=True, cwd=ROOT, text=True
    )
    assert done.stdout == "[]\n"


# ---- compiled ------------------------------------------------------------------------------------
EACH_PORT = [(port, value) for port in (0x60, 0x61, 0x62, 0x3F7, 0x3F8, 0x3FF) for value in (0, 77)]


def test_a_row_s_field_is_the_struct_it_names(both: Both) -> None:
    source = """
def read(b: Board, port: u16, now: u64) -> u8:
    for place in PLACES:
        if place.first <= port < place.first + place.count:
            return getattr(b, place.field).read(u8(port - place.first), now)
    return 0xFF
def f(b: Board, port: u16, value: u8) -> u32:
    for place in PLACES:
        if place.first <= port < place.first + place.count:
            getattr(b, place.field).write(u8(port - place.first), value, 1000)
            break
    else:
        b.pins[23] = 99
    return u32(read(b, port, 1) + read(b, u16(port + 1), 1) * 256)
"""
    both(source, *EACH_PORT)


def test_a_local_that_is_assigned_in_a_turn_may_be_another_struct_in_each(both: Both) -> None:
    source = """
class Device(Protocol):
    def read(self, offset: u8, now: u64) -> u8: ...
    def write(self, offset: u8, value: u8, now: u64) -> None: ...
def f(b: Board, value: u8) -> u32:
    total: u32 = 0
    for place in PLACES:
        device: Device = getattr(b, place.field)
        device.write(0, value, 5)
        for offset in range(place.count):
            byte = device.read(offset, 5)
            total = u32(total * 3 + byte)
        other = getattr(b, place.field)
        if value:
            device = other
            byte = device.read(1, 5)
            total = u32(total + byte)
    return total
"""
    both(source, (0,), (5,), (200,))


def test_what_a_row_does_not_have_needs_no_compiled_form(both: Both) -> None:
    source = """
def f(b: Board, now: u64) -> u16:
    b.serial.alarm = 40
    told = 0
    for place in PLACES:
        if place.timed and getattr(b, place.field).alarm < 50:
            told |= 1
        if not place.timed or getattr(b, place.field).alarm > 50:
            told |= 2
        if now > 3 and place.timed and getattr(b, place.field).alarm:
            told |= 4
        ready = getattr(b, place.field).ready if place.timed else 8
        told |= ready << 3
        if place.owner is not None and place.owner != place.field:
            told |= 128
        elif place.owner == "serial" or place.field == "beeper":
            getattr(b, place.field).expire(now)
        if not place.timed:
            continue
        getattr(b, place.field).expire(now)
    return told
"""
    both(source, (0,), (4,), (40,), (41,))


def test_nested_loops_over_a_row_s_own_rows(both: Both) -> None:
    source = """
def f(b: Board, value: u8) -> u8:
    count = 0
    for place in PLACES:
        for number, line in enumerate(place.lines):
            if line.pin == value:
                break
            if place.field == "beeper" and value == 77:
                return 200
            b.pins[line.pin] = getattr(getattr(b, place.field), line.field) + number + 1
            count += 1
        else:
            count += 10
    return count
"""
    both(source, (0,), (2,), (4,), (5,), (77,))


def test_break_continue_else_and_return_mean_what_they_mean(both: Both) -> None:
    source = """
NUMBERS = (3, 1, 4, 1, 5)
EMPTY = ()
def first(a: u8) -> u8:
    for n in NUMBERS:
        if n == a:
            return n * 10
    else:
        a = u8(a + 1)
    return a
def f(a: u8, b: u8) -> u64:
    total: u64 = 0
    for n in NUMBERS:
        if n == b:
            continue
        m = n
        while m < a:
            m += 1
            if m == b:
                break
            total = u64(total + m)
        else:
            total = u64(total * 7)
        if n == a:
            break
        total = u64(total * 3 + n)
    else:
        total = u64(total + 1000)
    for n in EMPTY:
        total = 0
    else:
        total = u64(total + 1)
    for n in b"AB":
        total = u64(total * 2 + n)
    for n in (a, 2)[1], 7:
        total = u64(total + n)
    return u64(total + first(a))
""".replace("    for n in (a, 2)[1], 7:\n        total = u64(total + n)\n", "")
    both(source, *((a, b) for a in range(7) for b in (0, 1, 3, 5)))


def test_locals_of_turns_in_a_loop_of_run_time(both: Both) -> None:
    source = """
def f(b: Board, n: u8) -> u32:
    seen: u32 = 0
    previous = 9
    while n:
        n -= 1
        for place in PLACES:
            mine = place.first + n
            if n & 1:
                mine = previous
            seen = u32(seen * 31 + mine)
            previous = mine & 0xFF
            for i in range(n & 3):
                inner = i + mine
                seen = u32(seen + inner)
        mine = u8(seen)
        for place in PLACES:
            if mine & 2:
                mine = 5
            seen = u32(seen + mine)
    return seen
"""
    both(source, *((n,) for n in range(9)))


def test_match_on_what_a_row_says(both: Both) -> None:
    source = """
def f(a: u8) -> u32:
    total: u32 = 0
    for place in PLACES:
        match place.owner:
            case None:
                total = u32(total + 1)
            case "serial" | "uart" if a > 3:
                total = u32(total + 10)
            case "serial":
                total = u32(total + 100)
            case _:
                raise ValueError
        match a:
            case place.count:
                total = u32(total + 1000)
            case 9 | 7 if place.timed:
                total = u32(total + 10000)
        match place.timed:
            case True:
                total = u32(total * 3)
            case False:
                total = u32(total * 2)
    return total
"""
    both(source, *((a,) for a in (0, 1, 3, 4, 7, 8, 9)))


def test_a_record_outside_a_loop_is_a_constant_too(both: Both) -> None:
    source = """
class Range(Record):
    first: u16
    sizes: tuple[int, ...]
    change: Callable[[int], int]
    kind: type
    @property
    def last(self) -> int:
        return self.first + len(self.sizes)
def double(a: u8) -> u16:
    return a * 2
RANGE = Range(0x300, (1, 2, 4), double, Channel)
class Bell(Struct):
    tone: u8
    PLACE = BEEPER
    def sounds(self) -> u16:
        return self.PLACE.first + self.tone
def f(b: Board, a: u8) -> u32:
    check(RANGE.first <= RANGE.last)
    getattr(b, SERIAL.field).divisor = a
    getattr(b, BEEPER.field).tone += 300
    b.pins[20] = Bell.at(u64(address_of(b.beeper))).sounds()
    pins = getattr(b, "pi" "ns" if a > 3 else "pins") if RANGE is None else b.pins
    pins[RANGE.sizes[-1]] = SERIAL.lines[0].pin + len(PLACES) + (SERIAL in PLACES)
    size = RANGE.sizes[a % len(RANGE.sizes)] + (a in RANGE.sizes)
    return u32(RANGE.last * 100 + size + RANGE.change(a) + (SERIAL == BEEPER) + bool(BEEPER.lines)
               + (PLACES[0] is SERIAL) * 2 + len(RANGE.kind.at(0).data) + (not SERIAL.lines))
""".replace('getattr(b, "pi" "ns" if a > 3 else "pins") if RANGE is None else ', "")
    both(source, (0,), (2,), (255,))


MANY = (
    """
class Counter(Struct):
    reads: u32
    def read(self, offset: u16) -> u32:
        self.reads = self.reads + offset
        return self.reads
class Machine(Struct):
    """
    + "; ".join(f"c{n}: Counter" for n in range(16))
    + """
class Row(Record):
    field: str
    first: u16
ROWS = tuple(Row(f"c{n}", 0x60 + 0x100 * n * n) for n in range(16))
def _owners() -> bytes:
    owners = bytearray([255] * 0x10000)
    for number, row in enumerate(ROWS):
        owners[row.first : row.first + 8] = bytes([number] * 8)
    return bytes(owners)
OWNER = _owners()
def read(m: Machine, port: u16) -> u32:
    owner = OWNER[port]
    for number, row in enumerate(ROWS):
        if number == owner:
            return getattr(m, row.field).read(u16(port - row.first))
    return 0xFFFFFFFF
def owner(port: u32) -> u8:
    return OWNER[port]
"""
)


def test_a_row_is_found_by_a_table_and_one_jump_whichever_it_is(tmp_path: Path) -> None:
    module = load(MANY, tmp_path)
    native = NativeImage(compile_functions([module.read], base=None, runtime="process"))
    here, there = module.Machine(), module.Machine()
    ports = [row.first + 3 for row in module.ROWS]
    for port in (*ports, 0, 0xFFFF):
        assert native["read"](there, port) == module.read(here, port)
    assert bytes(here) == bytes(there)
    try:
        counts = {instructions(native["read"], there, port) for port in ports}
    except NoSteppingError as error:
        pytest.skip(str(error))
    assert len(counts) == 1
    assert counts.pop() <= 16  # of them 9 find the row


def test_a_table_of_64_ki_bytes_is_in_the_image_once_and_checked(tmp_path: Path) -> None:
    module = load(MANY, tmp_path)
    image = compile_functions([module.read, module.owner], base=None, runtime="process")
    assert image.code.count(module.OWNER) == 1
    assert image.code_size < 0x10000 + 2 * mmap.PAGESIZE
    owner = NativeImage(image)["owner"]
    assert [owner(port) for port in (0, 0x60, 0x167, 0xFFFF)] == [255, 0, 1, 255]
    with pytest.raises(PanicError, match="index outside an array of 65536"):
        owner(0x10000)


def test_functions_and_methods_that_are_given_records(both: Both) -> None:
    source = """
class Range(Record):
    first: u16
    field: str = "serial"
    def holds(self, port: u16) -> bool:
        return self.first <= port < self.end()
    def end(self, more: u8 = 0) -> u32:
        return self.first + 8 + more
class Wide(Range):
    span: u16 = 100
    def end(self, more: u8 = 0) -> u32:
        return self.first + self.span + more
RANGES = (Range(0x60), Wide(0x70, "beeper"), Wide(0x200, span=16), Range(0x60))
def _tone(b: Board, name: str = "beeper", *, place: Place = BEEPER) -> u32:
    if place is not BEEPER:
        place_first = place.first
        return getattr(b, name).read(1, 0) + place_first
    return getattr(b, name).read(0, 0)
def _same(one: Range, other: Range) -> bool:
    return one is other or (one == other and one.field == "beeper")
def f(b: Board, port: u16) -> u64:
    b.beeper.tone = 77
    b.serial.divisor = 0x1234
    total: u64 = 0
    for number, row in enumerate(RANGES):
        if row.holds(port):
            total = u64(total * 1000 + _tone(b, row.field) + number)
        total = u64(total + row.end(more=1))
        for other in RANGES:
            total = u64(total * 2 + _same(other=other, one=row))
    return u64(total + _tone(b) + _tone(b, place=SERIAL) + _tone(b, SERIAL.field, place=SERIAL))
"""
    both(source, *((port,) for port in (0, 0x60, 0x68, 0x70, 0xD4, 0x200, 0x210)))


def test_a_panic_in_a_turn_says_which_row_it_was(tmp_path: Path) -> None:
    source = """
def f(b: Board, offset: u8) -> u8:
    for place in PLACES:
        if place.timed == 0:
            for number, line in enumerate(place.lines):
                return b.pins[line.pin + offset]
    return 0
"""
    module = load(source, tmp_path)
    native = NativeImage(compile_functions([module.f], base=None, runtime="process"))
    with pytest.raises(PanicError) as caught:
        native["f"](module.Board(), 24)
    assert caught.value.line == PRELUDE_LINES + 6
    assert re.fullmatch(
        r"index outside an array of 24, where place is Place\(field='beeper', .*…, "
        r"made at snippet\d+\.py:\d+; number is 0; line is Line\(field='sound', pin=0\), "
        r"made at snippet\d+\.py:\d+",
        caught.value.reason,
    )


# ---- to a type checker ---------------------------------------------------------------------------
class Chosen(Record):
    choice: Callable[[int], bool] = bool
    also: Callable[[int], bool] | None = None


def test_one_that_is_remade_of_its_fields_is_the_same() -> None:
    records = (Place("uart", 0x3F8, lines=(Line(4),)), Line(3, Trigger.LEVEL), Chosen(also=is_odd))
    for record in records:
        again = remade(type(record), made_at(record), **fields(record))
        assert again == record
        assert made_at(again) == made_at(record)
    assert fields(records[1]) == {"pin": 3, "trigger": Trigger.LEVEL}
    assert fields(Line(3)) == {"pin": 3}


def test_a_function_is_no_method_of_one_that_is_remade() -> None:
    again: Any = remade(Chosen, ("here", 1), **fields(Chosen(is_odd)))
    assert again.choice(3)


def is_odd(number: int) -> bool:
    return bool(number % 2)


TYPED = """\
from typing import Protocol
from vestige.lang.records import Record
from vestige.lang.types import Struct, u8, u16

class Place(Record):
    field: str
    first: u16
    timed: bool = False

class Uart(Struct):
    divisor: u16
    def read(self, offset: u8) -> u8:
        return u8(self.divisor)

class Machine(Struct):
    uart: Uart

class Device(Protocol):
    def read(self, offset: u8) -> u8: ...

DEVICES = (Place("uart", 0x3F8, timed=True),)

def read(machine: Machine, port: u16) -> u8:
    for number, place in enumerate(DEVICES):
        if place.first <= port < place.first + 8:
            device: Device = getattr(machine, place.field)
            reveal_type(device.read(u8(port - place.first)))
            return device.read(u8(number))
    return 0xFF

def wrong(machine: Machine) -> None:
    for place in DEVICES:
        device: Device = getattr(machine, place.field)
        device.write(place.fist)
        place.first = 3
    Place("uart")
    Place("uart", "0x3F8")
    uart: Device = machine
"""


def test_mypy_knows_fields_and_what_a_protocol_says(tmp_path: Path) -> None:
    path = tmp_path / "typed.py"
    path.write_text(TYPED)
    config = str(ROOT / "pyproject.toml")
    said, _, status = api.run(
        ["--config-file", config, "--cache-dir", str(tmp_path / "cache"), str(path)]
    )
    assert status == 1
    line = TYPED[: TYPED.index("device.write")].count("\n") + 1
    for expected in (
        f':{line - 7}: note: Revealed type is "int"',
        f':{line}: error: "Device" has no attribute "write"',
        f':{line}: error: "Place" has no attribute "fist"',
        f':{line + 1}: error: Property "first" defined in "Place" is read-only',
        f':{line + 2}: error: Missing positional argument "first"',
        f':{line + 3}: error: Argument 2 to "Place" has incompatible type "str"; expected "int"',
        f":{line + 4}: error: Incompatible types in assignment",
    ):
        assert expected in said
    assert said.count("error:") == 6


def test_what_mypy_was_shown_compiles(tmp_path: Path) -> None:
    assert build(TYPED[: TYPED.index("def wrong")].replace("reveal_type", "bool"), tmp_path).symbols

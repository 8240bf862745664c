"""The CPython side: integers, structs, arrays, guest memory, intrinsics, and mypy's view."""

import ctypes
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mypy import api

from vestige.lang import Struct, i8, i16, i64, intrinsics, types, u8, u64
from vestige.lang.intrinsics import CheckFailed, OnlyInAVm, Processor, address_of, check, panic
from vestige.lang.memory import Memory

ROOT = Path(__file__).parents[2]


class Point(Struct):
    """A nested struct."""

    x: i16
    y: u8


class Shape(Struct):
    """Every kind of field."""

    tag: u8
    total: u64
    corners: Point[3]
    bytes: u8[4]
    signed: i8


@given(value=st.integers(-(1 << 70), 1 << 70))
def test_casts_wrap(value: int) -> None:
    assert u8(value) == value % 256
    assert (i8(value) - value) % 256 == 0
    assert -128 <= i8(value) <= 127
    assert u64(value) == value % (1 << 64)
    assert -(1 << 63) <= i64(value) < 1 << 63


@given(value=st.integers(-(1 << 70), 1 << 70))
def test_fields_wrap_on_store(value: int) -> None:
    shape = Shape()
    shape.tag = value
    shape.total = value
    shape.signed = value
    shape.bytes[2] = value
    assert (shape.tag, shape.total, shape.signed) == (u8(value), u64(value), i8(value))
    assert shape.bytes[2] == u8(value)


def test_layout_is_that_of_c() -> None:
    fields: Any = Shape
    offsets = [getattr(fields, name).offset for name, *_ in fields._fields_]
    assert offsets == [0, 8, 16, 28, 32]
    assert ctypes.sizeof(Shape) == 40


def test_nested_structs_and_arrays_alias() -> None:
    shape = Shape()
    corner = shape.corners[1]
    corner.x = -5
    assert shape.corners[1].x == -5
    assert Shape.at(address_of(shape)).corners[1].x == -5


def test_an_index_outside_raises() -> None:
    with pytest.raises(IndexError):
        Shape().bytes[4]


def test_a_struct_cannot_be_inherited_from() -> None:
    with pytest.raises(TypeError, match="can't be inherited from"):
        type("Derived", (Shape,), {"__module__": __name__})


@pytest.mark.parametrize("annotation", [int, str, list[int], float])
def test_a_field_of_another_type_is_refused(annotation: object) -> None:
    namespace = {"__module__": __name__, "__annotations__": {"a": annotation}}
    make: Any = type(Struct)
    with pytest.raises(TypeError, match=r"Wrong\.a: .* is not u8"):
        make("Wrong", (Struct,), namespace)


@pytest.mark.parametrize("length", [0, -1, "3", 1.5])
def test_an_array_needs_a_positive_length(length: object) -> None:
    integer: Any = types.u8
    with pytest.raises(TypeError, match="a positive length"):
        integer[length]


# ---- guest memory --------------------------------------------------------------------------------
LOW, HIGH_SIZE, HIGH = 4096, 8192, 1 << 32
BUFFER = ctypes.create_string_buffer(LOW + HIGH_SIZE)


@pytest.fixture
def ram() -> Memory:
    start = ctypes.addressof(BUFFER)
    return Memory(low=start, low_size=LOW, high=start + LOW, high_size=HIGH_SIZE)


@given(gpa=st.integers(0, (1 << 64) - 1), length=st.integers(0, (1 << 64) - 1))
def test_contains_is_what_the_two_parts_are(gpa: int, length: int) -> None:
    memory = Memory(low_size=LOW, high_size=HIGH_SIZE)
    end = gpa + length
    assert memory.contains(gpa, length) == (end <= LOW or HIGH <= gpa <= end <= HIGH + HIGH_SIZE)


@pytest.mark.parametrize("gpa", [0, LOW - 8, HIGH, HIGH + HIGH_SIZE - 8])
def test_what_is_stored_is_loaded(ram: Memory, gpa: int) -> None:
    ram.store64(gpa, 0x1122334455667788)
    assert (ram.load8(gpa), ram.load16(gpa), ram.load32(gpa)) == (0x88, 0x7788, 0x55667788)
    ram.store32(gpa, 0xAABBCCDD)
    ram.store16(gpa, 0x1234)
    ram.store8(gpa, 0x56)
    assert ram.load64(gpa) == 0x11223344AABB1256


@pytest.mark.parametrize("gpa", [LOW - 7, LOW, HIGH - 1, HIGH + HIGH_SIZE - 7, (1 << 64) - 8])
def test_an_access_outside_fails_its_check(ram: Memory, gpa: int) -> None:
    with pytest.raises(CheckFailed):
        ram.load64(gpa)
    with pytest.raises(CheckFailed):
        ram.store64(gpa, 0)


# ---- intrinsics ----------------------------------------------------------------------------------
def test_check_and_panic_raise() -> None:
    check(condition=True)
    with pytest.raises(CheckFailed):
        check(condition=False)
    with pytest.raises(CheckFailed, match="panic\\(5\\)"):
        panic(5)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("timestamp", ()),
        ("port_in16", (1,)),
        ("port_in32", (1,)),
        ("port_out8", (1, 1)),
        ("port_out16", (1, 1)),
        ("port_out32", (1, 1)),
        ("read_msr", (1,)),
        ("write_msr", (1, 1)),
        ("wait_for_interrupt", ()),
        ("port_in8", (1,)),
        ("cpuid", (1, 0, 0)),
        ("call_firmware", (1, 2, 3, 4, 5, 6, 7)),
        ("read_state", (0,)),
        ("run_guest", (0, 0)),
        ("run_aside", (0, 0, 0)),
        ("take_over", (0,)),
        ("let_interrupts_in", ()),
        ("shut_interrupts_out", ()),
        ("nmi_entry", ()),
        ("startup_page", ()),
        ("end_shutting_out", ()),
    ],
)
def test_what_needs_a_virtual_cpu_says_so(name: str, arguments: tuple[int, ...]) -> None:
    with pytest.raises(OnlyInAVm, match=name):
        getattr(intrinsics, name)(*arguments)


INSTRUCTIONS = {name for name in vars(Processor) if name in vars(intrinsics) and name[0] != "_"}
MEETINGS = {
    "atomic_exchange32": (5,),
    "atomic_compare_exchange32": (0, 5),
    "atomic_add64": (5,),
    "load_acquire32": (),
    "store_release32": (5,),
}


@pytest.mark.parametrize("name", sorted(INSTRUCTIONS))
def test_a_processor_is_given_what_its_thread_runs(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    signature = inspect.signature(getattr(intrinsics, name))
    arguments = tuple(range(7, 7 + len(signature.parameters)))
    seen: list[tuple[int, ...]] = []
    processor = Processor()

    def note(*given: int) -> int:
        seen.append(given)
        return 5

    monkeypatch.setattr(processor, name, note)
    with intrinsics.running_on(processor):
        answer = getattr(intrinsics, name)(*arguments)
    assert seen == [arguments]
    assert answer == (None if signature.return_annotation is None else 5)


@pytest.mark.parametrize("name", sorted(MEETINGS))
def test_another_cpu_goes_on_before_an_ordered_access(name: str) -> None:
    place = ctypes.c_uint64(0)
    seen = []

    class Watched(Processor):
        def before_ordered_access(self) -> None:
            seen.append(place.value)
            place.value = 7

    with intrinsics.running_on(Watched()):
        answer = getattr(intrinsics, name)(ctypes.addressof(place), *MEETINGS[name])
        intrinsics.fence()
    assert seen[0] == 0
    assert answer in (None, 7)
    assert len(seen) == 2


def test_a_system_call_answers_as_the_kernel_does() -> None:
    getpid, close, bad = 39, 3, 1 << 20
    assert intrinsics.syscall(getpid, 0, 0, 0, 0, 0, 0) > 0
    assert intrinsics.syscall(close, bad, 0, 0, 0, 0, 0) == -9  # EBADF


# ---- mypy ----------------------------------------------------------------------------------------
TYPED = """\
from vestige.lang import Struct, u8, u32
from vestige import abi
from vestige.lang import types
from vestige.lang.enumeration import IntEnum

SECTOR = 512
NAME = "512"

class Reg(IntEnum):
    COUNT = 3

class Drive(Struct):
    buffer: u8[512]
    sectors: u32

class Channel(Struct):
    drives: Drive[2]
    sector: u8[SECTOR]
    other: types.u8[abi.SECTOR]
    registers: u8[Reg.COUNT]

def f(c: Channel, i: u8, sector: u8[SECTOR]) -> u32:
    reveal_type(c.drives)
    reveal_type(c.drives[i].buffer[3])
    reveal_type(c.other[i] + c.sector[i] + c.registers[i] + sector[i])
    c.drives[i].sectors = "no"
    c.drives[i].sector = 1
    c.reset()
    return c.drives[i].buffer

class Wrong(Struct):
    a: u8[Drive]
    b: u8[NAME]
    c: u8[MISSING]
    d: u8[1, 2]
    e: u8["3"]
    f: u8[Reg]
"""


def test_mypy_knows_fields_and_arrays(tmp_path: Path) -> None:
    path = tmp_path / "typed.py"
    path.write_text(TYPED)
    config = str(ROOT / "pyproject.toml")
    said, _, status = api.run(
        ["--config-file", config, "--cache-dir", str(tmp_path / "cache"), str(path)]
    )
    assert status == 1
    found = re.findall(r"typed.py:(\d+): (.*)", said)
    notes = [text for _, text in found if text.startswith("note: Revealed")]
    assert [re.sub(r"(builtins|vestige\.lang\.types|typed)\.", "", note) for note in notes] == [
        'note: Revealed type is "Array[Drive]"',
        'note: Revealed type is "int"',
        'note: Revealed type is "int"',
    ]
    lines = TYPED.splitlines()
    errors = [(lines[int(line) - 1].strip(), text) for line, text in found if "error:" in text]
    length = "error: an array's length is one integer, or a constant's name: u8[512], u8[SECTOR]"
    expected = [
        ('c.drives[i].sectors = "no"', "error: Incompatible types in assignment"),
        ("c.drives[i].sector = 1", 'error: "Drive" has no attribute "sector"'),
        ("c.reset()", 'error: "Channel" has no attribute "reset"'),
        ("return c.drives[i].buffer", "error: Incompatible return value type"),
        ("a: u8[Drive]", length),
        ("b: u8[NAME]", length),
        ("c: u8[MISSING]", 'error: Name "MISSING" is not defined'),
        ("d: u8[1, 2]", length),
        ('e: u8["3"]', length),
        ("f: u8[Reg]", length),
    ]
    for place, text in expected:
        assert any(line == place and error.startswith(text) for line, error in errors), place
    assert len(errors) == len(expected)


def test_an_array_s_length_may_be_a_constant_s_name() -> None:
    scope: dict[str, Any] = {"__name__": __name__}
    exec(TYPED[: TYPED.index("def f")], scope)
    channel: Any = scope["Channel"]
    assert [len(getattr(channel(), name)) for name in ("sector", "other", "registers")] == [
        512, 512, 3,
    ]  # fmt: skip

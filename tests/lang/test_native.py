"""Calling compiled code from CPython: arguments, results, threads."""

import ctypes
import threading
from pathlib import Path

import pytest

from tests.lang.snippets import build, load
from tests.lang.stepping import NoSteppingError, between_system_calls, instructions
from vestige import abi
from vestige.lang.build import compile_functions
from vestige.lang.native import NativeImage, PanicError

SOURCE = """
def add(a: u8, b: i16) -> i64:
    return a + b
def big(a: u64) -> u64:
    return a
def truth(a: bool) -> bool:
    return not a
def set_status(d: Drive, value: u8) -> None:
    d.status = value
def total(data: u8[16]) -> u16:
    sum: u16 = 0
    for i in range(len(data)):
        sum = u16(sum + data[i])
    return sum
def six(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8) -> u64:
    return a + b * 10 + c * 100 + d * 1000 + e * 10000 + f * 100000
def seven(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8) -> u8:
    return g
def pair() -> tuple[u8, u8]:
    return 1, 2
def wait(c: Channel, turns: u32) -> u32:
    n: u32 = 0
    for i in range(turns):
        n = u32(n * 33 + c.data[i & 15] + i)
    check(c.selected == 0)
    return n
"""


SELDOM = """
from vestige.lang.intrinsics import cold
def square(a: u32) -> u64:
    return a * a
@cold
def seldom(a: u32) -> u64:
    return a * a
def by_square(a: u32) -> u64:
    return square(a)
def by_seldom(a: u32) -> u64:
    return seldom(a)
"""


@pytest.fixture
def native(tmp_path: Path) -> NativeImage:
    return NativeImage(build(SOURCE, tmp_path))


def test_integers_keep_their_sign(native: NativeImage) -> None:
    assert native["add"](255, -32768) == 255 - 32768
    assert native["big"](2**64 - 1) == 2**64 - 1
    assert native["truth"](False) == 1
    assert native["six"](1, 2, 3, 4, 5, 6) == 654321


@pytest.mark.parametrize("arguments", [(256, 0), (-1, 0), (0, 32768), (0, -32769)])
def test_an_argument_that_does_not_fit_is_an_overflow_error(
    native: NativeImage, arguments: tuple[int, int]
) -> None:
    with pytest.raises(OverflowError, match=r"argument . of add is -?[0-9]+, which is no [ui]"):
        native["add"](*arguments)


def test_wrong_numbers_and_kinds_of_arguments(native: NativeImage) -> None:
    with pytest.raises(TypeError, match="add takes 2 arguments"):
        native["add"](1)
    with pytest.raises(TypeError, match="argument 0 of add is a u8, not a Cpu"):
        native["add"](abi.Cpu(), 1)
    with pytest.raises(TypeError, match="argument 0 of set_status is a Drive, not a Cpu"):
        native["set_status"](abi.Cpu(), 1)


@pytest.mark.parametrize("name", ["seven", "pair"])
def test_what_cannot_cross_is_refused(native: NativeImage, name: str) -> None:
    with pytest.raises(TypeError, match="at most 6 arguments and one result"):
        native[name]


def test_a_struct_is_passed_in_place(tmp_path: Path) -> None:
    module = load(SOURCE, tmp_path)
    native = NativeImage(
        compile_functions([module.set_status, module.total], base=None, runtime="process")
    )
    drive = module.Drive()
    channel = module.Channel()
    channel.data[3], channel.data[15] = 200, 100
    assert native["total"](channel.data) == module.total(channel.data) == 300
    assert native["set_status"](ctypes.addressof(drive), 0x51) is None
    assert drive.status == 0x51
    assert native["set_status"](drive, 0x50) is None
    assert drive.status == 0x50


def test_threads_call_at_once_and_panic_on_their_own(tmp_path: Path) -> None:
    module = load(SOURCE, tmp_path)
    native = NativeImage(compile_functions([module.wait], base=None, runtime="process"))
    expected = module.wait(module.Channel(), 5000)
    results: list[object] = []

    def work(fails: bool) -> None:
        wait, channel = native["wait"], module.Channel(selected=fails)
        for _ in range(50):
            try:
                results.append(wait(channel, 5000))
            except PanicError as panic:
                results.append(panic.reason)

    threads = [threading.Thread(target=work, args=(number % 2 == 1,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results.count(expected) == 150
    assert results.count("check failed: c.selected == 0") == 150


def test_a_store_of_another_thread_is_seen_by_a_loop_that_waits_for_it(tmp_path: Path) -> None:
    source = """
def f(c: Channel, turns: u32) -> u32:
    flag = address_of(c.data)
    for i in range(turns):
        if load_acquire32(flag) == 1:
            store_release32(flag, 2)
            return i
        pause()
    return turns
"""
    module = load(source, tmp_path)
    native = NativeImage(compile_functions([module.f], base=None, runtime="process"))
    channel, turns = module.Channel(), 2**32 - 1
    answers: list[object] = []
    waiter = threading.Thread(target=lambda: answers.append(native["f"](channel, turns)))
    waiter.start()
    channel.data[0] = 1
    waiter.join()
    assert channel.data[0] == 2
    assert answers != [turns]


def test_the_code_cannot_be_written(native: NativeImage) -> None:
    start = f"{native.address:x}-"
    maps = Path("/proc/self/maps").read_text().splitlines()
    (line,) = [line for line in maps if line.startswith(start)]
    assert line.split()[1][:3] == "r-x"


def test_a_monitor_image_is_not_for_this_process(tmp_path: Path) -> None:
    image = build("def f() -> None:\n    pass\n", tmp_path, runtime="monitor")
    with pytest.raises(ValueError, match="only a position-independent image for a process"):
        NativeImage(image)


def test_instructions_are_counted_between_system_calls_of_which_none_is_made(
    tmp_path: Path,
) -> None:
    source = """from vestige.lang.intrinsics import syscall
from vestige.lang.types import u64

def f(number: u64) -> None:
    while syscall(number, 0, 0, 0, 0, 0, 0) == 0:
        pass
"""
    never = 1 << 20  # one would be refused
    try:
        found = between_system_calls(NativeImage(build(source, tmp_path))["f"], never, calls=4)
    except NoSteppingError as error:
        pytest.skip(str(error))
    _first, *others = found
    assert len(set(others)) == 1
    assert 2 < others[0] < 20


def test_a_cold_function_is_no_part_of_its_callers(tmp_path: Path) -> None:
    native = NativeImage(build(SELDOM, tmp_path))
    assert native["by_seldom"](77) == native["by_square"](77) == 77 * 77
    try:
        called = instructions(native["by_seldom"], 77)
        assert called > instructions(native["by_square"], 77)
    except NoSteppingError as error:
        pytest.skip(str(error))

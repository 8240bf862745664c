"""What is in the subset means what it means in CPython, one construct a test."""

import pytest

from tests.lang.conftest import Both


def test_while_break_and_continue(both: Both) -> None:
    source = """
def f(n: u8) -> u32:
    total: u32 = 0
    i = 0
    while i < 100:
        i += 1
        if i % 3 == 0:
            continue
        if i > n:
            break
        total = u32(total + i)
    return total
"""
    assert both(source, (0,), (10,), (255,)) == [0, 37, 3367]


def test_a_while_counter_is_bounded_by_its_comparison(both: Both) -> None:
    source = """
def f(c: Channel, n: u8) -> u8:
    i = 0
    while i < len(c.data):
        c.data[i] = i + n
        i += 1
    return i
"""
    assert both(source, (7,)) == [16]


def test_range_keeps_the_last_value_and_does_not_mind_assignments(both: Both) -> None:
    source = """
def f(a: u8, b: u8) -> i64:
    i = -1
    seen = 0
    for i in range(a, b, 3):
        seen = u16(seen + 1)
        i = 1000
    for j in range(b, a, -2):
        seen = u16(seen + 100 * (j & 1))
        if seen > 5000:
            return 1
    return i64(i + seen)
"""
    both(source, (0, 0), (3, 200), (200, 3), (5, 6))


def test_a_range_to_the_end_of_64_bits(both: Both) -> None:
    source = """
def f(a: u64) -> u64:
    n: u64 = 0
    for i in range(18446744073709551613, a):
        n = u64(n + i)
    return n
"""
    both(source, (2**64 - 1,), (0,))


def test_match_with_alternatives_guards_and_enums(both: Both) -> None:
    source = """
def f(a: u8, b: u8) -> u8:
    match a:
        case Reg.DATA | 9:
            return 1
        case Reg.STATUS if b > 3:
            return 2
        case Status.DRQ:
            return 3
        case _ if b == 77:
            return 4
    return 5
"""
    inputs = [(0, 0), (9, 0), (7, 4), (7, 3), (8, 0), (1, 77), (1, 1)]
    assert both(source, *inputs) == [1, 1, 2, 5, 3, 4, 5]


def test_a_chain_evaluates_its_middle_once_and_its_end_if_needed(both: Both) -> None:
    source = """
def count(c: Channel, value: u8) -> u8:
    c.position = c.position + 1
    return value
def f(c: Channel, a: u8) -> u16:
    if count(c, 3) < count(c, a) < count(c, 9) <= count(c, 20):
        c.selected = 1
    return c.position
"""
    assert both(source, (0,), (5,), (9,)) == [2, 4, 3]


def test_and_or_not_as_values(both: Both) -> None:
    source = """
def f(a: u8, b: u8) -> u32:
    count = a or 256
    both = a and b
    neither = not (a or b)
    return u32(count * 65536 + both * 256 + neither)
"""
    assert both(source, (0, 0), (0, 5), (5, 0), (5, 7))[0] == 256 * 65536 + 1


def test_struct_references_alias_and_assignment_copies(both: Both) -> None:
    source = """
def f(c: Channel, which: u8) -> u64:
    drive = c.drives[which & 1]
    drive.status = 0x50
    drive.sectors += 1
    c.drives[0] = drive
    other = c.drives[1] if which else c.drives[0]
    other.buffer[511] = 0x155
    c.drives[1].buffer = other.buffer
    data = c.data
    data[3] = -1
    return u32(other.sectors + c.drives[1].buffer[511] + data[3] + c.data[-13])
"""
    assert both(source, (0,), (1,)) == [1 + 0x55 + 255 + 255, 1 + 0x55 + 255 + 255]


def test_keyword_and_default_arguments_in_source_order(both: Both) -> None:
    source = """
def note(c: Channel, value: u8) -> u8:
    c.data[c.position & 15] = value
    c.position = c.position + 1
    return value
def g(a: u8, b: u8 = 7, *, c: i16 = -3, d: u8 = Reg.STATUS) -> i64:
    return a + b * 10 + c * 100 + d * 1000
def f(c: Channel) -> i64:
    return i64(g(1) + g(c=note(c, 5), b=note(c, 6), a=note(c, 7)) + g(1, 2, d=0))
"""
    both(source)


def test_methods_call_methods(both: Both) -> None:
    source = """
class Counter(Struct):
    value: u16
    STEP = 3
    def bump(self, times: u8 = 1) -> u16:
        self.value = self.value + times * self.STEP
        return self.value
    def twice(self) -> u32:
        return self.bump() + self.bump(times=2)
class Box(Struct):
    counters: Counter[2]
    first: Counter
    def run(self) -> u32:
        return u32(self.counters[1].twice() + self.first.twice())
def f(c: Channel) -> u32:
    return Box.at(u64(address_of(c))).run()
"""
    assert both(source) == [3 + 9 + 3 + 9]


def test_several_results(both: Both) -> None:
    source = """
def three(c: Channel, a: u8) -> tuple[u8, i16, Drive]:
    return a, -a, c.drives[a & 1]
def again(c: Channel, a: u8) -> tuple[u8, i16, Drive]:
    return three(c, a)
def f(c: Channel, a: u8) -> i64:
    c.selected, low, drive = again(c, a)
    drive.status = 9
    low, high = 1, low
    return low + high * 1000 + c.drives[1].status
"""
    both(source, (0,), (1,), (255,))


def test_signed_fields_and_every_width(both: Both) -> None:
    source = """
class Widths(Struct):
    a: i8
    b: i16
    c: i32
    d: i64
    e: u64[2]
def f(c: Channel, x: i64, y: u64) -> i64:
    w = Widths.at(u64(address_of(c)))
    w.a = x
    w.b = x
    w.c = x
    w.d = y
    w.e[1] = x - y
    w.e[0] = w.a * w.b * w.c * w.d
    return i64(w.a + w.b + w.c + (w.d >> 3) - (w.e[0] & 0xFF))
"""
    edges = [-(2**63), -1, 0, 1, 127, 128, 32768, 2**31, 2**63 - 1]
    both(source, *((x, y % 2**64) for x in edges for y in edges))


def test_arrays_as_long_as_a_constant_says(both: Both) -> None:
    source = """
SIZE = 4
class Buffer(Struct):
    data: u8[SIZE]
    more: u16[Reg.STATUS]
def last(data: u8[SIZE]) -> u8:
    return data[SIZE - 1]
def f(b: Buffer, i: u8) -> u32:
    b.data[SIZE - 1] = i
    b.more[i] = last(b.data) + len(b.more)
    data: u8[SIZE] = b.data
    return data[-1] + b.more[-1]
"""
    assert both(source, (0,), (6,)) == [0, 19]


def test_augmented_stores_to_fields_wrap(both: Both) -> None:
    source = """
class Counts(Struct):
    a: u8
    b: i16
    c: u64
    d: u32[2]
    def next(self) -> u8:
        self.a += 1
        return self.a & 1
def f(c: Channel, x: u8, y: i16, z: u64) -> u64:
    counts = Counts.at(u64(address_of(c)))
    counts.a = x
    counts.b = y
    counts.c = z
    counts.a += 200
    counts.b -= 0x7FFF
    counts.b <<= 3
    counts.c += z
    counts.c *= 3
    counts.a ^= -1
    counts.d[counts.next()] -= 1
    counts.d[counts.next()] |= counts.c
    counts.b //= -7
    return counts.c
"""
    edges = [(0, 0, 0), (255, -1, 2**64 - 1), (56, 32767, 1), (127, -32768, 2**63)]
    both(source, *edges)


def test_floor_division_and_modulo_round_as_python_does(both: Both) -> None:
    source = """
def f(a: i64, b: i64) -> i64:
    if b == 0:
        return 0
    return i64(i64(a // b) * 31 + a % b)
"""
    edges = [-(2**63), -7, -1, 0, 1, 3, 2**63 - 1]
    both(source, *((a, b) for a in edges for b in edges))


def test_shifts_beyond_the_word(both: Both) -> None:
    source = """
def f(a: u64, b: i64, n: u8) -> u64:
    return u64(u64(a << n) + (a >> n) + u64(b >> n) + u64(b << n))
"""
    counts = [0, 1, 31, 63, 64, 65, 200, 255]
    both(source, *((2**64 - 1, -(2**63) + 5, n) for n in counts))


def test_comparisons_of_signed_with_unsigned(both: Both) -> None:
    source = """
def f(a: u64, b: i64) -> u8:
    return (a < b) + 2 * (a == b) + 4 * (a >= b) + 8 * (min(a, 5) > b) + 16 * (-a < b)
""".replace("16 * (-a < b)", "16 * (b != 0)")
    edges = [0, 1, 2**63 - 1, 2**63, 2**64 - 1]
    both(source, *((a, (b + 2**63) % 2**64 - 2**63) for a in edges for b in edges))


def test_tables_and_bytes(both: Both) -> None:
    source = """
TABLE = (5, -70000, 2**40, Reg.STATUS)
NAME = b"VESTIGE"
def f(i: u8) -> i64:
    return TABLE[i & 3] + NAME[i % len(NAME)] + TABLE[-1] + (i in TABLE) + (i in NAME)
"""
    both(source, *((i,) for i in (0, 1, 2, 3, 5, 7, 86, 255)))


@pytest.mark.parametrize(
    "table",
    [
        "(0, 255)", "(-128, 127)", "(-1, 128)", "(0, 65535)", "(-1, 40000)", "(5, 2**32 - 1)",
        "(-1, 2**31)", "(0, 2**64 - 1)", "(-(2**63), 2**63 - 1)", "(-1, 2**64 - 1)", "(1 << 70, 3)",
    ],
)  # fmt: skip
def test_tables_of_every_width(both: Both, table: str) -> None:
    source = f"""
TABLE = {table}
def f(i: u8) -> u64:
    return u64(TABLE[i] + 1)
"""
    both(source, (0,), (1,))


def test_flags_mean_what_they_mean_in_this_cpython(both: Both) -> None:
    source = """
def f(c: Channel, a: u8, b: u32) -> u32:
    c.selected = a & ~Status.BSY
    c.position = (Status.BSY | Status.DRQ) ^ a
    return (b & ~Status.DRQ) | int(Status.BSY)
"""
    both(source, (0xFF, 0xFFFFFFFF), (0, 0x100), (8, 8))


def test_truth_min_max_abs_bool_len(both: Both) -> None:
    source = """
def f(c: Channel, a: i8, b: u8) -> i32:
    n = max(a, b, 3) - min(a, b, 100, Reg.STATUS) + abs(a)
    return n + bool(a) + len(c.data) + len(c.drives[0].buffer) + int(not b) + (+a)
"""
    both(source, *((a, b) for a in (-128, -1, 0, 127) for b in (0, 1, 255)))


def test_functions_of_several_results_of_one_and_of_none(both: Both) -> None:
    source = """
def one(a: u8) -> tuple[u16]:
    return (a + 1,)
def none(c: Channel) -> None:
    c.selected = 3
    return
def f(c: Channel, a: u8) -> u16:
    (x,) = one(a)
    none(c)
    return x
"""
    both(source, (255,))


def test_noreturn_ends_a_function(both: Both) -> None:
    source = """
def never(a: u8) -> NoReturn:
    while True:
        if a == 9:
            panic(a)
        pause()
def f(a: u8) -> u8:
    if a < 5:
        return a
    never(9)
"""
    both(source, (3,))


def test_enumerations_as_parameters_and_results(both: Both) -> None:
    source = """
def pick(a: u8) -> Reg:
    return Reg.DATA if a else Reg.STATUS
def weigh(reg: Reg, flags: Status) -> u16:
    return reg * 256 + (flags & Status.BSY)
def f(a: u8) -> u16:
    return weigh(pick(a), Status.BSY | Status.DRQ)
"""
    assert both(source, (0,), (1,)) == [7 * 256 + 0x80, 0x80]


def test_annotated_locals_hold_what_they_say(both: Both) -> None:
    source = """
def f(a: u64) -> u32:
    n: u32 = 0
    flag: bool = a > 3
    more: int = 5
    while a:
        n = u32(n + a + flag + more)
        a >>= 1
    return n
"""
    both(source, (0,), (12345678901234567890,))


def test_constant_conditions_compile_one_side(both: Both) -> None:
    source = """
DEBUG = False
def f(a: u8) -> u8:
    if DEBUG and a:
        return a
    while True:
        return 3 if not DEBUG else a
"""
    assert both(source, (9,)) == [3]


def test_the_else_of_a_loop_runs_where_no_break_left_it(both: Both) -> None:
    source = """
def found(c: Channel, byte: u8) -> u8:
    for i in range(len(c.data)):
        if c.data[i] == byte:
            break
    else:
        return 99
    return i
def f(c: Channel, a: u8) -> u32:
    n, tries = 20, 0
    c.data[5] = 7
    while n > a:
        n -= 3
        if n == 11:
            tries = u32(tries + 100)
            break
        if n == 14:
            continue
        tries = u32(tries + 1)
    else:
        tries = u32(tries + 1000)
    return u32(u32(tries) * 100 + found(c, a))
"""
    inputs = [(0,), (7,), (11,), (14,), (20,)]
    assert both(source, *inputs) == [10100, 10105, 10199, 100199, 100099]


def test_a_loop_whose_else_returns_ends_a_function(both: Both) -> None:
    source = """
def f(a: u8) -> u8:
    while True:
        if a > 3:
            break
        return 1
    for _ in range(a):
        pass
    else:
        return 2
"""
    assert both(source, (0,), (4,)) == [1, 2]


def test_what_no_way_leads_to_is_not_compiled(both: Both) -> None:
    source = """
DEBUG, LEVEL, NAMES = False, 3, ()
def f(a: u8) -> u8:
    if DEBUG or LEVEL < 2 or 5 < LEVEL < (a / 2):
        return a / 2
    elif NAMES and a / 2 or not LEVEL:
        raise ValueError
    while not LEVEL:
        a = a / 2
    b = a + 1 if 2 < LEVEL < 4 else a / 2
    c = (DEBUG and a / 2) + (LEVEL or a / 2)
    check(LEVEL == 3 or a / 2)
    match a:
        case 3 if DEBUG and a / 2:
            return a / 2
        case _:
            return u8(b + c)
            raise ValueError
    assert a
"""
    assert both(source, (3,), (255,)) == [7, 3]


def test_and_or_of_constants_with_others(both: Both) -> None:
    source = """
YES, NO = 5, 0
def f(a: u8, b: u8) -> u64:
    n = a and NO and b / 2
    n = n * 10 + (a or YES or b / 2)
    n = n * 1000 + (YES and a and YES and b)
    n = n * 1000 + (NO or a or NO or b)
    return u64(n * 10 + (not (YES and NO)) + (a < 7 < YES) + (NO < YES < a))
"""
    both(source, *((a, b) for a in (0, 3, 200) for b in (0, 4)))


def test_nothing_is_in_an_empty_tuple(both: Both) -> None:
    source = """
def f(c: Channel, a: u8) -> u8:
    if c.data[a] in () or 3 in (4, 5) or 3 not in (3, 4):
        return 1
    return (a in ()) + (a not in ()) * 2
"""
    assert both(source, (0,)) == [2]


def test_raw_memory_and_atomics(both: Both) -> None:
    source = """
def f(c: Channel) -> u64:
    start = address_of(c.drives[0].buffer)
    store64(start, 0x1122334455667788)
    store16(u64(start + 2), 0xABCD)
    store8(u64(start + 9), 0x7F)
    store32(u64(start + 12), 0xFFFFFFFF)
    old = atomic_exchange32(start, 5)
    seen = atomic_compare_exchange32(start, 5, 6)
    missed = atomic_compare_exchange32(start, 5, 7)
    before = atomic_add64(u64(start + 8), 2**63)
    store_release32(u64(start + 16), load_acquire32(start))
    fence()
    fill(u64(start + 32), 0x5A, 9)
    copy(u64(start + 64), start, 48)
    return u64(old + seen + missed + before + load32(start) + load16(u64(start + 2)) + load8(start))
"""
    both(source)


def test_guest_memory_in_both_parts(both: Both) -> None:
    source = """
def f(c: Channel, gpa: u64) -> u64:
    ram = Memory.at(u64(address_of(c.drives[0].buffer)))
    ram.low = u64(address_of(c.drives[1].buffer))
    ram.low_size = 64
    ram.high = ram.low + 64
    ram.high_size = 128
    found = ram.contains(gpa, 8)
    if found:
        ram.store64(gpa, 0x0102030405060708)
        ram.store8(gpa, 0xFF)
        found = u64(ram.load16(gpa) + ram.load32(gpa) + ram.load64(gpa))
    ram.low = 0
    ram.high = 0
    return u64(found)
"""
    high = 1 << 32
    edges = [0, 56, 57, 63, 64, high - 1, high, high + 120, high + 121, 2**64 - 1, 2**64 - 8]
    both(source, *((gpa,) for gpa in edges))


def test_ctypes_sizeof(both: Both) -> None:
    source = """
import ctypes
def f(c: Channel) -> u64:
    return ctypes.sizeof(Drive) * 10000 + ctypes.sizeof(c.data)
"""
    both(source)


def test_functions_of_one_name_are_kept_apart(both: Both) -> None:
    source = """
def _first(a: u8) -> u8:
    return a
_one = _first
def _first(a: u8) -> u8:
    return a // 2
def f(a: u8) -> u16:
    return _one(a) * 100 + _first(a)
"""
    assert both(source, (9,)) == [904]

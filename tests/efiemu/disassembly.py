"""What GNU's disassembler says of an instruction, and what our decoder does, in the same words."""

import itertools
import random
import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from tests import compiling
from vestige.efiemu.shell.decode import Decoded, Decoder
from vestige.efiemu.shell.instruction import (
    INSTRUCTION_POINTER,
    LONGEST,
    NOTHING,
    Instruction,
    Operation,
    SegmentRegister,
)
from vestige.lang.native import NativeImage

SLOT, NOP = 32, b"\x90"
MACHINES = {2: "i8086", 4: "i386", 8: "i386:x86-64"}  # by the size of code
ARITHMETIC = ("add", "or", "adc", "sbb", "and", "sub", "xor", "cmp")
NAMES = {
    **{Operation(number): name for number, name in enumerate(ARITHMETIC)},
    Operation.EXCHANGE: "xchg", Operation.TEST: "test", Operation.NOT: "not",
    Operation.NEGATE: "neg", Operation.INCREMENT: "inc", Operation.DECREMENT: "dec",
    Operation.BIT_TEST: "bt", Operation.BIT_SET: "bts", Operation.BIT_RESET: "btr",
    Operation.BIT_COMPLEMENT: "btc", Operation.MOVE_STRING: "movs", Operation.STORE_STRING: "stos",
    Operation.LOAD_STRING: "lods", Operation.INPUT_STRING: "ins", Operation.OUTPUT_STRING: "outs",
}  # fmt: skip
STRINGS = ("movs", "stos", "lods", "ins", "outs")
ORDERED = (*ARITHMETIC, "mov")  # the order of their operands means something
LOCKABLE = (*ARITHMETIC[:-1], "not", "neg", "inc", "dec", "bts", "btr", "btc")
PLAIN_MOVES = ("mov", "movabs", "movnti")
KNOWN_NAMES = {*NAMES.values(), *PLAIN_MOVES, "movzx", "movsx", "movsxd"}
NO_ADDRESS = (NOTHING, NOTHING, 0, 0)
OPCODES = (
    *(bytes((group << 3 | form,)) for group in range(8) for form in range(4)),
    *(bytes((each,)) for each in (0x63, 0x6C, 0x6D, 0x6E, 0x6F, 0x80, 0x81, 0x83)),
    *(bytes((each,)) for each in range(0x84, 0x8C)),
    *(bytes((each,)) for each in (0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xAA, 0xAB, 0xAC, 0xAD)),
    *(bytes((each,)) for each in (0xC6, 0xC7, 0xF6, 0xF7, 0xFE, 0xFF)),
    *(bytes((0x0F, each)) for each in (0xB6, 0xB7, 0xBE, 0xBF, 0xBA, 0xC3)),
)
# How often each: one in so many.
PREFIX_BYTES = (
    (0x66, 4), (0x67, 4), (0xF0, 10), (0xF2, 20), (0xF3, 10),
    (0x26, 20), (0x2E, 20), (0x36, 20), (0x3E, 20), (0x64, 10), (0x65, 10),
)  # fmt: skip
LEGACY = ("ax", "cx", "dx", "bx", "sp", "bp", "si", "di")
HIGH = ("ah", "ch", "dh", "bh")
SIZES = {"BYTE": 1, "WORD": 2, "DWORD": 4, "QWORD": 8}
SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs")
PREFIXES = (
    *("data16", "data32", "addr16", "addr32", "xacquire", "xrelease", "lock", *SEGMENTS),
    *("rep", "repz", "repnz"),
)
MEMORY = re.compile(r"(?:(BYTE|WORD|DWORD|QWORD) PTR )?(?:([c-gs]s):)?(\[[^]]*\]|0x[0-9a-f]+)")


class Words(NamedTuple):
    """An instruction, as it is written."""

    length: int
    name: str
    size: int  # of memory
    width: int  # of the register, 0: none
    register: int | None
    high: bool
    immediate: int | None
    to_memory: bool
    segment: int
    address: tuple[int, int, int, int]  # base, index, scale, displacement
    address_size: int | None  # None: it does not tell
    locked: bool
    repeated: bool


def registers() -> dict[str, tuple[int, int, bool]]:
    """Name → number, size, high."""
    names: dict[str, tuple[int, int, bool]] = {}
    for number in range(16):
        if number < 8:
            two = LEGACY[number]
            low = two[0] + "l" if number < 4 else two + "l"
            names |= {low: (number, 1, False), two: (number, 2, False)}
            names |= {"e" + two: (number, 4, False), "r" + two: (number, 8, False)}
        else:
            for letter, size in (("b", 1), ("w", 2), ("d", 4), ("", 8)):
                names[f"r{number}{letter}"] = (number, size, False)
    names |= {name: (number, 1, True) for number, name in enumerate(HIGH)}
    return names


REGISTERS = registers()
WORD_REGISTERS = tuple(name + "," for name, (_, size, _) in REGISTERS.items() if size == 2)


def disassemble(codes: Sequence[bytes], code_size: int) -> list[tuple[int, str]]:
    """The length and the text of the first instruction of each, by objdump.

    What follows it is disassembled, too, and has come to an end before the next one begins.
    """
    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        file.write(b"".join(code.ljust(SLOT, NOP) for code in codes))
        file.flush()
        command = ["objdump", "-D", "-w", "-b", "binary", "-m", MACHINES[code_size], "-M", "intel"]
        output = subprocess.run([*command, file.name], check=True, capture_output=True, text=True)
    lines = {}
    for line in output.stdout.splitlines():
        place, colon, rest = line.partition(":\t")
        if colon:
            raw, _, text = rest.partition("\t")
            lines[int(place, 16)] = (len(raw.split()), text)
    return [lines[SLOT * number] for number in range(len(codes))]


def parsed(length: int, text: str, code_size: int) -> Words | None:
    """What the disassembler's line says; None where it touches no memory in a way that we know."""
    words = text.partition("#")[0].split()
    before = list(itertools.takewhile(lambda word: word in PREFIXES or word[:3] == "rex", words))
    name, *rest = words[len(before) :] or ("",)
    if name not in KNOWN_NAMES or not rest:
        return None
    operands = " ".join(rest)
    places = list(MEMORY.finditer(operands))
    place = next((each for each in places if each[3][0] == "[" or each[2]), None)
    if name in STRINGS:
        return _string(length, name, places, before, code_size)
    if place is None or (operands.startswith(WORD_REGISTERS) and name == "movsxd"):
        return None
    to_memory = place.start() == 0
    other = (operands[place.end() :] if to_memory else operands[: place.start()]).strip(", ")
    size = SIZES[place[1]] if place[1] else 0
    register, width, high, immediate = None, 0, False, None
    if other in REGISTERS:
        register, width, high = REGISTERS[other]
    elif other:
        if not other.startswith(("0x", "-0x")):
            return None  # a segment or control register
        immediate = int(other, 16)
    size = size or width
    if immediate is not None:
        immediate %= 8 * size if name[:2] == "bt" else 1 << 8 * size
    segment = SEGMENTS.index(place[2]) if place[2] else None
    address, address_size, natural = _address(place[3])
    if code_size == 8 and (segment is None or segment < SegmentRegister.FS):
        segment = natural  # there is no other choice
    return Words(
        length, name, size, width, register, high, immediate, to_memory,
        natural if segment is None else segment, address, address_size,
        "lock" in before, False,
    )  # fmt: skip


def _string(
    length: int, name: str, places: list[re.Match[str]], before: list[str], code_size: int
) -> Words:
    size = SIZES[places[0][1]]
    register, width = (0, size) if name in ("stos", "lods") else (None, 0)
    segment = SegmentRegister.ES
    if name in ("movs", "lods", "outs"):
        (told,) = (each[2] for each in places if each[2] and "si]" in each[3])
        segment = SegmentRegister(SEGMENTS.index(told))
        if code_size == 8 and segment < SegmentRegister.FS:
            segment = SegmentRegister.DS
    _, address_size, _ = _address(places[0][3])
    return Words(
        length, name, size, width, register, False, None, False, segment, NO_ADDRESS, address_size,
        False, any(word.startswith("rep") for word in before),
    )  # fmt: skip


def _address(text: str) -> tuple[tuple[int, int, int, int], int | None, int]:
    """Of what stands in brackets; how many bytes an address has; its own segment."""
    base, index, scale, displacement, size = NOTHING, NOTHING, 0, 0, None
    for sign, term in re.findall(r"([+-]?)([^+-]+)", text.strip("[]")):
        name, _, times = term.partition("*")
        if name in ("eip", "rip"):
            base, size = INSTRUCTION_POINTER, 8 if name == "rip" else 4
        elif name in ("eiz", "riz"):
            size = 8 if name == "riz" else 4
        elif name in REGISTERS:
            number, size, _ = REGISTERS[name]
            if times:
                index, scale = number, int(times).bit_length() - 1
            elif base == NOTHING:
                base = number
            else:
                index = number
        else:
            displacement = int(sign + term, 16)
    natural = SegmentRegister.SS if base in (4, 5) else SegmentRegister.DS
    bits = 8 * (size or 8)
    return (base, index, scale, displacement % (1 << bits)), size, natural


def ours(found: Instruction, code_size: int) -> Words:
    """What our decoder says, so that it can be compared."""
    operation = Operation(found.operation)
    immediate = None
    if operation == Operation.MOVE:
        name = "mov"
        if found.signed:
            name = "movsxd" if found.size == 4 else "movsx"
        elif found.register != NOTHING and found.width != found.size:
            name = "movzx"
    else:
        name = NAMES[operation]
    string = name in STRINGS
    one = name in ("not", "neg", "inc", "dec")
    register = found.register if found.register != NOTHING else None
    if register is None and not string and not one:
        immediate = found.immediate % (1 << 8 * found.size)
    address = (found.base, found.index, found.scale, found.displacement)
    segment = found.segment
    natural = SegmentRegister.SS if found.base in (4, 5) else SegmentRegister.DS
    if code_size == 8 and segment < SegmentRegister.FS and not string:
        segment = natural
    return Words(
        found.length, name, found.size, found.width if register is not None else 0, register,
        bool(found.high), immediate, bool(found.to_memory), segment,
        NO_ADDRESS if string else address, found.address_size,
        bool(found.locked), bool(found.repeated),
    )  # fmt: skip


def difference(code: bytes, code_size: int, length: int, text: str) -> str | None:
    """What our decoder says otherwise than the disassembler, if it does."""
    found = Instruction()
    outcome = decode(code, code_size, found)
    theirs = parsed(length, text, code_size)
    if outcome != Decoded.KNOWN:
        # Where LOCK must not be, the processor would not have got to the access.
        wanted = theirs is not None and (lockable(theirs) or "lock" not in text)
        return f"{Decoded(outcome).name}: {text}" if wanted else None
    mine = ours(found, code_size)
    if theirs is None:
        # It shows a REX prefix that another prefix follows as an instruction of its own.
        return None if text.rsplit(maxsplit=1)[-1].startswith("rex") else f"{mine}: {text}"
    name = "mov" if theirs.name in PLAIN_MOVES else theirs.name
    if name == "movzx" and theirs.size == theirs.width:
        name = "mov"
    size = mine.address_size or 0
    theirs = theirs._replace(
        name=name, to_memory=theirs.to_memory and name in ORDERED, address_size=size,
        address=within(theirs.address, size), locked=theirs.locked or name == "xchg",
        repeated=theirs.repeated and name in STRINGS,
    ) if theirs.address_size in (None, size) else theirs  # fmt: skip
    mine = mine._replace(
        to_memory=mine.to_memory and name in ORDERED, address=within(mine.address, size),
        repeated=mine.repeated and name in STRINGS,
    )  # fmt: skip
    return None if mine == theirs else f"{mine}\n{theirs}\n{text}"


def lockable(words: Words) -> bool:
    """APM volume 3, 1.2.5."""
    return words.name == "xchg" or (words.to_memory and words.name in LOCKABLE)


def within(address: tuple[int, int, int, int], address_size: int) -> tuple[int, int, int, int]:
    """With a displacement of no more bits than an address has."""
    base, index, scale, displacement = address
    return base, index, scale, displacement % (1 << 8 * address_size)


def decode(code: bytes, code_size: int, into: Instruction) -> int:
    """Decode the bytes, in CPython and compiled; what both say."""
    put_code(into, code)
    other = Instruction.from_buffer_copy(into)
    outcome = Decoder().decode(code_size, into)
    assert compiled()["Decoder.decode"](Decoder(), code_size, other) == outcome
    assert bytes(memoryview(other)) == bytes(memoryview(into)), code.hex(" ")
    return int(outcome)


def put_code(into: Instruction, code: bytes) -> None:
    """The bytes that are to be decoded, or the first of them."""
    into.count = min(len(code), LONGEST)
    for number in range(into.count):
        into.bytes[number] = code[number]


@cache
def compiled() -> NativeImage:
    """The decoder's code."""
    functions: list[Callable[..., object]] = [Decoder.decode]
    return compiling.native(functions)


def random_code(chance: random.Random, code_size: int) -> bytes:
    """Most of it an instruction that we know, with any operand."""
    prefixes = bytearray()
    for prefix, often in PREFIX_BYTES:
        if chance.randrange(often) == 0:
            prefixes.append(prefix)
    chance.shuffle(prefixes)
    if code_size == 8 and chance.randrange(2):
        prefixes.append(chance.randrange(0x40, 0x50))
    if chance.randrange(8) == 0:
        opcode = bytes((chance.randrange(256),))
    else:
        opcode = chance.choice(OPCODES)
    tail = bytearray(chance.randbytes(12))
    if chance.randrange(3):
        tail[0] &= 0x3F | chance.choice((0, 0x40, 0x80))
    if chance.randrange(3) == 0:
        tail[0] &= 0xC7  # the first of those that the extension of an opcode tells
    return bytes(prefixes + opcode + tail)[:LONGEST]


def compare(count: int, chance: random.Random) -> str | None:
    """Decode so many random instructions for each size of code: what is wrong, if something is."""
    for code_size in MACHINES:
        codes = [random_code(chance, code_size) for _ in range(count)]
        for code, (length, text) in zip(codes, disassemble(codes, code_size), strict=True):
            problem = difference(code, code_size, length, text)
            if problem:
                return f"{8 * code_size} bits, {code.hex(' ')}: {problem}"
    return None

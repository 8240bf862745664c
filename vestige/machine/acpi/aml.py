"""Emits AML, the byte code of ACPI's namespace: each function returns the bytes of one term.

Source: ACPI 6.5, chapter 20. Only what this machine's tables use is here.
"""

ZERO, ONE, ONES = b"\x00", b"\x01", b"\xff"
RETURN_VALUE_LIMIT = 1 << 64


def integer(value: int) -> bytes:
    """An integer in its shortest form (20.2.3). Raises ValueError outside of 64 bits unsigned."""
    if not 0 <= value < RETURN_VALUE_LIMIT:
        raise ValueError(f"{value} is no 64-bit integer")
    if value < 2:
        return bytes([value])
    for size, prefix in ((1, b"\x0a"), (2, b"\x0b"), (4, b"\x0c")):
        if value < 1 << 8 * size:
            return prefix + value.to_bytes(size, "little")
    return b"\x0e" + value.to_bytes(8, "little")


def string(text: str) -> bytes:
    """An ASCII string."""
    return b"\x0d" + text.encode("ascii") + b"\0"


def package_length(length: int) -> bytes:
    """PkgLength (20.2.4) of `length` bytes that follow; it counts itself too.

    Raises ValueError for what 28 bits can't hold.
    """
    if length + 1 < 1 << 6:
        return bytes([length + 1])
    for extra in (1, 2, 3):
        total = length + 1 + extra
        if total < 1 << 4 + 8 * extra:
            return bytes([extra << 6 | total & 0xF]) + (total >> 4).to_bytes(extra, "little")
    raise ValueError(f"{length} bytes are too many for one AML package")


def _packed(opcode: bytes, body: bytes) -> bytes:
    return opcode + package_length(len(body)) + body


def path(text: str) -> bytes:
    """A name path such as `\\_SB.PCI0`; segments shorter than four are padded with `_`."""
    root, text = (b"\\", text[1:]) if text.startswith("\\") else (b"", text)
    segments = [segment.ljust(4, "_").encode("ascii") for segment in text.split(".") if segment]
    if any(len(segment) != 4 for segment in segments):
        raise ValueError(f"{text}: a name segment has at most four characters")
    match len(segments):
        case 0:
            prefix = b"\0"
        case 1:
            prefix = b""
        case 2:
            prefix = b"\x2e"
        case count:
            prefix = b"\x2f" + bytes([count])
    return root + prefix + b"".join(segments)


def name(text: str, value: bytes) -> bytes:
    """Name (text, value)."""
    return b"\x08" + path(text) + value


def scope(text: str, *terms: bytes) -> bytes:
    """Scope (text) { terms }."""
    return _packed(b"\x10", path(text) + b"".join(terms))


def device(text: str, *terms: bytes) -> bytes:
    """Device (text) { terms }."""
    return _packed(b"\x5b\x82", path(text) + b"".join(terms))


def method(text: str, arguments: int, *terms: bytes, serialized: bool = False) -> bytes:
    """Method (text, arguments, Serialized?) { terms }."""
    flags = arguments | serialized << 3
    return _packed(b"\x14", path(text) + bytes([flags]) + b"".join(terms))


def package(*elements: bytes) -> bytes:
    """Package () { elements }."""
    return _packed(b"\x12", bytes([len(elements)]) + b"".join(elements))


def buffer(data: bytes) -> bytes:
    """Buffer () { data }."""
    return _packed(b"\x11", integer(len(data)) + data)


def eisa_id(text: str) -> bytes:
    """EisaId (text), such as PNP0A08: three letters and four hexadecimal digits (19.6.36)."""
    first, second, third = (ord(letter) - 0x40 for letter in text[:3])
    code = first << 26 | second << 21 | third << 16 | int(text[3:], 16)
    return integer(int.from_bytes(code.to_bytes(4, "big"), "little"))


def uuid(text: str) -> bytes:
    """ToUUID (text): the first three groups little-endian (19.6.142)."""
    data = bytes.fromhex(text.replace("-", ""))
    return buffer(data[3::-1] + data[5:3:-1] + data[7:5:-1] + data[8:])


def argument(number: int) -> bytes:
    """ArgN of a method."""
    return bytes([0x68 + number])


def local(number: int) -> bytes:
    """LocalN of a method."""
    return bytes([0x60 + number])


def notify(target: bytes, value: int) -> bytes:
    """Notify (target, value)."""
    return b"\x86" + target + integer(value)


def return_(value: bytes) -> bytes:
    """Return (value)."""
    return b"\xa4" + value


def if_(condition: bytes, *terms: bytes) -> bytes:
    """If (condition) { terms }."""
    return _packed(b"\xa0", condition + b"".join(terms))


def region(text: str, space: int, offset: int, length: int) -> bytes:
    """OperationRegion (text, space, offset, length)."""
    return b"\x5b\x80" + path(text) + bytes([space]) + integer(offset) + integer(length)


def field(text: str, *names: str) -> bytes:
    """Field (text, ByteAcc, NoLock, Preserve): a byte for each of these names, one by one."""
    byte_access = 1
    bits = b"\x08"
    units = b"".join(name.encode("ascii") + bits for name in names)
    return _packed(b"\x5b\x81", path(text) + bytes([byte_access]) + units)


def store(value: bytes, target: bytes) -> bytes:
    """Store (value, target)."""
    return b"\x70" + value + target


def and_into(target: bytes, left: bytes, right: bytes) -> bytes:
    """And (left, right, target)."""
    return b"\x7b" + left + right + target


def less(left: bytes, right: bytes) -> bytes:
    """LLess (left, right)."""
    return b"\x95" + left + right


def not_equal(left: bytes, right: bytes) -> bytes:
    """LNotEqual (left, right)."""
    return b"\x92\x93" + left + right


def or_into(target: bytes, value: bytes) -> bytes:
    """Or (target, value, target)."""
    return b"\x7d" + target + value + target


def create_dword_field(source: bytes, offset: int, text: str) -> bytes:
    """CreateDWordField (source, offset, text)."""
    return b"\x8a" + source + integer(offset) + path(text)

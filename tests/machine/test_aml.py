"""AML terms against the specification's encoding rules, decoded independently."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestige.machine.acpi import aml

LONGEST = (1 << 28) - 1


def decode_package_length(data: bytes) -> tuple[int, int]:
    """ACPI 6.5, 20.2.4: the length (itself included) and the size of its encoding."""
    extra = data[0] >> 6
    if extra == 0:
        return data[0] & 0x3F, 1
    value = data[0] & 0xF
    for index in range(extra):
        value |= data[1 + index] << 4 + 8 * index
    return value, 1 + extra


def decode_integer(data: bytes) -> int:
    """ACPI 6.5, 20.2.3."""
    sizes = {0x0A: 1, 0x0B: 2, 0x0C: 4, 0x0E: 8}
    if data[0] in (0, 1):
        assert len(data) == 1
        return data[0]
    assert len(data) == 1 + sizes[data[0]]
    return int.from_bytes(data[1:], "little")


@given(st.one_of(st.integers(0, 5000), st.integers(0, LONGEST - 4)))
def test_package_lengths_count_themselves(length: int) -> None:
    data = aml.package_length(length)
    assert decode_package_length(data) == (length + len(data), len(data))


@given(st.one_of(st.integers(0, 5000), st.integers(0, LONGEST - 4)))
def test_package_lengths_are_as_short_as_can_be(length: int) -> None:
    data = aml.package_length(length)
    limits = {1: 0, 2: 1 << 6, 3: 1 << 12, 4: 1 << 20}
    assert length + len(data) - 1 >= limits[len(data)]


@pytest.mark.parametrize(
    ("length", "data"),
    [
        (0, "01"),
        (0x3E, "3f"),
        (0x3F, "4104"),
        (0xFFD, "4fff"),
        (0xFFE, "810001"),
        (0xFFFFC, "8fffff"),
        (0xFFFFD, "c1000001"),
    ],
)
def test_package_lengths_at_each_edge(length: int, data: str) -> None:
    assert aml.package_length(length).hex() == data


def test_a_package_too_long_for_28_bits_is_refused() -> None:
    assert len(aml.package_length(LONGEST - 4)) == 4
    with pytest.raises(ValueError, match="too many"):
        aml.package_length(LONGEST - 3)


@given(st.one_of(st.integers(0, 300), st.integers(0, 2**64 - 1)))
def test_integers_come_back(value: int) -> None:
    assert decode_integer(aml.integer(value)) == value


@given(st.integers(2, 2**64 - 1))
def test_integers_are_as_short_as_can_be(value: int) -> None:
    size = len(aml.integer(value)) - 1
    assert size == 1 or value >= 1 << 8 * (size // 2)


@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_integers_beyond_64_bits_are_refused(value: int) -> None:
    with pytest.raises(ValueError, match="64-bit"):
        aml.integer(value)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("\\", b"\\\0"),
        ("_S5", b"_S5_"),
        ("\\_SB.PCI0", b"\\\x2e_SB_PCI0"),
        ("\\_SB.PCI0.LNKA", b"\\\x2f\x03_SB_PCI0LNKA"),
    ],
)
def test_name_paths(text: str, data: bytes) -> None:
    assert aml.path(text) == data


def test_a_long_name_segment_is_refused() -> None:
    with pytest.raises(ValueError, match="four characters"):
        aml.path("\\_SB.SERIAL")


def test_eisa_ids_as_the_specification_packs_them() -> None:
    assert aml.eisa_id("PNP0A08") == b"\x0c\x41\xd0\x0a\x08"
    assert aml.eisa_id("PNP0501") == b"\x0c\x41\xd0\x05\x01"


def test_uuids_have_their_first_groups_little_endian() -> None:
    assert aml.uuid("33DB4D5B-1FF7-401C-9657-7441C03DD766")[-16:] == bytes.fromhex(
        "5b4ddb33f71f1c4096577441c03dd766"
    )

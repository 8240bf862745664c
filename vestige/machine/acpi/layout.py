"""Tables that point to each other, before anybody knows where they will be."""

from _collections_abc import Sequence

ALIGNMENT = 64  # bytes; the FACS needs it, ACPI 6.5, 5.2.10


class Table:
    """One table, with 0 where an address of another goes, or a checksum of these.

    `pointers` are (offset, bytes, the other table). `checksums` are (offset, length): a byte that
    makes the sum of the table's first `length` bytes zero.
    """

    __slots__ = ("checksums", "data", "pointers")

    def __init__(
        self,
        data: bytes,
        pointers: "Sequence[tuple[int, int, Table]]" = (),
        checksums: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.data = data
        self.pointers = pointers
        self.checksums = checksums


def join(tables: Sequence[Table]) -> tuple[bytearray, dict[Table, int]]:
    """The tables one after the other, aligned; the offset of each."""
    area = bytearray()
    offsets: dict[Table, int] = {}
    for table in tables:
        offsets[table] = len(area)
        area += table.data
        area += bytes(-len(area) % ALIGNMENT)
    return area, offsets


def point(area: bytearray, start: int, table: Table, places: dict[Table, int]) -> None:
    """Write where others are into the table at `start` of the area."""
    for offset, size, other in table.pointers:
        at = start + offset
        area[at : at + size] = places[other].to_bytes(size, "little")


def checksum(data: bytes | bytearray) -> int:
    """The byte that makes the sum of `data` zero, whose own place holds 0."""
    return -sum(data) & 0xFF

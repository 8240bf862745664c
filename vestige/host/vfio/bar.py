"""Which part of an NVMe controller's BAR 0 may be mapped: whole pages without MSI-X tables.

Whoever writes the MSI-X table makes the controller raise any interrupt of this machine that the
IOMMU lets through, so the monitor must never reach it. PCI Local Bus 3.0, 6.8.2 (capability,
table, pending bits); NVM Express 1.4, 3.1 (registers from 0, doorbells from 0x1000).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from vestige.errors import UsageError

PAGE = 4096
STATUS, STATUS_CAPABILITIES = 0x06, 1 << 4
CAPABILITIES = 0x34
MSIX_CAPABILITY = 0x11
CONFIG_SIZE = 256
TABLE_ENTRY = 16  # bytes a vector
FIRST_DOORBELLS = 0x2000  # the page of registers and the first page of doorbells


class Msix(NamedTuple):
    """A device's MSI-X capability; `table` and `pending` are (BAR, offset, bytes)."""

    vectors: int
    table: tuple[int, int, int]
    pending: tuple[int, int, int]


def msix_of(config: bytes) -> Msix | None:
    """The MSI-X capability in the first 256 bytes of configuration space; None: it has none."""
    if not config[STATUS] & STATUS_CAPABILITIES:
        return None
    for place in _capabilities(config):
        if config[place] == MSIX_CAPABILITY:
            vectors = (_word(config, place + 2, 2) & 0x7FF) + 1
            table, pending = _word(config, place + 4, 4), _word(config, place + 8, 4)
            return Msix(
                vectors,
                (table & 7, table & ~7, vectors * TABLE_ENTRY),
                (pending & 7, pending & ~7, -(-vectors // 64) * 8),
            )
    return None


def _capabilities(config: bytes) -> Iterator[int]:
    """Offsets of the capabilities; a chain that runs in a circle ends."""
    place, seen = config[CAPABILITIES] & ~3, set[int]()
    while 0x40 <= place <= CONFIG_SIZE - 12 and place not in seen:
        seen.add(place)
        yield place
        place = config[place + 1] & ~3


def _word(config: bytes, offset: int, size: int) -> int:
    return int.from_bytes(config[offset : offset + size], "little")


def mappable(length: int, msix: Msix, areas: Sequence[tuple[int, int]] | None, limit: int) -> int:
    """How many bytes of BAR 0 from its start may be mapped, in whole pages, at most `limit`.

    `areas` are the (offset, bytes) that VFIO lets be mapped, None: all. Raises UsageError where
    that leaves no room for registers and doorbells.
    """
    end = min(length, limit)
    if areas is not None:
        end = min(end, max((start + size for start, size in areas if start == 0), default=0))
    for bar, offset, _ in (msix.table, msix.pending):
        if bar == 0:
            end = min(end, offset)
    end = end // PAGE * PAGE
    if end < FIRST_DOORBELLS:
        bar, offset, _ = msix.table
        raise UsageError(
            f"its registers share pages with its MSI-X table (BAR {bar}, offset {offset:#x}): a"
            " guest that reached that could interrupt this machine; use another controller"
        )
    return end

"""The items of fw_cfg as they lie at abi.FIRMWARE_ITEMS. QEMU, docs/specs/fw_cfg.rst."""

import ctypes
import struct
from _collections_abc import Mapping

from vestige.abi import (
    FIRMWARE_ITEMS_SIZE,
    MAX_FIRMWARE_ITEMS,
    FirmwareItem,
    FirmwareKey,
    FirmwareTable,
)
from vestige.errors import UsageError
from vestige.machine.files import Piece

SIGNATURE = b"QEMU"
FEATURES = 1 << 0 | 1 << 1  # the two registers, and DMA
NAME_SIZE = 56  # bytes of a name in the directory, with the NUL
ARCHITECTURE = 1 << 15  # in the keys of items that only a PC has
LAST_KEY = 0x3FFF  # without that bit
OWN_KEYS = (FirmwareKey.SIGNATURE, FirmwareKey.ID, FirmwareKey.FILE_DIRECTORY)
MAX_FILES = MAX_FIRMWARE_ITEMS - len(OWN_KEYS)


class Items:
    """All items: the table, `size` bytes with what it names."""

    __slots__ = ("_items", "size")

    def __init__(self, items: Mapping[int, bytes | Piece]) -> None:
        """`items` by their keys. Raises UsageError for more than there is room for."""
        if len(items) > MAX_FIRMWARE_ITEMS:
            raise UsageError(
                f"{len(items)} fw_cfg items: {MAX_FIRMWARE_ITEMS} is the most; give fewer"
            )
        self._items = items
        self.size = ctypes.sizeof(FirmwareTable) + sum(map(len, items.values()))
        if self.size > FIRMWARE_ITEMS_SIZE:
            raise UsageError(
                f"fw_cfg items of {self.size} bytes: {FIRMWARE_ITEMS_SIZE} is the most; give less"
            )

    def write(self, area: memoryview) -> None:
        """Put them there. Raises UsageError where a file can't be read."""
        table = FirmwareTable(count=len(self._items))
        offset = ctypes.sizeof(table)
        for number, (key, data) in enumerate(self._items.items()):
            size = len(data)
            table.items[number] = FirmwareItem(key=key, size=size, offset=offset)
            target = area[offset : offset + size]
            if isinstance(data, Piece):
                data.read(target)
            else:
                target[:] = data
            offset += size
        area[: ctypes.sizeof(table)] = bytes(table)

    def __bytes__(self) -> bytes:
        """The same as bytes."""
        area = bytearray(self.size)
        self.write(memoryview(area))
        return bytes(area)


def region(files: Mapping[str, bytes], items: Mapping[int, bytes | Piece]) -> Items:
    """What goes to abi.FIRMWARE_ITEMS: files by their names, other items by their keys.

    Signature, features and directory are there without being asked for. Raises UsageError for
    names and keys that can't be, and for more than there is room for.
    """
    for key in items:
        if key in OWN_KEYS:
            raise UsageError(f"fw_cfg item {key:#x}: it is made here; give no other")
        if not is_key(key):
            raise UsageError(
                f"fw_cfg item {key:#x}: keys are 0 to {FirmwareKey.FIRST_FILE - 1:#x} and"
                f" {ARCHITECTURE:#x} to {ARCHITECTURE | LAST_KEY:#x}; give such a key, or a name"
            )
    names = sorted(files)
    features = struct.pack("<I", FEATURES)
    own = (SIGNATURE, features, directory({name: len(files[name]) for name in names}))
    every: dict[int, bytes | Piece] = dict(zip(OWN_KEYS, own, strict=True))
    every |= items
    every |= {FirmwareKey.FIRST_FILE + number: files[name] for number, name in enumerate(names)}
    return Items(every)


def is_key(key: int) -> bool:
    """Whether an item without a name can have this key."""
    generic = 0 <= key < FirmwareKey.FIRST_FILE
    return generic or ARCHITECTURE <= key <= ARCHITECTURE | LAST_KEY


def directory(sizes: Mapping[str, int]) -> bytes:
    """The file directory: big-endian, an entry a file, in the order given."""
    if len(sizes) > MAX_FILES:
        raise UsageError(f"{len(sizes)} fw_cfg files: {MAX_FILES} is the most; give fewer")
    entries = [struct.pack(">I", len(sizes))]
    for number, (name, size) in enumerate(sizes.items()):
        if not name or not name.isascii() or not name.isprintable() or len(name) >= NAME_SIZE:
            raise UsageError(
                f"fw_cfg file {name!r}: a name has 1 to {NAME_SIZE - 1} printable characters of"
                " ASCII; give it such a name"
            )
        key = FirmwareKey.FIRST_FILE + number
        entries.append(struct.pack(f">IHH{NAME_SIZE}s", size, key, 0, name.encode()))
    return b"".join(entries)

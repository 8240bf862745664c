"""The items of fw_cfg as the host lays them out: QEMU's docs/specs/fw_cfg.rst."""

import os
import struct
from pathlib import Path

import pytest

from vestige.abi import FIRMWARE_ITEMS_SIZE, FirmwareKey, FirmwareTable
from vestige.errors import UsageError
from vestige.host.firmware.fw_cfg import MAX_FILES, region
from vestige.machine.files import Piece, open_input

FILES = {"opt/last": b"last", "etc/first": b"the first", "etc/second": b""}


def items(area: bytes) -> dict[int, bytes]:
    """Every item by its key, as the table says."""
    table = FirmwareTable.from_buffer_copy(area)
    listed = [table.items[number] for number in range(table.count)]
    return {item.key: area[item.offset : item.offset + item.size] for item in listed}


def test_each_item_has_its_key_and_its_bytes() -> None:
    found = items(bytes(region({}, {5: b"\2\0", 0x8003: b"e820"})))
    assert found.pop(FirmwareKey.FILE_DIRECTORY) == bytes(4)
    assert found == {0: b"QEMU", 1: bytes((3, 0, 0, 0)), 5: b"\2\0", 0x8003: b"e820"}


def test_the_directory_lists_the_files_by_name_in_big_endian() -> None:
    found = items(bytes(region(FILES, {})))
    directory = found[FirmwareKey.FILE_DIRECTORY]
    assert directory[:4] == bytes((0, 0, 0, 3))
    entries = [
        (name.rstrip(b"\0").decode(), size, key)
        for size, key, _, name in struct.iter_unpack(">IHH56s", directory[4:])
    ]
    assert entries == [("etc/first", 9, 0x20), ("etc/second", 0, 0x21), ("opt/last", 4, 0x22)]
    assert [found[key] for _, _, key in entries] == [b"the first", b"", b"last"]


@pytest.mark.parametrize("name", ["", "a" * 56, "opt/ü", "opt/\0"])
def test_a_name_that_can_not_be_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="1 to 55 printable"):
        region({name: b""}, {})


def test_a_name_may_have_55_characters() -> None:
    directory = items(bytes(region({"a" * 55: b""}, {})))[FirmwareKey.FILE_DIRECTORY]
    assert directory[12:] == b"a" * 55 + b"\0"


@pytest.mark.parametrize("key", [0, 1, 0x19, 0x20, 0x3FFF, 0x4002, 0xC000, -1])
def test_a_key_that_is_another_s_or_none_is_refused(key: int) -> None:
    with pytest.raises(UsageError, match="fw_cfg item"):
        region({}, {key: b""})


def test_as_many_files_as_there_is_room_for() -> None:
    files = {f"opt/{number}": b"" for number in range(MAX_FILES + 1)}
    with pytest.raises(UsageError, match=f"{MAX_FILES} is the most"):
        region(files, {})
    del files["opt/0"]
    assert len(items(bytes(region(files, {})))) == MAX_FILES + 3
    with pytest.raises(UsageError, match="items: 64 is the most"):
        region(files, {5: b""})


def test_as_many_bytes_as_there_is_room_for(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"")
    os.truncate(path, FIRMWARE_ITEMS_SIZE)
    room = FIRMWARE_ITEMS_SIZE - region({}, {0x11: b""}).size
    with open_input(str(path), "a file") as file:
        assert region({}, {0x11: Piece(file, 0, room)}).size == FIRMWARE_ITEMS_SIZE
        with pytest.raises(UsageError, match=f"{FIRMWARE_ITEMS_SIZE} is the most"):
            region({}, {0x11: Piece(file, 0, room + 1)})


def test_a_piece_of_a_file_is_an_item(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before the piece behind")
    with open_input(str(path), "a file") as file:
        found = items(bytes(region({}, {5: b"five", 0x11: Piece(file, 7, 9), 0x12: b"end"})))
    assert (found[5], found[0x11], found[0x12]) == (b"five", b"the piece", b"end")

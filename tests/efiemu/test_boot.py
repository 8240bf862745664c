"""What is booted from the disk: which file system, which file, with which load options."""

import ctypes
import struct
from uuid import UUID

import pytest

from tests.efiemu.firmware import (
    DEVICE_PATH,
    HANDLE_PROTOCOL,
    IMAGE,
    LOAD_IMAGE,
    LOCATE_HANDLES,
    NOT_FOUND,
    START_IMAGE,
    UNLOAD_IMAGE,
    Firmware,
    put,
)
from vestige.efiemu import pe
from vestige.efiemu.shell import uefi
from vestige.efiemu.shell.boot import boot
from vestige.efiemu.shell.options import read_options
from vestige.efiemu.shell.state import PATH_SIZE, Shell
from vestige.efiemu.shell.texts import Text
from vestige.efiemu.shell.uefi import LoadedImage
from vestige.lang.intrinsics import running_on

FILE_SYSTEM = UUID("964e5b22-6459-11d2-8e39-00a0c969723b")  # UEFI 2.10, 13.4.1
CONTROLLER, LOADED = 0x500, 0x600  # handles
END = b"\x7f\xff\x04\0"
DEFAULT = "\\EFI\\BOOT\\BOOTX64.EFI"


def node(kind: int, subtype: int, data: bytes) -> bytes:
    return struct.pack("<BBH", kind, subtype, 4 + len(data)) + data


ROOT = node(2, 1, b"\xd0\x41\x03\x0a\0\0\0\0")
HERE = ROOT + node(1, 1, b"\0\4")
DISK = HERE + node(3, 1, b"\0\0\0\0")
ELSEWHERE = ROOT + node(1, 1, b"\0\5") + node(3, 1, b"\0\0\0\0")


class Disks(Firmware):
    """With file systems: handles, the paths of them, and the files that are there."""

    def __init__(self, options: str, systems: dict[bytes, list[str]]) -> None:
        super().__init__(options)
        self.systems = systems
        self.paths = {CONTROLLER: HERE} | {
            0x800 + number: path for number, path in enumerate(systems)
        }
        self.tried: list[tuple[bytes, str]] = []
        self.started: list[str] = []
        self.refuses: dict[str, int] = {}  # files that are not loaded, with a status
        self.begin: dict[str, bytes] = {}  # what is at the beginning of files
        self.unloaded: list[int] = []
        self._loaded = LoadedImage()
        self.services |= {LOAD_IMAGE: self._load, START_IMAGE: self._start}
        self.services[UNLOAD_IMAGE] = self._unload
        self.services[LOCATE_HANDLES] = self._locate_systems
        self._others = self.services[HANDLE_PROTOCOL]
        self.services[HANDLE_PROTOCOL] = self._protocol

    def _locate_systems(
        self, kind: int, guid: int, key: int, count: int, table: int, *_: int
    ) -> int:
        assert ctypes.string_at(guid, 16) == FILE_SYSTEM.bytes_le
        rows = list(self.paths)[1:]
        if not rows:
            return NOT_FOUND
        return put(count, len(rows)) or put(table, self.put(struct.pack(f"<{len(rows)}Q", *rows)))

    def _protocol(self, handle: int, guid: int, answer: int, *_: int) -> int:
        if ctypes.string_at(guid, 16) == DEVICE_PATH.bytes_le:
            return put(answer, self.put(self.paths[handle] + END))
        if handle == LOADED:
            return put(answer, ctypes.addressof(self._loaded))
        return self._others(handle, guid, answer)

    def _load(self, policy: int, parent: int, path: int, data: int, size: int, answer: int) -> int:
        assert (policy, parent, data, size) == (0, IMAGE, 0, 0)
        whole = ctypes.string_at(path, PATH_SIZE)
        for system, files in self.systems.items():
            if whole.startswith(system + b"\x04\x04"):
                length = int.from_bytes(whole[len(system) + 2 :][:2], "little")
                name = whole[len(system) + 4 : len(system) + length].decode("utf-16-le")
                assert name.endswith("\0")
                assert whole[len(system) + length :].startswith(END)
                self.tried.append((system, name[:-1]))
                if name[:-1] not in files:
                    return NOT_FOUND
                status = self.refuses.get(name[:-1], uefi.SUCCESS)
                if status in (uefi.SUCCESS, uefi.SECURITY_VIOLATION):
                    put(answer, LOADED)
                self._loaded.base = self.put(self.begin.get(name[:-1], b"MZ").ljust(64, b"\0"))
                return status
        raise AssertionError

    def _start(self, handle: int, *_: int) -> int:
        assert handle == LOADED
        options = ""
        if self._loaded.options:
            text = ctypes.string_at(self._loaded.options, self._loaded.options_size)
            options = text.decode("utf-16-le")
        self.started.append(options)
        return uefi.ABORTED

    def _unload(self, handle: int, *_: int) -> int:
        self.unloaded.append(handle)
        return uefi.SUCCESS

    def boots(self) -> bool:
        """Whether anything was booted. If not, there is one line."""
        shell = Shell(boot=self.boot, output=self.table_of_system.output, handle=CONTROLLER)
        with running_on(self):
            assert read_options(shell, IMAGE) == Text.NOTHING
            boot(shell, IMAGE)
        assert len(self.lines) == (0 if self.started else 1)
        return bool(self.started)


def test_the_default_file_of_the_first_that_has_one_without_options() -> None:
    second = DISK + node(4, 1, bytes(38))
    firmware = Disks("", {ELSEWHERE: [DEFAULT], DISK: [], second: [DEFAULT]})
    assert firmware.boots()
    assert firmware.tried == [(DISK, DEFAULT), (second, DEFAULT)]
    assert firmware.started == [""]


NO_FILE_SYSTEM = "the disk has no file system that this firmware can read"
NO_FILE = "no file system of the disk has the file to boot (boot=FILE names another): "


@pytest.mark.parametrize(
    ("options", "systems", "line"),
    [
        ("", {}, NO_FILE_SYSTEM),
        ("", {ELSEWHERE: [DEFAULT]}, NO_FILE_SYSTEM),
        ("", {DISK: ["\\other.efi"]}, NO_FILE + DEFAULT),
        ("boot=/\xe9/x.efi single", {DISK: [DEFAULT]}, f"{NO_FILE}\\?\\x.efi"),
    ],
)
def test_there_may_be_nothing_to_boot(
    options: str, systems: dict[bytes, list[str]], line: str
) -> None:
    firmware = Disks(options, systems)
    assert not firmware.boots()
    assert firmware.lines == [f"efiemu: {line}"]
    assert not firmware.unloaded


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (uefi.UNSUPPORTED, "the file to boot is no EFI application for this processor: "),
        (uefi.LOAD_ERROR, "the file to boot is no EFI application for this processor: "),
        (uefi.ACCESS_DENIED, "Secure Boot does not permit the file to boot: "),
        (uefi.SECURITY_VIOLATION, "Secure Boot does not permit the file to boot: "),
        (1 << 63 | 7, "the firmware can't load the file to boot, status 8000000000000007: "),
    ],
)
def test_a_file_that_the_firmware_does_not_load_is_told_with_the_reason(
    status: int, line: str
) -> None:
    second = DISK + node(4, 1, bytes(38))
    firmware = Disks("boot=x.efi", {DISK: ["x.efi"], second: []})
    firmware.refuses["x.efi"] = status
    assert not firmware.boots()
    assert firmware.lines == [f"efiemu: {line}x.efi"]
    assert firmware.unloaded == ([LOADED] if status == uefi.SECURITY_VIOLATION else [])


def test_efiemu_does_not_start_itself() -> None:
    firmware = Disks("", {DISK: [DEFAULT]})
    firmware.begin[DEFAULT] = pe.DOS_HEADER
    assert not firmware.boots()
    reason = "the file to boot is efiemu itself (boot=FILE names another): "
    assert firmware.lines == [f"efiemu: {reason}{DEFAULT}"]
    assert firmware.unloaded == [LOADED]


def test_the_search_goes_on_behind_a_file_that_is_not_started() -> None:
    second = DISK + node(4, 1, bytes(38))
    firmware = Disks("", {DISK: [DEFAULT], second: [DEFAULT]})
    answers = iter((uefi.UNSUPPORTED, uefi.SUCCESS))
    load = firmware.services[LOAD_IMAGE]

    def by_turns(*arguments: int) -> int:
        firmware.refuses[DEFAULT] = next(answers)
        return load(*arguments)

    firmware.services[LOAD_IMAGE] = by_turns
    assert firmware.boots()
    assert firmware.tried == [(DISK, DEFAULT), (second, DEFAULT)]


@pytest.mark.parametrize("before", ["efiemu.efi nvme=00:04.0 ", "nvme=00:04.0 ", "", "x "])
@pytest.mark.parametrize("slash", ["\\", "/"])
def test_a_file_with_what_it_takes(slash: str, before: str) -> None:
    words = f"boot={slash}a{slash}linux.efi root=/dev/sda1 nvme=x quiet\0"
    firmware = Disks(f"{before}{words}", {DISK: ["\\a\\linux.efi"]})
    assert firmware.boots()
    assert firmware.tried == [(DISK, "\\a\\linux.efi")]
    assert firmware.started == [words.removeprefix("boot=")]


def test_a_name_that_is_too_long_is_cut() -> None:
    firmware = Disks(f"x boot={500 * 'y'}", {DISK: []})
    assert not firmware.boots()
    assert firmware.tried == [(DISK, 200 * "y")]


def test_a_path_that_is_too_long_is_left_out() -> None:
    long = DISK + node(4, 4, bytes(PATH_SIZE)) + node(4, 4, bytes(8))
    full = DISK + node(4, 4, bytes(PATH_SIZE - len(DISK) - 4 - 50))
    fits = DISK + node(4, 4, bytes(PATH_SIZE - len(DISK) - 4 - 52))
    firmware = Disks("", {long: [DEFAULT], full: [DEFAULT], fits: [DEFAULT]})
    assert firmware.boots()
    assert firmware.tried == [(fits, DEFAULT)]

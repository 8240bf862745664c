"""A check of the shell that fails: which line is shown, and where."""

import ctypes

from tests.efiemu.firmware import Firmware
from vestige.efiemu.build import checks
from vestige.efiemu.shell import uefi
from vestige.efiemu.shell.constants import Constants
from vestige.efiemu.shell.main import efi_failed
from vestige.efiemu.shell.serial import write_line
from vestige.efiemu.shell.state import LONGEST, Shell
from vestige.lang.intrinsics import running_on

SITES = (
    ("", 0, ""),
    ("vestige/efiemu/shell/block.py", 7, "check failed: x"),
    ("long", 1, "y" * 999),
)
CONSTANTS = bytes(Constants(checks=ctypes.sizeof(Constants))) + checks(SITES)
LINE = "efiemu: PANIC: vestige/efiemu/shell/block.py:7: check failed: x"


class Port(Firmware):
    """With a UART, which is never ready where it is `stuck`."""

    def __init__(self, *, stuck: bool = False) -> None:
        super().__init__()
        self.sent, self._stuck = bytearray(), stuck

    def port_in8(self, port: int) -> int:
        assert port == 0x3FD
        return 0 if self._stuck else 0x60

    def port_out8(self, port: int, value: int) -> None:
        assert port == 0x3F8
        self.sent.append(value)


def test_it_is_shown_by_file_and_line_and_the_firmware_goes_on() -> None:
    firmware = Firmware()
    table = firmware.put(CONSTANTS)
    shell = Shell(length=5)
    with running_on(firmware):
        status = efi_failed(1, firmware.system, ctypes.addressof(shell), table)
    assert (status, firmware.lines) == (uefi.ABORTED, [LINE])


def test_a_long_line_is_cut() -> None:
    firmware = Firmware()
    table = firmware.put(CONSTANTS)
    shell = Shell()
    with running_on(firmware):
        efi_failed(2, firmware.system, ctypes.addressof(shell), table)
    (line,) = firmware.lines
    assert len(line) == LONGEST


def test_a_guests_firmware_is_not_asked_for_it() -> None:
    port, shell = Port(), Shell(length=2)
    shell.line[0], shell.line[1] = 0x48, 0x69
    with running_on(port):
        write_line(shell)
    assert bytes(port.sent) == b"Hi\r\n"


def test_a_port_that_nobody_has_is_not_waited_for_for_ever() -> None:
    port = Port(stuck=True)
    with running_on(port):
        write_line(Shell())
    assert bytes(port.sent) == b"\r\n"

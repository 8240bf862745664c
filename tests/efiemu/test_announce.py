"""The machine's ACPI table that says it was taken over, and the off switch."""

import struct
from uuid import UUID

import pytest

from tests.efiemu.firmware import Firmware
from vestige.efiemu.shell import block
from vestige.efiemu.shell.announce import announce, is_off
from vestige.efiemu.shell.state import Shell
from vestige.lang.intrinsics import running_on

OFF = UUID("b5a3e3a0-6b1c-4b7e-9c57-5d6f0c0a1e13")


def test_the_table_says_where_the_shell_is_and_how_to_switch_it_off() -> None:
    firmware = Firmware()
    shell = Shell(boot=firmware.boot, block=0x7D60_0000, controller=4 << 3)
    with running_on(firmware):
        announce(shell)
    (table,) = firmware.tables
    assert (table[:4], table[10:16], table[16:24]) == (b"VSTG", b"VESTIG", b"EFIEMU  ")
    assert int.from_bytes(table[4:8], "little") == len(table)
    assert sum(table) & 0xFF == 0
    place, size, controller = struct.unpack_from("<QQI", table, 40)
    assert (place, size, controller) == (0x7D60_0000, block.SIZE, 4 << 3)
    assert UUID(bytes_le=table[64:80]) == OFF
    assert table[80:].rstrip(b"\0") == b"EfiemuOff"


def test_a_firmware_without_acpi_gets_none() -> None:
    firmware = Firmware()
    firmware.has_acpi = False
    with running_on(firmware):
        announce(Shell(boot=firmware.boot))
    assert not firmware.tables


@pytest.mark.parametrize("value", [b"", b"\1", b"\0", bytes(100)])
def test_the_variable_counts_whatever_it_holds(value: bytes) -> None:
    firmware, shell = Firmware(), Shell()
    shell.path[0] = 0x55
    with running_on(firmware):
        assert not is_off(shell, firmware.table_of_system)
        firmware.variables["EfiemuOff", bytes(16)] = value
        assert not is_off(shell, firmware.table_of_system), "another's"
        firmware.variables["EfiemuOff", OFF.bytes_le] = value
        assert is_off(shell, firmware.table_of_system)


def test_a_machine_that_is_switched_off_is_not_taken_over() -> None:
    firmware = Firmware()
    firmware.variables["EfiemuOff", OFF.bytes_le] = b"\1"
    firmware.start()
    (line,) = firmware.lines
    off = f"efiemu: it is switched off: the firmware has the variable EfiemuOff-{OFF}; "
    assert line == f"{off}delete that (Linux: chattr -i, then rm)"

"""Which processors the machine has, by ACPI's table of them."""

import struct
from collections.abc import Callable

import pytest

from tests.efiemu.firmware import Firmware
from vestige.efiemu.shell.common import CPUS
from vestige.efiemu.shell.madt import find_processors
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.texts import Text
from vestige.efiemu.shell.uefi import SystemTable
from vestige.lang.intrinsics import running_on

OWN = 3  # Firmware's
HEADER = 44
IO_APIC = bytes((1, 12)) + bytes(10)


def local(number: int, flags: int = 1) -> bytes:
    return struct.pack("<BBBBI", 0, 8, 0, number, flags)


def x2apic(number: int, flags: int = 1) -> bytes:
    return struct.pack("<BBHIII", 9, 16, 0, number, flags, 0)


def found(*entries: bytes, rest: bytes = b"") -> tuple[int, list[int]]:
    """The answer, and the processors: `rest` is behind the table's end."""
    body = b"".join(entries)
    table = b"APIC" + struct.pack("<I", HEADER + len(body)) + bytes(HEADER - 8) + body + rest
    firmware = Firmware()
    firmware.add_acpi([b"FACP", table])
    return look(firmware)


def look(firmware: Firmware) -> tuple[int, list[int]]:
    shell = Shell()
    with running_on(firmware):
        answer = find_processors(shell, SystemTable.at(firmware.system))
    return answer, [shell.identities[number] for number in range(shell.processors)]


def test_the_firmwares_own_is_the_first_one() -> None:
    entries = (local(0), IO_APIC, local(OWN), local(4), x2apic(200), x2apic(4))
    assert found(*entries) == (Text.NOTHING, [OWN, 0, 4, 200])


def test_without_the_table_there_is_that_one_alone() -> None:
    assert look(Firmware()) == (Text.NOTHING, [OWN])
    firmware = Firmware()
    firmware.add_acpi([b"FACP", b"MCFG"])
    assert look(firmware) == (Text.NOTHING, [OWN])


def test_one_that_is_not_enabled_is_none() -> None:
    assert found(local(0, 0), local(1, 2), x2apic(2, 0), local(OWN)) == (Text.NOTHING, [OWN])


def test_the_table_ends_where_it_says() -> None:
    assert found(local(0), rest=local(1)) == (Text.NOTHING, [OWN, 0])
    for broken in (bytes((0, 0)), bytes((0, 1)), b"\0"):
        assert found(local(0), broken, local(1))[1] == [OWN, 0]


@pytest.mark.parametrize("kind", [local, x2apic])
def test_there_is_room_for_eight(kind: Callable[[int], bytes]) -> None:
    seven = [kind(number) for number in range(10, 10 + CPUS - 1)]
    answer, processors = found(*seven)
    assert (answer, len(processors)) == (Text.NOTHING, CPUS)
    assert found(*seven, kind(90))[0] == Text.PROCESSORS


@pytest.mark.parametrize("number", [255, 256, 1 << 31])
def test_a_number_that_only_x2apic_has_is_refused(number: int) -> None:
    assert found(x2apic(number))[0] == Text.PROCESSORS

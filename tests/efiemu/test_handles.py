"""The firmware's handles of PCI functions, and its drivers on them."""

import pytest

from tests.efiemu.firmware import NVME_CLASS, Firmware
from vestige.efiemu.shell.handles import connect, disconnect, find_handle
from vestige.efiemu.shell.state import Shell
from vestige.lang.intrinsics import running_on


@pytest.fixture
def firmware() -> Firmware:
    firmware = Firmware()
    for place in ((0, 0, 0), (0, 4, 0), (0, 4, 3), (2, 31, 0)):
        firmware.add(place, NVME_CLASS)
    return firmware


def test_each_function_has_its_own(firmware: Firmware) -> None:
    shell = Shell(boot=firmware.boot)
    with running_on(firmware):
        for place in firmware.functions:
            number = place[0] << 8 | place[1] << 3 | place[2]
            assert find_handle(shell, number) == firmware.handle_of(place)
        assert find_handle(shell, 5 << 3) == 0


def test_drivers_go_and_come(firmware: Firmware) -> None:
    shell, handle = Shell(boot=firmware.boot), firmware.handle_of((0, 4, 3))
    with running_on(firmware):
        assert disconnect(shell, handle)
        connect(shell, handle)
        firmware.kept.add(handle)
        assert not disconnect(shell, handle)
        assert disconnect(shell, 0)
        connect(shell, 0)
    assert (firmware.disconnected, firmware.connected) == ([handle, handle], [handle])

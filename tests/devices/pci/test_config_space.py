"""Configuration space: PCI Local Bus Specification 3.0, chapter 6."""

import pytest

from vestige.abi import Board, Config
from vestige.monitor.devices.pci.config_space import ConfigSpace
from vestige.monitor.devices.pci.host_bridge import HostBridgeFunction
from vestige.monitor.devices.pci.root import PciRoot
from vestige.monitor.devices.pci.spec import Command, Register


@pytest.fixture
def config() -> ConfigSpace:
    """A function with one I/O BAR."""
    config = ConfigSpace()
    config.identify(0x8086, 0x7010, 1, 1)
    config.allow16(Register.COMMAND, Command.IO | Command.BUS_MASTER)
    config.add_io_bar(4, 0xC020, 16)
    return config


@pytest.mark.parametrize(
    ("offset", "size", "value"),
    [(0, 4, 0x7010_8086), (0, 2, 0x8086), (2, 2, 0x7010), (1, 1, 0x80), (0x0A, 2, 0x0101)],
)
def test_a_register_reads_in_any_size(
    config: ConfigSpace, offset: int, size: int, value: int
) -> None:
    assert config.read(offset, size) == value


def test_read_only_bits_keep_their_value(config: ConfigSpace) -> None:
    config.write(0, 4, 0xFFFF_FFFF)
    config.write(Register.COMMAND, 2, 0xFFFF)
    assert config.read(0, 4) == 0x7010_8086
    assert config.read(Register.COMMAND, 2) == Command.IO | Command.BUS_MASTER


def test_writing_ones_to_a_bar_shows_its_size(config: ConfigSpace) -> None:
    config.write(0x20, 4, 0xFFFF_FFFF)
    assert config.read(0x20, 4) == 0xFFFF_FFF1
    assert config.io_bar(4) == 0, "there are no such ports"
    config.write(0x20, 4, 0x0000_D000)
    assert config.io_bar(4) == 0xD000


def test_a_bar_that_is_not_there_reads_zero(config: ConfigSpace) -> None:
    config.write(0x24, 4, 0xFFFF_FFFF)
    assert config.read(0x24, 4) == 0


def test_writing_one_clears_a_status_bit(config: ConfigSpace) -> None:
    config.set16(Register.STATUS, 0x2280)
    config.clearable[Register.STATUS + 1] = 0x20
    config.write(Register.STATUS, 2, 0xFFFF)
    assert config.get16(Register.STATUS) == 0x0280


def test_a_byte_write_touches_its_byte_only(config: ConfigSpace) -> None:
    config.write(0x21, 1, 0xD0)
    assert config.read(0x20, 4) == 0xD021


def test_bytes_beyond_the_end_read_ones_and_ignore_writes(config: ConfigSpace) -> None:
    config.write(0xFE, 4, 0)
    assert config.read(0xFE, 4) == 0xFFFF_0000


def test_the_host_bridge_is_one_and_takes_no_writes() -> None:
    bridge = HostBridgeFunction()
    bridge.reset()
    before = bytes(bridge)
    for offset in range(0, 256, 4):
        bridge.config.write(offset, 4, 0xFFFF_FFFF)
    assert bytes(bridge) == before
    assert bridge.config.read(Register.VENDOR, 4) == 0x0D57_8086
    assert bridge.config.read(Register.REVISION, 4) == 0x0600_0000


def test_a_pc_s_host_bridge_is_a_440fx_that_keeps_its_attribute_maps() -> None:
    root = PciRoot()
    root.reset()
    root.configure(Config(board=Board.PC))
    assert root.read_config(0, Register.VENDOR, 4) == 0x1237_8086
    assert root.read_config(0, Register.REVISION, 4) == 0x0600_0002
    assert root.read_config(0, 0x59, 1) == 0x30
    assert root.read_config(0, 0x5F, 1) == 0x33
    root.write_config(0, 0x5A, 1, 0xCD)
    assert root.read_config(0, 0x5A, 1) == 0x01

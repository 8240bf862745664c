"""The DMA controllers of a PC: Intel 8237A and 82371SB data sheets."""

import pytest

from vestige.monitor.devices.i8237.model import Dma
from vestige.monitor.devices.i8237.spec import PORT_SECOND, Register

# Of each controller: its first port, and how far from one register to the next.
CONTROLLERS = ((0, 1), (PORT_SECOND, 2))


@pytest.fixture
def dma() -> Dma:
    model = Dma()
    model.reset()
    return model


def read(dma: Dma, port: int) -> int:
    return dma.read(port, 1, 0)


def write(dma: Dma, port: int, *values: int) -> None:
    for value in values:
        dma.write(port, 1, value, 0)


@pytest.mark.parametrize(("base", "step"), CONTROLLERS)
def test_addresses_and_counts_are_written_and_read_low_byte_first(
    dma: Dma, base: int, step: int
) -> None:
    for register in range(8):
        write(dma, base + register * step, 0x10 + register, 0x80 + register)
    for register in range(8):
        port = base + register * step
        assert (read(dma, port), read(dma, port)) == (0x10 + register, 0x80 + register)


@pytest.mark.parametrize(("base", "step"), CONTROLLERS)
@pytest.mark.parametrize("clears", [Register.CLEAR_FLIP_FLOP, Register.MASTER_CLEAR])
def test_the_flip_flop_is_one_for_all_channels_and_can_be_cleared(
    dma: Dma, base: int, step: int, clears: int
) -> None:
    write(dma, base, 0x34, 0x12)
    write(dma, base + 3 * step, 0x78)  # the low byte: the next is a high one, whosever
    assert read(dma, base) == 0x12
    assert read(dma, base) == 0x34
    write(dma, base + clears * step, 0)
    assert read(dma, base) == 0x34


def test_a_byte_written_leaves_the_other(dma: Dma) -> None:
    write(dma, 1, 0x34, 0x12, 0x56)
    write(dma, Register.CLEAR_FLIP_FLOP, 0)
    assert (read(dma, 1), read(dma, 1)) == (0x56, 0x12)


@pytest.mark.parametrize(("base", "step"), CONTROLLERS)
def test_masks_are_set_after_a_reset_and_written_alone_or_together(
    dma: Dma, base: int, step: int
) -> None:
    masks, single = base + Register.ALL_MASKS * step, base + Register.MASK * step
    assert read(dma, masks) == 0x0F
    write(dma, single, 2)
    assert read(dma, masks) == 0x0B
    write(dma, masks, 0xF5)
    assert read(dma, masks) == 5
    write(dma, single, 7)
    assert read(dma, masks) == 0x0D
    write(dma, base + Register.CLEAR_MASK * step, 0xFF)
    assert read(dma, masks) == 0
    write(dma, base + Register.MASTER_CLEAR * step, 0)
    assert read(dma, masks) == 0x0F


@pytest.mark.parametrize(("base", "step"), CONTROLLERS)
def test_a_request_by_software_shows_in_the_status_and_nothing_ends(
    dma: Dma, base: int, step: int
) -> None:
    request, status = base + Register.REQUEST * step, base + Register.STATUS * step
    write(dma, request, 6)
    write(dma, request, 4)
    assert (read(dma, status), read(dma, status)) == (0x50, 0x50)
    write(dma, request, 2)
    assert read(dma, status) == 0x10
    write(dma, base + Register.MASTER_CLEAR * step, 0)
    assert read(dma, status) == 0


@pytest.mark.parametrize("register", [Register.REQUEST, Register.MODE, Register.TEMPORARY])
def test_what_can_not_be_read_is_0(dma: Dma, register: int) -> None:
    write(dma, register, 0x5F)
    assert read(dma, register) == 0


def test_a_mode_is_kept_for_its_channel(dma: Dma) -> None:
    write(dma, Register.MODE, 0x46)
    write(dma, PORT_SECOND + 2 * Register.MODE, 0xC0)
    assert [channel.mode for channel in dma.first.channels] == [0, 0, 0x46, 0]
    assert dma.second.channels[0].mode == 0xC0


def test_the_second_controller_s_registers_are_at_two_ports_each(dma: Dma) -> None:
    write(dma, PORT_SECOND, 0x34)
    write(dma, PORT_SECOND + 1, 0x12)
    assert (read(dma, PORT_SECOND + 1), read(dma, PORT_SECOND)) == (0x34, 0x12)


def test_sixteen_pages_are_kept(dma: Dma) -> None:
    for page in range(16):
        write(dma, 0x80 + page, 0xA0 + page)
    assert [read(dma, 0x80 + page) for page in range(16)] == list(range(0xA0, 0xB0))

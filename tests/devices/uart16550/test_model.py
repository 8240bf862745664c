"""The UART, register by register: PC16550D data sheet, section 8."""

import pytest

from vestige.monitor.devices.uart16550.model import OUTPUT_SIZE, Uart
from vestige.monitor.devices.uart16550.spec import (
    Enable,
    Fifo,
    Identity,
    LineControl,
    LineStatus,
    ModemControl,
    ModemStatus,
    Register,
)
from vestige.monitor.line import NEVER

FIFOS_ON = Fifo.ENABLE
CHARACTER = 86_805  # ns at 115200 baud, 8 bits, no parity, 1 stop bit


@pytest.fixture
def uart() -> Uart:
    """Just reset, 8 bits a character."""
    uart = Uart()
    uart.reset()
    uart.write(Register.LINE_CONTROL, 3, 0)
    return uart


def output(uart: Uart) -> bytes:
    """What was sent, taken out."""
    taken = b""
    while length := uart.output_length():
        first = uart.output_first
        taken += bytes(uart.output)[first : first + length]
        uart.output_done(length)
    return taken


def identity(uart: Uart) -> int:
    """The interrupt that IIR shows, without its FIFO bits."""
    return uart.read(Register.INTERRUPT_IDENTITY, 0) & 0x0F


def test_after_reset_the_transmitter_is_empty_and_nothing_is_pending(uart: Uart) -> None:
    assert uart.read(Register.LINE_STATUS, 0) == LineStatus.HOLDING_EMPTY | LineStatus.EMPTY
    assert uart.read(Register.INTERRUPT_IDENTITY, 0) == Identity.NONE
    assert uart.read(Register.INTERRUPT_ENABLE, 0) == 0
    assert uart.line.level == 0


def test_what_is_written_to_the_holding_register_is_sent(uart: Uart) -> None:
    for character in b"hello":
        uart.write(Register.DATA, character, 0)
    assert output(uart) == b"hello"


def test_a_character_has_8_bits_whatever_the_word_length(uart: Uart) -> None:
    uart.write(Register.LINE_CONTROL, 0, 0)
    uart.write(Register.DATA, 0xFF, 0)
    assert output(uart) == b"\xff"


def test_the_divisor_latch_hides_behind_dlab(uart: Uart) -> None:
    uart.write(Register.LINE_CONTROL, LineControl.DIVISOR_LATCH | 3, 0)
    uart.write(Register.DATA, 0x34, 0)
    uart.write(Register.INTERRUPT_ENABLE, 0x12, 0)
    assert (uart.divisor, output(uart)) == (0x1234, b"")
    assert uart.read(Register.DATA, 0) == 0x34
    assert uart.read(Register.INTERRUPT_ENABLE, 0) == 0x12
    uart.write(Register.LINE_CONTROL, 3, 0)
    assert uart.read(Register.INTERRUPT_ENABLE, 0) == 0


def test_the_high_bits_of_interrupt_enable_read_zero(uart: Uart) -> None:
    uart.write(Register.INTERRUPT_ENABLE, 0xFF, 0)
    assert uart.read(Register.INTERRUPT_ENABLE, 0) == 0x0F


def test_scratch_keeps_what_is_written(uart: Uart) -> None:
    uart.write(Register.SCRATCH, 0x5A, 0)
    assert uart.read(Register.SCRATCH, 0) == 0x5A


def test_the_status_registers_ignore_writes(uart: Uart) -> None:
    uart.write(Register.LINE_STATUS, 0x1F, 0)
    uart.write(Register.MODEM_STATUS, 0x0F, 0)
    assert uart.read(Register.LINE_STATUS, 0) == LineStatus.HOLDING_EMPTY | LineStatus.EMPTY
    assert uart.read(Register.MODEM_STATUS, 0) & ModemStatus.DELTAS == 0


def test_enabling_the_transmitter_interrupt_while_empty_raises_it_each_time(uart: Uart) -> None:
    for _ in range(2):
        uart.write(Register.INTERRUPT_ENABLE, Enable.TRANSMITTER_EMPTY, 0)
        assert uart.line.level == 1
        assert identity(uart) == Identity.TRANSMITTER_EMPTY
        assert uart.line.level == 0
        uart.write(Register.INTERRUPT_ENABLE, 0, 0)


def test_reading_the_identity_clears_only_the_interrupt_it_shows(uart: Uart) -> None:
    uart.write(Register.INTERRUPT_ENABLE, Enable.TRANSMITTER_EMPTY | Enable.RECEIVED, 0)
    uart.receive(ord("x"), 0)
    assert identity(uart) == Identity.RECEIVED
    assert identity(uart) == Identity.RECEIVED
    assert uart.read(Register.DATA, 0) == ord("x")
    assert identity(uart) == Identity.TRANSMITTER_EMPTY
    assert identity(uart) == Identity.NONE


def test_each_character_sent_is_an_edge_even_if_nobody_reads_the_identity(uart: Uart) -> None:
    """An edge-triggered pin would otherwise never see the second one; xv6 reads no IIR."""
    uart.write(Register.INTERRUPT_ENABLE, Enable.TRANSMITTER_EMPTY, 0)
    assert uart.line.take_edge()
    for _ in range(3):
        uart.write(Register.DATA, ord("x"), 0)
        assert uart.line.level == 1
        assert uart.line.take_edge()
        assert not uart.line.take_edge()


def test_a_full_output_holds_the_transmitter_full_and_loses_nothing(uart: Uart) -> None:
    uart.write(Register.FIFO_CONTROL, FIFOS_ON, 0)
    sent = bytes(i & 0xFF for i in range(OUTPUT_SIZE + 16))
    for character in sent[:OUTPUT_SIZE]:
        uart.write(Register.DATA, character, 0)
        assert uart.read(Register.LINE_STATUS, 0) & LineStatus.HOLDING_EMPTY
    for character in sent[OUTPUT_SIZE:]:
        uart.write(Register.DATA, character, 0)
        assert not uart.read(Register.LINE_STATUS, 0) & LineStatus.HOLDING_EMPTY
    uart.write(Register.INTERRUPT_ENABLE, Enable.TRANSMITTER_EMPTY, 0)
    assert uart.line.level == 0
    assert output(uart) == sent
    assert uart.line.level == 1
    assert uart.read(Register.LINE_STATUS, 0) & LineStatus.EMPTY


def test_a_character_too_many_for_the_full_fifo_is_lost(uart: Uart) -> None:
    uart.write(Register.FIFO_CONTROL, FIFOS_ON, 0)
    for _ in range(OUTPUT_SIZE):
        uart.write(Register.DATA, ord("-"), 0)
    for character in b"0123456789abcdef!":
        uart.write(Register.DATA, character, 0)
    assert output(uart).endswith(b"-0123456789abcdef")


def test_resetting_the_transmit_fifo_drops_what_waits(uart: Uart) -> None:
    uart.write(Register.FIFO_CONTROL, FIFOS_ON, 0)
    for _ in range(OUTPUT_SIZE + 3):
        uart.write(Register.DATA, ord("-"), 0)
    uart.write(Register.FIFO_CONTROL, FIFOS_ON | Fifo.RESET_TRANSMITTER, 0)
    assert uart.read(Register.LINE_STATUS, 0) & LineStatus.HOLDING_EMPTY
    assert len(output(uart)) == OUTPUT_SIZE


def test_without_fifos_one_character_is_received_and_a_second_overruns_it(uart: Uart) -> None:
    uart.receive(ord("a"), 0)
    uart.receive(ord("b"), 0)
    assert uart.read(Register.LINE_STATUS, 0) & 3 == LineStatus.DATA_READY | LineStatus.OVERRUN
    assert uart.read(Register.LINE_STATUS, 0) & 3 == LineStatus.DATA_READY
    assert uart.read(Register.DATA, 0) == ord("b")
    assert uart.read(Register.LINE_STATUS, 0) & 3 == 0


def test_without_fifos_the_receiver_buffer_keeps_its_character(uart: Uart) -> None:
    uart.receive(ord("a"), 0)
    assert [uart.read(Register.DATA, 0) for _ in range(2)] == [ord("a")] * 2
    uart.write(Register.FIFO_CONTROL, FIFOS_ON, 0)
    assert uart.read(Register.DATA, 0) == 0


def test_resetting_the_transmit_fifo_raises_its_interrupt(uart: Uart) -> None:
    uart.write(Register.INTERRUPT_ENABLE, Enable.TRANSMITTER_EMPTY, 0)
    assert identity(uart) == Identity.TRANSMITTER_EMPTY
    uart.write(Register.FIFO_CONTROL, FIFOS_ON | Fifo.RESET_TRANSMITTER, 0)
    assert identity(uart) == Identity.TRANSMITTER_EMPTY


def test_an_overrun_leaves_the_fifo_as_it_is(uart: Uart) -> None:
    uart.write(Register.FIFO_CONTROL, FIFOS_ON, 0)
    for character in b"0123456789abcdef!":
        uart.receive(character, 0)
    assert uart.read(Register.LINE_STATUS, 0) & LineStatus.OVERRUN
    assert bytes(uart.read(Register.DATA, 0) for _ in range(16)) == b"0123456789abcdef"


def test_an_overrun_interrupts_with_the_highest_priority(uart: Uart) -> None:
    uart.write(Register.INTERRUPT_ENABLE, Enable.ALL, 0)
    uart.receive(ord("a"), 0)
    uart.receive(ord("b"), 0)
    assert identity(uart) == Identity.LINE_STATUS
    uart.read(Register.LINE_STATUS, 0)
    assert identity(uart) == Identity.RECEIVED


@pytest.mark.parametrize(("code", "level"), [(0, 1), (1, 4), (2, 8), (3, 14)])
def test_the_receive_interrupt_comes_at_the_trigger_level(
    uart: Uart, code: int, level: int
) -> None:
    uart.write(Register.FIFO_CONTROL, FIFOS_ON | code << 6, 0)
    uart.write(Register.INTERRUPT_ENABLE, Enable.RECEIVED, 0)
    for count in range(1, 17):
        uart.receive(count, 0)
        assert uart.line.level == (count >= level)
    for count in range(15, -1, -1):
        uart.read(Register.DATA, 0)
        assert uart.line.level == (count >= level)


def test_characters_below_the_trigger_level_interrupt_after_four_character_times(
    uart: Uart,
) -> None:
    uart.write(Register.FIFO_CONTROL, FIFOS_ON | Fifo.TRIGGER, 0)
    uart.write(Register.INTERRUPT_ENABLE, Enable.RECEIVED, 0)
    uart.receive(ord("a"), 1000)
    deadline = uart.next_deadline()
    assert abs(deadline - 1000 - 4 * CHARACTER) <= 4
    uart.expire(deadline - 1)
    assert uart.line.level == 0
    uart.expire(deadline)
    assert uart.line.level == 1
    assert uart.next_deadline() == NEVER
    assert identity(uart) == Identity.TIMEOUT
    uart.receive(ord("b"), deadline)
    assert identity(uart) == Identity.TIMEOUT
    uart.read(Register.DATA, deadline)
    assert uart.line.level == 0


def test_a_character_received_or_read_starts_the_timeout_anew(uart: Uart) -> None:
    uart.write(Register.FIFO_CONTROL, FIFOS_ON | Fifo.TRIGGER, 0)
    uart.write(Register.INTERRUPT_ENABLE, Enable.RECEIVED, 0)
    uart.receive(ord("a"), 0)
    first = uart.next_deadline()
    uart.receive(ord("b"), 500)
    assert uart.next_deadline() == first + 500
    uart.read(Register.DATA, 900)
    assert uart.next_deadline() == first + 900
    uart.read(Register.DATA, 901)
    assert uart.next_deadline() == NEVER


def test_nobody_has_to_wake_for_a_timeout_nobody_wants(uart: Uart) -> None:
    uart.write(Register.FIFO_CONTROL, FIFOS_ON | Fifo.TRIGGER, 0)
    uart.receive(ord("a"), 0)
    assert uart.next_deadline() == NEVER
    uart.write(Register.INTERRUPT_ENABLE, Enable.RECEIVED, 10 * CHARACTER)
    assert identity(uart) == Identity.TIMEOUT


def test_the_identity_shows_whether_the_fifos_are_on(uart: Uart) -> None:
    assert uart.read(Register.INTERRUPT_IDENTITY, 0) == Identity.NONE
    uart.write(Register.FIFO_CONTROL, FIFOS_ON, 0)
    assert uart.read(Register.INTERRUPT_IDENTITY, 0) == Identity.NONE | Identity.FIFOS
    uart.write(Register.FIFO_CONTROL, 0xFE, 0)
    assert uart.read(Register.INTERRUPT_IDENTITY, 0) == Identity.NONE


def test_switching_the_fifos_empties_them(uart: Uart) -> None:
    uart.receive(ord("a"), 0)
    uart.write(Register.FIFO_CONTROL, FIFOS_ON, 0)
    assert not uart.read(Register.LINE_STATUS, 0) & LineStatus.DATA_READY
    uart.receive(ord("a"), 0)
    uart.write(Register.FIFO_CONTROL, FIFOS_ON | Fifo.TRIGGER, 0)
    assert uart.read(Register.LINE_STATUS, 0) & LineStatus.DATA_READY
    uart.write(Register.FIFO_CONTROL, 0, 0)
    assert not uart.read(Register.LINE_STATUS, 0) & LineStatus.DATA_READY


def test_the_console_is_always_connected(uart: Uart) -> None:
    lines = ModemStatus.CTS | ModemStatus.DSR | ModemStatus.DCD
    assert uart.read(Register.MODEM_STATUS, 0) == lines


@pytest.mark.parametrize(
    ("output_pin", "input_pin"),
    [
        (ModemControl.DTR, ModemStatus.DSR),
        (ModemControl.RTS, ModemStatus.CTS),
        (ModemControl.OUT1, ModemStatus.RI),
        (ModemControl.OUT2, ModemStatus.DCD),
    ],
)
def test_loopback_connects_each_output_to_its_input(
    uart: Uart, output_pin: int, input_pin: int
) -> None:
    uart.write(Register.MODEM_CONTROL, ModemControl.LOOP | output_pin, 0)
    assert uart.read(Register.MODEM_STATUS, 0) & ModemStatus.LINES == input_pin


def test_a_change_of_a_modem_line_is_a_delta_until_read(uart: Uart) -> None:
    uart.write(Register.MODEM_CONTROL, ModemControl.LOOP | 0x0F, 0)
    uart.read(Register.MODEM_STATUS, 0)
    uart.write(Register.INTERRUPT_ENABLE, Enable.MODEM_STATUS, 0)
    uart.write(Register.MODEM_CONTROL, ModemControl.LOOP | 0x0F & ~ModemControl.RTS, 0)
    assert identity(uart) == Identity.MODEM_STATUS
    assert uart.read(Register.MODEM_STATUS, 0) & ModemStatus.DELTAS == ModemStatus.DELTA_CTS
    assert uart.read(Register.MODEM_STATUS, 0) & ModemStatus.DELTAS == 0
    assert identity(uart) == Identity.NONE


def test_only_the_end_of_a_ring_is_told(uart: Uart) -> None:
    uart.write(Register.MODEM_CONTROL, ModemControl.LOOP, 0)
    uart.read(Register.MODEM_STATUS, 0)
    uart.write(Register.MODEM_CONTROL, ModemControl.LOOP | ModemControl.OUT1, 0)
    assert uart.read(Register.MODEM_STATUS, 0) & ModemStatus.DELTAS == 0
    uart.write(Register.MODEM_CONTROL, ModemControl.LOOP, 0)
    assert uart.read(Register.MODEM_STATUS, 0) & ModemStatus.DELTAS == ModemStatus.TRAILING_RI


def test_in_loopback_what_is_sent_is_received_and_goes_nowhere_else(uart: Uart) -> None:
    uart.write(Register.MODEM_CONTROL, ModemControl.LOOP, 0)
    uart.write(Register.DATA, ord("x"), 0)
    assert output(uart) == b""
    assert uart.read(Register.DATA, 0) == ord("x")
    assert uart.read(Register.LINE_STATUS, 0) & LineStatus.EMPTY


def test_the_other_side_waits_for_rts_or_the_receive_interrupt(uart: Uart) -> None:
    assert uart.room() == 0
    uart.write(Register.MODEM_CONTROL, ModemControl.RTS, 0)
    assert uart.room() == 1
    uart.write(Register.MODEM_CONTROL, 0, 0)
    uart.write(Register.INTERRUPT_ENABLE, Enable.RECEIVED, 0)
    assert uart.room() == 1
    uart.write(Register.MODEM_CONTROL, ModemControl.LOOP | ModemControl.RTS, 0)
    assert uart.room() == 0


def test_the_other_side_fills_the_fifo_up_to_the_trigger_level(uart: Uart) -> None:
    uart.write(Register.MODEM_CONTROL, ModemControl.RTS, 0)
    uart.write(Register.FIFO_CONTROL, FIFOS_ON | 2 << 6, 0)
    assert uart.room() == 8
    for count in range(16):
        assert uart.room() > 0
        uart.receive(count, 0)
    assert uart.room() == 0


def test_linux_takes_it_for_a_16550a(uart: Uart) -> None:
    """The steps of autoconfig() in Linux 6.1's drivers/tty/serial/8250/8250_port.c."""
    uart.write(Register.INTERRUPT_ENABLE, 0, 0)
    assert uart.read(Register.INTERRUPT_ENABLE, 0) & 0x0F == 0
    uart.write(Register.INTERRUPT_ENABLE, 0x0F, 0)
    assert uart.read(Register.INTERRUPT_ENABLE, 0) & 0x0F == 0x0F
    uart.write(Register.INTERRUPT_ENABLE, 0, 0)
    uart.write(Register.MODEM_CONTROL, ModemControl.LOOP | 0x0A, 0)
    assert uart.read(Register.MODEM_STATUS, 0) & 0xF0 == 0x90
    uart.write(Register.MODEM_CONTROL, 0, 0)
    uart.write(Register.LINE_CONTROL, 0xBF, 0)  # EFR of later UARTs: here the identity
    uart.write(Register.FIFO_CONTROL, 0, 0)
    uart.write(Register.LINE_CONTROL, 0, 0)
    uart.write(Register.FIFO_CONTROL, Fifo.ENABLE, 0)
    assert uart.read(Register.INTERRUPT_IDENTITY, 0) >> 6 == 3  # 16550A
    uart.write(Register.FIFO_CONTROL, Fifo.ENABLE | 0x20, 0)
    assert uart.read(Register.INTERRUPT_IDENTITY, 0) >> 5 == 6  # no 64-byte FIFO: no 16750
    uart.write(Register.INTERRUPT_ENABLE, 0x40, 0)
    assert not uart.read(Register.INTERRUPT_ENABLE, 0) & 0x40  # no XScale

"""The UART, register by register: PC16550D data sheet, section 8."""

import pytest

from vestige.abi import Config
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
    uart.write(Register.LINE_CONTROL, 1, 3, 0)
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
    return uart.read(Register.INTERRUPT_IDENTITY, 1, 0) & 0x0F


def test_after_reset_the_transmitter_is_empty_and_nothing_is_pending(uart: Uart) -> None:
    assert uart.read(Register.LINE_STATUS, 1, 0) == LineStatus.HOLDING_EMPTY | LineStatus.EMPTY
    assert uart.read(Register.INTERRUPT_IDENTITY, 1, 0) == Identity.NONE
    assert uart.read(Register.INTERRUPT_ENABLE, 1, 0) == 0
    assert uart.line.level == 0


def test_what_is_written_to_the_holding_register_is_sent(uart: Uart) -> None:
    for character in b"hello":
        uart.write(Register.DATA, 1, character, 0)
    assert output(uart) == b"hello"


def test_a_character_has_8_bits_whatever_the_word_length(uart: Uart) -> None:
    uart.write(Register.LINE_CONTROL, 1, 0, 0)
    uart.write(Register.DATA, 1, 0xFF, 0)
    assert output(uart) == b"\xff"


def test_the_divisor_latch_hides_behind_dlab(uart: Uart) -> None:
    uart.write(Register.LINE_CONTROL, 1, LineControl.DIVISOR_LATCH | 3, 0)
    uart.write(Register.DATA, 1, 0x34, 0)
    uart.write(Register.INTERRUPT_ENABLE, 1, 0x12, 0)
    assert (uart.divisor, output(uart)) == (0x1234, b"")
    assert uart.read(Register.DATA, 1, 0) == 0x34
    assert uart.read(Register.INTERRUPT_ENABLE, 1, 0) == 0x12
    uart.write(Register.LINE_CONTROL, 1, 3, 0)
    assert uart.read(Register.INTERRUPT_ENABLE, 1, 0) == 0


def test_the_high_bits_of_interrupt_enable_read_zero(uart: Uart) -> None:
    uart.write(Register.INTERRUPT_ENABLE, 1, 0xFF, 0)
    assert uart.read(Register.INTERRUPT_ENABLE, 1, 0) == 0x0F


def test_scratch_keeps_what_is_written(uart: Uart) -> None:
    uart.write(Register.SCRATCH, 1, 0x5A, 0)
    assert uart.read(Register.SCRATCH, 1, 0) == 0x5A


def test_the_status_registers_ignore_writes(uart: Uart) -> None:
    uart.write(Register.LINE_STATUS, 1, 0x1F, 0)
    uart.write(Register.MODEM_STATUS, 1, 0x0F, 0)
    assert uart.read(Register.LINE_STATUS, 1, 0) == LineStatus.HOLDING_EMPTY | LineStatus.EMPTY
    assert uart.read(Register.MODEM_STATUS, 1, 0) & ModemStatus.DELTAS == 0


def test_enabling_the_transmitter_interrupt_while_empty_raises_it_each_time(uart: Uart) -> None:
    for _ in range(2):
        uart.write(Register.INTERRUPT_ENABLE, 1, Enable.TRANSMITTER_EMPTY, 0)
        assert uart.line.level == 1
        assert identity(uart) == Identity.TRANSMITTER_EMPTY
        assert uart.line.level == 0
        uart.write(Register.INTERRUPT_ENABLE, 1, 0, 0)


def test_reading_the_identity_clears_only_the_interrupt_it_shows(uart: Uart) -> None:
    uart.write(Register.INTERRUPT_ENABLE, 1, Enable.TRANSMITTER_EMPTY | Enable.RECEIVED, 0)
    uart.receive(ord("x"), 0)
    assert identity(uart) == Identity.RECEIVED
    assert identity(uart) == Identity.RECEIVED
    assert uart.read(Register.DATA, 1, 0) == ord("x")
    assert identity(uart) == Identity.TRANSMITTER_EMPTY
    assert identity(uart) == Identity.NONE


def test_each_character_sent_is_an_edge_even_if_nobody_reads_the_identity(uart: Uart) -> None:
    """An edge-triggered pin would otherwise never see the second one; xv6 reads no IIR."""
    uart.write(Register.INTERRUPT_ENABLE, 1, Enable.TRANSMITTER_EMPTY, 0)
    assert uart.line.take_edge()
    for _ in range(3):
        uart.write(Register.DATA, 1, ord("x"), 0)
        assert uart.line.level == 1
        assert uart.line.take_edge()
        assert not uart.line.take_edge()


def test_a_full_output_holds_the_transmitter_full_and_loses_nothing(uart: Uart) -> None:
    uart.write(Register.FIFO_CONTROL, 1, FIFOS_ON, 0)
    sent = bytes(i & 0xFF for i in range(OUTPUT_SIZE + 16))
    for character in sent[:OUTPUT_SIZE]:
        uart.write(Register.DATA, 1, character, 0)
        assert uart.read(Register.LINE_STATUS, 1, 0) & LineStatus.HOLDING_EMPTY
    for character in sent[OUTPUT_SIZE:]:
        uart.write(Register.DATA, 1, character, 0)
        assert not uart.read(Register.LINE_STATUS, 1, 0) & LineStatus.HOLDING_EMPTY
    uart.write(Register.INTERRUPT_ENABLE, 1, Enable.TRANSMITTER_EMPTY, 0)
    assert uart.line.level == 0
    assert output(uart) == sent
    assert uart.line.level == 1
    assert uart.read(Register.LINE_STATUS, 1, 0) & LineStatus.EMPTY


def test_a_character_too_many_for_the_full_fifo_is_lost(uart: Uart) -> None:
    uart.write(Register.FIFO_CONTROL, 1, FIFOS_ON, 0)
    for _ in range(OUTPUT_SIZE):
        uart.write(Register.DATA, 1, ord("-"), 0)
    for character in b"0123456789abcdef!":
        uart.write(Register.DATA, 1, character, 0)
    assert output(uart).endswith(b"-0123456789abcdef")


def test_resetting_the_transmit_fifo_drops_what_waits(uart: Uart) -> None:
    uart.write(Register.FIFO_CONTROL, 1, FIFOS_ON, 0)
    for _ in range(OUTPUT_SIZE + 3):
        uart.write(Register.DATA, 1, ord("-"), 0)
    uart.write(Register.FIFO_CONTROL, 1, FIFOS_ON | Fifo.RESET_TRANSMITTER, 0)
    assert uart.read(Register.LINE_STATUS, 1, 0) & LineStatus.HOLDING_EMPTY
    assert len(output(uart)) == OUTPUT_SIZE


def test_without_fifos_one_character_is_received_and_a_second_overruns_it(uart: Uart) -> None:
    uart.receive(ord("a"), 0)
    uart.receive(ord("b"), 0)
    assert uart.read(Register.LINE_STATUS, 1, 0) & 3 == LineStatus.DATA_READY | LineStatus.OVERRUN
    assert uart.read(Register.LINE_STATUS, 1, 0) & 3 == LineStatus.DATA_READY
    assert uart.read(Register.DATA, 1, 0) == ord("b")
    assert uart.read(Register.LINE_STATUS, 1, 0) & 3 == 0


def test_without_fifos_the_receiver_buffer_keeps_its_character(uart: Uart) -> None:
    uart.receive(ord("a"), 0)
    assert [uart.read(Register.DATA, 1, 0) for _ in range(2)] == [ord("a")] * 2
    uart.write(Register.FIFO_CONTROL, 1, FIFOS_ON, 0)
    assert uart.read(Register.DATA, 1, 0) == 0


def test_resetting_the_transmit_fifo_raises_its_interrupt(uart: Uart) -> None:
    uart.write(Register.INTERRUPT_ENABLE, 1, Enable.TRANSMITTER_EMPTY, 0)
    assert identity(uart) == Identity.TRANSMITTER_EMPTY
    uart.write(Register.FIFO_CONTROL, 1, FIFOS_ON | Fifo.RESET_TRANSMITTER, 0)
    assert identity(uart) == Identity.TRANSMITTER_EMPTY


def test_an_overrun_leaves_the_fifo_as_it_is(uart: Uart) -> None:
    uart.write(Register.FIFO_CONTROL, 1, FIFOS_ON, 0)
    for character in b"0123456789abcdef!":
        uart.receive(character, 0)
    assert uart.read(Register.LINE_STATUS, 1, 0) & LineStatus.OVERRUN
    assert bytes(uart.read(Register.DATA, 1, 0) for _ in range(16)) == b"0123456789abcdef"


def test_an_overrun_interrupts_with_the_highest_priority(uart: Uart) -> None:
    uart.write(Register.INTERRUPT_ENABLE, 1, Enable.ALL, 0)
    uart.receive(ord("a"), 0)
    uart.receive(ord("b"), 0)
    assert identity(uart) == Identity.LINE_STATUS
    uart.read(Register.LINE_STATUS, 1, 0)
    assert identity(uart) == Identity.RECEIVED


@pytest.mark.parametrize(("code", "level"), [(0, 1), (1, 4), (2, 8), (3, 14)])
def test_the_receive_interrupt_comes_at_the_trigger_level(
    uart: Uart, code: int, level: int
) -> None:
    uart.write(Register.FIFO_CONTROL, 1, FIFOS_ON | code << 6, 0)
    uart.write(Register.INTERRUPT_ENABLE, 1, Enable.RECEIVED, 0)
    for count in range(1, 17):
        uart.receive(count, 0)
        assert uart.line.level == (count >= level)
    for count in range(15, -1, -1):
        uart.read(Register.DATA, 1, 0)
        assert uart.line.level == (count >= level)


def test_characters_below_the_trigger_level_interrupt_after_four_character_times(
    uart: Uart,
) -> None:
    uart.write(Register.FIFO_CONTROL, 1, FIFOS_ON | Fifo.TRIGGER, 0)
    uart.write(Register.INTERRUPT_ENABLE, 1, Enable.RECEIVED, 0)
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
    uart.read(Register.DATA, 1, deadline)
    assert uart.line.level == 0


def test_a_character_received_or_read_starts_the_timeout_anew(uart: Uart) -> None:
    uart.write(Register.FIFO_CONTROL, 1, FIFOS_ON | Fifo.TRIGGER, 0)
    uart.write(Register.INTERRUPT_ENABLE, 1, Enable.RECEIVED, 0)
    uart.receive(ord("a"), 0)
    first = uart.next_deadline()
    uart.receive(ord("b"), 500)
    assert uart.next_deadline() == first + 500
    uart.read(Register.DATA, 1, 900)
    assert uart.next_deadline() == first + 900
    uart.read(Register.DATA, 1, 901)
    assert uart.next_deadline() == NEVER


def test_nobody_has_to_wake_for_a_timeout_nobody_wants(uart: Uart) -> None:
    uart.write(Register.FIFO_CONTROL, 1, FIFOS_ON | Fifo.TRIGGER, 0)
    uart.receive(ord("a"), 0)
    assert uart.next_deadline() == NEVER
    uart.write(Register.INTERRUPT_ENABLE, 1, Enable.RECEIVED, 10 * CHARACTER)
    assert identity(uart) == Identity.TIMEOUT


def test_the_identity_shows_whether_the_fifos_are_on(uart: Uart) -> None:
    assert uart.read(Register.INTERRUPT_IDENTITY, 1, 0) == Identity.NONE
    uart.write(Register.FIFO_CONTROL, 1, FIFOS_ON, 0)
    assert uart.read(Register.INTERRUPT_IDENTITY, 1, 0) == Identity.NONE | Identity.FIFOS
    uart.write(Register.FIFO_CONTROL, 1, 0xFE, 0)
    assert uart.read(Register.INTERRUPT_IDENTITY, 1, 0) == Identity.NONE


def test_switching_the_fifos_empties_them(uart: Uart) -> None:
    uart.receive(ord("a"), 0)
    uart.write(Register.FIFO_CONTROL, 1, FIFOS_ON, 0)
    assert not uart.read(Register.LINE_STATUS, 1, 0) & LineStatus.DATA_READY
    uart.receive(ord("a"), 0)
    uart.write(Register.FIFO_CONTROL, 1, FIFOS_ON | Fifo.TRIGGER, 0)
    assert uart.read(Register.LINE_STATUS, 1, 0) & LineStatus.DATA_READY
    uart.write(Register.FIFO_CONTROL, 1, 0, 0)
    assert not uart.read(Register.LINE_STATUS, 1, 0) & LineStatus.DATA_READY


def test_the_console_is_always_connected(uart: Uart) -> None:
    lines = ModemStatus.CTS | ModemStatus.DSR | ModemStatus.DCD
    assert uart.read(Register.MODEM_STATUS, 1, 0) == lines


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
    uart.write(Register.MODEM_CONTROL, 1, ModemControl.LOOP | output_pin, 0)
    assert uart.read(Register.MODEM_STATUS, 1, 0) & ModemStatus.LINES == input_pin


def test_a_change_of_a_modem_line_is_a_delta_until_read(uart: Uart) -> None:
    uart.write(Register.MODEM_CONTROL, 1, ModemControl.LOOP | 0x0F, 0)
    uart.read(Register.MODEM_STATUS, 1, 0)
    uart.write(Register.INTERRUPT_ENABLE, 1, Enable.MODEM_STATUS, 0)
    uart.write(Register.MODEM_CONTROL, 1, ModemControl.LOOP | 0x0F & ~ModemControl.RTS, 0)
    assert identity(uart) == Identity.MODEM_STATUS
    assert uart.read(Register.MODEM_STATUS, 1, 0) & ModemStatus.DELTAS == ModemStatus.DELTA_CTS
    assert uart.read(Register.MODEM_STATUS, 1, 0) & ModemStatus.DELTAS == 0
    assert identity(uart) == Identity.NONE


def test_only_the_end_of_a_ring_is_told(uart: Uart) -> None:
    uart.write(Register.MODEM_CONTROL, 1, ModemControl.LOOP, 0)
    uart.read(Register.MODEM_STATUS, 1, 0)
    uart.write(Register.MODEM_CONTROL, 1, ModemControl.LOOP | ModemControl.OUT1, 0)
    assert uart.read(Register.MODEM_STATUS, 1, 0) & ModemStatus.DELTAS == 0
    uart.write(Register.MODEM_CONTROL, 1, ModemControl.LOOP, 0)
    assert uart.read(Register.MODEM_STATUS, 1, 0) & ModemStatus.DELTAS == ModemStatus.TRAILING_RI


def test_in_loopback_what_is_sent_is_received_and_goes_nowhere_else(uart: Uart) -> None:
    uart.write(Register.MODEM_CONTROL, 1, ModemControl.LOOP, 0)
    uart.write(Register.DATA, 1, ord("x"), 0)
    assert output(uart) == b""
    assert uart.read(Register.DATA, 1, 0) == ord("x")
    assert uart.read(Register.LINE_STATUS, 1, 0) & LineStatus.EMPTY


# ---- what comes by the line -------------------------------------------------------------------


def typed(uart: Uart, text: bytes, now: int = 0) -> None:
    """The other side has typed that."""
    for place, character in enumerate(text):
        uart.input[place] = character
    uart.arrive(len(text), now)


def polled(uart: Uart) -> bytes:
    """What a guest gets that waits by polling and stops when it sees nothing more."""
    uart.read(Register.LINE_STATUS, 1, 0)
    taken = b""
    while uart.read(Register.LINE_STATUS, 1, 0) & LineStatus.DATA_READY:
        taken += bytes([uart.read(Register.DATA, 1, 0)])
    return taken


def clear(uart: Uart) -> None:
    """What drivers read once to clear it."""
    for register in (
        Register.LINE_STATUS,
        Register.DATA,
        Register.INTERRUPT_IDENTITY,
        Register.MODEM_STATUS,
    ):
        uart.read(register, 1, 0)


def clear_fifos(uart: Uart) -> None:
    """Linux's serial8250_clear_fifos()."""
    resets = Fifo.RESET_RECEIVER | Fifo.RESET_TRANSMITTER
    for value in (Fifo.ENABLE, Fifo.ENABLE | resets, 0):
        uart.write(Register.FIFO_CONTROL, 1, value, 0)


def test_what_was_typed_waits_for_the_received_data_interrupt(uart: Uart) -> None:
    typed(uart, b"ls")
    assert not uart.read(Register.LINE_STATUS, 1, 0) & LineStatus.DATA_READY
    assert uart.read(Register.DATA, 1, 0) == 0
    uart.write(Register.INTERRUPT_ENABLE, 1, Enable.RECEIVED, 0)
    assert uart.line.level == 1
    assert identity(uart) == Identity.RECEIVED
    assert uart.read(Register.LINE_STATUS, 1, 0) & LineStatus.DATA_READY
    assert [uart.read(Register.DATA, 1, 0) for _ in range(2)] == list(b"ls")
    assert uart.line.level == 0
    assert not uart.read(Register.LINE_STATUS, 1, 0) & LineStatus.DATA_READY


def test_what_was_typed_comes_to_a_guest_that_polls(uart: Uart) -> None:
    typed(uart, b"ls\n")
    assert polled(uart) == b"ls\n"
    typed(uart, b"q")
    assert uart.read(Register.LINE_STATUS, 1, 0) & LineStatus.DATA_READY


@pytest.mark.parametrize("register", [Register.DATA, Register.MODEM_CONTROL])
def test_a_guest_that_polls_to_send_does_not_wait_for_characters(uart: Uart, register: int) -> None:
    typed(uart, b"ls")
    for _ in range(10):
        assert not uart.read(Register.LINE_STATUS, 1, 0) & LineStatus.DATA_READY
        uart.write(register, 1, 3, 0)
    assert polled(uart) == b"ls"


def test_looking_at_other_registers_is_no_end_of_polling(uart: Uart) -> None:
    """A BIOS's INT 14h, function 3, reads the modem status beside."""
    typed(uart, b"x")
    uart.read(Register.LINE_STATUS, 1, 0)
    uart.read(Register.MODEM_STATUS, 1, 0)
    assert uart.read(Register.LINE_STATUS, 1, 0) & LineStatus.DATA_READY


@pytest.mark.parametrize("modem_control", [0, ModemControl.DTR | ModemControl.RTS])
def test_clearing_the_receiver_takes_nothing_of_what_was_typed(
    uart: Uart, modem_control: int
) -> None:
    uart.write(Register.MODEM_CONTROL, 1, modem_control, 0)
    typed(uart, b"ls")
    clear_fifos(uart)
    clear(uart)
    clear(uart)
    assert polled(uart) == b"ls"


@pytest.mark.parametrize("fifo_control", [0, FIFOS_ON, FIFOS_ON | Fifo.RESET_RECEIVER])
def test_a_fifo_that_is_reset_has_nothing_of_the_line(uart: Uart, fifo_control: int) -> None:
    """What waits behind the received data interrupt is still to come."""
    uart.write(Register.INTERRUPT_ENABLE, 1, Enable.RECEIVED, 0)
    typed(uart, b"ls")
    assert uart.read(Register.LINE_STATUS, 1, 0) & LineStatus.DATA_READY
    uart.write(Register.FIFO_CONTROL, 1, fifo_control, 0)
    assert [uart.read(Register.DATA, 1, 0) for _ in range(2)] == list(b"ls")


def test_switching_the_interrupt_off_stops_the_line(uart: Uart) -> None:
    uart.write(Register.INTERRUPT_ENABLE, 1, Enable.RECEIVED, 0)
    typed(uart, b"ls")
    assert uart.read(Register.DATA, 1, 0) == ord("l")
    uart.write(Register.INTERRUPT_ENABLE, 1, 0, 0)
    clear(uart)
    assert uart.line.level == 0
    uart.write(Register.INTERRUPT_ENABLE, 1, Enable.RECEIVED, 0)
    assert uart.read(Register.DATA, 1, 0) == ord("s")


def test_the_line_is_not_connected_in_loopback(uart: Uart) -> None:
    uart.write(Register.INTERRUPT_ENABLE, 1, Enable.RECEIVED, 0)
    typed(uart, b"ls")
    uart.write(Register.MODEM_CONTROL, 1, ModemControl.LOOP, 0)
    assert uart.line.level == 0
    uart.write(Register.DATA, 1, ord("x"), 0)
    assert uart.read(Register.DATA, 1, 0) == ord("x")
    assert not uart.read(Register.LINE_STATUS, 1, 0) & LineStatus.DATA_READY
    uart.write(Register.MODEM_CONTROL, 1, 0, 0)
    assert uart.read(Register.DATA, 1, 0) == ord("l")


def test_what_came_by_loopback_is_read_before_what_was_typed(uart: Uart) -> None:
    uart.write(Register.FIFO_CONTROL, 1, FIFOS_ON, 0)
    uart.write(Register.INTERRUPT_ENABLE, 1, Enable.RECEIVED, 0)
    typed(uart, b"ls")
    uart.write(Register.MODEM_CONTROL, 1, ModemControl.LOOP, 0)
    for character in b"xy":
        uart.write(Register.DATA, 1, character, 0)
    uart.write(Register.MODEM_CONTROL, 1, 0, 0)
    assert bytes(uart.read(Register.DATA, 1, 0) for _ in range(4)) == b"xyls"


@pytest.mark.parametrize(("code", "level"), [(0, 1), (1, 4), (2, 8), (3, 14)])
def test_the_line_interrupts_at_the_trigger_level(uart: Uart, code: int, level: int) -> None:
    uart.write(Register.FIFO_CONTROL, 1, FIFOS_ON | code << 6, 0)
    uart.write(Register.INTERRUPT_ENABLE, 1, Enable.RECEIVED, 0)
    typed(uart, bytes(level))
    assert identity(uart) == Identity.RECEIVED
    uart.read(Register.DATA, 1, 0)
    assert identity(uart) == Identity.NONE


def test_fewer_characters_interrupt_four_character_times_after_the_guest_can_take_them(
    uart: Uart,
) -> None:
    uart.write(Register.FIFO_CONTROL, 1, FIFOS_ON | Fifo.TRIGGER, 0)
    typed(uart, b"ls", 0)
    assert uart.next_deadline() == NEVER
    uart.write(Register.INTERRUPT_ENABLE, 1, Enable.RECEIVED, 5 * CHARACTER)
    assert abs(uart.next_deadline() - 9 * CHARACTER) <= 4
    uart.expire(9 * CHARACTER)
    assert identity(uart) == Identity.TIMEOUT
    uart.write(Register.MODEM_CONTROL, 1, ModemControl.LOOP, 9 * CHARACTER)
    assert identity(uart) == Identity.NONE


@pytest.mark.parametrize("modem_control", [0, ModemControl.DTR | ModemControl.RTS])
def test_nothing_typed_is_lost_while_linux_opens_the_port(uart: Uart, modem_control: int) -> None:
    """The steps of Linux 6.1's serial8250_do_startup() and serial8250_do_set_termios().

    With RTS as it leaves it for a terminal set to -hupcl, too.
    """
    uart.write(Register.MODEM_CONTROL, 1, modem_control, 0)
    typed(uart, b"echo FIRST\n")
    clear_fifos(uart)
    clear(uart)
    uart.read(Register.LINE_STATUS, 1, 0)  # 0xFF: no UART
    uart.read(Register.LINE_STATUS, 1, 0)  # wait_for_xmitr()
    for value in (Enable.TRANSMITTER_EMPTY, 0, Enable.TRANSMITTER_EMPTY, 0):
        uart.write(Register.INTERRUPT_ENABLE, 1, value, 0)
        uart.read(Register.INTERRUPT_IDENTITY, 1, 0)
    uart.write(Register.LINE_CONTROL, 1, 3, 0)
    uart.write(Register.MODEM_CONTROL, 1, modem_control | ModemControl.OUT2, 0)
    uart.write(Register.INTERRUPT_ENABLE, 1, Enable.TRANSMITTER_EMPTY, 0)
    uart.read(Register.LINE_STATUS, 1, 0)
    uart.read(Register.INTERRUPT_IDENTITY, 1, 0)
    uart.write(Register.INTERRUPT_ENABLE, 1, 0, 0)
    clear(uart)
    uart.write(Register.INTERRUPT_ENABLE, 1, Enable.LINE_STATUS | Enable.RECEIVED, 0)
    uart.read(Register.INTERRUPT_IDENTITY, 1, 0)  # the handler on another CPU, before it waits
    uart.write(Register.LINE_CONTROL, 1, LineControl.DIVISOR_LATCH | 3, 0)
    uart.write(Register.DATA, 1, 1, 0)
    uart.write(Register.INTERRUPT_ENABLE, 1, 0, 0)
    uart.write(Register.LINE_CONTROL, 1, 3, 0)
    uart.write(Register.FIFO_CONTROL, 1, FIFOS_ON, 0)
    uart.write(Register.FIFO_CONTROL, 1, FIFOS_ON | 2 << 6, 0)
    lines = ModemControl.OUT2 | ModemControl.DTR | ModemControl.RTS
    uart.write(Register.MODEM_CONTROL, 1, lines, 0)
    taken = b""
    while uart.read(Register.LINE_STATUS, 1, 0) & LineStatus.DATA_READY:
        taken += bytes([uart.read(Register.DATA, 1, 0)])
    assert taken == b"echo FIRST\n"


def test_nothing_typed_is_lost_while_linux_closes_the_port(uart: Uart) -> None:
    """serial8250_do_shutdown(), with characters that it has been interrupted for."""
    uart.write(Register.FIFO_CONTROL, 1, FIFOS_ON | 2 << 6, 0)
    uart.write(Register.INTERRUPT_ENABLE, 1, Enable.LINE_STATUS | Enable.RECEIVED, 0)
    typed(uart, b"echo SECOND\n")
    assert identity(uart) == Identity.RECEIVED
    uart.write(Register.INTERRUPT_ENABLE, 1, 0, 0)
    uart.write(Register.MODEM_CONTROL, 1, 0, 0)
    clear_fifos(uart)
    uart.read(Register.DATA, 1, 0)
    uart.write(Register.INTERRUPT_ENABLE, 1, Enable.LINE_STATUS | Enable.RECEIVED, 0)
    assert bytes(uart.read(Register.DATA, 1, 0) for _ in range(12)) == b"echo SECOND\n"


def test_linux_takes_it_for_a_16550a(uart: Uart) -> None:
    """The steps of autoconfig() in Linux 6.1's drivers/tty/serial/8250/8250_port.c."""
    uart.write(Register.INTERRUPT_ENABLE, 1, 0, 0)
    assert uart.read(Register.INTERRUPT_ENABLE, 1, 0) & 0x0F == 0
    uart.write(Register.INTERRUPT_ENABLE, 1, 0x0F, 0)
    assert uart.read(Register.INTERRUPT_ENABLE, 1, 0) & 0x0F == 0x0F
    uart.write(Register.INTERRUPT_ENABLE, 1, 0, 0)
    uart.write(Register.MODEM_CONTROL, 1, ModemControl.LOOP | 0x0A, 0)
    assert uart.read(Register.MODEM_STATUS, 1, 0) & 0xF0 == 0x90
    uart.write(Register.MODEM_CONTROL, 1, 0, 0)
    uart.write(Register.LINE_CONTROL, 1, 0xBF, 0)  # EFR of later UARTs: here the identity
    uart.write(Register.FIFO_CONTROL, 1, 0, 0)
    uart.write(Register.LINE_CONTROL, 1, 0, 0)
    uart.write(Register.FIFO_CONTROL, 1, Fifo.ENABLE, 0)
    assert uart.read(Register.INTERRUPT_IDENTITY, 1, 0) >> 6 == 3  # 16550A
    uart.write(Register.FIFO_CONTROL, 1, Fifo.ENABLE | 0x20, 0)
    assert uart.read(Register.INTERRUPT_IDENTITY, 1, 0) >> 5 == 6  # no 64-byte FIFO: no 16750
    uart.write(Register.INTERRUPT_ENABLE, 1, 0x40, 0)
    assert not uart.read(Register.INTERRUPT_ENABLE, 1, 0) & 0x40  # no XScale


# ---- a port with nothing at its other end --------------------------------------------------------


def test_what_a_vacant_port_sends_is_lost_and_it_is_ready_again() -> None:
    uart = Uart()
    uart.reset()
    uart.configure(Config())
    uart.write(Register.INTERRUPT_ENABLE, 1, Enable.TRANSMITTER_EMPTY, 0)
    assert uart.read(Register.INTERRUPT_IDENTITY, 1, 0) == Identity.TRANSMITTER_EMPTY
    assert uart.line.level == 0
    for character in range(100):
        uart.write(Register.DATA, 1, character, 0)
        assert uart.read(Register.LINE_STATUS, 1, 0) == LineStatus.HOLDING_EMPTY | LineStatus.EMPTY
    assert uart.line.level == 1
    assert uart.output_count == 0


def test_a_vacant_port_has_no_carrier_and_loops_back() -> None:
    uart = Uart()
    uart.reset()
    uart.configure(Config())
    assert uart.read(Register.MODEM_STATUS, 1, 0) == 0
    uart.write(Register.MODEM_CONTROL, 1, ModemControl.LOOP | ModemControl.RTS, 0)
    assert uart.read(Register.MODEM_STATUS, 1, 0) & 0xF0 == ModemStatus.CTS
    uart.write(Register.DATA, 1, 0x5A, 0)
    assert uart.read(Register.DATA, 1, 0) == 0x5A

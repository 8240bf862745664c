"""The controller: IBM PS/2 Technical Reference, "Keyboard and Auxiliary Device Controller"."""

import pytest

from vestige.abi import Config
from vestige.monitor.devices.i8042.model import KeyboardController
from vestige.monitor.devices.i8042.spec import Command, CommandByte, Register, Status
from vestige.monitor.line import NEVER
from vestige.place import GOES_ON, PROCESSORS_RESET

A_KEY, A_CODE, A_SET_1 = 0x1E, 0x1C, 0x1E


@pytest.fixture
def controller() -> KeyboardController:
    model = KeyboardController()
    model.reset()
    return model


def command(controller: KeyboardController, value: int, *data: int) -> None:
    """A command, and its data byte."""
    controller.write(Register.COMMAND, 1, value, 0)
    for byte in data:
        controller.write(Register.DATA, 1, byte, 0)


def status(controller: KeyboardController) -> int:
    return controller.read(Register.STATUS, 1, 0)


def read(controller: KeyboardController) -> int:
    return controller.read(Register.DATA, 1, 0)


def output(controller: KeyboardController) -> list[int]:
    """All that there is to read."""
    values = []
    while status(controller) & Status.OUTPUT_FULL:
        values.append(read(controller))
    return values


def asked(controller: KeyboardController, value: int) -> list[int]:
    """What a command answers."""
    command(controller, value)
    return output(controller)


def test_a_kernel_without_a_firmware_finds_what_that_would_have_set(
    controller: KeyboardController,
) -> None:
    controller.configure(Config(firmware_items=1))
    assert asked(controller, Command.READ_RAM) == [3]
    controller.configure(Config())
    assert asked(controller, Command.READ_RAM) == [3 | CommandByte.SYSTEM | CommandByte.TRANSLATE]
    assert status(controller) & Status.SYSTEM


# ---- the command byte and the tests --------------------------------------------------------------


def test_at_power_on_both_devices_may_interrupt_and_nothing_is_there_to_read(
    controller: KeyboardController,
) -> None:
    assert status(controller) == Status.NOT_LOCKED
    assert asked(controller, Command.READ_RAM) == [3]


def test_all_32_bytes_of_ram_are_kept(controller: KeyboardController) -> None:
    for number in range(1, 32):
        command(controller, Command.WRITE_RAM + number, 0x80 + number)
    for number in range(1, 32):
        assert asked(controller, Command.READ_RAM + number) == [0x80 + number]
    assert asked(controller, Command.READ_RAM) == [3]


def test_the_tests_pass_and_the_self_test_sets_the_system_flag(
    controller: KeyboardController,
) -> None:
    assert asked(controller, Command.TEST_KEYBOARD_INTERFACE) == [0]
    assert asked(controller, Command.TEST_MOUSE_INTERFACE) == [0]
    assert not status(controller) & Status.SYSTEM
    assert asked(controller, Command.SELF_TEST) == [0x55]
    assert status(controller) & Status.SYSTEM
    command(controller, Command.WRITE_RAM, 0)
    assert not status(controller) & Status.SYSTEM


def test_the_status_tells_which_port_was_written_last(controller: KeyboardController) -> None:
    command(controller, Command.ENABLE_KEYBOARD)
    assert status(controller) & Status.COMMAND
    controller.write(Register.DATA, 1, 0xEE, 0)
    assert not status(controller) & Status.COMMAND


def test_a_command_in_place_of_a_data_byte_gives_the_first_one_up(
    controller: KeyboardController,
) -> None:
    command(controller, Command.WRITE_RAM)
    command(controller, Command.ENABLE_MOUSE, 0xEE)
    assert output(controller) == [0xEE]  # the keyboard's echo
    assert asked(controller, Command.READ_RAM) == [3]


def test_an_unknown_command_does_nothing(controller: KeyboardController) -> None:
    before = bytes(controller)
    command(controller, 0xA4)
    controller.status &= ~Status.COMMAND
    assert bytes(controller) == before


# ---- the output buffer ---------------------------------------------------------------------------


def test_bytes_come_one_at_a_time_each_with_an_edge(controller: KeyboardController) -> None:
    controller.write(Register.DATA, 1, 0xF2, 0)
    for expected in (0xFA, 0xAB, 0x83):
        assert controller.keyboard_line.take_edge()
        assert not controller.keyboard_line.take_edge()
        assert read(controller) == expected
    assert controller.keyboard_line.level == 0
    assert read(controller) == 0x83  # what was read last
    assert not controller.keyboard_line.take_edge()


def test_the_mouse_s_bytes_are_marked_and_have_the_other_line(
    controller: KeyboardController,
) -> None:
    command(controller, Command.WRITE_MOUSE, 0xF2)
    assert status(controller) & (Status.OUTPUT_FULL | Status.AUXILIARY) == 0x21
    assert (controller.keyboard_line.level, controller.mouse_line.level) == (0, 1)
    assert output(controller) == [0xFA, 0x00]
    assert not status(controller) & Status.AUXILIARY


def test_what_stands_in_the_output_buffer_is_not_taken_back(
    controller: KeyboardController,
) -> None:
    controller.write(Register.DATA, 1, 0xEE, 0)
    controller.write(Register.DATA, 1, 0xF1, 0)
    assert output(controller) == [0xEE, 0xFE]


def test_the_controller_s_own_byte_goes_before_the_devices(controller: KeyboardController) -> None:
    controller.write(Register.DATA, 1, 0xF2, 0)
    command(controller, Command.READ_INPUT_PORT)
    assert output(controller) == [0xFA, 0x80, 0xAB, 0x83]


def test_a_second_byte_of_the_controller_s_own_takes_the_first_one_s_place(
    controller: KeyboardController,
) -> None:
    command(controller, Command.SELF_TEST)
    command(controller, Command.WRITE_MOUSE_OUTPUT, 0x12)
    assert status(controller) & Status.AUXILIARY
    assert output(controller) == [0x12]


def test_the_devices_take_turns(controller: KeyboardController) -> None:
    controller.write(Register.DATA, 1, 0xF2, 0)
    command(controller, Command.WRITE_MOUSE, 0xE9)
    assert output(controller) == [0xFA, 0xFA, 0xAB, 0x00, 0x83, 0x02, 0x64]


def test_output_can_be_written_as_if_a_device_had_sent_it(controller: KeyboardController) -> None:
    command(controller, Command.WRITE_RAM, 0x43)  # which translates what the keyboard sends
    command(controller, Command.WRITE_KEYBOARD_OUTPUT, A_CODE)
    assert controller.keyboard_line.take_edge()
    assert output(controller) == [A_CODE]
    command(controller, Command.WRITE_MOUSE_OUTPUT, 0x34)
    assert controller.mouse_line.take_edge()
    assert output(controller) == [0x34]


def test_the_command_byte_allows_interrupts_also_for_what_waits(
    controller: KeyboardController,
) -> None:
    command(controller, Command.WRITE_RAM, 0)
    controller.press(A_KEY, 0)
    assert controller.keyboard_line.level == 0
    command(controller, Command.WRITE_RAM, CommandByte.KEYBOARD_INTERRUPT)
    assert controller.keyboard_line.take_edge()
    command(controller, Command.WRITE_RAM, CommandByte.MOUSE_INTERRUPT)
    assert (controller.keyboard_line.level, controller.mouse_line.level) == (0, 0)


def test_a_keyboard_that_is_disabled_keeps_what_it_has(controller: KeyboardController) -> None:
    command(controller, Command.DISABLE_KEYBOARD)
    controller.press(A_KEY, 0)
    assert output(controller) == []
    assert asked(controller, Command.SELF_TEST) == [0x55]  # IRQ 1 is not the keyboard's alone
    assert controller.keyboard_line.take_edge()
    command(controller, Command.ENABLE_KEYBOARD)
    assert output(controller) == [A_CODE]


def test_a_mouse_that_is_disabled_keeps_what_it_has(controller: KeyboardController) -> None:
    command(controller, Command.WRITE_MOUSE, 0xF4)
    assert output(controller) == [0xFA]
    command(controller, Command.DISABLE_MOUSE)
    assert controller.move(1, 0, 0, 0, 0)
    assert output(controller) == []
    command(controller, Command.ENABLE_MOUSE)
    assert output(controller) == [0x08, 1, 0]


@pytest.mark.parametrize(
    ("to_device", "bit"),
    [((), CommandByte.DISABLE_KEYBOARD), ((Command.WRITE_MOUSE,), CommandByte.DISABLE_MOUSE)],
)
def test_what_is_sent_to_a_device_lets_it_answer(
    controller: KeyboardController, to_device: tuple[int, ...], bit: int
) -> None:
    command(controller, Command.WRITE_RAM, bit)
    for value in to_device:
        command(controller, value)
    controller.write(Register.DATA, 1, 0xF4, 0)
    assert output(controller) == [0xFA]
    assert not controller.has(bit)


# ---- translation ---------------------------------------------------------------------------------


def test_a_break_code_becomes_one_byte(controller: KeyboardController) -> None:
    command(controller, Command.WRITE_RAM, CommandByte.TRANSLATE)
    controller.press(A_KEY, 0)
    controller.release(A_KEY, 0)
    controller.press(0xE048, 0)
    controller.release(0xE048, 0)
    assert output(controller) == [A_SET_1, A_SET_1 | 0x80, 0xE0, 0x48, 0xE0, 0xC8]


def test_translation_reaches_all_that_the_keyboard_sends(controller: KeyboardController) -> None:
    command(controller, Command.WRITE_RAM, CommandByte.TRANSLATE)
    controller.write(Register.DATA, 1, 0xF2, 0)
    assert output(controller) == [0xFA, 0xAB, 0x41]


# ---- ports, A20, reset ---------------------------------------------------------------------------


def test_the_output_port_shows_the_output_buffer(controller: KeyboardController) -> None:
    assert asked(controller, Command.READ_OUTPUT_PORT) == [0xCF]
    controller.press(A_KEY, 0)
    assert asked(controller, Command.READ_OUTPUT_PORT) == [A_CODE, 0xDF]
    command(controller, Command.WRITE_MOUSE, 0xF4)
    assert asked(controller, Command.READ_OUTPUT_PORT) == [0xFA, 0xFF]


def test_the_test_inputs_are_the_devices_clocks(controller: KeyboardController) -> None:
    assert asked(controller, Command.READ_TEST_INPUTS) == [3]
    command(controller, Command.DISABLE_KEYBOARD)
    assert asked(controller, Command.READ_TEST_INPUTS) == [2]
    command(controller, Command.DISABLE_MOUSE)
    assert asked(controller, Command.READ_TEST_INPUTS) == [0]


def test_there_is_one_gate_for_bit_20_and_three_ways_to_it(controller: KeyboardController) -> None:
    assert controller.a20()
    command(controller, Command.CLOSE_A20)
    assert (controller.a20(), controller.read(Register.SYSTEM_CONTROL, 1, 0)) == (False, 0)
    controller.write(Register.SYSTEM_CONTROL, 1, 0xFE, 0)
    assert (controller.a20(), controller.read(Register.SYSTEM_CONTROL, 1, 0)) == (True, 2)
    command(controller, Command.WRITE_OUTPUT_PORT, 0xDD)
    assert not controller.a20()
    command(controller, Command.OPEN_A20)
    assert controller.a20()
    assert controller.ending() == GOES_ON


@pytest.mark.parametrize("value", range(0xF0, 0x100))
def test_a_pulse_of_bit_0_resets(controller: KeyboardController, value: int) -> None:
    command(controller, value)
    assert controller.ending() == (GOES_ON if value & 1 else PROCESSORS_RESET)


def test_the_output_port_s_bit_0_resets(controller: KeyboardController) -> None:
    command(controller, Command.WRITE_OUTPUT_PORT, 0xCE)
    assert controller.ending() == PROCESSORS_RESET


def test_port_92_resets(controller: KeyboardController) -> None:
    controller.write(Register.SYSTEM_CONTROL, 1, 3, 0)
    assert controller.ending() == PROCESSORS_RESET


# ---- time ----------------------------------------------------------------------------------------


def test_a_chip_that_nobody_uses_has_no_deadline(controller: KeyboardController) -> None:
    assert controller.next_deadline() == NEVER


def test_a_key_does_not_repeat_while_its_code_is_not_read(controller: KeyboardController) -> None:
    controller.press(A_KEY, 0)
    for _ in range(5):
        controller.expire(controller.next_deadline())
    assert output(controller) == [A_CODE]
    controller.expire(controller.next_deadline())
    assert output(controller) == [A_CODE]


def test_the_next_report_comes_when_it_is_due(controller: KeyboardController) -> None:
    command(controller, Command.WRITE_MOUSE, 0xF4)
    output(controller)
    controller.move(1, 0, 0, 0, 1000)
    assert output(controller) == [8, 1, 0]
    controller.move(2, 0, 0, 0, 2000)
    assert output(controller) == []
    assert controller.next_deadline() == 1000 + 10_000_000
    controller.expire(1000 + 10_000_000)
    assert output(controller) == [8, 2, 0]
    assert controller.next_deadline() == NEVER

"""The keyboard: IBM PS/2 Technical Reference, "Keyboards (101- and 102-Key)"."""

from itertools import pairwise

import pytest

from vestige.monitor.devices.i8042.keyboard import Keyboard
from vestige.monitor.devices.i8042.scan_codes import PAUSE, PRINT_SCREEN
from vestige.monitor.devices.i8042.spec import KEYBOARD_BUFFER, KeyboardCommand
from vestige.monitor.line import NEVER

A, B, UP = 0x1E, 0x30, 0xE048
MS = 1_000_000


@pytest.fixture
def keyboard() -> Keyboard:
    model = Keyboard()
    model.reset()
    return model


def sent(keyboard: Keyboard) -> str:
    """All that it sends."""
    values = bytearray()
    while keyboard.ready():
        values.append(keyboard.take())
    return values.hex(" ")


def told(keyboard: Keyboard, *values: int) -> str:
    """What it answers to these bytes."""
    answers = []
    for value in values:
        keyboard.write(value)
        answers.append(sent(keyboard))
    return ", ".join(answers)


def strike(keyboard: Keyboard, code: int) -> str:
    """What a key sends that is pressed and released."""
    assert keyboard.press(code, 0)
    assert keyboard.release(code)
    return sent(keyboard)


def repeated(keyboard: Keyboard, times: int) -> list[int]:
    """When a key that is held repeats: from one time to the next."""
    now = [keyboard.repeat_at]
    for _ in range(times):
        keyboard.expire(False, now[-1])
        assert sent(keyboard) == "1c"
        now.append(keyboard.repeat_at)
    return [later - earlier for earlier, later in pairwise(now)]


# ---- keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "set_1", "set_2"),
    [
        (A, "1e 9e", "1c f0 1c"),
        (UP, "e0 48 e0 c8", "e0 75 e0 f0 75"),
        (PRINT_SCREEN, "e0 2a e0 37 e0 b7 e0 aa", "e0 12 e0 7c e0 f0 7c e0 f0 12"),
        (PAUSE, "e1 1d 45 e1 9d c5", "e1 14 77 e1 f0 14 f0 77"),
    ],
)
def test_a_key_sends_what_its_set_has(
    keyboard: Keyboard, code: int, set_1: str, set_2: str
) -> None:
    assert strike(keyboard, code) == set_2
    assert told(keyboard, KeyboardCommand.SCAN_CODE_SET, 1) == "fa, fa"
    assert strike(keyboard, code) == set_1


@pytest.mark.parametrize("code", [0, 0x80, 0xE000, 0xE0C8, 0xE11E, 0x011E])
def test_what_is_no_key_sends_nothing(keyboard: Keyboard, code: int) -> None:
    assert strike(keyboard, code) == ""
    assert keyboard.repeat_at == NEVER


def test_a_key_is_wholly_in_the_buffer_or_an_overrun_code_is(keyboard: Keyboard) -> None:
    for _ in range(KEYBOARD_BUFFER - 1):
        assert keyboard.press(A, 0)
    assert not keyboard.release(A)  # two bytes, and one free
    assert not keyboard.press(A, 0)
    assert sent(keyboard) == "1c " * (KEYBOARD_BUFFER - 1) + "00"
    assert strike(keyboard, A) == "1c f0 1c"


def test_the_overrun_code_is_the_17th_byte_and_ff_in_set_1(keyboard: Keyboard) -> None:
    told(keyboard, KeyboardCommand.SCAN_CODE_SET, 1)
    for _ in range(KEYBOARD_BUFFER):
        assert keyboard.press(A, 0)
    assert not keyboard.press(A, 0)
    assert sent(keyboard) == "1e " * KEYBOARD_BUFFER + "ff"


def test_after_one_byte_is_taken_of_an_overrun_no_second_code_comes(keyboard: Keyboard) -> None:
    for _ in range(KEYBOARD_BUFFER):
        keyboard.press(A, 0)
    assert not keyboard.press(A, 0)
    keyboard.take()
    assert not keyboard.press(A, 0)
    keyboard.take()
    assert keyboard.press(B, 0)
    assert not keyboard.press(B, 0)  # which is another overrun
    assert sent(keyboard) == "1c " * (KEYBOARD_BUFFER - 2) + "00 32 00"


def test_replies_go_before_scan_codes_and_take_no_place(keyboard: Keyboard) -> None:
    for _ in range(KEYBOARD_BUFFER):
        assert keyboard.press(A, 0)
    keyboard.write(KeyboardCommand.READ_ID)
    assert sent(keyboard) == "fa ab 83" + " 1c" * KEYBOARD_BUFFER


# ---- typematic -----------------------------------------------------------------------------------


def test_a_key_that_is_held_repeats_after_500_ms_10_9_times_a_second(keyboard: Keyboard) -> None:
    keyboard.press(A, 7)
    assert sent(keyboard) == "1c"
    assert keyboard.repeat_at == 500 * MS + 7
    assert repeated(keyboard, 3) == [91_740_000] * 3


@pytest.mark.parametrize(
    ("value", "delay", "period"), [(0x00, 250, 33_360_000), (0x7F, 1000, 500_400_000)]
)
def test_rate_and_delay_are_as_the_guest_says(
    keyboard: Keyboard, value: int, delay: int, period: int
) -> None:
    assert told(keyboard, KeyboardCommand.TYPEMATIC, value) == "fa, fa"
    keyboard.press(A, 0)
    sent(keyboard)
    assert keyboard.repeat_at == delay * MS
    assert repeated(keyboard, 2) == [period] * 2


def test_nothing_repeats_before_its_time(keyboard: Keyboard) -> None:
    keyboard.press(A, 0)
    sent(keyboard)
    keyboard.expire(False, 500 * MS - 1)
    assert sent(keyboard) == ""


def test_the_key_pressed_last_repeats_until_it_is_released(keyboard: Keyboard) -> None:
    keyboard.press(B, 0)
    keyboard.press(A, 0)
    keyboard.release(B)
    sent(keyboard)
    repeated(keyboard, 1)
    keyboard.release(A)
    assert keyboard.repeat_at == NEVER


def test_pause_does_not_repeat(keyboard: Keyboard) -> None:
    keyboard.press(PAUSE, 0)
    assert keyboard.repeat_at == NEVER


def test_print_screen_repeats_without_its_shift(keyboard: Keyboard) -> None:
    keyboard.press(PRINT_SCREEN, 0)
    sent(keyboard)
    keyboard.expire(False, keyboard.repeat_at)
    assert sent(keyboard) == "e0 7c"


@pytest.mark.parametrize("inhibited", [False, True])
def test_a_repetition_is_left_out_where_the_last_one_was_not_taken(
    keyboard: Keyboard, inhibited: bool
) -> None:
    keyboard.press(A, 0)
    if inhibited:
        sent(keyboard)
    before = keyboard.count
    keyboard.expire(inhibited, 500 * MS)
    assert keyboard.count == before
    assert keyboard.repeat_at == 500 * MS + 91_740_000


# ---- commands ------------------------------------------------------------------------------------


def test_leds_are_what_the_option_byte_says(keyboard: Keyboard) -> None:
    assert told(keyboard, KeyboardCommand.LEDS, 0xAA & 0x7F) == "fa, fa"
    assert keyboard.leds == 2


def test_a_command_in_place_of_an_option_byte_is_taken(keyboard: Keyboard) -> None:
    assert told(keyboard, KeyboardCommand.LEDS, KeyboardCommand.ECHO, 2) == "fa, ee, fe"
    assert keyboard.leds == 0


def test_scan_codes_wait_for_an_option_byte(keyboard: Keyboard) -> None:
    keyboard.write(KeyboardCommand.LEDS)
    keyboard.press(A, 0)
    assert sent(keyboard) == "fa"
    assert told(keyboard, 0) == "fa 1c"


def test_echo_and_id(keyboard: Keyboard) -> None:
    assert told(keyboard, KeyboardCommand.ECHO, KeyboardCommand.READ_ID) == "ee, fa ab 83"


def test_the_set_can_be_asked_for_and_there_is_no_third(keyboard: Keyboard) -> None:
    command = KeyboardCommand.SCAN_CODE_SET
    assert told(keyboard, command, 0) == "fa, fa 02"
    assert told(keyboard, command, 3) == "fa, fe"
    assert told(keyboard, command, 1, command, 0) == "fa, fa, fa, fa 01"


@pytest.mark.parametrize("value", [0x00, 0x05, 0xEC, 0xEF, 0xF1])
def test_what_it_does_not_know_it_asks_for_again(keyboard: Keyboard, value: int) -> None:
    assert told(keyboard, value) == "fe"


def test_disabled_it_sends_no_keys_until_enabled(keyboard: Keyboard) -> None:
    assert told(keyboard, KeyboardCommand.DEFAULT_DISABLE) == "fa"
    assert strike(keyboard, A) == ""
    assert told(keyboard, KeyboardCommand.ENABLE) == "fa"
    assert strike(keyboard, A) == "1c f0 1c"


@pytest.mark.parametrize(
    "value",
    [KeyboardCommand.DEFAULT_DISABLE, KeyboardCommand.SET_DEFAULT, KeyboardCommand.RESET],
)
def test_the_default_is_that_of_power_on(keyboard: Keyboard, value: int) -> None:
    told(keyboard, KeyboardCommand.LEDS, 7, KeyboardCommand.TYPEMATIC, 0)
    told(keyboard, KeyboardCommand.SCAN_CODE_SET, 1)
    keyboard.press(A, 0)
    assert told(keyboard, value) == ("fa aa" if value == KeyboardCommand.RESET else "fa")
    assert (keyboard.leds, keyboard.typematic, keyboard.code_set) == (0, 0x2B, 2)
    assert keyboard.repeat_at == NEVER
    assert keyboard.scanning == (value != KeyboardCommand.DEFAULT_DISABLE)


@pytest.mark.parametrize(
    "value", [KeyboardCommand.ENABLE, KeyboardCommand.SCAN_CODE_SET, *range(0xF7, 0xFE)]
)
def test_some_commands_clear_the_buffer(keyboard: Keyboard, value: int) -> None:
    keyboard.press(A, 0)
    assert told(keyboard, value) == "fa"
    told(keyboard, KeyboardCommand.ECHO)
    assert (keyboard.count, keyboard.repeat_at) == (0, NEVER)


def test_keys_of_set_3_are_acknowledged_as_long_as_they_come(keyboard: Keyboard) -> None:
    command = KeyboardCommand.KEY_MAKE
    assert told(keyboard, command, 0x1C, 0x32, KeyboardCommand.ECHO, 0x1C) == "fa, fa, fa, ee, fe"


def test_resend_sends_the_last_byte_again(keyboard: Keyboard) -> None:
    assert told(keyboard, KeyboardCommand.READ_ID, KeyboardCommand.RESEND) == "fa ab 83, 83"
    assert told(keyboard, 0x00, KeyboardCommand.RESEND) == "fe, 83"  # the one before a Resend


def test_a_command_ends_the_reply_before(keyboard: Keyboard) -> None:
    keyboard.write(KeyboardCommand.READ_ID)
    assert keyboard.take() == 0xFA
    assert told(keyboard, KeyboardCommand.ECHO) == "ee"

"""The mouse: IBM PS/2 Technical Reference, "Mouse". Movements are quarters of a millimetre."""

import pytest

from vestige.monitor.devices.i8042.mouse import Mouse
from vestige.monitor.devices.i8042.spec import MouseCommand, MouseId
from vestige.monitor.line import NEVER

MS = 1_000_000
WHEEL, BUTTONS = (200, 100, 80), (200, 200, 80)


@pytest.fixture
def mouse() -> Mouse:
    model = Mouse()
    model.reset()
    return model


@pytest.fixture
def streaming(mouse: Mouse) -> Mouse:
    told(mouse, MouseCommand.ENABLE)
    return mouse


def sent(mouse: Mouse) -> str:
    """All that it sends."""
    values = bytearray()
    while mouse.ready():
        values.append(mouse.take())
    return values.hex(" ")


def told(mouse: Mouse, *values: int) -> str:
    """What it answers to these bytes."""
    answers = []
    for value in values:
        mouse.write(value)
        answers.append(sent(mouse))
    return ", ".join(answers)


def knock(mouse: Mouse, rates: tuple[int, ...]) -> str:
    """What the mouse is after these rates."""
    for rate in rates:
        assert told(mouse, MouseCommand.SAMPLE_RATE, rate) == "fa, fa"
    return told(mouse, MouseCommand.READ_ID)


def reported(mouse: Mouse, dx: int = 0, dy: int = 0, wheel: int = 0, buttons: int = 0) -> str:
    """What it reports of a movement, as soon as it may."""
    assert mouse.move(dx, dy, wheel, buttons)
    due = mouse.due()
    if due != NEVER:
        mouse.expire(due)
    return sent(mouse)


# ---- reports -------------------------------------------------------------------------------------


def test_a_mouse_is_silent_until_it_is_enabled(mouse: Mouse) -> None:
    assert sent(mouse) == ""
    assert reported(mouse, 5, 5, 0, 1) == ""
    assert told(mouse, MouseCommand.ENABLE) == "fa"
    assert reported(mouse, buttons=1) == ""  # what was before is not told
    assert reported(mouse, 1, 0, 0, 1) == "09 01 00"


@pytest.mark.parametrize(
    ("dx", "dy", "report"),
    [
        (1, 2, "08 01 02"),
        (-1, 0, "18 ff 00"),
        (0, -2, "28 00 fe"),
        (255, -256, "28 ff 00"),
        (256, 0, "48 ff 00"),
        (-257, 0, "58 00 00"),
        (0, 2**31 - 1, "88 00 ff"),
        (-(2**31), -(2**31), "f8 00 00"),
    ],
)
def test_counts_have_9_bits_and_an_overflow_bit(
    streaming: Mouse, dx: int, dy: int, report: str
) -> None:
    assert reported(streaming, dx, dy) == report
    assert reported(streaming, 0, 0, 0, 1) == "09 00 00"  # what was too far is lost


def test_buttons(streaming: Mouse) -> None:
    for buttons in (1, 2, 4, 7, 0):
        assert reported(streaming, buttons=buttons) == f"{8 | buttons:02x} 00 00"
    assert reported(streaming, buttons=0x18) == ""  # no such buttons


def test_a_mouse_that_does_not_move_reports_nothing(streaming: Mouse) -> None:
    assert reported(streaming) == ""
    assert streaming.due() == NEVER


@pytest.mark.parametrize(
    ("resolution", "reports"),
    [(0, ["08 01 00", ""]), (1, ["08 02 00", "08 01 00"]), (3, ["08 0a 00", "08 02 00"])],
)
def test_resolution_is_counts_a_millimetre_and_parts_of_one_are_kept(
    streaming: Mouse, resolution: int, reports: list[str]
) -> None:
    assert told(streaming, MouseCommand.RESOLUTION, resolution) == "fa, fa"
    assert [reported(streaming, 5), reported(streaming, 1)] == reports


def test_parts_of_a_count_are_kept_in_both_directions(streaming: Mouse) -> None:
    told(streaming, MouseCommand.RESOLUTION, 0)
    assert [reported(streaming, -1) for _ in range(4)] == ["", "", "", "18 ff 00"]


def test_scaling_2_to_1_is_a_table_in_stream_mode(streaming: Mouse) -> None:
    assert told(streaming, MouseCommand.SCALING_2_TO_1) == "fa"
    counts = [reported(streaming, dx).split()[1] for dx in range(1, 8)]
    assert counts == ["01", "01", "03", "06", "09", "0c", "0e"]
    assert reported(streaming, -3) == "18 fd 00"
    assert reported(streaming, 200) == "48 ff 00"
    told(streaming, MouseCommand.SCALING_1_TO_1)
    assert reported(streaming, 5) == "08 05 00"


def test_movements_add_up_until_the_rate_allows_a_report(streaming: Mouse) -> None:
    streaming.move(1, 0, 0, 0)
    streaming.expire(50 * MS)
    assert sent(streaming) == "08 01 00"
    streaming.move(2, 1, 0, 0)
    streaming.move(3, 1, 0, 0)
    assert streaming.due() == 60 * MS
    streaming.expire(60 * MS - 1)
    assert sent(streaming) == ""
    streaming.expire(60 * MS)
    assert sent(streaming) == "08 05 02"


def test_the_rate_is_the_guest_s(streaming: Mouse) -> None:
    told(streaming, MouseCommand.SAMPLE_RATE, 20)
    assert reported(streaming, 1) == "08 01 00"
    streaming.move(1, 0, 0, 0)
    assert streaming.due() == 50 * MS


def test_no_report_comes_before_a_parameter(streaming: Mouse) -> None:
    told(streaming, MouseCommand.SAMPLE_RATE)
    assert reported(streaming, 1) == ""
    assert told(streaming, 40) == "fa"
    assert reported(streaming, 1) == "08 02 00"


def test_a_report_waits_until_the_one_before_is_taken(streaming: Mouse) -> None:
    streaming.move(1, 0, 0, 0)
    streaming.expire(0)
    streaming.move(2, 0, 0, 0)
    assert streaming.due() == NEVER
    assert sent(streaming) == "08 01 00"
    assert streaming.due() == 10 * MS


def test_a_click_is_not_lost_between_two_reports(streaming: Mouse) -> None:
    reported(streaming, 1)
    assert streaming.move(0, 0, 0, 1)
    assert streaming.move(5, 0, 0, 1)
    assert not streaming.move(7, 0, 0, 0)
    streaming.expire(streaming.due())
    assert sent(streaming) == "09 05 00"
    assert reported(streaming, 7) == "08 07 00"


def test_in_remote_mode_it_reports_when_asked(streaming: Mouse) -> None:
    told(streaming, MouseCommand.SCALING_2_TO_1)
    assert told(streaming, MouseCommand.REMOTE_MODE) == "fa"
    assert reported(streaming, 3, 0, 0, 1) == ""
    assert told(streaming, MouseCommand.READ_DATA) == "fa 09 03 00"  # without scaling
    assert told(streaming, MouseCommand.READ_DATA) == "fa 09 00 00"
    assert told(streaming, MouseCommand.STREAM_MODE) == "fa"
    assert reported(streaming, 1, buttons=1) == "09 01 00"


# ---- the knock -----------------------------------------------------------------------------------


def test_a_knock_brings_the_wheel(streaming: Mouse) -> None:
    assert reported(streaming, wheel=1) == ""
    assert knock(streaming, WHEEL) == "fa 03"
    assert reported(streaming, wheel=1) == "08 00 00 01"
    assert reported(streaming, 1, wheel=-1, buttons=0x10) == "08 01 00 ff"
    assert reported(streaming, wheel=-1000) == "08 00 00 81"


def test_another_knock_brings_buttons_4_and_5(streaming: Mouse) -> None:
    assert knock(streaming, BUTTONS) == "fa 04"
    assert reported(streaming, wheel=-1, buttons=0x08) == "08 00 00 1f"
    assert reported(streaming, wheel=9, buttons=0x11) == "09 00 00 27"
    assert reported(streaming, buttons=0x11) == "09 00 00 22"  # the rest of the wheel's turns


@pytest.mark.parametrize("rates", [(200, 80), (100, 100, 80), (200, 100, 60, 80), (80, 200, 100)])
def test_other_rates_are_no_knock(mouse: Mouse, rates: tuple[int, ...]) -> None:
    assert knock(mouse, rates) == "fa 00"


def test_the_default_rate_is_no_part_of_a_knock(mouse: Mouse) -> None:
    told(mouse, MouseCommand.SAMPLE_RATE, 200, MouseCommand.SAMPLE_RATE, 60)
    told(mouse, MouseCommand.SET_DEFAULT)
    assert knock(mouse, (80,)) == "fa 00"


def test_reset_takes_the_wheel_away_and_the_default_does_not(mouse: Mouse) -> None:
    knock(mouse, WHEEL)
    assert told(mouse, MouseCommand.SET_DEFAULT, MouseCommand.READ_ID) == "fa, fa 03"
    assert told(mouse, MouseCommand.RESET, MouseCommand.READ_ID) == "fa aa 00, fa 00"
    assert mouse.identity == MouseId.STANDARD


# ---- commands ------------------------------------------------------------------------------------


def test_the_status_tells_modes_buttons_resolution_and_rate(mouse: Mouse) -> None:
    assert told(mouse, MouseCommand.STATUS) == "fa 00 02 64"
    told(mouse, MouseCommand.ENABLE, MouseCommand.REMOTE_MODE, MouseCommand.SCALING_2_TO_1)
    told(mouse, MouseCommand.RESOLUTION, 3, MouseCommand.SAMPLE_RATE, 40)
    mouse.move(0, 0, 0, 7)
    assert told(mouse, MouseCommand.STATUS) == "fa 77 03 28"
    told(mouse, MouseCommand.SET_DEFAULT, MouseCommand.DISABLE)
    mouse.move(0, 0, 0, 1)
    assert told(mouse, MouseCommand.STATUS) == "fa 04 02 64"
    mouse.move(0, 0, 0, 2)
    assert told(mouse, MouseCommand.STATUS) == "fa 01 02 64"


def test_disabled_again_it_reports_nothing(streaming: Mouse) -> None:
    assert told(streaming, MouseCommand.DISABLE) == "fa"
    assert reported(streaming, 1) == ""


def test_in_wrap_mode_it_sends_back_what_it_gets(streaming: Mouse) -> None:
    assert told(streaming, MouseCommand.WRAP_MODE, 0x12, 0xF3, 0xFE) == "fa, 12, f3, fe"
    assert reported(streaming, 1) == ""
    assert told(streaming, MouseCommand.RESET_WRAP_MODE, MouseCommand.READ_ID) == "fa, fa 00"


def test_reset_ends_wrap_mode(mouse: Mouse) -> None:
    assert told(mouse, MouseCommand.WRAP_MODE, MouseCommand.RESET) == "fa, fa aa 00"
    assert told(mouse, MouseCommand.READ_ID) == "fa 00"


def test_what_it_can_not_take_it_asks_for_again_once(mouse: Mouse) -> None:
    assert told(mouse, 0x10, 0x10, MouseCommand.DISABLE, 0x10) == "fe, fc, fa, fe"


@pytest.mark.parametrize(
    ("command", "value"), [(MouseCommand.RESOLUTION, 4), (MouseCommand.SAMPLE_RATE, 81)]
)
def test_a_parameter_that_can_not_be_is_not_taken(mouse: Mouse, command: int, value: int) -> None:
    assert told(mouse, command, value) == "fa, fe"
    assert told(mouse, MouseCommand.STATUS) == "fa 00 02 64"


def test_a_command_in_place_of_a_parameter_is_taken(mouse: Mouse) -> None:
    assert told(mouse, MouseCommand.SAMPLE_RATE, MouseCommand.RESET) == "fa, fa aa 00"


def test_resend_sends_the_last_packet_again(streaming: Mouse) -> None:
    assert told(streaming, MouseCommand.READ_ID, MouseCommand.RESEND) == "fa 00, fa 00"
    assert reported(streaming, 1) == "08 01 00"
    assert told(streaming, MouseCommand.RESEND) == "08 01 00"


def test_a_command_ends_the_packet_before(streaming: Mouse) -> None:
    streaming.move(1, 0, 0, 0)
    streaming.expire(0)
    assert streaming.take() == 0x08
    assert told(streaming, MouseCommand.READ_ID) == "fa 00"

"""When a device is there, by what its place says."""

from vestige.abi import Board, Config
from vestige.place import MemoryRange, Option, Place, is_present, options_for, standard

SERIAL = Place("serial", "serial")
SPEAKER = Place("speaker", "speaker", option=Option("--speaker", "give it a speaker"))
COUNTER = Place("counter", "counter", memory=MemoryRange(0xF000_0000, 0x1000))


def test_a_device_with_an_option_is_there_where_its_row_was_asked_for() -> None:
    places = (COUNTER, SPEAKER, SERIAL)
    config = Config(options=options_for(places, ["speaker", "counter"]))
    assert config.options == 2
    assert is_present(SPEAKER, 1, config)
    assert not is_present(SPEAKER, 0, config)


def test_a_device_without_an_option_is_there_where_it_says_so() -> None:
    silent = Place("b", "b", present=lambda config: config.console.present != 0)
    config = Config(options=1)
    assert not is_present(silent, 0, config)
    config.console.present = 1
    assert is_present(silent, 0, config)
    assert is_present(COUNTER, 5, config)


def test_a_device_of_one_board_is_on_no_other() -> None:
    timer = Place("timer", "timer", board=Board.PC)
    assert not is_present(timer, 0, Config())
    assert is_present(timer, 0, Config(board=Board.PC))
    assert standard((timer, COUNTER, SPEAKER), Board.PC) == {"timer", "counter"}
    assert standard((timer, COUNTER, SPEAKER), Board.MODERN) == {"counter"}

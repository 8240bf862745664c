"""The screen's memory as a viewer has it, and what it makes of it."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from vestige import abi
from vestige.host.kvm.memory import GuestMemory, PrivateMemory, Region
from vestige.host.process.link import Kind, Link
from vestige.host.screen import told
from vestige.host.viewer import memory
from vestige.host.viewer.look import Look
from vestige.screen import picture, seen
from vestige.viewer.frame import BLANK, Area, Frame, Mode

TEXT = 0xB8000
LINE = 160


class Machine:
    """A machine's memory, written here, and a viewer's look at it."""

    def __init__(self, sees: Link | None = None) -> None:
        """`sees`: to a viewer's process that is given the same."""
        files = memory.make()
        low, screen, *regions = files
        self.ram, self.private = GuestMemory(64 << 20), PrivateMemory()
        self.ram.region.share(0, memory.LOW.size, low)
        place = abi.SHARED + memory.SCREEN.place - abi.IMAGE
        self.private.region.share(place, memory.SCREEN.size, screen)
        self.regions = []
        for file, (_, size) in zip(regions, abi.REGIONS, strict=True):
            self.regions.append(Region(size))
            self.regions[-1].share(0, size, file)
        memory.seal(files)
        self.seen = memory.Seen(files)
        for file in files if sees is not None else ():
            sees.send_along(Kind.MEMORY, b"", file)  # type: ignore[union-attr] # where there is one
        memory.close(files)
        self.look = Look(self.seen)

    @property
    def screen(self) -> abi.Screen:
        return self.private.shared().screen

    def set(self, **fields: object) -> None:
        """What the monitor tells."""
        self.private.shared().screen = abi.Screen(**fields)

    def close(self) -> None:
        self.seen.close()
        self.ram.close()
        self.private.close()
        for region in self.regions:
            region.close()


@pytest.fixture
def machine() -> Iterator[Machine]:
    with closing(Machine()) as made:
        yield made


def set_text(machine: Machine) -> None:
    machine.set(
        kind=abi.ScreenKind.TEXT,
        columns=80,
        rows=25,
        pitch=LINE,
        window=TEXT,
        window_size=0x8000,
        cursor_row=3,
        cursor_column=4,
        cursor_first=14,
        cursor_last=15,
        character_width=9,
        character_height=16,
        dot_width=1,
        dot_height=1,
        fonts=(abi.SCREEN_MEMORY, abi.SCREEN_MEMORY),
        colours=tuple(range(0, 0x10_0000, 0x1_0001)),
    )
    for glyph in range(256):
        first = abi.SCREEN_MEMORY + glyph * abi.GLYPH_SIZE
        machine.ram.region.view[first : first + 16] = bytes([glyph]) * 16


def test_nothing_is_shown_before_there_is_a_screen(machine: Machine) -> None:
    assert machine.look.take()[0] == BLANK


def test_text_is_drawn_as_the_command_screen_draws_it(machine: Machine) -> None:
    set_text(machine)
    view = machine.ram.region.view
    for number in range(2000):
        view[TEXT + 2 * number : TEXT + 2 * number + 2] = bytes((number % 251, number % 241))
    mode, lines = machine.look.take()
    assert mode.size == (720, 400)
    answer = told(machine.screen, view)
    cells, fonts = answer.pop("cells"), answer.pop("fonts")
    answer.pop("kind")
    cursor = seen.Cursor(*answer.pop("cursor"))
    answer["colours"] = tuple(answer["colours"])
    other = seen.Seen(cells=cells, fonts=tuple(fonts), cursor=cursor, **answer)
    assert list(lines) == picture.draw(other)


def test_a_character_is_a_change_of_its_tiles_alone(machine: Machine) -> None:
    set_text(machine)
    machine.ram.region.view[TEXT : TEXT + 4000] = b"\0\7" * 2000
    frame = Frame()
    assert frame.show(*machine.look.take())
    assert not frame.show(*machine.look.take())
    machine.ram.region.view[TEXT + 2 * LINE + 2 * 20] = 0x55
    machine.ram.region.view[TEXT + 2 * LINE + 2 * 20 + 1] = 0x07
    assert frame.show(*machine.look.take()) == {(0, 180 // 64)}
    machine.screen.cursor_row = 20
    assert frame.show(*machine.look.take()) == {(0, 0), (5, 0)}
    machine.screen.colours[7] = 0xFF00FF
    assert frame.show(*machine.look.take()) == frame.tiles()


def set_graphics(machine: Machine, **others: object) -> None:
    machine.set(
        **{
            "kind": abi.ScreenKind.GRAPHICS,
            "width": 320,
            "height": 200,
            "depth": 32,
            "pitch": 1280,
            "region": 1,
            "dot_width": 1,
            "dot_height": 1,
        }
        | others
    )


@pytest.mark.parametrize("pitch", [1280, 4096])
def test_graphics_are_a_regions_dots(machine: Machine, pitch: int) -> None:
    set_graphics(machine, pitch=pitch, start=64)
    view = machine.regions[0].view
    for line in range(200):
        view[64 + line * pitch : 64 + line * pitch + 1280] = bytes([line]) * 1280
    frame = Frame()
    frame.show(*machine.look.take())
    assert frame.mode == Mode(320, 200, 32)
    assert frame.lines == [bytes([line]) * 1280 for line in range(200)]
    assert not frame.show(*machine.look.take())
    view[64 + 199 * pitch + 1279] = 1
    assert frame.show(*machine.look.take()) == {(3, 4)}


@pytest.mark.parametrize("pitch", [160, 168])
def test_dots_of_planes_are_numbers_of_16_colours(machine: Machine, pitch: int) -> None:
    colours = tuple(range(16))
    set_graphics(machine, depth=4, width=320, pitch=pitch, colours=colours)
    view = machine.regions[0].view
    view[pitch : pitch + 4] = bytes.fromhex("80018000")
    frame = Frame()
    frame.show(*machine.look.take())
    assert frame.mode == Mode(320, 200, 8, palette=colours)
    assert frame.lines[1] == bytes.fromhex("0500000000000002").ljust(320, b"\0")
    assert not frame.show(*machine.look.take())
    view[pitch + 159] = 1
    assert frame.show(*machine.look.take()) == {(0, 4)}


def test_lines_behind_the_end_go_on_at_the_begin(machine: Machine) -> None:
    size = abi.REGIONS[0][1]
    set_graphics(machine, start=size - 1280 * 100 - 8)
    machine.regions[0].view[1280 - 8] = 7
    _, lines = machine.look.take()
    assert lines[101][0] == 7


def test_ibms_mode_is_in_the_window(machine: Machine) -> None:
    set_graphics(
        machine,
        depth=8,
        pitch=320,
        region=0,
        window=abi.SCREEN_MEMORY,
        window_size=1 << 16,
        dot_width=2,
        dot_height=2,
    )
    machine.screen.palette[9] = 0x123456
    machine.ram.region.view[abi.SCREEN_MEMORY + 321] = 9
    frame = Frame()
    frame.show(*machine.look.take())
    assert frame.mode.size == (640, 400)
    rows = frame.picture(Area(0, 0, 4, 4))
    dot = bytes.fromhex("56341200")
    assert rows == [bytes(16), bytes(16), bytes(8) + dot * 2, bytes(8) + dot * 2]


@pytest.mark.parametrize("others", [{"dot_width": 64}, {"width": 16384, "dot_height": 64}])
def test_what_is_too_large_to_be_shown_is_not(machine: Machine, others: dict[str, int]) -> None:
    set_graphics(machine, **others)
    assert machine.look.take()[0] == BLANK


def test_a_viewer_sees_the_screens_memory_and_none_beside(machine: Machine) -> None:
    view = machine.ram.region.view
    view[abi.SCREEN_MEMORY - 1] = view[abi.SCREEN_MEMORY + abi.SCREEN_MEMORY_SIZE] = 0xEE
    view[abi.SCREEN_MEMORY] = view[abi.SCREEN_MEMORY + abi.SCREEN_MEMORY_SIZE - 1] = 0x11
    window = bytes(machine.seen.window)
    assert len(window) == abi.SCREEN_MEMORY_SIZE
    assert (window[0], window[-1], 0xEE in window) == (0x11, 0x11, False)

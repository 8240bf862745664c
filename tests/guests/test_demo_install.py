"""What the demo of the installer makes of the picture in its window, and when it fails."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from examples.demo_install import driver
from examples.demo_install.picture import COLOUR_SIZE, HEADER, KIND, Field, Picture
from examples.demo_install.window import Window, authority, require_programs
from examples.telling import Failure
from tests.guests.named import NamedRun
from tests.screen import pictures
from vestige.errors import UsageError

# Two lines of two dots, blue, green and red each, with the rest of a line that is longer.
LINES = (bytes([1, 2, 3, 0, 4, 5, 6, 0]), bytes([7, 8, 9, 0, 10, 11, 12, 0]))
REST = b"\xff\xff\xff\xff"


def server_file(colours: int = 3, **other: int) -> bytes:
    """As Xvfb keeps one, but for fields that are `other`."""
    fields = {
        **KIND,
        Field.HEADER_SIZE: HEADER.size + 8,
        Field.PIXMAP_WIDTH: 2,
        Field.PIXMAP_HEIGHT: 2,
        Field.BYTES_PER_LINE: 12,
        Field.COLOURS: colours,
        **{Field[name]: value for name, value in other.items()},
    }
    header = HEADER.pack(*(fields.get(cast(Field, number), 0) for number in range(25)))
    return header + b"a window" + bytes(colours * COLOUR_SIZE) + b"".join(x + REST for x in LINES)


def test_a_picture_has_the_dots_of_the_x_server_s_screen() -> None:
    picture = Picture.read(server_file())
    assert picture.lines == LINES
    assert pictures.read(picture.png()) == (2, 2, bytes([3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10]))


def test_it_is_read_twice_as_large_and_without_colours() -> None:
    width, height, dots = pictures.read(Picture.read(server_file()).enlarged())
    assert (width, height) == (4, 4)
    first, second = (bytes([x, x, x, x, x, x, y, y, y, y, y, y]) for x, y in ((2, 5), (8, 11)))
    assert dots == 2 * first + 2 * second


@pytest.mark.parametrize(
    "data", [b"", server_file(BITS_PER_PIXEL=16), server_file(BYTE_ORDER=1), server_file()[:-1]]
)
def test_a_file_of_another_kind_or_that_is_cut_is_no_picture(data: bytes) -> None:
    with pytest.raises(ValueError, match="picture"):
        Picture.read(data)


def test_the_window_s_programs_are_told_of_where_they_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"^Xvfb, xtigervncviewer, xdotool, tesseract: not found"):
        require_programs()


def test_the_x_server_s_cookie_is_for_any_display() -> None:
    name = b"MIT-MAGIC-COOKIE-1"
    assert authority(b"0123456789abcdef") == b"".join(
        (b"\xff\xff", b"\0\0", b"\0\0", b"\0\x12", name, b"\0\x10", b"0123456789abcdef")
    )


class Stand:
    """A run that goes on and a window that shows each of `shown`, the last for ever.

    A second passes with each look.
    """

    def __init__(self, *shown: str) -> None:
        self.shown = list(shown)
        self.now = 0.0
        self.reads = 0

    def pause(self) -> None:
        self.now += 1

    def look(self) -> Picture:
        words = self.shown.pop(0) if len(self.shown) > 1 else self.shown[0]
        return Picture((words.encode().ljust(8),))

    def read(self, picture: Picture) -> str:
        self.reads += 1
        return picture.lines[0].decode()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(driver, "FOLDER", tmp_path)
    return tmp_path


def wait_on(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "time", SimpleNamespace(monotonic=lambda: stand.now))
    screen = driver.Screen("menu", "a menu", ("Return",), "it starts")
    driver.await_screen(cast(NamedRun, stand), cast(Window, stand), screen)


def test_a_screen_is_there_once_it_is_read_and_its_picture_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand = Stand("1", "2", "3", "rest", "rest", "rest", "rest", "a me nu")
    wait_on(stand, monkeypatch)
    assert stand.reads == 2, "what moves is not read, nor what has been"
    assert (folder / "menu.png").read_bytes() == Picture((b"a me nu".ljust(8),)).png()


def test_a_screen_that_always_moves_is_read_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_on(Stand("1", "2", "3", "4", "a menu", "5", "rest"), monkeypatch)
    assert (folder / "menu.png").read_bytes() == Picture((b"a menu".ljust(8),)).png()


def test_a_screen_that_does_not_come_fails_and_what_is_there_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Failure, match="'a menu' does not come; what is read there is\nanother"):
        wait_on(Stand("another"), monkeypatch)
    assert (folder / "menu.png").exists()

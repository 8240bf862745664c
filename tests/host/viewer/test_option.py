"""`--display`, as it is read."""

import pytest

from vestige.errors import UsageError
from vestige.host.options import PC, VGA_NONE, ConsoleOption, RunOptions, check
from vestige.host.viewer.option import DisplayOption, parse_display


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("vnc", DisplayOption()),
        ("vnc,layout=de", DisplayOption(layout="de")),
        ("vnc:127.0.0.1:5901", DisplayOption(port=5901)),
        ("vnc:localhost:5901", DisplayOption(port=5901)),
        ("vnc:[::1]:5901", DisplayOption(host="::1", port=5901)),
        ("vnc:0.0.0.0:1,password-file=p,,q", DisplayOption("vnc", "0.0.0.0", 1, None, "p,q")),
        ("vnc:unix:a,,b", DisplayOption(path="a,b")),
    ],
)
def test_what_it_says(text: str, option: DisplayOption) -> None:
    assert parse_display(text) == option


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("sdl", "give vnc"),
        ("vnc:", "not an address"),
        ("vnc:5900x", "not an address"),
        ("vnc:5900", "not an address"),
        ("vnc::5900", "not an address"),
        ("vnc:[127.0.0.1]:5900", "not an address"),
        ("vnc:127.0.0.1:0", "no port '0'; give one from 1 to 65535"),
        ("vnc:127.0.0.1:65536", "no port '65536'"),
        ("vnc:example.org:5900", "not an address"),
        ("vnc:unix:", "no path"),
        ("vnc:unix:a,password-file=b", "a Unix socket is its user's alone"),
        ("vnc:0.0.0.0:5900", "others than this machine's users reach that address"),
        ("vnc:[::]:5900", "others than this machine's users reach that address"),
        ("vnc,layout=xx", "no layout 'xx'; there are us, gb, de, fr"),
        ("vnc,password-file=", "unknown option 'password-file='"),
        ("vnc,shared", "unknown option 'shared'"),
    ],
)
def test_what_is_refused(text: str, line: str) -> None:
    with pytest.raises(UsageError, match=line.replace("(", r"\(")) as caught:
        parse_display(text)
    assert str(caught.value).startswith(f"--display {text}: ")


@pytest.mark.parametrize("others", [{}, {"machine": PC, "vga": VGA_NONE}])
def test_a_machine_without_a_screen_has_no_display(others: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"^--display: a PC's screen; give --machine pc"):
        check(RunOptions("k", display=DisplayOption(), **others))  # type: ignore[arg-type]


def test_text_takes_the_terminal_from_the_console() -> None:
    option = parse_display("text,layout=fr")
    assert option == DisplayOption("text", layout="fr")
    with pytest.raises(UsageError, match=r"^--display text: the terminal is the screen's; give"):
        check(RunOptions("k", machine=PC, display=option))
    check(RunOptions("k", machine=PC, display=option, console=ConsoleOption("log")))


@pytest.mark.parametrize("text", ["text:x", "text,password-file=f"])
def test_text_has_neither_an_address_nor_a_password(text: str) -> None:
    with pytest.raises(UsageError, match=f"^--display {text}: "):
        parse_display(text)

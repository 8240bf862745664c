"""What a demo tells of its guest, and how it ends."""

import sys
from pathlib import Path

import pytest

from examples.telling import Check, Failure, Teller, attend, shown, steps
from tests.guests.dialogue import Dialogue

DEMO = Teller("demo")
# A guest whose shell answers with what it was asked.
SHELL = """
import sys
for line in sys.stdin:
    print(line.partition(";")[0])
    print("done-42", flush=True)
"""
PATIENCE = 60.0


def show_nothing(_text: str) -> None:
    """Nobody watches."""


def test_a_failed_check_is_told_with_its_reason() -> None:
    with pytest.raises(Failure, match="check: lspci FAILED no bridge"):
        DEMO.judge("lspci", False, "no bridge")


def test_a_passed_check_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    DEMO.judge("lspci", True, "no bridge")
    assert capsys.readouterr().out == "demo: check: lspci ok\n"


def test_each_line_of_the_guest_is_marked_once_it_is_whole(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = tmp_path / "console.log"
    show = shown(log)
    for text in ("Debian", " GNU/Linux\nlogin: ", "root\ndone-42\n\n"):
        show(text)
    assert capsys.readouterr().out == "  | Debian GNU/Linux\n  | login: root\n"
    assert log.read_text() == "Debian GNU/Linux\nlogin: root\ndone-42\n\n"


def test_of_each_kind_of_step_one_line_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show = steps()
    for line in (
        *("I: Retrieving adduser 3.134", "I: Validating adduser 3.134", "I: Retrieving apt 2.6"),
        *("W: no key", "I: Validating apt 2.6", "W: no key", "I: Base system installed"),
    ):
        show(line)
    assert capsys.readouterr().out.splitlines() == [
        *("  | Retrieving adduser 3.134 ...", "  | Validating adduser 3.134 ...", "  | W: no key"),
        *("  | W: no key", "  | Base system installed ..."),
    ]


def test_a_command_has_to_print_all_that_is_expected() -> None:
    def talk(guest: Dialogue) -> None:
        assert DEMO.check(guest, Check("echo", "one two", ("one", "two"))) == "one two\n"
        with pytest.raises(Failure, match="check: more FAILED no three in what it prints"):
            DEMO.check(guest, Check("more", "one two", ("one", "three")))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attend([sys.executable, "-c", SHELL], talk, PATIENCE, show_nothing)


def test_a_monitor_ends_by_itself_with_a_status_and_its_complaints(tmp_path: Path) -> None:
    complaints = tmp_path / "stderr"
    with complaints.open("wb") as errors:
        words = [sys.executable, "-c", "import sys; sys.exit('no disk')"]
        assert attend(words, lambda guest: None, PATIENCE, show_nothing, errors) == 1
    assert complaints.read_text() == "no disk\n"

"""`--display text` in the run's own process: its terminal, and what is said of it."""

import os
import select
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.machine import images
from vestige.cli import soft_run
from vestige.errors import UsageError
from vestige.host.backends.console import Console
from vestige.host.files.opening import open_files
from vestige.host.options import NOWHERE, PC, ConsoleOption, RunOptions
from vestige.host.resources import Resources
from vestige.host.viewer.option import DisplayOption
from vestige.host.viewer.text import TextDisplay
from vestige.signals import Signals, Watch


def native(asked: RunOptions) -> None:
    with Signals() as signals, Resources() as resources:
        open_files(asked, resources, Watch(signals))


def soft(asked: RunOptions) -> None:
    soft_run.run(asked, [])


@pytest.mark.parametrize("start", [native, soft])
@pytest.mark.parametrize(("terminals", "which"), [((), "input"), ((0,), "output"), ((1,), "input")])
def test_without_a_terminal_it_is_refused(
    start: Callable[[RunOptions], None],
    terminals: tuple[int, ...],
    which: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "isatty", terminals.__contains__)
    display, console = DisplayOption("text"), ConsoleOption(NOWHERE)
    with pytest.raises(UsageError) as told:
        start(RunOptions("kernel", machine=PC, display=display, console=console))
    assert str(told.value) == (
        f"--display text: standard {which} is no terminal, where the screen would be; type the"
        " command at one and leave its input and output there, or give --display vnc"
    )


def test_what_its_terminal_takes_no_more_is_told_by_its_own_name(
    capfd: pytest.CaptureFixture[str],
) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    with closing(TextDisplay(Console(full, None, "--console stdio"))) as display:
        display.begin(lambda end: os.write(end, b"drawn"))
        wanted = display.waits_for()
        poll = select.poll()
        for descriptor, events in wanted.items():
            poll.register(descriptor, events)
        display.serve(dict(poll.poll(1000)))
    os.close(full)
    assert capfd.readouterr().err == (
        "vestige: --display text: No space left on device; what else is written there is lost\n"
    )


class Deserted(Console):
    """One whose reader has gone."""

    def serve(self, _ready: dict[int, int]) -> None:
        self.deserted = True


def test_where_nobody_looks_any_more_it_is_the_screen_that_is_told_of() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with closing(TextDisplay(Deserted(nowhere, None))) as display:
        display.serve({})
        assert (display.deserted, display.what) == (True, "the guest's screen")
    os.close(nowhere)


def test_in_the_software_host_the_terminal_is_the_screen_s_too(tmp_path: Path) -> None:
    kernel = images.write(tmp_path, images.bzimage())
    asked = RunOptions(kernel, machine=PC, display=DisplayOption("text"))
    with Signals() as signals, Resources() as resources:
        files = open_files(RunOptions(kernel, machine=PC), resources, Watch(signals))
        connected = soft_run.Connected(asked, files, resources)
        connected.serve({connected.output: select.POLLERR})
        assert connected.deserted
        assert (connected.name, connected.what) == ("--display text", "the guest's screen")

"""A run out here and the one in its software host, with a stream of bytes between."""

import json
import os
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.host import iso
from vestige.host.backends.disks import open_disk
from vestige.host.backends.drive import Drive
from vestige.host.control.server import Control
from vestige.host.control.stream import Inside
from vestige.host.options import DiskOption

EXITS = b'{"do": "exits"}\n'
STATUS = b'{"do": "status"}\n'
EJECT = b'{"do": "eject"}\n'


class Machine:
    """Answers at once, by the control that it belongs to."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.answers = True
        self.answer = b'{"answer": 1}'

    def ask(self, _command: str, _request: Any, _line: bytes) -> None:
        if self.answers:
            self.control.answered(self.answer)


class Two:
    """Both controls, and a client of the one out here; `begun`: how often it heard of a start."""

    def __init__(self, stack: ExitStack) -> None:
        self.begun = 0
        self.end, theirs = socket.socketpair()
        stack.callback(self.end.close)
        self.end.setblocking(False)
        about = {"name": "one", "pid": 1}
        self.out = stack.enter_context(closing(Control(about, int, (theirs.detach(),))))
        self.stream = stack.enter_context(closing(Inside(self.out, self.begin)))
        far = os.dup(self.stream.output)
        self.inside = stack.enter_context(closing(Control(about, int, (far,))))

    def begin(self) -> None:
        self.begun += 1

    def serve(self) -> None:
        """Until nothing is to be done."""
        for _ in range(1000):
            busy = False
            for each in (self.out, self.stream, self.inside):
                poll = select.poll()
                for descriptor, events in each.waits_for().items():
                    poll.register(descriptor, events)
                if ready := dict(poll.poll(0)):
                    busy = True
                    each.serve(ready)
            if not busy:
                return
        raise AssertionError("it is never done")

    def told(self) -> list[Any]:
        """What the client has got, of which a start is no part."""
        self.serve()
        try:
            lines = self.end.recv(1 << 16).splitlines()
        except BlockingIOError:
            return []
        return [json.loads(line) for line in lines if line != b"started"]

    def asks(self, line: bytes) -> list[Any]:
        self.end.send(line)
        return self.told()


@pytest.fixture
def two() -> Iterator[Two]:
    with ExitStack() as stack:
        yield Two(stack)


def test_a_run_starts_until_its_guest_does_inside(two: Two) -> None:
    (told,) = two.asks(STATUS)
    assert told["answer"]["state"] == "starting"
    assert "does not run now" in two.asks(EXITS)[0]["error"]
    assert two.begun == 0
    two.inside.runs(Machine(two.inside))
    two.serve()
    assert two.begun == 1
    (told,) = two.asks(STATUS)
    assert (told["answer"]["state"], told["answer"]["restarts"]) == ("running", 0)
    assert two.asks(EXITS) == [{"answer": 1}]


def test_restarts_inside_are_counted_and_the_timeout_goes_on(two: Two) -> None:
    for _ in range(3):
        two.inside.runs(Machine(two.inside))
        two.serve()
        two.inside.runs(None)
    assert two.asks(STATUS)[0]["answer"]["restarts"] == 2
    assert two.begun == 1


def test_what_is_asked_while_the_guest_restarts_gets_its_own_answer(two: Two) -> None:
    machine = Machine(two.inside)
    machine.answers = False
    two.inside.runs(machine)
    assert two.told() == []
    assert two.asks(EXITS) == []
    two.inside.runs(None)
    two.inside.runs(Machine(two.inside))
    (told,) = two.told()
    assert "does not run now" in told["error"]
    assert two.asks(EXITS) == [{"answer": 1}]


@pytest.fixture
def first(two: Two, tmp_path: Path) -> Iterator[str]:
    """The disc that is in the drive at first."""
    path = tmp_path / "first.iso"
    path.write_bytes(iso.disc(b"", b"A"))
    option = DiskOption(str(path), "ide", read_only=True, is_optical=True)
    two.out.drive = Drive(0, {0: open_disk(option)})
    yield str(path)
    two.out.drive.close()


def test_out_here_it_is_known_which_disc_is_in_the_drive(two: Two, first: str) -> None:
    machine = Machine(two.inside)
    two.inside.runs(machine)
    two.serve()
    machine.answer = b'{"error": "not now", "passing": true}'
    assert two.asks(EJECT) == [{"error": "not now", "passing": True}]
    assert two.asks(STATUS)[0]["answer"]["cdrom"] == first
    machine.answer = b'{"answer": {}}'
    assert two.asks(EXITS) == [{"answer": {}}]
    assert two.asks(STATUS)[0]["answer"]["cdrom"] == first
    assert two.asks(EJECT) == [{"answer": {}}]
    assert two.asks(STATUS)[0]["answer"]["cdrom"] is None

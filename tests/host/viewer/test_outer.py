"""The viewer's process, as the run's own has it: how much it is given at once."""

import os
import select
import time
from contextlib import closing

import pytest

from vestige.host.backends.events import Events
from vestige.host.process.link import Kind, Link
from vestige.host.viewer import memory
from vestige.host.viewer.inner import Locked
from vestige.host.viewer.outer import ViewerProcess

PATIENCE = 30.0
MANY = 2000  # that connect: more than a socket takes
BUSY = 500  # milliseconds in which the viewer does something else


def busy(link: Link) -> None:
    """Tell how many files it has been given; before, it takes nothing for a while."""
    select.poll().poll(BUSY)
    poll, files = select.poll(), 0
    poll.register(link, select.POLLIN)
    while files < len(memory.PARTS):
        poll.poll()
        message = link.receive()
        if message is None:
            return
        kind, _, descriptor = message
        files += kind == Kind.MEMORY
        os.close(descriptor)
    link.send_text(Kind.LINES, f"{files} files\n")
    select.poll().poll()


def test_a_crowd_that_connects_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr("vestige.host.viewer.outer.tell", told.append)
    monkeypatch.setattr("vestige.host.process.outer.pass_on", told.append)
    locked = Locked(None, is_on=False, is_required=False, user=None)
    with closing(Events()) as events, closing(ViewerProcess(events, locked, busy)) as viewer:
        client = os.open(os.devnull, os.O_RDONLY)
        for _ in range(MANY):
            viewer.take_client(client)
        os.close(client)
        files = memory.make()
        viewer.sees(files)
        memory.close(files)
        deadline = time.monotonic() + PATIENCE
        while not told:
            assert time.monotonic() < deadline
            poll = select.poll()
            for descriptor, kinds in viewer.waits_for().items():
                poll.register(descriptor, kinds)
            viewer.serve(dict(poll.poll(100)))
    assert told == [f"{len(memory.PARTS)} files"]

"""Lines on standard error hold nobody up: in pipes, in terminals, of many threads."""

import fcntl
import io
import os
import pty
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from threading import Event, Thread
from typing import Any

import pytest

from vestige import threads
from vestige.host import standard_error
from vestige.host.apart import Apart
from vestige.host.messages import tell
from vestige.host.standard_error import PATIENCE, Divided, StandardError

MARK = b"\0"


class Reader:
    """A pipe, or a terminal, that is standard error, and that nobody reads unless asked."""

    def __init__(self, kind: str) -> None:
        self.end, self.far = os.pipe() if kind == "pipe" else pty.openpty()
        if kind == "pipe":
            fcntl.fcntl(self.far, fcntl.F_SETPIPE_SZ, 4096)
        self.stream = io.TextIOWrapper(
            io.FileIO(self.far, "w", closefd=False), encoding="ascii", write_through=True
        )

    @contextmanager
    def open(self) -> Iterator[StandardError]:
        """Standard error, which goes there."""
        with redirect_stderr(self.stream), StandardError() as errors:
            yield errors
            assert sys.stderr is errors

    def fill(self) -> None:
        """Until nothing more goes into it."""
        with self.open() as errors:
            while not errors.lost:
                tell("x" * 500)

    def read(self) -> str:
        """All that was written before: a mark that follows it has come through."""
        data, marked = b"", False
        while MARK not in data:
            free = [] if marked else [self.far]
            readable, writable, _ = select.select([self.end], free, [], 20 * PATIENCE)
            assert readable or writable
            if writable:
                os.write(self.far, MARK)
                marked = True
            if readable:
                data += os.read(self.end, 65536)
        return data.replace(MARK, b"").decode().replace("\r\n", "\n")

    def close(self) -> None:
        self.stream.close()
        os.close(self.end)
        os.close(self.far)


@pytest.fixture(params=["pipe", "terminal"])
def reader(request: pytest.FixtureRequest) -> Iterator[Reader]:
    opened = Reader(request.param)
    yield opened
    opened.close()


def test_lines_arrive_whole_and_in_order(reader: Reader) -> None:
    with reader.open():
        tell("one")
        print("two \udcff", file=sys.stderr)
        assert reader.read() == "vestige: one\ntwo \\udcff\n"


def test_a_reader_that_stalls_costs_a_moment_in_all_however_many_lines_there_are(
    reader: Reader,
) -> None:
    began = time.monotonic()
    with reader.open() as errors:
        for number in range(5000):
            tell(f"{number} " + "x" * 100)
    assert time.monotonic() - began < 5 * PATIENCE
    lines = reader.read().splitlines()
    assert len(lines) + errors.lost in (5000, 5001)  # at the end of one that was begun
    numbers = [int(line.split()[1]) for line in lines[:-1]]
    assert numbers == list(range(len(numbers)))


def test_when_there_is_room_again_it_is_said_how_many_lines_were_lost(reader: Reader) -> None:
    with reader.open() as errors:
        while errors.lost < 3:
            tell("x" * 500)
        said = reader.read()
        tell("heard again")
    said += reader.read()
    assert said.endswith(
        "vestige: heard again\nvestige: 3 lines were lost here: nobody read them in time\n"
    )
    assert {len(line) for line in said.splitlines()[:-2]} == {len("vestige: ") + 500}


def test_a_slow_reader_loses_nothing(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standard_error, "PATIENCE", 60.0)
    said: list[str] = []

    def read() -> None:
        while not said or "last" not in said[-1]:
            said.append(reader.read())

    thread = Thread(target=read)
    thread.start()
    with reader.open() as errors:
        for _ in range(200):
            tell("x" * 200)
        tell("last")
    thread.join()
    assert errors.lost == 0
    assert "".join(said).count("x") == 200 * 200


def test_no_thread_waits_for_another_longer_than_for_the_reader(reader: Reader) -> None:
    reader.fill()
    began = time.monotonic()
    with reader.open() as errors:
        threads = [Thread(target=tell, args=("x" * 500,)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors.lost >= 19
    assert time.monotonic() - began < 5 * PATIENCE


def test_where_there_is_no_file_the_stream_stays() -> None:
    text = io.StringIO()
    with redirect_stderr(text), StandardError():
        assert sys.stderr is text
        tell("said")
    assert text.getvalue() == "vestige: said\n"


def test_a_file_that_takes_no_more_loses_lines_and_nothing_else() -> None:
    with open("/dev/full", "w") as full, redirect_stderr(full), StandardError():  # noqa: PTH123
        tell("lost")
        tell("too")


def test_where_it_is_divided_each_context_has_a_stream_of_its_own() -> None:
    rest, one, other = Reader("pipe"), Reader("pipe"), Reader("pipe")
    with redirect_stderr(rest.stream):
        divided: Any = Divided()

    def say(reader: Reader, words: str) -> None:
        done = Event()

        def and_this() -> None:
            tell(f"{words} again")
            done.set()

        def body() -> None:
            os.dup2(reader.far, rest.far)
            with StandardError():
                tell(words)
                threads.start(and_this)
                done.wait()

        Apart(body).go()
        assert done.wait(20 * PATIENCE)

    with redirect_stderr(divided):
        say(one, "one")
        tell("nobody's")
        say(other, "other")
    assert rest.read() == "vestige: nobody's\n"
    assert one.read() == "vestige: one\nvestige: one again\n"
    assert other.read() == "vestige: other\nvestige: other again\n"

"""Forks one after the other: in CPython, and as compiled code."""

import errno
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests import compiling
from vestige.host.images import forker_of
from vestige.host.jail.namespaces import Forked, siblings
from vestige.host.process import forks
from vestige.host.process.forks import ANSWER_SIZE, Answer, Forks
from vestige.host.process.link import Kind, link_of
from vestige.lang.native import NativeImage

Serve = Callable[[Forks], bool]
REQUESTS = 3
FOR_A_LINK = REQUESTS + 3  # files that the process may have: two more, and no pidfd


@pytest.fixture(scope="module", params=["cpython", "compiled"])
def serve(request: pytest.FixtureRequest) -> Serve:
    if request.param == "cpython":
        return forks.serve
    image = compiling.image([forks.serve], base=None, runtime="process")
    return forker_of(NativeImage(image))


@contextmanager
def serving(serve: Serve, *, files: int | None = None) -> Iterator[socket.socket]:
    """A process that forks, each of which says its number and waits to be spoken to."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = os.fork()
    if process == 0:
        try:
            requests = os.dup2(far.fileno(), REQUESTS)
            os.closerange(REQUESTS + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
            if files is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
            of = Forks(requests=requests)
            if siblings(of, serve, Forked(0)):
                link = link_of(of.link)
                link.send(Kind.LINES, str(os.getpid()).encode())
                link.receive()
        finally:
            os._exit(0)
    far.close()
    try:
        yield near
    finally:
        near.close()
        assert os.waitpid(process, 0)[1] == 0


def asked(near: socket.socket) -> tuple[int, int, list[int]]:
    near.send(b"\0")
    data, given, _, _ = socket.recv_fds(near, ANSWER_SIZE, 2)
    answer = Answer.from_buffer_copy(data)
    return answer.process, answer.error, given


def test_each_is_a_child_of_who_asks_and_has_a_link_to_it(serve: Serve) -> None:
    with serving(serve) as near:
        seen = set()
        for _ in range(3):
            number, error, (descriptor, life) = asked(near)
            assert error == 0
            link = link_of(descriptor)
            message = link.receive()
            assert message is not None
            assert int(message[1]) == number
            seen.add(number)
            signal.pidfd_send_signal(life, 0)
            link.send(Kind.STOP)
            assert os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == 0
            link.close()
            os.close(life)
        assert len(seen) == 3


def test_where_there_can_be_none_the_error_is_the_answer(serve: Serve) -> None:
    with serving(serve, files=3) as near:
        assert asked(near) == (0, errno.EMFILE, [])
        assert asked(near) == (0, errno.EMFILE, [])


def test_one_that_nobody_can_be_given_ends_and_is_waited_for_by_its_number(serve: Serve) -> None:
    with serving(serve, files=FOR_A_LINK) as near:
        number, error, given = asked(near)
        assert (error, given) == (errno.EMFILE, [])
        assert os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == 0

"""A guest's agent, asked by a program that waits for the answer."""

import os
import select
import signal
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from vestige.agent import operations
from vestige.agent.operations import LIMIT, Done
from vestige.agent.talk import Came, Connect, Exchange, GoneError, Steps, Talk, UnreachedError
from vestige.agent.wire import Wire
from vestige.errors import GuestError, UsageError

PATIENCE = 30.0  # seconds for the agent to answer
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LONGEST_WAIT = 1e6  # seconds; poll(2) takes twice as much
T = TypeVar("T")


class Way(NamedTuple):
    """To an agent: the path of its socket, and the `patience` in which it answers, seconds."""

    path: str
    patience: float


class Asking:
    """What a guest can be asked to do, by its agent.

    Any number of threads and programs may ask at once; each gets its turn. Nothing is held between
    two calls. All raise AbsentError, which is a UsageError, where no agent answers in time, as
    while the guest starts yet; UsageError for what can't be asked; RefusedError, which is a
    GuestError, for the agent's own errors, and GuestError where the run ends or what answers is no
    agent. Ctrl-C ends a command in the guest, too, before it goes on.
    """

    def way(self) -> Way:
        """To the agent."""
        raise NotImplementedError

    def reason(self, error: UnreachedError | GoneError) -> UsageError | GuestError:
        """What to raise for the end of that way, or for none: that, or what it comes of."""
        return error

    def ping(self) -> None:
        """Return once the agent answers."""
        self._do(operations.ping)

    def run(
        self,
        words: Sequence[str],
        *,
        input: bytes = b"",  # noqa: A002 - as subprocess.run has it
        timeout: float | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Done:
        """Run a command in the guest, as the agent's user (root), and wait for its end.

        `words`: a program, looked for in the agent's PATH, and its arguments; `input`: 32 MiB at
        most; `timeout`: seconds from its start, after which it is killed and TimedOutError raised;
        `environment`: all that it has of one, without it the agent's. Its end is that of the last
        process that has its standard output or errors open. A command that can't be started raises
        RefusedError.
        """
        return self._do(lambda talk: operations.run(talk, words, input, timeout, environment))

    def read_file(self, path: str | os.PathLike[str], *, limit: int = LIMIT) -> bytes:
        """What is in a file of the guest's. More than `limit` bytes raise RefusedError."""
        return self._do(lambda talk: operations.read_file(talk, path, limit))

    def write_file(self, path: str | os.PathLike[str], data: bytes) -> None:
        """Make a file of the guest's, or replace what is in it, piece by piece.

        The guest has it then, but not yet its disk: for that run `sync`.
        """
        self._do(lambda talk: operations.write_file(talk, path, data))

    def _do(self, operation: Callable[[Talk], Steps[T]]) -> T:
        path, patience = self.way()
        talk = Talk(patience, int.from_bytes(os.urandom(4)))
        try:
            return drive(Wire(path), talk, operation(talk))
        except (UnreachedError, GoneError) as error:
            raise self.reason(error) from None


class Agent(Asking):
    """The agent of a guest, by the path of its socket: that of a run with --agent, or of QEMU's.

    `patience`: seconds in which it answers.
    """

    def __init__(self, path: str | os.PathLike[str], *, patience: float = PATIENCE) -> None:
        self._way = Way(os.fspath(path), patience)

    def way(self) -> Way:
        """As of Asking."""
        return self._way


def drive(wire: Wire, talk: Talk, steps: Steps[T]) -> T:
    """Have the conversation, to its outcome. Closes `wire`.

    At a KeyboardInterrupt what is held in the guest is put in order first; at a second one not. So
    that it comes where nothing is lost by it, signals are blocked but while this waits; where other
    threads take them, it may come elsewhere, and tears the conversation.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    interrupt: KeyboardInterrupt | None = None
    came: Came | None = None
    going: Steps[Any] = steps
    try:
        while True:
            try:
                step = next(going) if came is None else going.send(came)
                if isinstance(step, Connect):
                    wire.connect()
                    came = Came(time.monotonic())
                elif (woken := wait(wire, step, mask)) is None:
                    came = wire.move(step, time.monotonic())
                elif interrupt is not None or not talk.holds:
                    raise woken
                else:
                    interrupt, came = woken, Came(time.monotonic())
                    talk.stop()
            except StopIteration as ended:
                outcome: T = ended.value
                break
            except KeyboardInterrupt as error:
                if interrupt is not None:
                    raise
                interrupt, going, came = error, operations.end(talk), None
    except Exception as error:
        if interrupt is None:
            raise
        raise interrupt from error
    finally:
        wire.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if interrupt is not None:
        raise interrupt
    return outcome


def wait(
    wire: Wire, step: Exchange, mask: Collection[int | signal.Signals]
) -> KeyboardInterrupt | None:
    """Wait until something can be received or sent, or as long as the step says; what ended that.

    Signals are those of `mask` meanwhile.
    """
    poll = select.poll()
    poll.register(wire, select.POLLIN | (select.POLLOUT if step.data else 0))
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        try:
            poll.poll(1000 * min(step.seconds, LONGEST_WAIT))
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    except KeyboardInterrupt as error:
        return error
    return None

"""A guest's agent, asked by a program with an event loop of asyncio's."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from vestige.agent import operations
from vestige.agent.blocking import PATIENCE, Way
from vestige.agent.operations import LIMIT, Done
from vestige.agent.talk import Came, Connect, Exchange, GoneError, Steps, Talk, UnreachedError
from vestige.agent.wire import Wire
from vestige.errors import GuestError, UsageError

T = TypeVar("T")


class AsyncAsking:
    """As Asking, which says what the methods do and raise.

    Where the task is cancelled that waits for a command, the command is killed in the guest before
    CancelledError goes on; a second cancellation does not wait for that.
    """

    async def way(self) -> Way:
        """To the agent."""
        raise NotImplementedError

    async def reason(self, error: UnreachedError | GoneError) -> UsageError | GuestError:
        """As Asking.reason."""
        return error

    async def ping(self) -> None:
        """Return once the agent answers."""
        await self._do(operations.ping)

    async def run(
        self,
        words: Sequence[str],
        *,
        input: bytes = b"",  # noqa: A002 - as subprocess.run has it
        timeout: float | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Done:
        """As Asking.run."""
        return await self._do(lambda talk: operations.run(talk, words, input, timeout, environment))

    async def read_file(self, path: str | os.PathLike[str], *, limit: int = LIMIT) -> bytes:
        """As Asking.read_file."""
        return await self._do(lambda talk: operations.read_file(talk, path, limit))

    async def write_file(self, path: str | os.PathLike[str], data: bytes) -> None:
        """As Asking.write_file."""
        await self._do(lambda talk: operations.write_file(talk, path, data))

    async def _do(self, operation: Callable[[Talk], Steps[T]]) -> T:
        path, patience = await self.way()
        talk = Talk(patience, int.from_bytes(os.urandom(4)))
        try:
            return await drive(Wire(path), talk, operation(talk))
        except (UnreachedError, GoneError) as error:
            raise await self.reason(error) from None


class AsyncAgent(AsyncAsking):
    """As Agent."""

    def __init__(self, path: str | os.PathLike[str], *, patience: float = PATIENCE) -> None:
        self._way = Way(os.fspath(path), patience)

    async def way(self) -> Way:
        """As of AsyncAsking."""
        return self._way


async def drive(wire: Wire, talk: Talk, steps: Steps[T]) -> T:
    """Have the conversation, to its outcome. Closes `wire`."""
    cancelled: asyncio.CancelledError | None = None
    came: Came | None = None
    try:
        while True:
            try:
                step = next(steps) if came is None else steps.send(came)
            except StopIteration as ended:
                outcome: T = ended.value
                break
            try:
                came = await do(wire, step)
            except asyncio.CancelledError as error:
                if cancelled is not None or not talk.holds:
                    raise
                cancelled = error
                talk.stop()
                came = Came(time.monotonic())
    except Exception as error:
        if cancelled is None:
            raise
        raise cancelled from error
    finally:
        wire.close()
    if cancelled is not None:
        raise cancelled
    return outcome


async def do(wire: Wire, step: Connect | Exchange) -> Came:
    """Do one step, and wait for that as long as it says."""
    if isinstance(step, Connect):
        wire.connect()
        return Came(time.monotonic())
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    place = wire.fileno()
    timer = loop.call_later(step.seconds, wake)
    loop.add_reader(place, wake)
    if step.data:
        loop.add_writer(place, wake)
    try:
        await ready
    finally:
        timer.cancel()
        loop.remove_reader(place)
        loop.remove_writer(place)
    return wire.move(step, time.monotonic())

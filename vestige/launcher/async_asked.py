"""The same for asyncio."""

import asyncio

from vestige.agent.asynchronous import AsyncAsking
from vestige.agent.blocking import Asking, Way
from vestige.agent.talk import GoneError, UnreachedError
from vestige.errors import GuestError, UsageError


class AsyncAsked(AsyncAsking):
    """The agent of the guest of a machine."""

    def __init__(self, machine: Asking) -> None:
        self._machine = machine

    async def way(self) -> Way:
        """As of the machine, whose guest may have to be waited for."""
        return await asyncio.to_thread(self._machine.way)

    async def reason(self, error: UnreachedError | GoneError) -> UsageError | GuestError:
        """As of the machine."""
        return await asyncio.to_thread(self._machine.reason, error)

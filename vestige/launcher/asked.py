"""A launcher's machine as one whose guest is asked to do something, by its agent."""

import os
import select
import threading
from typing import TYPE_CHECKING

from vestige.agent.blocking import Asking, Way
from vestige.errors import GuestError, UsageError
from vestige.launcher import messages

if TYPE_CHECKING:
    import socket

    from vestige.agent.asynchronous import AsyncAsking

PATIENCE = 60.0  # seconds for a guest to start, and for its agent to answer


class Asked(Asking):
    """Its guest's agent, once there is one. `patience`: seconds to wait for that; may be set."""

    def __init__(self, pid: int, teller: "socket.socket | None") -> None:
        """`teller`: where the place of its agent comes from, None: it has none."""
        self.pid, self.patience = pid, PATIENCE
        self._teller = teller
        self._told = threading.Lock()  # for who asks: others wait for what one is told
        self._place: str | None = None

    @property
    def asyncio(self) -> "AsyncAsking":
        """The same methods for asyncio: `await machine.asyncio.run(["true"])`."""
        from vestige.launcher.async_asked import AsyncAsked  # noqa: PLC0415 - asyncio is slow to import

        return AsyncAsked(self)

    def way(self) -> Way:
        """As of Asking; waits until the guest runs.

        Raises UsageError where the machine has no agent, or is closed, GuestError where it has
        ended, or does not run in time.
        """
        with self._told:
            if self._place is None:
                self._place = self._receive_place()
        return Way(self._place, self.patience)

    def _receive_place(self) -> str:
        if self._teller is None:
            raise UsageError(
                f"machine {self.pid} has no way to an agent; start it with agent=True, and ask it"
                " before it is closed"
            )
        poll = select.poll()
        poll.register(self._teller, select.POLLIN)
        if not poll.poll(1000 * self.patience):
            raise GuestError(f"machine {self.pid} does not run within {self.patience:.0f} s")
        try:
            _, place, _ = messages.receive(self._teller)
        except EOFError:
            raise GuestError(
                f"machine {self.pid} has ended before its guest ran; its standard error says why"
            ) from None
        self.close_teller()
        return os.fsdecode(place)

    def close_teller(self) -> None:
        """Give its descriptor back."""
        teller, self._teller = self._teller, None
        if teller is not None:
            teller.close()

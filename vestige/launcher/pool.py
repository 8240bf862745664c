"""Guests of one snapshot that go on before they are asked for; each is used once.

One thread, the keeper, thaws them, and replaces those that have been used or have ended. Who uses
one never waits for a thaw as long as others stand ready.
"""

import os
import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from vestige.errors import GuestError, UsageError
from vestige.launcher.alone import alone_of
from vestige.launcher.launcher import Folder, Launcher, Machine, Value, asked_of

SHORT = 1.0  # seconds in which a guest that has ended has done nothing
MOST_IN_A_ROW = 3  # such guests, until nobody is to wait for another


class Pool:
    """A context: `with Pool("web.snapshot", size=4) as pool, pool.guest() as machine: …`.

    Any thread may use it.
    """

    def __init__(
        self,
        snapshot: Folder,
        *,
        size: int = 1,
        limit: int | None = None,
        launcher: Launcher | None = None,
        held: bool = False,
        **options: Value,
    ) -> None:
        """Have `size` guests stand ready, and `limit` at most in all, those in use included (None:
        any number). `held`: each goes on when somebody asks for it, and not before. `options` are
        those of `launcher.thaw`; without a launcher it has one of its own.

        Returns once the first stands ready. Raises UsageError for numbers that are none, for what
        only one guest can have unless `limit` is 1, and as Launcher and its `thaw`; GuestError
        where guests end as soon as they go on.
        """
        if not all(isinstance(each, int) for each in (size, 0 if limit is None else limit)):
            raise UsageError(f"size={size!r}, limit={limit!r}: give whole numbers, or None")
        if size < 1 or (limit is not None and limit < size):
            raise UsageError(
                f"size={size}, limit={limit}: give 1 or more, and a limit that is no less, or None"
            )
        if limit != 1:
            reason = alone_of(asked_of(snapshot, options))
            if reason is not None:
                raise UsageError(
                    f"{reason}, and this pool has several guests at once; leave it out, or give"
                    " limit=1"
                )
        self._snapshot, self._options, self._held = snapshot, options, held
        self._size, self._limit = size, limit
        self._launcher = Launcher() if launcher is None else launcher
        self._owns = launcher is None
        self._ready: list[tuple[Machine, float]] = []  # the one that waits for longest first
        self._used = 0  # those that somebody has
        self._short = 0  # that have ended at once, one after the other
        self._problem: UsageError | GuestError | None = None
        self._closing = False
        self._change = threading.Condition()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._keeper = threading.Thread(target=self._keep, name="pool", daemon=True)
        self._keeper.start()
        try:
            with self._change:
                self._change.wait_for(lambda: self._ready or self._problem)
                if not self._ready and self._problem is not None:
                    raise self._problem
        except BaseException:
            self.close()
            raise

    @contextmanager
    def guest(self, timeout: float | None = None) -> Iterator[Machine]:
        """One that nobody has used, which is killed in the end: nobody will use it again.

        Waits while none stands ready, at most `timeout` seconds. Raises TimeoutError; UsageError
        where the pool is closed; GuestError or UsageError where there could be none, which one is
        told, and for the next it is tried again.
        """
        machine = self._take(timeout)
        try:
            yield machine
        finally:
            self._give_back(machine)

    def _give_back(self, machine: Machine) -> None:
        _end(machine)
        with self._change:
            self._used -= 1
            self._tell_keeper()

    def _take(self, timeout: float | None) -> Machine:
        """One that goes on; one that was killed while it was held is not it."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            machine = self._pop(left, timeout)
            try:
                machine.go()
            except GuestError:
                self._give_back(machine)
            else:
                return machine

    def _pop(self, left: float | None, timeout: float | None) -> Machine:
        """Wait for one so many seconds, of all that were given."""
        with self._change:
            if not self._change.wait_for(
                lambda: self._ready or self._problem or self._closing, left
            ):
                raise TimeoutError(f"no guest stands ready within {timeout} s")
            if self._closing:
                raise UsageError("the pool is closed; make another")
            problem, self._problem = self._problem, None  # the keeper tries again
            self._short = 0
            self._tell_keeper()
            if not self._ready and problem is not None:
                raise problem
            machine, _ = self._ready.pop(0)
            self._used += 1
        return machine

    def _tell_keeper(self) -> None:
        """That it is to look again, while there is one; `_change` is held."""
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)

    @property
    def ready(self) -> int:
        """How many stand ready."""
        with self._change:
            return len(self._ready)

    def close(self) -> None:
        """End those that stand ready, and let who waits go; guests in use are their users'.

        A second time does nothing.
        """
        with self._change:
            if self._closing:
                return
            self._closing = True
            self._change.notify_all()
            self._tell_keeper()
        self._keeper.join()
        with self._change:
            os.close(self._wake)
            self._wake = -1
            ready, self._ready = self._ready, []
        for machine, _ in ready:
            _end(machine)
        if self._owns:
            self._launcher.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    # ---- the keeper ----------------------------------------------------------------------

    def _keep(self) -> None:
        while not self._closing:
            if self._wants_one():
                self._thaw()
            else:
                self._await_change()

    def _wants_one(self) -> bool:
        with self._change:
            all_of_them = len(self._ready) + self._used
            may = self._limit is None or all_of_them < self._limit
            return may and len(self._ready) < self._size and self._problem is None

    def _thaw(self) -> None:
        try:
            machine = self._launcher.thaw(self._snapshot, held=self._held, **self._options)  # type: ignore[arg-type] # by their names
        except (UsageError, GuestError) as error:
            self._fail(error)
            return
        except (OSError, ValueError, TypeError) as error:  # of an option that is no word, say
            self._fail(UsageError(f"{self._snapshot!r}: {error}"))
            return
        with self._change:
            self._ready.append((machine, time.monotonic()))
            self._change.notify()

    def _await_change(self) -> None:
        """Wait until a guest is taken, given back, or ends by itself."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        with self._change:
            there = {machine.fileno(): machine for machine, _ in self._ready}
        for descriptor in there:
            poll.register(descriptor, select.POLLIN)
        for descriptor, _ in poll.poll():
            if descriptor == self._wake:
                os.eventfd_read(self._wake)
            else:
                self._drop(there[descriptor])

    def _drop(self, machine: Machine) -> None:
        """One that has ended, unless somebody has it by now."""
        with self._change:
            found = [each for each in self._ready if each[0] is machine]
            self._ready = [each for each in self._ready if each[0] is not machine]
        for _, since in found:
            status = _wait(machine)
            machine.close()
            self._short = self._short + 1 if time.monotonic() - since < SHORT else 0
            if self._short >= MOST_IN_A_ROW:
                self._fail(
                    GuestError(
                        f"{self._short} guests of {os.fsdecode(self._snapshot)} have ended as soon"
                        f" as they went on, the last with status {status}; its standard error says"
                        " why"
                    )
                )

    def _fail(self, error: UsageError | GuestError) -> None:
        with self._change:
            self._problem = error
            self._change.notify_all()


def _end(machine: Machine) -> None:
    machine.kill()
    try:
        _wait(machine)
    finally:
        machine.close()


def _wait(machine: Machine) -> int | None:
    """Its status; None: it has ended with who had made it, whom somebody killed."""
    try:
        return machine.wait()
    except GuestError:
        return None

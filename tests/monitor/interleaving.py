"""Orders in which CPUs may come at each other.

Each actor is a thread, of which one at a time runs. It gives the others a chance wherever it
touches what they share (`step`), and has to wait for one where it spins or sleeps (`wait`).
"""

import random
import threading
from collections.abc import Callable
from contextvars import copy_context

PATIENCE = 60.0  # seconds: a thread that doesn't come back is a bug here


class Stuck(Exception):
    """Nobody can go on."""


class Actor(threading.Thread):
    """One of those who run in turn."""

    def __init__(self, name: str, act: Callable[[], None], back: threading.Semaphore) -> None:
        """`back` is released when a turn ends."""
        super().__init__(name=name, daemon=True)
        self.act = act
        self.back = back
        self.turn = threading.Semaphore(0)
        self.ready: Callable[[], bool] = lambda: True
        self.over = False
        self.error: BaseException | None = None

    def start(self) -> None:
        """Come to be, on the processor of whoever starts it."""
        self.context = copy_context()
        super().start()

    def run(self) -> None:
        """From the first turn to the end."""
        self.turn.acquire()
        try:
            self.context.run(self.act)
        except BaseException as error:  # noqa: BLE001 - Schedule.run raises it
            self.error = error
        self.over = True
        self.back.release()


class Schedule:
    """One run, in an order of chance."""

    def __init__(self, seed: int, preemptions: float) -> None:
        """Who runs is preempted with a probability of `preemptions` at each step."""
        self.random = random.Random(seed)
        self.preemptions = preemptions
        self.actors: list[Actor] = []
        self.back = threading.Semaphore(0)
        self.now: Actor | None = None

    def add(self, name: str, act: Callable[[], None]) -> None:
        """One more actor."""
        self.actors.append(Actor(name, act, self.back))

    def run(self) -> None:
        """Until all are over. Raises what an actor raised, and Stuck."""
        for actor in self.actors:
            actor.start()
        while not all(actor.over for actor in self.actors):
            actor = self.choose()
            self.now = actor
            actor.turn.release()
            assert self.back.acquire(timeout=PATIENCE)
            if actor.error is not None:
                raise actor.error

    def choose(self) -> Actor:
        """Who is next."""
        able = [actor for actor in self.actors if not actor.over and actor.ready()]
        if not able:
            raise Stuck([actor.name for actor in self.actors if not actor.over])
        if self.now in able and self.random.random() >= self.preemptions:
            return self.now
        return self.random.choice(able)

    def step(self) -> None:
        """The running actor is about to touch what others do."""
        self.pass_on(lambda: True)

    def wait(self, ready: Callable[[], bool]) -> None:
        """It can't go on before that."""
        self.pass_on(ready)

    def pass_on(self, ready: Callable[[], bool]) -> None:
        """Give the turn back, and wait for the next."""
        actor = self.now
        assert actor is threading.current_thread()
        actor.ready = ready
        self.back.release()
        actor.turn.acquire()
        actor.ready = lambda: True

"""How often a run's guest has left KVM_RUN."""

import time
from collections.abc import Callable

from vestige.host.control.client import find


def exits(name: str) -> int:
    """Of the guest's first CPU."""
    with find(name) as run:
        (count,) = run.ask({"do": "exits"})["cpus"]
    return int(count)


def change_without_exits(name: str, looks: "list[Callable[[], object]]", patience: float) -> None:
    """Wait until all that is looked at has changed, and the guest has not left KVM_RUN meanwhile.

    A guest that takes no interrupts still leaves it once for the timer's next tick, and once for a
    key that is let go. Raises TimeoutError.
    """
    deadline = time.monotonic() + patience
    first = -1
    while exits(name) != first:
        first = exits(name)
        for look in looks:
            before = look()
            while look() == before:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{exits(name) - first} exits, and {before!r} stays")

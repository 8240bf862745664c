"""A thread that does something for who starts it, in the context of that one: contextvars.

So what it tells is told where the other's lines go, also where a process has several runs.
"""

from _collections_abc import Callable
from _contextvars import copy_context
from _thread import start_new_thread


def start(body: Callable[[], object]) -> None:
    """Have one call `body`; it is not waited for. Raises RuntimeError where there can be none."""
    start_new_thread(copy_context().run, (body,))

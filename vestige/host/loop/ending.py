"""How a run is ended from outside: by a signal, or by its timeout; what it has open is closed."""

from _collections_abc import Callable

from vestige.host.messages import tell
from vestige.host.resources import Resources
from vestige.signals import TIMED_OUT, Ended, Signals, Told, Watch


def until_ended(
    timeout: float | None, work: Callable[[Resources, Watch], int], told: Told | None = None
) -> int:
    """What `work` answers, or the exit status of what ended it.

    That is a signal, in the main thread only, or what is `told`.
    """
    with Resources() as resources:
        watch = Watch(told or resources.keep(Signals()), timeout)
        try:
            return work(resources, watch)
        except Ended as ended:
            if ended.status == TIMED_OUT:
                tell("the timeout is over" + ("" if watch.has_begun else " before the guest ran"))
            return ended.status

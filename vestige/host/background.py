"""Work in a thread while the caller goes on: much of setting a VM up is waiting for the kernel."""

from _collections_abc import Callable
from _thread import allocate_lock, start_new_thread  # threading is slow to import


class Background:
    """A call of `work` under way in a thread of its own."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._error: BaseException | None = None
        self._working = allocate_lock()
        self._working.acquire()
        start_new_thread(self._run, ())

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - the waiting thread raises it
            self._error = error
        finally:
            self._working.release()

    def wait(self) -> None:
        """Wait for its end; raise what it raised."""
        self.close()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Wait for its end, however it ends."""
        with self._working:
            pass

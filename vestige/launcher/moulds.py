"""The snapshots that a launcher has thawed, and their moulds.

Who thaws one snapshot often has the work of a thaw done once: from the second time on a process of
the launcher's, its mould, has the machine ready, and forks it (template.py). A snapshot is asked
about again, and has another mould, once a file of it is another one, or is changed.

Only a machine that is the same each time has a mould: none of a name, a network interface or a
screen of its own, nor one that writes to a file that somebody has named.
"""

import os
import select
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from vestige.host.options import AGENT_PORT, STDIO, TEMPORARY, DiskOption, RunOptions
from vestige.launcher import messages

MOST = 8  # moulds of one launcher; each takes as much memory as a machine
SECOND = 2  # the thaw at which one is made

Mark = tuple[tuple[str | int, ...], ...]
Key = tuple[str, ...]


class Mould:
    """A process that forks machines of one snapshot, once it says that it is ready."""

    def __init__(self, status: socket.socket, process: int, requests: socket.socket) -> None:
        """`status`: where it tells its end; `process`: a pidfd; `requests`: where it is asked."""
        self._status, self._process, self.requests = status, process, requests
        self._is_ready: bool | None = None  # None: it has not said yet

    @property
    def is_ready(self) -> bool:
        """Whether it can be asked."""
        if self._is_ready is None:
            poll = select.poll()
            poll.register(self.requests, select.POLLIN)
            if poll.poll(0):
                self._is_ready = self._says_ready()
        return self._is_ready is True

    def _says_ready(self) -> bool:
        try:
            kind, _, _ = messages.receive(self.requests)
        except EOFError:
            return False
        return kind == messages.READY

    def ask_no_more(self) -> None:
        """It ends once its machines are over."""
        with suppress(OSError):  # it has
            self.requests.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Give back what is open for it."""
        self._status.close()
        self.requests.close()
        os.close(self._process)


class Thawed:
    """A snapshot as it was last time, and what was `asked` of it."""

    def __init__(self, mark: Mark, asked: RunOptions) -> None:
        self.mark, self.asked = mark, asked
        self.times = 0
        self.mould: Mould | None = None


class Moulds:
    """Those of one launcher; any thread may use them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[Key, Thawed] = {}
        self._gone: list[Mould] = []  # another thread may still ask one

    def asked(self, folder: str, words: Sequence[str], read: Callable[[], RunOptions]) -> Thawed:
        """What these words ask for, of the snapshot in `folder`: as it was `read` before, or is
        now. Raises as that.
        """
        key = (os.getcwd(), *words)  # noqa: PTH109 - as text
        mark = mark_of(folder)
        with self._lock:
            known = self._known.get(key)
        if known is None or mark is None or known.mark != mark:
            fresh = Thawed(mark or (), read())
            with self._lock:
                old = self._known.pop(key, None)
                if mark is not None and len(self._known) < MOST:
                    self._known[key] = fresh
                if old is not None:
                    self._drop(old)
            known = fresh
        return known

    def of(self, known: Thawed, make: Callable[[], Mould]) -> Mould | None:
        """One that can be asked for it now; None: there is none yet, or for good.

        At the second time it is made. Raises as `make`.
        """
        with self._lock:
            known.times += 1
            makes = known.times == SECOND and can_be_copied(known.asked)
        if makes:
            known.mould = make()
        with self._lock:  # what it says is for one thread to take
            mould = known.mould
            return mould if mould is not None and mould.is_ready else None

    def forget(self, known: Thawed) -> None:
        """Its mould is gone: somebody killed it."""
        with self._lock:
            self._drop(known)

    def close(self) -> None:
        """Ask none of them any more."""
        with self._lock:
            for known in self._known.values():
                self._drop(known)
            self._known = {}
            gone, self._gone = self._gone, []
        for mould in gone:
            mould.close()

    def _drop(self, known: Thawed) -> None:
        mould, known.mould = known.mould, None
        if mould is not None:
            mould.ask_no_more()
            self._gone.append(mould)


def mark_of(folder: str) -> Mark | None:
    """What is other once a file of it is another one, or changed; None: it is not there."""
    with suppress(OSError), os.scandir(folder) as files:
        return tuple(sorted((file.name, *_changes(file.stat())) for file in files))
    return None


def _changes(status: os.stat_result) -> tuple[int, ...]:
    times = status.st_mtime_ns, status.st_ctime_ns
    return status.st_dev, status.st_ino, status.st_size, *times


def can_be_copied(asked: RunOptions) -> bool:
    """Whether all machines that are asked for so are the same but for their standard files."""
    alone = asked.name, asked.net, asked.display, asked.stats, asked.keys, asked.jail.cgroup
    ports = [port.backend for port in asked.ports if port.name != AGENT_PORT]
    return (
        all(each is None for each in alone)
        and all(each in (STDIO, os.devnull) for each in (asked.console.backend, *ports))
        and all(map(_is_shared, asked.disks))
    )


def _is_shared(disk: DiskOption) -> bool:
    if disk.controller is not None or disk.is_optical or disk.discard:
        return False
    return disk.read_only or disk.overlay == TEMPORARY

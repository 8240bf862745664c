"""The snapshots that a launcher has thawed, and their moulds.

Who thaws one snapshot often has the work of a thaw done once: from the second time on a process of
the launcher's, its mould, has the machine ready, and forks it (template.py). A snapshot is asked
about again, and has another mould, once a file of it is another one, or is changed. A mould says
of which freeze its snapshot is: between two looks there may be another one by the same name.

Only a machine that is the same each time has a mould: none of a name, a network interface or a
screen of its own, nor one that writes to a file that somebody has named.
"""

import os
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from vestige.host.options import AGENT_PORT, STDIO, TEMPORARY, DiskOption, RunOptions
from vestige.launcher import messages

MOST = 8  # snapshots that are remembered; a mould takes as much memory as a machine
SECOND = 2  # the thaw at which one is made

Mark = tuple[tuple[str | int, ...], ...]
Key = tuple[str | int, ...]


class Mould:
    """A process that forks machines of one snapshot, once it says that it is ready."""

    def __init__(self, status: socket.socket, process: int, requests: socket.socket) -> None:
        """`status`: where it tells its end; `process`: a pidfd; `requests`: where it is asked."""
        self._status, self._process, self.requests = status, process, requests
        self.identity: str | None = None  # of its snapshot's freeze, once it is ready
        self.is_over = False  # it can't be one
        self.askers = 0  # threads

    @property
    def is_ready(self) -> bool:
        """Whether it can be asked."""
        if self.identity is None and not self.is_over:
            if messages.is_readable(self.requests, 0):
                self._listen()
        return self.identity is not None

    def _listen(self) -> None:
        try:
            kind, value, _ = messages.receive(self.requests)
        except EOFError:
            kind, value = messages.UNUSABLE, None
        if kind == messages.READY:
            self.identity = value
        else:
            self.is_over = True

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
    """A snapshot as it was last time, what was `asked` of it, and of which freeze it is."""

    def __init__(self, mark: Mark | None, asked: RunOptions, identity: str) -> None:
        self.mark, self.asked, self.identity = mark, asked, identity
        self.times = 0
        self.mould: Mould | None = None


class Moulds:
    """Those of one launcher; any thread may use them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[Key, Thawed] = {}  # that was asked for last is the last

    def asked(
        self, folder: str, words: Sequence[str], read: Callable[[], tuple[RunOptions, str]]
    ) -> Thawed:
        """What these words ask for, of the snapshot in `folder`: as it was `read` before, or is
        now, and its identity. Raises as that.
        """
        key: Key = (*_directory(), *words)
        mark = mark_of(folder)
        with self._lock:
            known = self._known.pop(key, None)
            if known is not None and mark is not None and known.mark == mark:
                self._known[key] = known
                return known
            if known is not None:
                self._drop(known)
        fresh = Thawed(mark, *read())
        if mark is not None and mark == mark_of(folder):  # it was not replaced meanwhile
            with self._lock:
                self._known[key] = fresh
                for oldest in list(self._known)[:-MOST]:
                    self._drop(self._known.pop(oldest))
        return fresh

    def take(self, known: Thawed, make: Callable[[], Mould]) -> Mould | None:
        """One to be asked for it now, and then given back; None: there is none yet, or for good.

        At the second time it is made. Raises as `make`.
        """
        with self._lock:
            known.times += 1
            makes = known.times == SECOND and can_be_copied(known.asked)
        if makes:
            known.mould = make()
        with self._lock:
            mould = known.mould
            if mould is None:
                return None
            is_ready = mould.is_ready
            if mould.is_over or (is_ready and mould.identity != known.identity):
                self._drop(known)
                return None
            mould.askers += is_ready
            return mould if is_ready else None

    def give_back(self, mould: Mould) -> None:
        """It has been asked."""
        with self._lock:
            mould.askers -= 1
            if mould.is_over and not mould.askers:
                mould.close()

    def forget(self, known: Thawed) -> None:
        """Its mould is gone, as somebody killed it: there may be another."""
        with self._lock:
            known.times = 0
            self._drop(known)

    def close(self) -> None:
        """Ask none of them any more."""
        with self._lock:
            for known in self._known.values():
                self._drop(known)
            self._known = {}

    @staticmethod
    def _drop(known: Thawed) -> None:
        mould, known.mould = known.mould, None
        if mould is not None:
            mould.ask_no_more()
            mould.is_over = True
            if not mould.askers:
                mould.close()


def _directory() -> tuple[int, int]:
    """What tells the working directory from others, also where it has no name any more."""
    status = os.stat(".")  # noqa: PTH116 - as below
    return status.st_dev, status.st_ino


def mark_of(folder: str) -> Mark | None:
    """What is other once it is another folder, or somebody else's, or once a file of it is another
    one, or changed; None: it is not there.
    """
    with suppress(OSError, ValueError), os.scandir(folder) as files:
        status = os.stat(folder)  # noqa: PTH116 - as text
        own = status.st_dev, status.st_ino, status.st_mode, status.st_uid, status.st_gid
        each: list[tuple[str | int, ...]] = [(file.name, *_changes(file.stat())) for file in files]
        return (own, *sorted(each))
    return None


def _changes(status: os.stat_result) -> tuple[int, ...]:
    times = status.st_mtime_ns, status.st_ctime_ns
    return status.st_dev, status.st_ino, status.st_size, *times


def can_be_copied(asked: RunOptions) -> bool:
    """Whether all machines that are asked for so are the same but for their standard files."""
    if not asked.jail.is_on:
        return False
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

"""Who asks: finds runs by their names, sends a request, takes the answer."""

import json
import math
import os
import select
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from vestige.errors import GuestError, UsageError
from vestige.host.control.answers import is_deep
from vestige.host.control.commands import AWAIT, HELD, STARTING
from vestige.host.control.folder import Folder, open_folder
from vestige.host.control.server import LONGEST_LINE
from vestige.host.limits import cure
from vestige.host.options import is_name
from vestige.host.thread_name import STEWARD

PATIENCE = 10.0  # seconds for an answer
STARTS = 60.0  # seconds for a guest that starts to run
LOOK = 0.02  # seconds from one look for a run to the next
LONGEST = 4 << 20  # bytes of one
QUEUE = struct.pack("2q", 2, 0)  # struct timeval: how long it stands in the queue of many
PEER = struct.Struct("3i")  # struct ucred


class SilentError(GuestError):
    """A run that does not answer."""


class SlowError(SilentError):
    """The same, but it may yet answer."""


class UnknownError(UsageError):
    """There is no such run."""


class UnwillingError(GuestError):
    """Runs that have not done as they were told, a line of each."""

    has_lines = True


class Run:
    """One that is there, by its `name`; `pid` is its process's, which the kernel tells.

    Where several runs have one process, each is named by the number of its guest's: then this is
    `pid`, as it alone ends with the run.
    Where too many wait to be connected, as at one that is stopped, it is there but takes nothing.
    """

    def __init__(self, folder: Folder, name: str) -> None:
        """Connect. Raises OSError."""
        self.name = name
        self._end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, QUEUE)
        self._coming = bytearray()
        self.pid: int
        try:
            try:
                self._end.connect(folder.address(name))
            except BlockingIOError:
                owner = folder.owner(name)
                if owner is None:
                    raise
                self.pid = _own(owner, name)
            else:
                peer = self._end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size)
                self.pid = _own(PEER.unpack(peer)[0], name)
            self._end.setblocking(False)
        except BaseException:
            self._end.close()
            raise

    def fileno(self) -> int:
        """For poll(2): readable once something of an answer has come."""
        return self._end.fileno()

    def send(self, request: Mapping[str, Any]) -> None:
        """Ask. Raises UsageError for too much, SilentError where it can't be sent at once."""
        line = json.dumps(request).encode()
        if len(line) > LONGEST_LINE:
            raise UsageError(
                f"{self.name}: a request of {len(line)} bytes; give less at once, a run takes"
                f" {LONGEST_LINE >> 10} KiB"
            )
        try:
            sent = self._end.send(line + b"\n")
        except OSError:
            sent = 0
        if sent <= len(line):
            raise SilentError(f"{self.name}: takes no request now; try again")

    def take(self) -> Any:
        """The answer, once it is whole; else None.

        Raises UsageError, and GuestError where there may be one at another time.
        """
        try:
            data = self._end.recv(1 << 16)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        self._coming += data
        line, end, rest = self._coming.partition(b"\n")
        if not end and (not data or len(line) > LONGEST):
            raise SilentError(f"{self.name}: ended without an answer")
        if not end:
            return None
        self._coming = rest
        return self._answer(bytes(line))

    def _answer(self, line: bytes) -> Any:
        try:
            told = json.loads(line, parse_float=_finite, parse_constant=_finite)
        except (ValueError, RecursionError):
            told = None
        if isinstance(told, dict) and "error" in told:
            kind = GuestError if told.get("passing") is True else UsageError
            raise kind(f"{self.name}: {told['error']}")
        if not isinstance(told, dict) or told.get("answer") is None or is_deep(told):
            raise GuestError(f"{self.name}: an answer that is none of a run's")
        return told["answer"]

    def ask(self, request: Mapping[str, Any], seconds: float = PATIENCE) -> Any:
        """The answer to a request. Raises UsageError, and GuestError where there is none."""
        self.send(request)
        return self.wait(seconds)

    def wait(self, seconds: float) -> Any:
        """The answer to the request that was sent. Raises as `ask`; SlowError: none so far."""
        poll = select.poll()
        poll.register(self, select.POLLIN)
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if poll.poll(1000 * left) and (answer := self.take()) is not None:
                return answer
        raise SlowError(f"{self.name}: no answer within {seconds:.0f} s")

    def close(self) -> None:
        """Let it go."""
        self._end.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def find(name: str) -> Run:
    """The run of this name, or whose process has this number.

    Raises UnknownError where there is none, UsageError where none can be looked for, SilentError if
    it takes nobody. What a killed one left is removed.
    """
    folder = open_folder(make=False)
    if folder is None:
        raise _unknown(name, [])
    try:
        if is_name(name):
            try:
                run = _reach(folder, name)
            except BlockingIOError:
                raise SilentError(f"{name}: takes no request now; try again") from None
            if run is not None:
                return run
        runs = list(_connected(folder))
        found = next((run for run in runs if str(run.pid) == name), None)
        for run in runs:
            if run is not found:
                run.close()
        if found is None:
            raise _unknown(name, [run.name for run in runs])
        return found
    finally:
        folder.close()


def find_within(name: str, seconds: float) -> Run:
    """The same, of one that may be there only after some time. Raises as that."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return find(name)
        except UnknownError:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
        time.sleep(min(LOOK, left))  # nothing tells of what is not there yet, nor may its folder be


def await_start(run: Run, seconds: float = STARTS, *, is_let_go: bool = False) -> None:
    """Wait until its guest runs, where that starts. `is_let_go`: so does one that is held.

    Raises GuestError where it does not in time, or is held for longer; and as `ask`.
    """
    told = run.ask({"do": "status"})
    state = told.get("state") if isinstance(told, dict) else None
    if state == "held" and not is_let_go:
        raise GuestError(f"{run.name}: {HELD}")
    if state in ("starting", "held"):
        try:
            run.ask({"do": AWAIT}, seconds)
        except SlowError:
            raise GuestError(f"{run.name}: {STARTING}") from None


def everyone() -> Sequence[Run]:
    """All runs of this user. Raises UsageError."""
    folder = open_folder(make=False)
    if folder is None:
        return []
    try:
        return list(_connected(folder))
    finally:
        folder.close()


def _connected(folder: Folder) -> Iterator[Run]:
    """Those that there are; what killed ones left is removed."""
    for name in folder.names():
        try:
            run = _reach(folder, name)
        except BlockingIOError:
            continue
        if run is not None:
            yield run


def _reach(folder: Folder, name: str) -> Run | None:
    """Connect; None: nobody is there. Raises BlockingIOError where too many want to."""
    try:
        try:
            return Run(folder, name)
        except ConnectionRefusedError:
            if folder.remove_stale(name):
                return None
        return Run(folder, name)  # it had only just begun
    except BlockingIOError:
        raise
    except OSError as error:
        if cure(error.errno or 0):  # this process can't ask: that says nothing of the run
            raise
        return None


def _own(pid: int, name: str) -> int:
    """The process that is this run's alone: that which the run is named by, where `pid` has others.

    Whoever ends it ends no other run, also where it is over already, and its run about to be. 0:
    it can't be told from here. That one's files in /proc may be hidden (hidepid), those of `pid`
    are not.
    """
    number = name.partition("-")[0]
    if number in ("", str(pid)) or not number.isdecimal():
        return pid
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            told = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    except OSError:
        return pid
    if told.get("Name") != STEWARD:
        return pid
    if len(told.get("NSpid", "").split()) > 1:  # numbers are others in its PID namespace
        return 0
    try:
        return int(number) if os.getsid(int(number)) == os.getsid(pid) else 0
    except ProcessLookupError:  # it has ended, as will be seen
        return int(number)


def _finite(text: str) -> float:
    """The number. Raises ValueError for NaN and infinity, which are none of JSON's."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _unknown(name: str, known: Sequence[str]) -> UnknownError:
    there = f"there are {', '.join(known)}" if known else "none is there"
    return UnknownError(f"no run {name!r}; {there}")

"""The mould's process, and how a steward has it make machines' processes, one each time it asks.

It has the machine of a snapshot built, and nothing of any guest: see host/process/mould.py.
"""

import ctypes
import errno
import gc
import mmap
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import closing, suppress

from vestige.cli.thaw import Wanted
from vestige.errors import GuestError, UsageError
from vestige.host import limits
from vestige.host import run as native
from vestige.host.apart import close_all_but
from vestige.host.compiled import Compiled
from vestige.host.control.folder import AGENT, open_folder
from vestige.host.control.server import Control, about
from vestige.host.jail.layers import end_with_parent
from vestige.host.kvm import api as kvm
from vestige.host.options import RunOptions
from vestige.host.process.forks import ANSWER_SIZE, Answer
from vestige.host.process.mould import cast
from vestige.host.process.outer import WHOSE
from vestige.launcher import messages
from vestige.launcher.machines import FAILED

MOULD_S = 10.0  # seconds for the mould to answer
RIGHTS = 2  # descriptors of an answer: of a link, and of a pidfd
NUMBER_SIZE = 4  # bytes of a process's number


class Spare:
    """A machine's process that waits: the descriptors of a link to it, and of its pidfd."""

    def __init__(self, pid: int, link: int, life: int) -> None:
        self.pid, self.link, self.life = pid, link, life

    @property
    def is_over(self) -> bool:
        """Whether somebody has killed it."""
        return messages.is_readable(self.life, 0)

    def close(self) -> None:
        """Another has them."""
        os.close(self.link)
        os.close(self.life)

    def end(self) -> None:
        """Nobody wants it."""
        self.close()
        _end_process(self.pid)


def _end_process(pid: int) -> None:
    """A child that is not waited for yet, so its number is its own."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


class Last:
    """Where the kernel writes the number of the process that a mould makes, before that runs: so it
    is known, and can be waited for, though the mould be killed before it answers.

    The steward and the mould share this page, and no machine's process has it.
    """

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)

    @property
    def number(self) -> int:
        """0: it has made none since this was cleared."""
        return int.from_bytes(self._page[:NUMBER_SIZE], sys.byteorder)

    def clear(self) -> None:
        """No process is meant any more."""
        self._page[:NUMBER_SIZE] = bytes(NUMBER_SIZE)

    def keep(self) -> int:
        """In the mould: have no fork have it; its address."""
        self.clear()  # the page is there then: a process that is being killed may get no other
        self._page.madvise(mmap.MADV_DONTFORK)
        return ctypes.addressof(ctypes.c_char.from_buffer(self._page))


class Casting:
    """The mould's process, which makes a Spare each time that it is asked."""

    def __init__(self, requests: socket.socket, pid: int, last: Last) -> None:
        self._requests, self._pid, self._last = requests, pid, last
        self.is_asked = False

    def fileno(self) -> int:
        """For poll(2): readable once it has answered."""
        return self._requests.fileno()

    def ask(self) -> None:
        """For another, unless it is asked already. Raises GoneError."""
        if not self.is_asked:
            self._last.clear()
            try:
                self._requests.send(b"\0")
            except OSError:
                raise messages.GoneError("the mould is gone") from None
            self.is_asked = True

    def has_answered(self, seconds: float) -> bool:
        """Whether it has, or is gone, within so many seconds."""
        return messages.is_readable(self._requests, seconds)

    def take(self) -> Spare:
        """The answer. Raises GoneError; UsageError, GuestError where there can be none now."""
        try:
            if not self.has_answered(MOULD_S):
                raise messages.GoneError("the mould does not answer")
            flags = socket.MSG_CMSG_CLOEXEC
            data, given, _, _ = socket.recv_fds(self._requests, ANSWER_SIZE, RIGHTS, flags)
        except OSError:
            data = b""
        if not data:
            raise messages.GoneError("the mould is gone")
        self.is_asked = False
        answer = Answer.from_buffer_copy(data)
        if answer.process and not answer.error and len(given) == RIGHTS:
            os.set_blocking(given[0], False)  # it waits for nobody who may not read
            return Spare(answer.process, *given)
        for each in given:
            os.close(each)
        if answer.process:
            _end_process(answer.process)
        raise limits.refusal(WHOSE, answer.error or errno.EMFILE)

    def close(self) -> None:
        """It is over, and so is what it has made last, if nobody has that."""
        _end_process(self._pid)
        if self.is_asked:
            with suppress(GuestError, UsageError):
                self.take().end()
        if self.is_asked and (made := self._last.number):  # of which it could not tell any more
            _end_process(made)
        self._requests.close()


def begin_casting(wanted: Wanted, compiled: Compiled, known: kvm.Known) -> Casting:
    """The mould's process, which is ready. Raises GuestError, OSError."""
    near, far = messages.pair()
    last = Last()
    own, pid = os.getpid(), os.fork()
    if pid == 0:
        status = FAILED
        try:
            close_all_but([*wanted.snapshot.descriptors, far.fileno()])
            end_with_parent()
            if os.getppid() == own:  # else no signal would come when it ends
                status = _be_cast(far, wanted, compiled, known, last)
        except BaseException:  # noqa: BLE001 - a bug of ours, and no frame above may see it
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)
    far.close()
    casting = Casting(near, pid, last)
    try:
        kind, value, _ = messages.receive(near)
    except (EOFError, OSError):
        kind, value = messages.UNUSABLE, "the mould's process has ended"
    if kind != messages.READY:
        casting.close()
        raise GuestError(str(value))
    return casting


def _be_cast(
    requests: socket.socket, wanted: Wanted, compiled: Compiled, known: kvm.Known, last: Last
) -> int:
    """Build the machine, and fork it each time that somebody asks; the exit status."""
    ready = native.Ready(compiled, known, control=_unasked)
    try:
        mould = native.mould(wanted.options(), ready, wanted.opener(ready))
    except (GuestError, UsageError, OSError, MemoryError) as error:
        messages.say(requests, messages.UNUSABLE, limits.line_of(error))
        return FAILED
    gc.collect()
    gc.freeze()
    messages.say(requests, messages.READY, None)
    cast(mould, requests.fileno(), last.keep(), compiled, known)
    return 0


def _unasked(asked: RunOptions, end: Callable[[], object]) -> Control:
    """The control of a run that nobody is to find: there will be no guest."""
    control = Control(about(asked, os.getpid()), end)
    folder = open_folder(make=True) if asked.agent else None
    if folder is not None:
        with closing(folder):
            control.agent = folder.address(f"{os.getpid()}{AGENT}")
    return control

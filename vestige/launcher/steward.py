"""The steward: the process of all runs of one mould's machines, a thread for each.

A machine's process is a fork of the mould's, and a child of this one; it is jailed, and spoken to,
as that of any other run. So there is no run's process for each machine. The mould's knows nothing
of any guest. This one does: no machine is a fork of it.

    launcher ── requests ── steward ── requests ── mould
                               │ a thread, a link       ┊ fork
                               └────────────────── machine

A thread has descriptors, a working directory and record locks of its own, as a process has
(unshare(2), CLONE_FILES and CLONE_FS): standard files are its machine's own, limits are for each,
and no run can take a file of another's for its own. A signal can end none of them: all threads but
the first have signals blocked, and whoever ends a machine writes the signal's number into a pipe.

An object that has a descriptor must not be finalized by another thread, which would close what has
that number there. So nothing that has one is given to another thread, and garbage is collected by
a thread that has no descriptors.

There is one machine's process more than asked for, the spare, as soon as no guest starts.
"""

import errno
import gc
import os
import select
import signal
import socket
import sys
import time
from _thread import LockType, allocate_lock
from contextlib import closing, suppress

from vestige.cli.main import told
from vestige.cli.thaw import SYNTAX as THAW
from vestige.cli.thaw import Wanted
from vestige.errors import GuestError, UsageError
from vestige.host import limits
from vestige.host import run as native
from vestige.host.apart import Apart, close_all_but
from vestige.host.compiled import Compiled
from vestige.host.kvm import api as kvm
from vestige.host.process.link import link_of
from vestige.host.process.outer import MachineProcess
from vestige.host.standard_error import Divided
from vestige.host.thread_name import STEWARD, set_thread_name
from vestige.launcher import messages
from vestige.launcher.casting import Casting, Spare, begin_casting
from vestige.launcher.machines import FAILED, QUIET, STARTING, connect
from vestige.signals import SIGNALLED, Signals, Told, pipe

PATIENCE = 13.0  # seconds in which runs that were told to end do so
SWITCH = 0.0005  # seconds until a thread lets another have Python's lock: a run's begin takes 1 ms
SWEEP = 60.0  # seconds from one look for garbage to the next, where no run ends


class Copy:
    """A machine's run, as who begins it knows it. `word`: where the number of a signal ends it."""

    def __init__(self, word: int) -> None:
        self.word = word
        self.has_begun = self.is_over = False

    def tell(self, number: int) -> None:
        """Write it there."""
        with suppress(OSError):  # it is over, or has been told often
            os.write(self.word, bytes((number,)))


class Files:
    """Descriptors of a thread that begins, as they are in the thread that begins it: the `owner`'s,
    to whom its status goes; `given` by the launcher; of a `spare`; of the pipe by which it is
    `told`.
    """

    def __init__(self, owner: int, given: list[int], spare: Spare, ends: tuple[int, int]) -> None:
        self.owner, self.given, self.spare, self.told = owner, given, spare, ends

    @property
    def all(self) -> list[int]:
        """Each of them."""
        return [self.owner, *self.given, self.spare.link, self.spare.life, *self.told]


class Steward:
    """Begins runs as `requests` asks for them."""

    def __init__(
        self,
        requests: socket.socket,
        signals: Signals,
        casting: Casting,
        wanted: Wanted,
        compiled: Compiled,
        known: kvm.Known,
    ) -> None:
        self._requests, self._signals, self._casting = requests, signals, casting
        self._wanted, self._compiled, self._known = wanted, compiled, known
        self._parts = wanted.snapshot.descriptors
        self._template = os.getppid()
        self._limits = limits.present()
        self._copies: list[Copy] = []
        self._spare: Spare | None = None
        self._wants_spare = True
        self._is_asked_no_more = False
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)  # of copies
        self._sweeps = allocate_lock()  # held until garbage is to be looked for
        self._poll = select.poll()
        for each in (requests, signals, casting, self._bell):
            self._poll.register(each, select.POLLIN)

    def serve(self) -> None:
        """Until nobody asks any more and all runs are over, or a signal ends them."""
        gc.disable()
        sys.setswitchinterval(SWITCH)
        gc.freeze()
        self._sweeps.acquire()
        Apart(lambda: _sweep(self._sweeps)).go()
        while self._copies or not self._is_asked_no_more:
            is_starting = not all(copy.has_begun for copy in self._copies)
            patience = STARTING if is_starting else QUIET
            ready = self._poll.poll(patience if self._wants_spare else None)
            if not ready:
                self._want_spare()
            for descriptor, _ in ready:
                if descriptor == self._signals.fileno():
                    if self._signals.take() is not None:
                        self._end_all()
                        return
                elif descriptor == self._bell:
                    self._look()
                elif descriptor == self._casting.fileno():
                    self._take_spare()
                elif not self._is_asked_no_more:
                    self._take()

    def _ask_no_more(self) -> None:
        if not self._is_asked_no_more:
            self._is_asked_no_more = True
            self._wants_spare = False
            self._poll.unregister(self._requests)
            self._poll.unregister(self._casting)
            self._requests.close()
            self._casting.close()
            if self._spare is not None:
                self._spare.end()

    def _want_spare(self) -> None:
        self._wants_spare = False
        try:
            self._casting.ask()
        except messages.GoneError:
            self._ask_no_more()

    def _take_spare(self) -> None:
        """The mould says something, unless another has heard it meanwhile."""
        if not self._casting.has_answered(0):
            return
        try:
            spare = self._casting.take()
        except messages.GoneError:
            self._ask_no_more()
        except (GuestError, UsageError):
            return  # it is asked again for the next machine, and its reason told
        else:
            self._spare = spare

    def _look(self) -> None:
        """Something has come of copies: guests run, or runs are over."""
        os.eventfd_read(self._bell)
        for copy in [each for each in self._copies if each.is_over]:
            os.close(copy.word)
            self._copies.remove(copy)
        self._wants_spare = self._spare is None and not self._is_asked_no_more

    def _take(self) -> None:
        """Begin a run that the launcher asks for."""
        try:
            _, _, given = messages.receive(self._requests)
        except EOFError:
            self._ask_no_more()
            return
        if not given:  # not even who is to be told
            return
        try:
            if len(given) < messages.DESCRIPTORS:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            self._begin(given)
        except messages.GoneError:
            self._ask_no_more()  # whoever asks, asks the template then
        except (GuestError, UsageError, OSError, MemoryError, RuntimeError) as error:
            _say(given[0], messages.REFUSED, limits.line_of(error))
        finally:
            for each in given:
                os.close(each)

    def _begin(self, given: list[int]) -> None:
        """Have a thread be the run. Raises GoneError, and others where there can be none."""
        self._wants_spare = False
        if limits.present(self._template) != self._limits:  # the mould has those of before
            raise messages.GoneError("other limits than the mould's; the template has them")
        spare, self._spare = self._spare, None
        is_one_of_many = spare is None
        if spare is not None and spare.is_over:
            spare.end()
            spare = None
        if spare is None:
            self._casting.ask()
            spare = self._casting.take()
        try:
            self._start(given, spare)
        except BaseException:
            spare.end()
            raise
        spare.close()
        if is_one_of_many:  # the next is made while this one begins
            self._want_spare()

    def _start(self, given: list[int], spare: Spare) -> None:
        """Have a thread be the run of a machine's process. Raises OSError, RuntimeError."""
        read, write = pipe()
        copy = Copy(write)
        files = Files(given[0], given[1:], spare, (read, write))
        try:
            thread = Apart(lambda: self._live(copy, files))
        except BaseException:
            os.close(write)
            raise
        finally:
            os.close(read)
        if not _say(files.owner, messages.PROCESS, spare.pid, spare.life, write):
            copy.tell(signal.SIGKILL)  # who wanted it waits no more
        self._copies.append(copy)
        thread.go()

    def _end_all(self) -> None:
        self._ask_no_more()
        for number, patience in ((signal.SIGTERM, PATIENCE), (signal.SIGKILL, PATIENCE)):
            for copy in self._copies:
                copy.tell(number)
            deadline = time.monotonic() + patience
            poll = select.poll()
            poll.register(self._bell, select.POLLIN)
            while self._copies and (left := deadline - time.monotonic()) > 0:
                if poll.poll(1000 * left):
                    self._look()

    # ---- a copy's own thread --------------------------------------------------------------

    def _live(self, copy: Copy, files: Files) -> None:
        """Be its run, with nothing else open, and say how that ended."""
        close_all_but([*files.all, *self._parts, self._bell])
        spare = files.spare
        machine = MachineProcess(link_of(spare.link), spare.pid, spare.life, stops=False)
        end = Told(*files.told)
        status = FAILED
        try:
            status = told(lambda: self._run(copy, files, machine, end))
        except BaseException:  # noqa: BLE001 - a bug of ours, which is shown as any
            sys.excepthook(*sys.exc_info())
        finally:
            with suppress(OSError):
                machine.close()
            if end.is_killed or machine.code == -signal.SIGKILL:
                status = SIGNALLED + signal.SIGKILL
            close_all_but([files.owner, self._bell])
            _say(files.owner, messages.STATUS, status)
            os.close(files.owner)
            copy.has_begun = copy.is_over = True
            os.eventfd_write(self._bell, 1)
            with suppress(RuntimeError):  # it is about to look already
                self._sweeps.release()

    def _run(self, copy: Copy, files: Files, machine: MachineProcess, end: Told) -> int:
        began = time.clock_gettime(time.CLOCK_BOOTTIME)
        streams = messages.DESCRIPTORS - 2  # between the owner and the directory
        for number, descriptor in enumerate(files.given[:streams]):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.fchdir(files.given[streams])
        os.close(files.given[streams])
        owner = messages.end_of(files.owner)
        kind, _, _ = messages.receive(owner)
        owner.detach()

        def begun() -> None:
            if not copy.has_begun:
                copy.has_begun = True
                os.eventfd_write(self._bell, 1)

        ready = native.Ready(self._compiled, self._known, machine, began, told=end)
        connect(ready, kind, files.given[streams + 1 :], begun, files.spare.pid)
        try:
            return native.run(self._wanted.options(), ready, self._wanted.opener(ready))
        except (GuestError, UsageError):
            if end.take() == signal.SIGKILL:  # that it ended by it is nothing to tell
                return SIGNALLED + signal.SIGKILL
            raise


def _say(owner: int, kind: str, value: int | str | None, *descriptors: int) -> bool:
    """To who is at the other side of a descriptor, which stays open. Whether it was sent."""
    end = messages.end_of(owner)
    try:
        return messages.say(end, kind, value, *descriptors)
    finally:
        end.detach()


def _sweep(sweeps: LockType) -> None:
    """Look for garbage each time, and now and then, in a thread that has no descriptors."""
    close_all_but(())
    while True:
        sweeps.acquire(timeout=SWEEP)
        gc.collect()


def be_mould(
    words: list[str],
    parent: socket.socket,
    given: list[int],
    compiled: Compiled,
    known: kvm.Known,
) -> int:
    """Make a mould for what the words of a thaw ask for, say so, and serve; the exit status.

    `parent` is closed once there is one; `given`: the last is where machines are asked for. Raises
    OSError where that has not come.
    """
    if not given:  # there are too many files open for all
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    with messages.end_of(given.pop()) as requests:
        try:
            wanted = Wanted(THAW.read(words))
            casting = begin_casting(wanted, compiled, known)
        except (GuestError, UsageError, OSError, MemoryError) as error:
            messages.say(requests, messages.UNUSABLE, limits.line_of(error))
            return FAILED
        parent.close()
        messages.say(requests, messages.READY, wanted.snapshot.identity)
        sys.stderr = Divided()
        set_thread_name(STEWARD)
        with closing(Signals()) as signals:
            Steward(requests, signals, casting, wanted, compiled, known).serve()
    return 0

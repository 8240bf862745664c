"""The process a launcher's machines are forks of: everything imported, the monitor in memory.

    python -m vestige.launcher.template PID     with the launcher's socket as its standard input

PID is the calling program, whose end is the template's too. The template has one thread, no guest,
and nothing open but that socket and, for each machine, a pidfd and the socket that its status goes
to. A fork gives all of that up before it opens anything. What a machine is asked to be only its own
fork reads: in the template it would be in the memory of all machines that follow.

A mould is a fork that has a thawed machine ready to be copied: it is asked for machines as the
template is, and forks them, of its own. It ends with the template, or once nobody asks any more and
all its machines are over.

One fork is made before it is asked for, the spare, with the process of a machine: both wait, and
the next machine is theirs. Then there is another spare as soon as nobody asks for a machine.
"""

import errno
import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import closing
from typing import NoReturn

from vestige.agent import renewing  # noqa: F401 - a machine has it then
from vestige.cli.main import told
from vestige.cli.run import SYNTAX, options_of
from vestige.cli.thaw import SYNTAX as THAW
from vestige.cli.thaw import Wanted, thaw
from vestige.errors import GuestError, UsageError
from vestige.host import limits
from vestige.host import run as native
from vestige.host.compiled import Compiled, compiled_here
from vestige.host.control.folder import AGENT, open_folder
from vestige.host.control.server import Control, about, open_control
from vestige.host.freeze import manifest, restoring, saving, writing  # noqa: F401 - so has each
from vestige.host.jail.layers import end_with_parent
from vestige.host.kvm import api as kvm
from vestige.host.options import RunOptions
from vestige.host.process.inner import MOST_DESCRIPTORS
from vestige.host.process.mould import Mould
from vestige.host.process.outer import MachineProcess, machine_process
from vestige.launcher import messages
from vestige.process import prepare
from vestige.signals import ENDING, NOTED, Signals

QUIET = 1.0  # ms, after a guest has started, for its first instructions
STARTING = 100.0  # ms, in which another guest that was asked for starts
PATIENCE = 15.0  # seconds in which a machine that was told to end does so, more than its own
PATIENCE_OF_MOULD = 13.0  # the same, of a mould
SIGNALLED = 128  # and the signal's number, as shells have it
FAILED = 1


class Fork:
    """A machine's run, or one that waits to be told of it: the spare.

    `process` is its number, `life` a pidfd, `words` where it is told, and which it closes once its
    guest runs; `owner`: to whom its status goes; `limits`: those that it has.
    """

    def __init__(self, process: int, life: int, words: socket.socket) -> None:
        self.process, self.life, self.words = process, life, words
        self.owner: socket.socket | None = None
        self.limits = limits.present()


class Form:
    """What a mould's machines have in common. `words`: by which they are asked for; `options`: what
    that means, for one run.
    """

    def __init__(self, words: list[str], wanted: Wanted, machine: Mould) -> None:
        self.words, self.wanted, self.machine = words, wanted, machine
        self.options = wanted.options()

    @property
    def descriptors(self) -> list[int]:
        """That a machine has of it."""
        snapshot = self.wanted.snapshot
        return [*snapshot.parts.values(), *snapshot.overlays.values()]


class Template:
    """Forks machines as `requests` asks for them, and tells how each ended."""

    def __init__(
        self,
        requests: socket.socket,
        end: int,
        compiled: Compiled,
        known: kvm.Known,
        form: Form | None = None,
        is_end: Callable[[], bool] = lambda: True,
    ) -> None:
        """`end`: readable once all are to end, if `is_end` says so; `form`: of a mould."""
        self._requests = requests
        self._end, self._is_end = end, is_end
        self._form = form
        self._compiled = compiled
        self._known = known
        self._own = os.getpid()
        self._forks: dict[int, Fork] = {}  # by `life`
        self._starting: dict[int, Fork] = {}  # by `words`
        self._spare: Fork | None = None
        self._wants_spare = True
        self._poll = select.poll()
        self._poll.register(requests, select.POLLIN)
        self._poll.register(end, select.POLLIN)
        self._is_asked_no_more = False

    def serve(self) -> None:
        """Until the launcher is gone; then end all machines, or let them end if this is a mould."""
        while self._form is None or self._forks or not self._is_asked_no_more:
            patience = STARTING if self._starting else QUIET
            ready = self._poll.poll(patience if self._wants_spare else None)
            if not ready:
                self._have_spare()
            for descriptor, _ in ready:
                is_over = False
                if descriptor == self._end:
                    is_over = self._is_end()
                elif descriptor != self._requests.fileno():
                    self._see(descriptor)
                elif not self._take():
                    is_over = self._form is None
                    self._ask_no_more()
                if is_over:
                    self._end_all()
                    return

    def _ask_no_more(self) -> None:
        self._is_asked_no_more = True
        self._poll.unregister(self._requests)
        self._wants_spare = False
        if self._spare is not None:
            self._spare.words.close()

    def _see(self, descriptor: int) -> None:
        """Something came of a fork, that may be seen to already by what came beside it."""
        if descriptor in self._forks:
            self._bury(descriptor)
        elif descriptor in self._starting:
            self._see_start(descriptor)

    def _see_start(self, words: int) -> None:
        """A guest runs, or never will: it does not wait for what a spare takes."""
        self._poll.unregister(words)
        self._starting.pop(words).words.close()
        self._wants_spare = self._spare is None and not self._is_asked_no_more

    def _have_spare(self) -> None:
        """Where there can be one; else it is tried again once another guest has started."""
        self._wants_spare = False
        try:
            self._spare = self._fork()
        except OSError:
            return

    def _fork(self) -> Fork:
        """One that waits. Raises OSError."""
        near, far = messages.pair()
        process = 0
        # Until the fork has forgotten how a mould takes them.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        try:
            with far:
                process = os.fork()
                if process == 0:
                    self._become(far)
            life = os.pidfd_open(process)
        except OSError:
            near.close()
            if process:  # it ends, since it hears nothing
                os.waitpid(process, 0)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._forks[life] = fork = Fork(process, life, near)
        self._poll.register(life, select.POLLIN)
        return fork

    def _take(self) -> bool:
        """Start what the launcher asks for; False: it asks no more."""
        try:
            _, _, given = messages.receive(self._requests)
        except EOFError:
            return False
        if not given:  # not even who is to be told
            return True
        owner = messages.end_of(given[0])
        try:
            if len(given) < messages.DESCRIPTORS:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            fork = self._told(given)
        except (OSError, MemoryError) as error:
            _say(owner, messages.REFUSED, limits.line_of(error))
            owner.close()
        else:
            fork.owner = owner
            _say(owner, messages.PROCESS, fork.process, fork.life)
        for descriptor in given[1:]:
            os.close(descriptor)
        return True

    def _told(self, given: list[int]) -> Fork:
        """A fork that has been told to be the machine. Raises OSError."""
        fork, self._spare, self._wants_spare = self._spare, None, False
        if fork is not None and fork.limits != limits.present():
            fork.words.close()  # it ends
            fork = None
        if fork is not None:
            try:
                messages.send(fork.words, messages.START, None, tuple(given))
            except OSError:  # somebody killed it, as `_bury` will see
                fork = None
        if fork is None:
            fork = self._fork()
            messages.send(fork.words, messages.START, None, tuple(given))
        self._starting[fork.words.fileno()] = fork
        self._poll.register(fork.words, select.POLLIN)
        return fork

    def _bury(self, life: int) -> None:
        """Tell how the machine ended that is behind a pidfd."""
        fork = self._forks.pop(life)
        if fork is self._spare:
            self._spare = None
        self._poll.unregister(life)
        os.close(life)
        if fork.words.fileno() in self._starting:
            self._see_start(fork.words.fileno())
        fork.words.close()
        _, status = os.waitpid(fork.process, 0)
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            _clear()
        if fork.owner is not None:
            _say(fork.owner, messages.STATUS, code if code >= 0 else SIGNALLED - code)
            fork.owner.close()

    def _end_all(self) -> None:
        if not self._is_asked_no_more:
            self._ask_no_more()
        self._poll.unregister(self._end)
        patience = PATIENCE if self._form is None else PATIENCE_OF_MOULD
        deadline = time.monotonic() + patience
        for fork in self._forks.values():
            os.kill(fork.process, signal.SIGTERM)  # not waited for yet: it is its number still
        while self._forks:
            ready = self._poll.poll(1000 * max(deadline - time.monotonic(), 0))
            for descriptor, _ in ready:
                self._see(descriptor)
            if not ready:
                for fork in self._forks.values():
                    os.kill(fork.process, signal.SIGKILL)
                deadline += PATIENCE

    def _become(self, requests: socket.socket) -> NoReturn:
        """Be a fork: wait until a machine is wanted, and be that, with nothing else open."""
        status = FAILED
        try:
            if self._form is not None:
                _forget_signals()
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            self._close_all_but(requests)
            machine, problem = self._prepared()
            if os.getppid() == self._own:  # else no signal would come when it ends
                status = self._live(requests, machine, problem)
        except BaseException:  # noqa: BLE001 - a bug of ours, and no frame above may see it
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)

    def _close_all_but(self, requests: socket.socket) -> None:
        kept = [requests.fileno(), *([] if self._form is None else self._form.descriptors)]
        first = messages.STANDARD_ERROR + 1
        for descriptor in sorted(kept):
            os.closerange(first, descriptor)
            first = descriptor + 1
        os.closerange(first, MOST_DESCRIPTORS)  # whatever the limit is now

    def _prepared(self) -> tuple[MachineProcess | None, OSError | None]:
        """The machine's process, if there can be one already; why there will be none."""
        try:
            end_with_parent(signal.SIGTERM)
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, 0)
            os.close(nowhere)
            mould = None if self._form is None else self._form.machine
            process = machine_process(self._compiled, self._known, jailed=True, mould=mould)
            return process, None
        except OSError as error:
            return None, error
        except (GuestError, UsageError):  # it is told once a machine is wanted, if it is so still
            return None, None

    def _live(
        self, requests: socket.socket, machine: MachineProcess | None, problem: OSError | None
    ) -> int:
        """Wait, and be the machine; its exit status. What is told goes to its own streams."""
        try:
            _, _, given = messages.receive(requests)
        except EOFError:
            return FAILED
        if len(given) < messages.DESCRIPTORS:  # there are too many files open for all
            return FAILED
        owner, *streams, directory = given[: messages.DESCRIPTORS]
        others = given[messages.DESCRIPTORS :]
        began = time.clock_gettime(time.CLOCK_BOOTTIME)
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
            os.close(descriptor)

        ready = native.Ready(self._compiled, self._known, machine, began)

        def work() -> int:
            if problem is not None:
                raise problem
            os.fchdir(directory)
            os.close(directory)
            with messages.end_of(owner) as end:
                kind, words, _ = messages.receive(end)
            if kind == messages.MOULD:
                if machine is not None:
                    machine.close()
                return self._be_mould(words, requests, others)
            if kind == messages.HELD:
                if not others:  # there are too many files open for all
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
                hold = messages.end_of(others.pop())
                ready.hold = hold.fileno()
            told_of = ToldOfAgent(others)
            ready.control = told_of.open_control

            def stands() -> None:
                requests.close()
                _say(hold, messages.STANDS, None)

            def started() -> None:
                requests.close()
                told_of.tell()

            ready.stands, ready.started = stands, started
            if kind == messages.WORDS:
                return native.run(options_of(SYNTAX.read(words)), ready)
            form = self._form
            if form is None or form.words != words:
                return thaw(THAW.read(words), ready)
            return native.run(form.options, ready, form.wanted.opener(ready))

        return told(work)

    def _be_mould(self, words: list[str], parent: socket.socket, others: list[int]) -> int:
        """Make one, say so, and serve."""
        if not others:  # there are too many files open for all
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        with messages.end_of(others.pop()) as requests:
            ready = native.Ready(self._compiled, self._known, control=_unasked)
            try:
                wanted = Wanted(THAW.read(words))
                machine = native.mould(wanted.options(), ready, wanted.opener(ready))
            except (GuestError, UsageError, OSError, MemoryError) as error:
                _say(requests, messages.UNUSABLE, limits.line_of(error))
                return FAILED
            gc.collect()
            gc.freeze()
            parent.close()
            _say(requests, messages.READY, wanted.snapshot.identity)
            form = Form(words, wanted, machine)
            with closing(Signals()) as signals:
                place = signals.fileno()
                mould = Template(
                    requests,
                    place,
                    self._compiled,
                    self._known,
                    form,
                    lambda: signals.take() is not None,
                )
                mould.serve()
        return 0


def _forget_signals() -> None:
    """A mould takes some, and its forks do not."""
    signal.set_wakeup_fd(-1)
    for number in (*ENDING, *NOTED):
        signal.signal(number, signal.SIG_DFL)


class ToldOfAgent:
    """Who is told where the guest's agent is asked, once the guest runs; nobody, without one."""

    def __init__(self, descriptors: list[int]) -> None:
        """`descriptors`: of the one socket, or none."""
        self._ends = [messages.end_of(each) for each in descriptors]
        self._path: str | None = None

    def open_control(self, asked: RunOptions, end: Callable[[], object]) -> Control:
        """As of any run, and note the place. Raises OSError where there is nobody to be told."""
        if asked.agent and not self._ends:  # there are too many files open for all
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        control = open_control(asked, end)
        self._path = control.about["agent"]
        return control

    def tell(self) -> None:
        """Do so; a second time does nothing."""
        while self._ends:
            with self._ends.pop() as end:
                _say(end, messages.AGENT, self._path or "")


def _unasked(asked: RunOptions, end: Callable[[], object]) -> Control:
    """The control of a run that nobody is to find: there will be no guest."""
    control = Control(about(asked), end)
    folder = open_folder(make=True) if asked.agent else None
    if folder is not None:
        with closing(folder):
            control.agent = folder.address(f"{os.getpid()}{AGENT}")
    return control


def _clear() -> None:
    """Remove the control's socket of a machine that was killed, where that can be done."""
    try:
        folder = open_folder(make=False)
        if folder is not None:
            with closing(folder):
                folder.clear()
    except (UsageError, OSError):
        return


def _say(end: socket.socket, kind: str, value: int | str | None, *descriptors: int) -> None:
    try:
        messages.send(end, kind, value, descriptors)
    except OSError:
        return  # its owner closed it, and does not want to know


def main() -> None:
    """Be ready, say so, and serve."""
    prepare()
    # A caller that takes signals by itself has blocked them, and machines are ended by one.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with socket.socket(fileno=os.dup(0)) as requests:
        try:
            caller = os.pidfd_open(int(sys.argv[1]))
            with closing(kvm.open_system()) as system:
                known = system.learn()
            compiled = compiled_here()
            _ = compiled.code.key  # each machine that is thawed has it then
        except (GuestError, UsageError, OSError, MemoryError) as error:
            messages.send(requests, messages.UNUSABLE, limits.line_of(error))
            return
        gc.collect()
        gc.freeze()  # a collection in a fork would touch, and so copy, all of it
        messages.send(requests, messages.READY, None)
        Template(requests, caller, compiled, known).serve()


if __name__ == "__main__":
    main()

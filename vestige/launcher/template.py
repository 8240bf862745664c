"""The process a launcher's machines are forks of: everything imported, the monitor in memory.

    python -m vestige.launcher.template PID     with the launcher's socket as its standard input

PID is the calling program, whose end is the template's too. The template has one thread, no guest,
and nothing open but that socket and, for each machine, a pidfd and the socket that its status goes
to. A fork gives all of that up before it opens anything. What a machine is asked to be only its own
fork reads: in the template it would be in the memory of all machines that follow.

A mould is a fork that is asked for machines as the template is: see steward.py. It ends with the
template, or once nobody asks any more and all its machines are over.

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
from contextlib import closing
from typing import NoReturn

from vestige.agent import renewing  # noqa: F401 - a machine has it then
from vestige.cli.main import told
from vestige.cli.run import SYNTAX, options_of
from vestige.cli.thaw import SYNTAX as THAW
from vestige.cli.thaw import thaw
from vestige.errors import GuestError, UsageError
from vestige.host import limits
from vestige.host import run as native
from vestige.host.apart import close_all_but
from vestige.host.compiled import Compiled, compiled_here
from vestige.host.control.folder import open_folder
from vestige.host.freeze import manifest, restoring, saving, writing  # noqa: F401 - so has each
from vestige.host.jail.layers import end_with_parent
from vestige.host.kvm import api as kvm
from vestige.host.process.outer import MachineProcess, machine_process
from vestige.launcher import messages, steward
from vestige.launcher.machines import FAILED, QUIET, STARTING, connect
from vestige.process import prepare
from vestige.signals import SIGNALLED

PATIENCE = 15.0  # seconds in which a machine that was told to end does so, more than its own


class Fork:
    """A machine's run, or one that waits to be told of it: the spare.

    `process` is its number, `life` a pidfd, `words` where it is told, and which it closes once its
    guest runs; `owner`: to whom its status goes; `limits`: those that it has.
    """

    def __init__(self, process: int, life: int, words: socket.socket) -> None:
        self.process, self.life, self.words = process, life, words
        self.owner: socket.socket | None = None
        self.limits = limits.present()


class Template:
    """Forks machines as `requests` asks for them, and tells how each ended."""

    def __init__(
        self, requests: socket.socket, end: int, compiled: Compiled, known: kvm.Known
    ) -> None:
        """`end`: readable once all are to end."""
        self._requests = requests
        self._end = end
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

    def serve(self) -> None:
        """Until the launcher is gone; then end all machines."""
        while True:
            patience = STARTING if self._starting else QUIET
            ready = self._poll.poll(patience if self._wants_spare else None)
            if not ready:
                self._have_spare()
            for descriptor, _ in ready:
                if descriptor in (self._end, self._requests.fileno()):
                    if descriptor == self._end or not self._take():
                        self._end_all()
                        return
                else:
                    self._see(descriptor)

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
        self._wants_spare = self._spare is None

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
            messages.say(owner, messages.REFUSED, limits.line_of(error))
            owner.close()
        else:
            fork.owner = owner
            if not messages.say(owner, messages.PROCESS, fork.process, fork.life):
                os.kill(fork.process, signal.SIGTERM)  # who wanted it waits no more
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
            messages.say(fork.owner, messages.STATUS, code if code >= 0 else SIGNALLED - code)
            fork.owner.close()

    def _end_all(self) -> None:
        self._poll.unregister(self._requests)
        self._poll.unregister(self._end)
        if self._spare is not None:
            self._spare.words.close()
        deadline = time.monotonic() + PATIENCE
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
            close_all_but([requests.fileno()])
            machine, problem = self._prepared()
            if os.getppid() == self._own:  # else no signal would come when it ends
                status = self._live(requests, machine, problem)
        except BaseException:  # noqa: BLE001 - a bug of ours, and no frame above may see it
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)

    def _prepared(self) -> tuple[MachineProcess | None, OSError | None]:
        """The machine's process, if there can be one already; why there will be none."""
        try:
            end_with_parent(signal.SIGTERM)
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, 0)
            os.close(nowhere)
            return machine_process(self._compiled, self._known, jailed=True), None
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
                return steward.be_mould(words, requests, others, self._compiled, self._known)
            connect(ready, kind, others, requests.close, os.getpid())
            if kind == messages.WORDS:
                return native.run(options_of(SYNTAX.read(words)), ready)
            return thaw(THAW.read(words), ready)

        return told(work)


def _clear() -> None:
    """Remove the control's socket of a machine that was killed, where that can be done."""
    try:
        folder = open_folder(make=False)
        if folder is not None:
            with closing(folder):
                folder.clear()
    except (UsageError, OSError):
        return


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

"""The process a launcher's machines are forks of: everything imported, the monitor in memory.

    python -m vestige.launcher.template      with the launcher's socket as its standard input

It has one thread, no guest, and nothing open but that socket and, for each machine, a pidfd and the
socket that its status goes to. A fork gives all of that up before it opens anything.
"""

import gc
import os
import select
import signal
import socket
import sys
import time
from contextlib import closing
from typing import NoReturn

from vestige.cli.main import told
from vestige.cli.run import SYNTAX, options_of
from vestige.errors import GuestError, UsageError
from vestige.host import limits
from vestige.host import run as native
from vestige.host.compiled import Compiled, compiled_here
from vestige.host.jail.layers import end_with_parent
from vestige.host.kvm import api as kvm
from vestige.host.options import RunOptions
from vestige.launcher import messages
from vestige.process import prepare

PATIENCE = 15.0  # seconds in which a machine that was told to end does so, more than its own
SIGNALLED = 128  # and the signal's number, as shells have it
FAILED = 1


class Template:
    """Forks machines as `requests` asks for them, and tells how each ended."""

    def __init__(self, requests: socket.socket, compiled: Compiled, known: kvm.Known) -> None:
        self._requests = requests
        self._compiled = compiled
        self._known = known
        self._own = os.getpid()
        self._machines: dict[int, tuple[int, socket.socket]] = {}  # by pidfd: process, its socket
        self._poll = select.poll()
        self._poll.register(requests, select.POLLIN)

    def serve(self) -> None:
        """Until the launcher is gone; then end all machines."""
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor != self._requests.fileno():
                    self._bury(descriptor)
                elif not self._take():
                    self._end_all()
                    return

    def _take(self) -> bool:
        """Start what the launcher asks for; False: it asks no more."""
        try:
            _, words, descriptors = messages.receive(self._requests)
        except EOFError:
            return False
        *given, last = descriptors
        end = messages.end_of(last)
        try:
            asked = options_of(SYNTAX.read(words))  # here once, and not in each fork's own memory
            process = os.fork()
        except (UsageError, OSError) as error:
            with end:
                messages.send(end, messages.REFUSED, limits.line_of(error))
            process = -1
        if process == 0:
            self._become(asked, given)
        for descriptor in given:
            os.close(descriptor)
        if process > 0:
            self._watch(process, end)
        return True

    def _watch(self, process: int, end: socket.socket) -> None:
        """Tell the machine's owner of its process, and wait for its end from now on."""
        descriptor = os.pidfd_open(process)
        self._machines[descriptor] = process, end
        self._poll.register(descriptor, select.POLLIN)
        _tell(end, messages.PROCESS, process, descriptor)

    def _bury(self, descriptor: int) -> None:
        """Tell how the machine ended that is behind a pidfd."""
        process, end = self._machines.pop(descriptor)
        self._poll.unregister(descriptor)
        os.close(descriptor)
        _, status = os.waitpid(process, 0)
        code = os.waitstatus_to_exitcode(status)
        _tell(end, messages.STATUS, code if code >= 0 else SIGNALLED - code)
        end.close()

    def _end_all(self) -> None:
        self._poll.unregister(self._requests)
        deadline = time.monotonic() + PATIENCE
        for process, _ in self._machines.values():
            os.kill(process, signal.SIGTERM)  # not waited for yet: the number is still its own
        while self._machines:
            ready = self._poll.poll(1000 * max(deadline - time.monotonic(), 0))
            for descriptor, _ in ready:
                self._bury(descriptor)
            if not ready:
                for process, _ in self._machines.values():
                    os.kill(process, signal.SIGKILL)
                deadline += PATIENCE

    def _become(self, asked: RunOptions, given: list[int]) -> NoReturn:
        """Be the machine: with its streams and its directory, and nothing else open."""
        status = FAILED
        try:
            *streams, directory = given
            os.fchdir(directory)
            for number, descriptor in enumerate(streams):
                os.dup2(descriptor, number)
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
            end_with_parent(signal.SIGTERM)
            ready = native.Ready(self._compiled, self._known)
            if os.getppid() == self._own:  # else that signal would never come
                status = told(lambda: native.run(asked, ready))
        except BaseException:  # noqa: BLE001 - a bug of ours, and no frame above may see it
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)


def _tell(end: socket.socket, kind: str, value: int, *descriptors: int) -> None:
    try:
        messages.send(end, kind, value, descriptors)
    except OSError:
        return  # its owner closed it, and does not want to know


def main() -> None:
    """Be ready, say so, and serve."""
    prepare()
    with socket.socket(fileno=os.dup(0)) as requests:
        try:
            with closing(kvm.open_system()) as system:
                known = system.learn()
            compiled = compiled_here()
        except (GuestError, UsageError, OSError, MemoryError) as error:
            messages.send(requests, messages.UNUSABLE, limits.line_of(error))
            return
        gc.collect()
        gc.freeze()  # a collection in a fork would touch, and so copy, all of it
        messages.send(requests, messages.READY, None)
        Template(requests, compiled, known).serve()


if __name__ == "__main__":
    main()

"""The machine's process as the run's own sees it: started, spoken to, heard, ended.

Threat: what it says is believed no more than the monitor is. How the guest ended, and lines, are
text; their number is bounded, and what can't be printed is escaped. What it writes for --stats is
bounded in length, and data.
"""

import os
import select
import time
from _collections_abc import Callable

from vestige.errors import GuestError, UsageError
from vestige.host import limits
from vestige.host.backends.drive import EJECT, INSERT, NO_DRIVE
from vestige.host.compiled import Compiled
from vestige.host.control.answers import (
    Collected,
    answer_line,
    error_line,
    is_answer,
    json_of,
    question,
)
from vestige.host.control.commands import FREEZE
from vestige.host.files.failures import FileFailures
from vestige.host.jail import namespaces, seccomp
from vestige.host.kvm import api as kvm
from vestige.host.loop.monitor_log import Lines, MonitorLog
from vestige.host.loop.session import Outcome
from vestige.host.messages import in_one_line, pass_on, tell
from vestige.host.process import inner
from vestige.host.process.link import Kind, Link, pair
from vestige.host.process.orders import Orders
from vestige.lang.types import TYPE_CHECKING
from vestige.signals import Watch

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping
    from types import FrameType
    from typing import Any

    from vestige.host.control.server import Control
    from vestige.host.freeze.writing import Writer
else:
    import _signal as signal  # signal itself makes enumerations of all numbers, and imports enum

MOST_COUNTERS = 1 << 20  # bytes of the text for --stats
PATIENCE = 10.0  # seconds in which a process that was told to end does so
FAILURE_SIZE = 3  # bytes: a disk, an operation, an errno
STOP = signal.SIGTSTP
WHOSE = "the machine's process"
GRACE = 1.0  # seconds in which a process ends whose link is closed
PAUSED = b'"paused": true'  # in the answer to a freeze: it is so because of that
TAKES_NOTHING = "the machine's process takes nothing now; try again"


class ProcessLines(Lines):
    """What machines' processes tell on standard error: of a run, as it has it."""

    whose = WHOSE

    def tell(self, text: bytes) -> None:
        """One line, as it is but for what can't be printed."""
        pass_on(_text(text))


def fork(
    body: Callable[[Link, str | None], object], name: str, whose: str, *, jailed: bool
) -> tuple[Link, int]:
    """This side's end of a link to a new process, and its number.

    The process, whose thread has that `name`, calls `body` with the other end and why there are no
    namespaces where it is to be `jailed`, and never returns. Raises UsageError, by `whose` process
    it is, where there can be none.
    """
    link, other = pair()
    # Until the child has handlers of its own: it has our pipe, and what comes there ends us.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, inner.IGNORED)
    # A thread that has waited for this one's turn is let in: its wish would be the child's, too, in
    # which it is not, and CPython 3.11 waits for it there for ever (ceval_gil.h, drop_gil).
    time.sleep(0)
    try:
        forked = namespaces.fork() if jailed else namespaces.Forked(os.fork())
        if forked.pid == 0:
            link.close()
            inner.become(other, lambda: body(other, forked.problem), name)
    except OSError as error:
        link.close()
        raise limits.refusal(whose, error.errno or 0) from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        other.close()
    return link, forked.pid


class MachineProcess:
    """One machine, from its power-on to its end. `outcome` is how that was, once `ended` tells."""

    def __init__(self, link: Link, pid: int, life: int, *, stops: bool = True) -> None:
        """The child `pid`, of which `life` is a pidfd; both descriptors are closed by `close`.

        `stops`: it is stopped when this process is, by a shell. Main thread only.
        """
        self.outcome: Outcome | None = None
        self.counters = b""
        self._failures, self._log, self._lines = FileFailures({}), MonitorLog(), ProcessLines()
        self._control: Control | None = None
        self._answer = Collected()
        self._listener = -1
        self._manifest: dict[str, Any] = {}
        self._sizes: tuple[int, int] = 0, 0  # bytes of RAM, CPUs
        self._starts = self._is_closed = False
        self.runs = False  # by its own word, where its guest was to wait for one
        self.code = 0  # as of waitstatus_to_exitcode, of one that has ended by itself or another
        self._link, self._pid, self._life = link, pid, life
        self.ended = link.fileno()
        self._stop_handler: Any = signal.getsignal(STOP) if stops else signal.SIG_IGN
        if self._stop_handler != signal.SIG_IGN:  # else nothing is to stop the run
            signal.signal(STOP, self._stop_too)

    def _stop_too(self, number: int, _frame: "FrameType | None") -> None:
        """A shell stops both: the first process of its namespace does not stop by itself."""
        if self._pid:
            os.kill(self._pid, signal.SIGSTOP)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.signal(number, self._stop_too)
        if self._pid:
            os.kill(self._pid, signal.SIGCONT)

    def hear(self, failures: FileFailures, log: MonitorLog, lines: ProcessLines) -> None:
        """From now on these, which are the run's, tell what comes."""
        self._failures, self._log, self._lines = failures, log, lines

    def begin(self, orders: Orders) -> None:
        """Have it build the machine."""
        self._sizes = orders.memory, orders.cpus
        try:
            orders.send(self._link)
        except (BrokenPipeError, ConnectionResetError):
            return  # it is over: how, will be heard
        except OSError as error:
            raise limits.refusal(WHOSE, error.errno or 0) from None

    @property
    def is_over(self) -> bool:
        """Whether the process has ended."""
        return self._ends_within(0)

    def _ends_within(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._life, select.POLLIN)
        return bool(poll.poll(1000 * seconds))

    def wait_for_start(self, watch: Watch) -> bool:
        """Wait until all is built and the guest could run; False: it is over before.

        Raises Ended as `watch` does, UsageError and GuestError where it is over for such.
        """
        while not self._starts and self.outcome is None:
            self.serve(watch.wait(self.waits_for()))
        return self.outcome is None

    def go(self, elapsed: float, hold: int = -1) -> None:
        """Let the guest run, which is `elapsed` seconds after its run began.

        Where there is a socket `hold`, once something comes there.
        """
        data = int(elapsed * 1e6).to_bytes(8, "little")
        if hold < 0:
            self._link.send(Kind.GO, data)
        else:
            self._link.send_along(Kind.GO, data, hold)

    def answer_to(self, control: "Control | None") -> None:
        """From now on the guest's process answers what this asks; None: nothing any more."""
        self._drop_writer()
        self._control = control

    def ask(self, command: str, request: "Mapping[str, Any]", _line: bytes) -> None:
        """Have the machine's process answer a command. Raises GuestError where it can't be told,
        and UsageError for a disc that can't be had.
        """
        if command in (EJECT, INSERT):
            self._change_disc(command, request)
        elif command == FREEZE:
            self._freeze(request)
        elif not self._link.send(Kind.ASK, question(command, request)):
            raise GuestError(TAKES_NOTHING)

    def _change_disc(self, command: str, request: "Mapping[str, Any]") -> None:
        """Open the disc, and pass it."""
        drive = None if self._control is None else self._control.drive
        if drive is None:
            raise UsageError(NO_DRIVE)
        image = drive.take(command, request)
        asked = question(command, {"sectors": image.sectors})
        if not self._link.send_along(Kind.ASK, asked, image.descriptor):
            drive.settle(is_in=False)
            raise GuestError(TAKES_NOTHING)

    def _freeze(self, request: "Mapping[str, Any]") -> None:
        """Have its state written into the files of a folder. Raises UsageError, GuestError."""
        folder, stays = request.get("folder"), request.get("stays", False)
        control = self._control
        if control is None or control.manifest is None:
            raise GuestError(TAKES_NOTHING)
        if not isinstance(folder, str) or not folder.startswith("/") or "\0" in folder:
            raise UsageError('a freeze is into a new folder: {"folder": "/absolute/path"}')
        if not isinstance(stays, bool):
            raise UsageError('whether the guest stays paused is {"stays": true} or false')
        try:
            writer = self._writer_of(folder, control)
        except OSError as error:  # a limit; the guest goes on
            raise GuestError(limits.line_of(error) or str(error)) from None
        asked = question(FREEZE, {"stays": stays})
        if not self._link.send_along(Kind.ASK, asked, writer.pipe):
            writer.close()
            raise GuestError(TAKES_NOTHING)
        writer.given()
        control.writer = writer

    def _writer_of(self, folder: str, control: "Control") -> "Writer":
        """What writes them. Raises UsageError, OSError."""
        # Few runs are frozen. The manifest's are not imported once the guest stands still.
        from vestige.host.freeze import manifest, parts, writing  # noqa: F401, PLC0415

        def stands(place: int) -> None:
            if control.manifest is not None:
                self._manifest = control.manifest(place)

        return writing.Writer(folder, parts.sizes(*self._sizes), stands)

    def _frozen(self, answer: bytes) -> bytes:
        """An answer; to a freeze it is what the manifest is to say, or why there is none."""
        writer = self._take_writer()
        if writer is None:
            return answer
        control, stays = self._control, is_answer(answer) and PAUSED in answer
        try:
            if is_answer(answer):
                writer.finish()
                answer = answer_line(json_of({**self._manifest, "parts": writer.parts}))
            elif writer.problem is not None:
                answer = error_line(UsageError(writer.problem))
        except UsageError as error:
            answer = error_line(error)
        finally:
            writer.close()
        if stays and control is not None:
            control.hold(is_whole=is_answer(answer))
        return answer

    def tell_size(self, columns: int, rows: int) -> None:
        """Tell of the terminal's size."""
        self._link.send(Kind.SIZE, columns.to_bytes(2, "little") + rows.to_bytes(2, "little"))

    def waits_for(self) -> dict[int, int]:
        """Descriptors to be watched, each with its poll events."""
        places = [self.ended, self._life, self._listener]
        return {place: select.POLLIN for place in places if place >= 0}

    def serve(self, ready: dict[int, int]) -> None:
        """Take the messages that have come. Raises UsageError where what the user asked for fails.

        A call that the jail refuses ends the guest.
        """
        call, asked = None, ready.get(self._listener, 0)
        if asked & select.POLLIN:
            call = seccomp.refused(self._listener)
        if asked and call is None:  # nobody is left who could ask, or it is something else
            self._close_listener()
        if call is not None:
            from vestige.host.jail.calls import name_of  # noqa: PLC0415 - its imports are slow

            self._kill(
                f"the machine's process made the system call {name_of(*call)}, which its jail does"
                " not allow"
            )
        elif self.ended in ready or self._life in ready:
            self.take()

    def take(self) -> None:
        """Take messages; once there are no more of a process that is over, it is waited for."""
        number = 0
        for message in self._link.waiting():
            if message is None:
                self._ends_within(GRACE)  # how it does is told then
                self._kill(None)  # it may go on all the same, and is not to
                return
            self._hear(*message)
            number += 1
        if number == 0 and self.is_over:
            self._kill(None)

    def _hear(self, kind: int, data: bytes, descriptor: int) -> None:
        match kind:
            case Kind.STARTS:
                self._starts = True
            case Kind.RUNS:
                self.runs = True
            case Kind.LISTENER if self._listener < 0:
                self._listener, descriptor = descriptor, -1
            case Kind.LINES:
                for line in data.splitlines():
                    self._lines.take(line)
            case Kind.LOG:
                self._log.take(data)
            case Kind.FAILURES:
                self._failures.tell(
                    (data[at], data[at + 1], data[at + 2])
                    for at in range(0, len(data) - FAILURE_SIZE + 1, FAILURE_SIZE)
                )
            case Kind.ANSWER:
                answer = self._answer.take(data)
                if answer is not None:
                    answer = self._frozen(answer)
                if answer is not None and self._control is not None:
                    if self._control.drive is not None:  # it may be of that
                        self._control.drive.settle(is_in=is_answer(answer))
                    self._control.answered(answer)
            case Kind.COUNTERS:
                self.counters = (self.counters + data)[:MOST_COUNTERS]
            case Kind.OVER:
                self._end(Outcome(None, reset=data[:1] == b"\1", fault=_text(data[1:])))
            case Kind.REFUSED if not self._starts:
                self._end(Outcome(None))
                raise UsageError(_text(data))
            case Kind.FAILED | Kind.REFUSED:
                self._end(Outcome(_text(data)))
        if descriptor >= 0:
            os.close(descriptor)

    def _end(self, outcome: Outcome) -> None:
        """The first reason counts."""
        if self.outcome is None:
            self.outcome = outcome

    def _kill(self, error: str | None) -> None:
        """End the process, unless it is over; `error` or its status says why, if it has not."""
        pid, self._pid = self._pid, 0
        if pid:
            is_over = self.is_over
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            code = os.waitstatus_to_exitcode(status)
            if is_over:
                self.code = code
            self._end(Outcome(error or _how_it_ended(code)))

    def stop(self) -> None:
        """End the guest, in order; what it flushed is safe already. The process is over then."""
        self._drop_writer()
        self._link.send(Kind.STOP)
        deadline = time.monotonic() + PATIENCE
        while self._pid and (left := deadline - time.monotonic()) > 0:
            poll = select.poll()
            for descriptor, events in self.waits_for().items():
                poll.register(descriptor, events)
            self.serve(dict(poll.poll(1000 * left)))
        if self._pid:
            tell(f"the machine's process did not end within {PATIENCE:.0f} s, and is killed")
        self._kill(None)

    def close(self) -> None:
        """End it at once, unless it is over; a second time does nothing."""
        self._kill(None)
        if not self._is_closed:
            self._is_closed = True
            if self._stop_handler != signal.SIG_IGN:
                signal.signal(STOP, self._stop_handler or signal.SIG_DFL)
            self._link.close()
            os.close(self._life)
        self._drop_writer()
        self._close_listener()

    def _take_writer(self) -> "Writer | None":
        """That of the freeze that is under way, if one is: it is so no more."""
        if self._control is None:
            return None
        writer, self._control.writer = self._control.writer, None
        return writer

    def _drop_writer(self) -> None:
        """A freeze that is under way comes to nothing."""
        writer = self._take_writer()
        if writer is not None:
            writer.close()

    def _close_listener(self) -> None:
        if self._listener >= 0:
            os.close(self._listener)
            self._listener = -1


def machine_process(compiled: Compiled, known: kvm.Known, *, jailed: bool) -> MachineProcess:
    """One that waits for its orders. Raises UsageError where there can be none."""
    link, pid = fork(
        lambda link, problem: inner.live(compiled, known, link, problem),
        inner.NAME,
        WHOSE,
        jailed=jailed,
    )
    try:
        life = os.pidfd_open(pid)
    except OSError as error:
        link.close()  # by which it ends
        os.waitpid(pid, 0)
        raise limits.refusal(WHOSE, error.errno or 0) from None
    return MachineProcess(link, pid, life)


def _text(data: bytes) -> str:
    return "\n".join(in_one_line(line) for line in data.decode("utf-8", "replace").split("\n"))


def _how_it_ended(code: int) -> str:
    if code == -signal.SIGSYS:
        return (
            "the machine's process made a system call which its jail does not allow (the kernel's"
            " log says which)"
        )
    if code == -signal.SIGKILL:
        return "the machine's process was killed (SIGKILL), for want of memory or by somebody"
    how = f"by signal {-code}" if code < 0 else f"with status {code}"
    return f"the machine's process ended {how}"

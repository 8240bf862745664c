"""The caller's side: a Launcher has a template process, and each Machine it starts is a copy."""

import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from vestige.cli.arguments import Option, Syntax
from vestige.cli.run import SYNTAX, options_of
from vestige.cli.thaw import SYNTAX as THAW
from vestige.cli.thaw import Wanted
from vestige.errors import GuestError, UsageError
from vestige.host import limits
from vestige.host.control.commands import PAUSE, RESUME, STATISTICS
from vestige.host.options import EMPTY, RunOptions
from vestige.launcher import messages
from vestige.launcher.asked import Asked
from vestige.launcher.moulds import Mould, Moulds
from vestige.process import search_path

if TYPE_CHECKING:
    from vestige.agent.talk import GoneError, UnreachedError
    from vestige.host.control.client import Run

PACKAGES = Path(__file__).resolve().parent.parent.parent  # where vestige is imported from
TEMPLATE = "vestige.launcher.template"
LONGEST_WAIT = 1e6  # seconds; poll(2) takes twice as much
PATIENCE = 20.0  # seconds in which machines that were told to end are gone
GONE = "the launcher's process is gone; make another launcher"
SILENT = "the launcher's process does not answer; is it stopped? make another launcher"
ANSWERS = 60.0  # seconds for it to have begun with a machine
ENDS = 5.0  # seconds for one whose control is gone
FIRST_LOOK, LAST_LOOK = 0.002, 0.05  # seconds from one look for a machine's control to the next


def _by_name(syntax: Syntax) -> dict[str, Option]:
    return {option.name[2:].replace("-", "_"): option for option in syntax.options}


OPTIONS, THAW_OPTIONS = _by_name(SYNTAX), _by_name(THAW)
OF_FURTHER = messages.HELD, messages.MOULD  # what is told more, by a socket of its own
STREAMS = "stdin", "stdout", "stderr"
TEXT = (str, bytes, bytearray, memoryview)  # sequences that are no lists
NOT_PATHS = ("vfio:", "unix:", "virtio", "stdio")  # how words begin that are no path

Word = str | bytes | int | float | os.PathLike[str] | os.PathLike[bytes]
Value = Word | bool | Sequence[Word] | None
Folder = str | bytes | os.PathLike[str] | os.PathLike[bytes]
Stream = int | IO[bytes] | IO[str] | None


class Machine(Asked):
    """A guest in a process of its own, started by a Launcher.

    It is over when `wait` or `poll` says so, and its descriptors are given back by `close`. As a
    context it is ended, waited for and closed. `pid` is the process's.
    """

    def __init__(
        self,
        end: socket.socket,
        pid: int,
        process: int,
        name: str | None,
        teller: socket.socket | None = None,
        hold: socket.socket | None = None,
        word: int | None = None,
    ) -> None:
        """`end`: where its status comes from; `process`: a pidfd; `name`: the run's, if any;
        `teller`: as of Asked; `hold`: where it is told to go on, None: it does already; `word`: a
        descriptor into which the number of a signal is written, None: the process takes it itself.
        """
        super().__init__(pid, teller)
        self._name = str(pid) if name is None else name
        self._end = end
        self._process, self._word = process, word
        self._hold, self._goes_on = hold, False
        self._receiving = threading.Lock()  # one thread may wait while another asks
        self._status: int | None = None

    def fileno(self) -> int:
        """For select and the like: readable once the machine is over."""
        return self._end.fileno()

    def poll(self) -> int | None:
        """The exit status, those of `vestige run`; None: it runs. Raises as `wait`."""
        return self._receive() if self._status is None and self._ends_within(0) else self._status

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, at most `timeout` seconds; the exit status, those of `vestige run`.

        Raises TimeoutError, GuestError where the launcher's own process was killed, and UsageError
        where the machine was closed before it was over.
        """
        if self._status is not None:
            return self._status
        if not self._ends_within(timeout):
            raise TimeoutError(f"machine {self.pid} has not ended within {timeout} s")
        return self._receive()

    def _ends_within(self, seconds: float | None) -> bool:
        self._refuse_closed()
        poll = select.poll()
        poll.register(self, select.POLLIN)
        if seconds is None:
            return bool(poll.poll())
        deadline = time.monotonic() + seconds
        while not poll.poll(1000 * min(max(deadline - time.monotonic(), 0), LONGEST_WAIT)):
            if time.monotonic() >= deadline:
                return False
        return True

    def _refuse_closed(self) -> None:
        if self._process < 0:
            raise UsageError(f"machine {self.pid} is closed; ask for what it does before that")

    def _receive(self) -> int:
        with self._receiving:
            if self._status is None:
                try:
                    _, status, _ = messages.receive(self._end)
                except EOFError:
                    raise GuestError(
                        f"machine {self.pid} ended with its launcher's process, which was killed"
                    ) from None
                self._status = int(status)
            return self._status

    def stop(self) -> None:
        """Tell it to end, in order: what the guest flushed is safe, its status will be 143.

        Raises UsageError where the machine was closed, as `kill` does.
        """
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once; its status will be 137."""
        self._signal(signal.SIGKILL)

    def go(self) -> None:
        """Have a guest that was thawed to be held go on; where it does already, do nothing.

        Raises GuestError where it has ended, held or not, and UsageError where the machine was
        closed.
        """
        self._refuse_closed()
        is_held = self._hold is not None and not self._goes_on
        before = " before its guest went on" if is_held else ""
        if (status := self.poll()) is not None:
            raise GuestError(f"machine {self.pid} has ended with status {status}{before}")
        if self._hold is None or self._goes_on:
            return
        try:
            self._hold.send(b"\0")
        except BrokenPipeError:
            raise GuestError(f"machine {self.pid} has ended{before}") from None
        self._goes_on = True

    def _await_standing(self, seconds: float) -> None:
        """Wait until one that is held is all there. Raises GuestError where it never is."""
        if self._hold is None:
            return
        if not messages.is_readable(self._hold, seconds):
            raise GuestError(f"machine {self.pid} is not there within {seconds:.0f} s")
        try:
            messages.receive(self._hold)
        except EOFError:
            raise GuestError(
                f"machine {self.pid} has ended with status {self.wait()} before its guest could go"
                " on; its standard error says why"
            ) from None

    def pause(self) -> None:
        """Have the guest do nothing until `resume`; its clocks go on. A second time does nothing.

        Waits for a guest that starts, `patience` seconds at most. Raises GuestError where it does
        not run then or no more, is held, or its run does not answer.
        """
        self._ask({"do": PAUSE})

    def resume(self) -> None:
        """Have it go on. Raises as `pause`."""
        self._ask({"do": RESUME})

    def statistics(self) -> Mapping[str, Any]:
        """Its counters as they are now, as `vestige stats` shows them. Raises as `pause`."""
        told = self._ask({"do": STATISTICS})
        if not isinstance(told, dict):
            raise GuestError(f"machine {self.pid}: an answer that is none of a run's")
        return told

    def freeze(self, folder: Folder, *, stop: bool = False) -> None:
        """Put the guest, as it is now, into a folder, as `vestige freeze` does; it goes on, or is
        told to `stop`.

        Raises UsageError where there can be no such folder, GuestError where the guest can't be
        frozen, and as `pause`.
        """
        from vestige.agent.waiting import waiting  # noqa: PLC0415 - as above
        from vestige.host.freeze.asking import freeze  # noqa: PLC0415 - few callers freeze one

        path = path_of(folder)
        with self._asked() as run:
            with waiting(run.ask({"do": "status"}), stays=stop) as more:
                freeze(run, path, stays=stop, more=more)
            if stop:
                run.ask({"do": "stop"})

    def _ask(self, request: Mapping[str, object]) -> object:
        """The run's answer to a request of docs/control.md."""
        with self._asked() as run:
            try:
                return run.ask(request)
            except UsageError as error:  # it has just ended
                raise GuestError(str(error)) from None

    @contextmanager
    def _asked(self) -> "Iterator[Run]":
        """Its run, once the guest runs. Raises GuestError, also where the machine has ended."""
        from vestige.host.control import client  # noqa: PLC0415 - few callers ask a run

        self._refuse_closed()
        deadline = time.monotonic() + self.patience
        try:
            with self._run(deadline) as run:
                left = max(deadline - time.monotonic(), 0.0)
                client.await_start(run, left, is_let_go=True)
                yield run
        except client.SlowError:
            raise
        except client.SilentError:
            if self._ends_within(ENDS):
                raise self._has_ended(self.wait()) from None
            raise

    def _run(self, deadline: float) -> "Run":
        """It, which is there some time after the machine's process."""
        from vestige.host.control.client import UnknownError, find  # noqa: PLC0415 - as `_asked`

        look = FIRST_LOOK
        while True:
            if (status := self.poll()) is not None:
                raise self._has_ended(status)
            if self._hold is not None and not self._goes_on:
                raise GuestError(f"machine {self.pid} is held; let it go on by machine.go()")
            try:
                run = find(self._name)
                break
            except UnknownError as error:
                if time.monotonic() >= deadline:
                    raise GuestError(f"machine {self.pid} can't be asked: {error}") from None
            except UsageError as error:  # there is no place for its socket
                raise GuestError(str(error)) from None
            self._ends_within(look)
            look = min(2 * look, LAST_LOOK)
        if run.pid != self.pid:
            run.close()
            raise GuestError(f"machine {self.pid}: it can't be asked, its name is another run's")
        return run

    def reason(self, error: "UnreachedError | GoneError") -> UsageError | GuestError:
        """As of Asking: the end of the machine, which comes right behind that of its sockets."""
        try:
            return self._has_ended(self.wait()) if self._ends_within(ENDS) else error
        except (UsageError, GuestError) as why:  # it is closed; or ended with who had made it
            return why

    def _has_ended(self, status: int) -> GuestError:
        return GuestError(f"machine {self.pid} has ended with status {status}")

    def _signal(self, number: int) -> None:
        self._refuse_closed()
        if self._word is not None:
            with suppress(BrokenPipeError, BlockingIOError):  # it is over, or was told often
                os.write(self._word, bytes((number,)))
        if self._word is None or number == signal.SIGKILL:
            with suppress(ProcessLookupError):  # it is over
                signal.pidfd_send_signal(self._process, number)

    def close(self) -> None:
        """Give back the descriptors; a machine that runs goes on until its launcher is closed."""
        if self._process >= 0:
            self.close_teller()
            if self._hold is not None:
                if not self._goes_on:  # it ends, also where a forked process still has this
                    with suppress(OSError):  # it has
                        self._hold.shutdown(socket.SHUT_RDWR)
                self._hold.close()
            self._end.close()
            os.close(self._process)
            if self._word is not None:
                os.close(self._word)
            self._process = -1

    def __enter__(self) -> Self:
        self._refuse_closed()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._process < 0:
            return
        try:
            self.stop()
            self.wait()
        finally:
            self.close()


class Begun:
    """A process of the template's or a mould's. `end`: where its status comes from; `process`: a
    pidfd; `word`: as of Machine; `further`: this side's ends of what else was asked for, in that
    order.
    """

    def __init__(
        self,
        end: socket.socket,
        pid: int,
        process: int,
        word: int | None,
        further: Sequence[socket.socket],
    ) -> None:
        self.end, self.pid, self.process, self.further = end, pid, process, further
        self.word = word


class Launcher:
    """Starts guests on this machine's KVM, each in a process of its own, without their start-up.

    What `vestige run` does before it looks at a guest (starting Python, importing, loading the
    monitor) is done once, in a process that waits: the template. A machine is a fork of it. When
    the launcher is closed, or its process ends, its machines are ended too.
    """

    def __init__(self) -> None:
        """Start the template, and wait until it is ready.

        Raises UsageError where this machine's KVM can't be used, GuestError where the template
        fails otherwise.
        """
        self._moulds = Moulds()
        self._template, other = _pair("the launcher's process")
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", TEMPLATE, str(os.getpid())],
                stdin=other.fileno(),
                stdout=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": search_path(str(PACKAGES))},
                start_new_session=True,  # the terminal's Ctrl-C is the caller's alone
            )
        except OSError as error:
            self._template.close()
            raise limits.refusal("the launcher's process", error.errno or 0) from None
        except BaseException:
            self._template.close()
            raise
        finally:
            other.close()
        try:
            kind, value, _ = messages.receive(self._template)
        except EOFError:
            self.close()
            raise GuestError("the launcher's process failed at its start") from None
        if kind != messages.READY:
            self.close()
            raise UsageError(value)

    def start(
        self,
        *,
        stdin: Stream = subprocess.DEVNULL,
        stdout: Stream = None,
        stderr: Stream = None,
        **options: Value,
    ) -> Machine:
        """Start a guest; it begins while this returns.

        `options` are those of `vestige run`, by the same names: `on_reboot="restart"`,
        `disk=["root.img", "data.img,readonly"]`, `hpet=True`. A value is text, as a command line
        has it, a number, or a path object, of which every character is the path's. Streams are as
        subprocess.Popen has them (no PIPE), but that there is no input unless it is given. Relative
        paths are relative to the working directory of now.

        Raises UsageError for options that are wrong in themselves, GuestError where there is no
        further process. What only opening a file tells ends the machine: with status 2 and a line
        on its standard error.
        """
        words = command_line(options)
        streams = Streams(stdin, stdout, stderr)
        return self._start(messages.WORDS, words, options_of(SYNTAX.read(words)), streams)

    def thaw(
        self,
        folder: Folder,
        *,
        stdin: Stream = subprocess.DEVNULL,
        stdout: Stream = None,
        stderr: Stream = None,
        held: bool = False,
        **options: Value,
    ) -> Machine:
        """Have a guest go on that was frozen into a folder; it does so while this returns.

        With `held` it is there when this returns, all but running, and goes on by the machine's
        `go`: until then no time passes for it. It ends if the machine is closed before that.

        `options` are those of `vestige thaw`; all else as of `start`. Raises as that, and
        UsageError for what is no snapshot of this user's; GuestError for one that is to be held
        and ends instead.
        """
        words = _words_of_thaw(folder, options)
        known = self._moulds.asked(words[-1], words, lambda: _asked(words))
        mould = self._moulds.take(known, lambda: self._make_mould(words, known.asked))
        kind = messages.HELD if held else messages.THAW
        streams = Streams(stdin, stdout, stderr)
        machine = None
        if mould is not None:
            try:
                machine = self._start(kind, words, known.asked, streams, mould.requests)
            except messages.GoneError:
                self._moulds.forget(known)
            finally:
                self._moulds.give_back(mould)
        if machine is None:
            machine = self._start(kind, words, known.asked, streams)
        if held:
            try:
                machine._await_standing(PATIENCE)
            except BaseException:
                machine.kill()
                machine.close()
                raise
        return machine

    def _make_mould(self, words: list[str], checked: RunOptions) -> Mould:
        """Have the template begin with one."""
        nothing = Streams(subprocess.DEVNULL, subprocess.DEVNULL, subprocess.DEVNULL)
        begun = self._begin(messages.MOULD, words, checked, nothing, self._template)
        return Mould(begun.end, begun.process, begun.further[-1])

    def _start(
        self,
        kind: str,
        words: list[str],
        checked: RunOptions,
        given: "Streams",
        template: socket.socket | None = None,
    ) -> Machine:
        """Have the template start one, or a mould, by a message of that kind.

        Raises messages.GoneError where that is no more.
        """
        begun = self._begin(kind, words, checked, given, template or self._template)
        further = list(begun.further)
        hold = further.pop() if kind == messages.HELD else None
        teller = further.pop() if further else None
        return Machine(begun.end, begun.pid, begun.process, checked.name, teller, hold, begun.word)

    def _begin(
        self,
        kind: str,
        words: list[str],
        checked: RunOptions,
        given: "Streams",
        template: socket.socket,
    ) -> "Begun":
        if self._template.fileno() < 0:
            raise GuestError("the launcher is closed; make another launcher")
        if checked.accel == "soft":
            raise UsageError("a launcher's guests run on this machine's KVM; leave accel out")
        opened: list[int] = []
        near, far = _pair("a machine can't be started")
        ends = [near]
        try:
            streams = [
                _descriptor(name, stream, own, opened) for own, (name, stream) in enumerate(given)
            ]
            opened.append(os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
            passed = [far.fileno(), *streams, opened[-1]]
            wanted = checked.agent and kind != messages.MOULD, kind in OF_FURTHER
            for _ in filter(None, wanted):
                passed.append(_further(ends, opened))
            messages.send(near, kind, words)
            _send(template, tuple(passed))
            far.close()
            if not messages.is_readable(near, ANSWERS):
                raise messages.GoneError(SILENT)
            kind, value, descriptors = messages.receive(near)
        except EOFError:
            _close(ends)
            raise messages.GoneError(
                "the launcher's process is gone; make another launcher"
            ) from None
        except OSError as error:
            _close(ends)
            raise limits.refusal("a machine can't be started", error.errno or 0) from None
        except BaseException:
            _close(ends)
            raise
        finally:
            far.close()
            for descriptor in opened:
                os.close(descriptor)
        if kind == messages.REFUSED:
            _close(ends)
            raise GuestError(f"a machine can't be started: {value}")
        process, *word = descriptors
        return Begun(near, value, process, word[0] if word else None, ends[1:])

    def close(self) -> None:
        """End all machines in order, and the template; a second time does nothing.

        Also where a process that the caller has forked still has the template's socket.
        """
        with suppress(OSError):  # it is closed, or nobody is at its other end
            self._template.shutdown(socket.SHUT_RDWR)
        self._template.close()
        self._moulds.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class Streams:
    """A machine's standard files, as `start` is given them; in their order, each by its name."""

    def __init__(self, stdin: Stream, stdout: Stream, stderr: Stream) -> None:
        self._files = {"stdin": stdin, "stdout": stdout, "stderr": stderr}

    def __iter__(self) -> Iterator[tuple[str, Stream]]:
        return iter(self._files.items())


def command_line(options: Mapping[str, Value], known: Mapping[str, Option] = OPTIONS) -> list[str]:
    """The words of `vestige run` that mean `options`, or of another command whose options are
    `known`. Raises UsageError for what means none.
    """
    return [word for name, value in options.items() for word in _words(name, value, known)]


def _words(name: str, value: Value, known: Mapping[str, Option]) -> Iterator[str]:
    option = known.get(name)
    if option is None:
        raise UsageError(f"{name}: no such option; there are {', '.join(known)}")
    if value is None:  # not given
        return
    if not option.metavar:
        if not isinstance(value, bool):
            raise UsageError(f"{name}={value!r}: give True or False")
        yield from [option.name] if value else []
    elif isinstance(value, Sequence) and not isinstance(value, TEXT):
        if not option.repeated:
            raise UsageError(f"{name}={value!r}: give one value, not a sequence of them")
        for each in value:
            yield f"{option.name}={_word(name, each)}"
    else:
        yield f"{option.name}={_word(name, value)}"


def _word(name: str, value: object) -> str:
    """The word that `value` is on a command line. Raises UsageError for what can't be one."""
    try:
        text = _text(name, value)
        data = os.fsencode(text)
    except UnicodeEncodeError as error:
        raise UsageError(f"{name}={value!r}: {error.reason}; give text without that") from None
    except ValueError:
        raise UsageError(f"{name}: a number with too many digits; give a smaller one") from None
    if b"\0" in data:
        raise UsageError(f"{name}={value!r}: no option or path has a NUL in it; leave it out")
    return text


def _text(name: str, value: object) -> str:
    """`value` as text. A path object is a path, whatever is in it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return os.fsdecode(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, os.PathLike):
        raise UsageError(
            f"{name}: {value!r} is a {type(value).__name__}; give text, a number, a path, or where"
            " an option may be repeated a list of these"
        )
    path = os.fsdecode(value)
    if name in ("disk", "cdrom", "floppy"):
        path = path.replace(",", ",,")
    is_word = path.startswith(NOT_PATHS) or (name in ("floppy", "cdrom") and path == EMPTY)
    return f"./{path}" if is_word else path


def _descriptor(name: str, stream: Stream, own: int, opened: list[int]) -> int:
    """The descriptor that `stream` means; one that is opened for it is added to `opened`.

    None is the calling program's `own`, or an empty one where that is closed. Raises UsageError for
    what has no open file of the kernel's behind it.
    """
    if stream is None and _serves(own):
        return own
    if stream is None or (isinstance(stream, int) and stream == subprocess.DEVNULL):
        opened.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
        return opened[-1]
    descriptor: object = stream
    if not isinstance(stream, int):
        try:
            descriptor = stream.fileno()
        except (AttributeError, OSError, ValueError):  # as BytesIO, or a closed file
            descriptor = None
    if isinstance(descriptor, bool) or not isinstance(descriptor, int) or not _is_open(descriptor):
        raise UsageError(
            f"{name}={stream!r}: not an open file of the operating system's; give a descriptor, a"
            " file that has one (fileno), subprocess.DEVNULL or None"
        )
    return descriptor


def _serves(own: int) -> bool:
    """Whether a standard file is open, and for what it is for.

    Where the caller has closed it, a library may have opened a file of its own in its place.
    """
    if not _is_open(own):
        return False
    access = fcntl.fcntl(own, fcntl.F_GETFL) & os.O_ACCMODE
    return access in (os.O_RDWR, os.O_WRONLY if own else os.O_RDONLY)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except (OSError, OverflowError):
        return False
    return True


def _pair(what: str) -> tuple[socket.socket, socket.socket]:
    """As messages.pair. Raises UsageError or GuestError, of `what`, where there can be none."""
    try:
        return messages.pair()
    except OSError as error:
        raise limits.refusal(what, error.errno or 0) from None


def _further(ends: list[socket.socket], opened: list[int]) -> int:
    """One more pair: this side's is added to `ends`, and the other's, the answer, to `opened`."""
    near, far = _pair("a machine can't be started")
    ends.append(near)
    opened.append(far.detach())
    return opened[-1]


def asked_of(folder: Folder, options: Mapping[str, Value]) -> RunOptions:
    """What a thaw of `folder` with these options, and maybe streams, asks for. Raises as that."""
    words = {name: value for name, value in options.items() if name not in STREAMS}
    asked, _ = _asked(_words_of_thaw(folder, words))
    return asked


def _words_of_thaw(folder: Folder, options: Mapping[str, Value]) -> list[str]:
    return [*command_line(options, THAW_OPTIONS), "--", path_of(folder)]


def path_of(folder: Folder) -> str:
    """A folder's path as text. Raises UsageError for what is none."""
    if not isinstance(folder, str | bytes | os.PathLike):
        raise UsageError(f"{folder!r} is a {type(folder).__name__}; give a folder's path")
    return _word("folder", os.fsdecode(folder))


def _asked(words: list[str]) -> tuple[RunOptions, str]:
    """What the words of a thaw ask for, and of which freeze it is. Raises UsageError."""
    wanted = Wanted(THAW.read(words))
    with closing(wanted.snapshot):
        return wanted.options(), wanted.snapshot.identity


def _close(ends: Sequence[socket.socket]) -> None:
    for end in ends:
        end.close()


def _send(template: socket.socket, descriptors: tuple[int, ...]) -> None:
    try:
        messages.send(template, messages.START, None, descriptors)
    except ConnectionError:
        raise EOFError from None

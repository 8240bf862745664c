"""Process 1 of the software host: starts commands and carries their input, output and status.

Runs inside, where Python is ten times slower: it imports only what the interpreter holds anyway.
One thread, one poll loop; nothing waits for anything else.
"""

import contextlib
import errno
import os
import select
import signal
import time

from vestige.softhost import wire

_PORTS = "/sys/class/virtio-ports"
_RUNTIME = "/dev/run"  # this kernel's own, as all of /dev
_STANDARD_ERROR = 2
_NOT_EXECUTABLE = 126
_NOT_FOUND = 127
_SIGNAL_BASE = 128  # a shell's exit status for a command that a signal ended

# From <asm-generic/ioctls.h>; the termios module would cost a file system access at start.
_TIOCSCTTY = 0x540E
_TIOCSWINSZ = 0x5414


def _kill(process_group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process_group, number)


class _Source:
    """A stream from a command: a descriptor and how much the caller still takes."""

    __slots__ = ("credit", "descriptor", "kind")

    def __init__(self, kind: int, descriptor: int) -> None:
        self.kind = kind
        self.descriptor = descriptor
        self.credit = wire.WINDOW


class _Command:
    """A running command."""

    def __init__(self, number: int, process: int, sources: list[_Source], sink: int) -> None:
        self.number = number
        self.process = process  # also its process group and session
        self.handle = os.pidfd_open(process)
        self.sources = sources
        self.sink = sink  # its standard input, -1 once closed
        self.pending = bytearray()  # input not yet taken by the command
        self.input_ended = False
        self.status = -1


class Agent:
    """Serves one virtio-serial port until the caller says stop, or goes away.

    `runtime` is the folder of the users' runtime directories.
    """

    def __init__(self, port: int, runtime: str) -> None:
        self._port, self._runtime = port, runtime
        self._commands: dict[int, _Command] = {}
        self._outgoing = bytearray()
        self._decoder = wire.Decoder()
        self._heard = time.monotonic()  # when the caller last said something
        self._held: list[int] = []  # process groups that stand still since it says nothing

    def serve(self) -> None:
        """Handle frames and streams until STOP or the end of the port."""
        self._send(wire.encode(wire.READY))
        while True:
            poller = select.poll()
            poller.register(self._port, select.POLLIN | (select.POLLOUT if self._outgoing else 0))
            owners: dict[int, tuple[_Command, _Source | None]] = {}
            for command in self._commands.values():
                self._register(poller, command, owners)
            ready = poller.poll(self._patience())
            if self._commands and not any(descriptor == self._port for descriptor, _ in ready):
                self._hold()
            for descriptor, events in ready:
                if descriptor == self._port:
                    if not self._serve_port(events):
                        return
                elif descriptor in owners:
                    command, source = owners[descriptor]
                    self._serve_stream(command, source, descriptor)

    def _patience(self) -> float | None:
        """Milliseconds until the caller has been silent for too long, if that matters."""
        if not self._commands or self._held:
            return None
        return max(0.0, self._heard + wire.SILENCE - time.monotonic()) * 1000

    def _hold(self) -> None:
        """Have the commands stand still where the caller has been silent for too long."""
        if not self._held and time.monotonic() >= self._heard + wire.SILENCE:
            self._held = [command.process for command in self._commands.values()]
            for group in self._held:
                _kill(group, signal.SIGSTOP)

    def _release(self) -> None:
        """The caller speaks: what stands still for its silence goes on."""
        self._heard = time.monotonic()
        while self._held:
            _kill(self._held.pop(), signal.SIGCONT)

    def _register(
        self,
        poller: select.poll,
        command: _Command,
        owners: dict[int, tuple[_Command, _Source | None]],
    ) -> None:
        poller.register(command.handle, select.POLLIN)
        owners[command.handle] = (command, None)
        for source in command.sources:
            if source.credit:
                poller.register(source.descriptor, select.POLLIN)
                owners[source.descriptor] = (command, source)
        if command.pending and command.sink >= 0:
            # A terminal is one descriptor for both directions.
            both = command.sink in owners
            poller.register(command.sink, select.POLLOUT | (select.POLLIN if both else 0))
            owners.setdefault(command.sink, (command, None))

    def _send(self, frame: bytes) -> None:
        self._outgoing += frame

    def _serve_port(self, events: int) -> bool:
        """Carry frames both ways. False once there is nobody to serve."""
        if events & select.POLLOUT:
            try:
                written = os.write(self._port, self._outgoing[: wire.CHUNK])
            except BlockingIOError:
                written = 0
            del self._outgoing[:written]
        if events & select.POLLHUP:
            return False
        if events & select.POLLIN:
            try:
                data = os.read(self._port, wire.CHUNK)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._release()
            for frame in self._decoder.feed(data):
                if not self._handle(frame):
                    return False
        return True

    def _handle(self, frame: wire.Frame) -> bool:
        """Obey one frame. False after STOP."""
        if frame.kind == wire.STOP:
            return False
        if frame.kind == wire.PING:
            self._reap()
            self._send(wire.encode(wire.PONG))
        elif frame.kind == wire.START:
            self._start(frame.command, wire.decode_start(frame.payload))
        elif (command := self._commands.get(frame.command)) is not None:
            self._steer(command, frame)
        return True

    def _steer(self, command: _Command, frame: wire.Frame) -> None:
        """Obey a frame for a running command."""
        if frame.kind == wire.INPUT:
            if frame.payload:
                command.pending += frame.payload
            else:
                command.input_ended = True
            self._feed(command)
        elif frame.kind == wire.CREDIT:
            kind, count = wire.decode_pair(frame.payload)
            for source in command.sources:
                if source.kind == kind:
                    source.credit += count
            self._finish(command)
        elif frame.kind == wire.SIGNAL:
            _kill(command.process, wire.decode_word(frame.payload))
        elif frame.kind == wire.RESIZE and command.sink >= 0:
            _resize(command.sink, *wire.decode_pair(frame.payload))

    def _start(self, number: int, start: wire.Start) -> None:
        start.environment[b"XDG_RUNTIME_DIR"] = self._runtime_directory(*start.groups[:2])
        process, sink, output, errors = (_spawn_on_terminal if start.terminal[0] else _spawn)(start)
        sources = [_Source(wire.OUTPUT, output)]
        if errors >= 0:
            sources.append(_Source(wire.ERRORS, errors))
        for descriptor in {sink, *(source.descriptor for source in sources)}:
            os.set_blocking(descriptor, False)
        self._commands[number] = _Command(number, process, sources, sink)

    def _runtime_directory(self, user: int, group: int) -> bytes:
        """A user's, made if missing: the caller's is shared, and a socket there leads nowhere."""
        path = f"{self._runtime}/{user}"
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)  # noqa: PTH102 - pathlib is slow to import
            os.chown(path, user, group)
        return os.fsencode(path)

    def _serve_stream(self, command: _Command, source: _Source | None, descriptor: int) -> None:
        if command.number not in self._commands:
            return  # it ended earlier in this round
        if descriptor == command.handle:
            self._reap()
            return
        if descriptor == command.sink:
            self._feed(command)
        # What came before in this round may have used up its credit, or closed it.
        if source is not None and source.credit and source in command.sources:
            self._carry(command, source)
            self._finish(command)

    def _feed(self, command: _Command) -> None:
        """Give the command as much of its input as it takes now."""
        if command.sink < 0:
            self._credit(command, len(command.pending))
            command.pending.clear()
            return
        written = 0
        try:
            if command.pending:
                written = os.write(command.sink, command.pending)
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            written = len(command.pending)
            command.input_ended = True  # it closed its input: swallow the rest
        del command.pending[:written]
        self._credit(command, written)
        terminal = any(source.descriptor == command.sink for source in command.sources)
        if command.input_ended and not command.pending and not terminal:
            os.close(command.sink)
            command.sink = -1

    def _credit(self, command: _Command, count: int) -> None:
        if count:
            self._send(wire.encode_pair(wire.CREDIT, command.number, wire.INPUT, count))

    def _carry(self, command: _Command, source: _Source) -> bool:
        """Take what the command wrote. False when there is nothing (yet, or any more)."""
        try:
            data = os.read(source.descriptor, min(wire.CHUNK, source.credit))
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:  # a terminal whose last user has gone
                raise
            data = b""
        if data:
            source.credit -= len(data)
            self._send(wire.encode(source.kind, command.number, data))
            return True
        command.sources.remove(source)
        if source.descriptor == command.sink:
            command.sink = -1
        os.close(source.descriptor)
        return False

    def _reap(self) -> None:
        """Collect every child that ended: commands, and orphans that process 1 inherits."""
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if process == 0:
                return
            for command in list(self._commands.values()):
                if command.process == process:
                    code = os.waitstatus_to_exitcode(status)
                    command.status = code if code >= 0 else _SIGNAL_BASE - code
                    self._finish(command)

    def _finish(self, command: _Command) -> None:
        """Report a command that has ended once the caller has all it wrote until then."""
        if command.status < 0 or command.number not in self._commands:
            return
        for source in list(command.sources):
            while source.credit and self._carry(command, source):
                pass
        if any(not source.credit for source in command.sources):
            return  # there may be more: when the caller gives credit, this is called again
        self._send(wire.encode_word(wire.EXIT, command.number, command.status))
        del self._commands[command.number]
        closing = {source.descriptor for source in command.sources} | {command.handle}
        if command.sink >= 0:
            closing.add(command.sink)
        for descriptor in closing:
            os.close(descriptor)

    def say_stopped(self) -> None:
        """Tell the caller that all is written back."""
        os.set_blocking(self._port, True)
        self._outgoing += wire.encode(wire.STOPPED)
        while self._outgoing:
            del self._outgoing[: os.write(self._port, self._outgoing)]


def _resize(terminal: int, rows: int, columns: int) -> None:
    import fcntl  # noqa: PLC0415 - only terminals need it
    import struct  # noqa: PLC0415

    fcntl.ioctl(terminal, _TIOCSWINSZ, struct.pack("<HHHH", rows, columns, 0, 0))


def _spawn(start: wire.Start) -> tuple[int, int, int, int]:
    """Start a command on three pipes: its process, our ends of its input, output and errors."""
    input_end, sink = os.pipe()
    output, output_end = os.pipe()
    errors, errors_end = os.pipe()
    process = os.fork()
    if process == 0:
        for target, descriptor in enumerate((input_end, output_end, errors_end)):
            os.dup2(descriptor, target)
        os.setsid()
        _become(start)
    for descriptor in (input_end, output_end, errors_end):
        os.close(descriptor)
    return process, sink, output, errors


def _spawn_on_terminal(start: wire.Start) -> tuple[int, int, int, int]:
    """As _spawn, on a terminal of its own; errors are -1 where they go there too."""
    terminal, far_end = os.openpty()
    errors, errors_end = -1, far_end
    if start.raw:
        import termios  # noqa: PLC0415

        from vestige.terminal import all_keys  # noqa: PLC0415

        termios.tcsetattr(far_end, termios.TCSANOW, all_keys(termios.tcgetattr(far_end)))
        errors, errors_end = os.pipe()
    _resize(terminal, *start.terminal)
    process = os.fork()
    if process == 0:
        import fcntl  # noqa: PLC0415

        os.setsid()
        fcntl.ioctl(far_end, _TIOCSCTTY, 0)
        for target, descriptor in enumerate((far_end, far_end, errors_end)):
            os.dup2(descriptor, target)
        os.fchown(far_end, start.groups[0], -1)
        _become(start)
    for descriptor in {far_end, errors_end}:
        os.close(descriptor)
    return process, terminal, terminal, errors


def _become(start: wire.Start) -> None:
    """In the child: turn into the command. Never returns."""
    user, group, supplementary = start.groups
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and exec keeps that
        signal.signal(number, signal.SIG_DFL)
    name = os.fsdecode(start.argv[0])
    try:
        os.setgroups(supplementary)
        os.setgid(group)
        os.setuid(user)
        os.umask(start.umask)
        name = os.fsdecode(start.cwd)
        os.chdir(start.cwd)
        name = os.fsdecode(start.argv[0])
        os.execvpe(start.argv[0], start.argv, start.environment)
    except OSError as error:
        message = f"vestige: softhost: {name}: {error.strerror}\n"
        os.write(_STANDARD_ERROR, os.fsencode(message))
        os._exit(_NOT_FOUND if error.errno == errno.ENOENT else _NOT_EXECUTABLE)


def _open_streams_to_everyone() -> None:
    """Let commands open the virtio-serial ports; of each the kernel lets in one process at a time.

    All are there: they are announced together, and the driver was loaded before all was mounted.
    """
    for entry in os.listdir(_PORTS):  # noqa: PTH208 - pathlib is slow to import here
        os.chmod(f"/dev/{entry}", 0o666)  # noqa: PTH101


def main() -> None:
    """Serve, then write everything back and switch the machine off."""
    port = wire.port_path(wire.AGENT_PORT)
    agent = Agent(os.open(port, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC), _RUNTIME)
    _open_streams_to_everyone()
    agent.serve()
    with contextlib.suppress(ProcessLookupError):  # none but this one
        os.kill(-1, signal.SIGKILL)
    os.sync()
    with contextlib.suppress(OSError):  # the caller has gone
        agent.say_stopped()
    with open("/proc/sysrq-trigger", "w") as trigger:  # noqa: PTH123
        trigger.write("o")
    while True:
        select.poll().poll()

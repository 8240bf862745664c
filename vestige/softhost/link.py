"""The thread that lives with a software host: starts QEMU, carries frames, notices its death."""

import contextlib
import os
import re
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable

from vestige.errors import UsageError
from vestige.softhost import wire
from vestige.softhost.command import Command, SoftHostError
from vestige.softhost.emulator import CR8_CURE
from vestige.softhost.qemu import Process

FAILED = 255  # an event of a command, not a frame: its payload says why the software host failed
FAILURE = "the software host failed"

_PING_INTERVAL = wire.PING_INTERVAL
_MISSED_PINGS = 99  # then the software host hangs
_STOP_GRACE = 10.0  # seconds, for QEMU to close its images
_LOG_BYTES = 64 * 1024
_LOG_LINES = 15
# What the console says before a death, and how that is told. QEMU's registers say no more of its
# own deaths (cpu_abort, g_assert, assert) than the line before them does.
_PANIC = "Kernel panic - "
_DEATHS = (
    re.compile(r"qemu: fatal: (.+)"),
    re.compile(r"ERROR:(.+: (?:assertion failed|code should not be reached).*)"),
    re.compile(r"qemu-system-\w+: (.+: Assertion .+ failed\.)"),
)
_BY_CR8 = "tcg_handle_interrupt: assertion failed"  # emulator.CR8_ASSERTION


class _Input:
    """The standard input of a command: a descriptor to read while the agent gives credit."""

    def __init__(self, command: Command, descriptor: int, owned: bool) -> None:
        self.command = command
        self.descriptor = descriptor
        self.owned = owned  # close the descriptor after use
        self.credit = wire.WINDOW


class Link(threading.Thread):
    """Owns the QEMU process; the process ends when this thread does.

    Other threads talk to it by `send`, `attach`, `add_input` and `request_stop`, none of which
    blocks, so that a signal handler may call them.
    """

    def __init__(self, launch: Callable[[], Process], console: Callable[[bytes], None] | None):
        """`launch` starts QEMU; `console` gets what its console says, for whoever wants to see."""
        super().__init__(name="vestige-softhost", daemon=True)
        self.ready = threading.Event()  # the agent answers, or the software host failed
        self.ended = threading.Event()  # QEMU has gone
        self.decided = os.eventfd(0, os.EFD_CLOEXEC)  # readable once `ready` is set
        self.failure: Exception | None = None
        self.pid = 0  # of QEMU
        self._launch = launch
        self._console = console
        self._log = bytearray()
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        self._frames: deque[bytes] = deque()  # to be sent; appended by any thread
        self._new_inputs: deque[_Input] = deque()
        self._commands: dict[int, Command] = {}
        self._commands_lock = threading.Lock()
        self._inputs: list[_Input] = []
        self._outgoing = bytearray()
        self._decoder = wire.Decoder()
        self._stopping = False
        self._stopped = False
        self._abandoned = False

    def send(self, frame: bytes) -> None:
        """Send a frame. One to a software host that has gone is lost."""
        self._frames.append(frame)
        self._awake()

    def attach(self, command: Command) -> None:
        """Deliver the events of this command from now on. Raises SoftHostError if it's too late."""
        with self._commands_lock:
            if self.ended.is_set():
                raise SoftHostError(str(self.failure or "the software host was stopped"))
            self._commands[command.number] = command

    def add_input(self, command: Command, descriptor: int, *, owned: bool) -> None:
        """Feed the command from this descriptor until its end or the command's.

        An `owned` descriptor is closed then.
        """
        self._new_inputs.append(_Input(command, descriptor, owned))
        self._awake()

    def request_stop(self) -> None:
        """Ask the agent to write everything back and stop."""
        self._stopping = True
        self.send(wire.encode(wire.STOP))

    def abandon(self) -> None:
        """End QEMU at once."""
        self._stopping = True
        self._abandoned = True
        self._awake()

    def _awake(self) -> None:
        with contextlib.suppress(OSError):  # enough wakes are waiting already, or it is closed
            self._waker.send(b"\0")

    def close(self) -> None:
        """Wait for the thread, then free what it was woken by."""
        self.join()
        self._wake.close()
        self._waker.close()
        os.close(self.decided)

    def run(self) -> None:
        """Start QEMU and serve until it ends."""
        try:
            process = self._launch()
        except (UsageError, OSError) as error:
            self._finish(error)
            return
        self.pid = process.pid
        failure: Exception | None
        try:
            failure = self._serve(process)
        except (OSError, wire.FrameError) as error:
            failure = self._failed(f"its channel broke: {error}")
        process.end(grace=_STOP_GRACE if self._stopped else 0.0)
        self._finish(None if self._stopping else failure)

    def _finish(self, failure: Exception | None) -> None:
        """Tell everyone that waits."""
        self.failure = failure
        reason = str(failure or "the software host was stopped")
        for source in [*self._inputs, *self._new_inputs]:
            if source.owned:
                os.close(source.descriptor)
        with self._commands_lock:
            self.ended.set()
            for command in self._commands.values():
                command.tell(FAILED, reason.encode())
            self._commands.clear()
        self._decide()

    def _decide(self) -> None:
        self.ready.set()
        os.eventfd_write(self.decided, 1)

    def _serve(self, process: Process) -> Exception | None:
        """The loop. Returns why it ended; None when the agent stopped as asked."""
        agent, console = process.agent.fileno(), process.console.fileno()
        next_ping = time.monotonic() + _PING_INTERVAL
        missed = 0
        while not self._abandoned:
            poller = select.poll()
            self._prepare(poller, agent, console)
            now = time.monotonic()
            if now >= next_ping and self.ready.is_set():
                missed += 1
                if missed > _MISSED_PINGS:
                    return self._failed(f"it hangs: no answer in {missed * _PING_INTERVAL:.0f} s")
                self._outgoing += wire.encode(wire.PING)
                next_ping = now + _PING_INTERVAL
            for descriptor, events in poller.poll(max(0.0, next_ping - now) * 1000):
                if descriptor == self._wake.fileno():
                    self._wake.recv(4096)
                elif descriptor == console:
                    self._read_console(process)
                elif descriptor == agent:
                    if events & select.POLLOUT:
                        self._write(process)
                    if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                        if not self._read(process):
                            while self._read_console(process):
                                pass
                            return self._ended()
                        missed = 0
                        if self._stopped:
                            return None
                else:
                    self._read_input(descriptor)
        return None

    def _prepare(self, poller: select.poll, agent: int, console: int) -> None:
        while self._new_inputs:
            self._inputs.append(self._new_inputs.popleft())
        while self._frames:
            self._outgoing += self._frames.popleft()
        writing = select.POLLOUT if self._outgoing and self.ready.is_set() else 0
        poller.register(agent, select.POLLIN | writing)
        poller.register(console, select.POLLIN)
        poller.register(self._wake, select.POLLIN)
        for source in self._inputs:
            if source.credit:
                poller.register(source.descriptor, select.POLLIN)

    def _write(self, process: Process) -> None:
        try:
            written = process.agent.send(self._outgoing)
        except BlockingIOError:
            return
        except BrokenPipeError:
            return  # reading will tell
        del self._outgoing[:written]

    def _read(self, process: Process) -> bool:
        """Take frames. False when QEMU has gone."""
        try:
            data = process.agent.recv(256 * 1024)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        for frame in self._decoder.feed(data):
            self._dispatch(frame)
        return bool(data)

    def _dispatch(self, frame: wire.Frame) -> None:
        if frame.kind == wire.READY:
            self._decide()
        elif frame.kind == wire.STOPPED:
            self._stopped = True
        elif frame.kind == wire.CREDIT:
            _, count = wire.decode_pair(frame.payload)
            for source in self._inputs:
                if source.command.number == frame.command:
                    source.credit += count
        elif frame.kind in (wire.OUTPUT, wire.ERRORS, wire.EXIT):
            with self._commands_lock:
                command = self._commands.get(frame.command)
                if frame.kind == wire.EXIT:
                    self._commands.pop(frame.command, None)
            if frame.kind == wire.EXIT:
                for source in list(self._inputs):
                    if source.command.number == frame.command:
                        self._end_input(source)
            if command is not None:
                command.tell(frame.kind, frame.payload)
        elif frame.kind != wire.PONG:
            raise wire.FrameError(f"a frame of kind {frame.kind}")

    def _read_input(self, descriptor: int) -> None:
        for source in list(self._inputs):
            if source.descriptor != descriptor or not source.credit:
                continue
            try:
                data = os.read(descriptor, min(wire.CHUNK, source.credit))
            except BlockingIOError:
                return
            except OSError:
                data = b""  # a terminal that has gone is an input that has ended
            source.credit -= len(data)
            self._outgoing += wire.encode(wire.INPUT, source.command.number, data)
            if not data:
                self._end_input(source)
            return

    def _end_input(self, source: _Input) -> None:
        self._inputs.remove(source)
        if source.owned:
            os.close(source.descriptor)

    def _read_console(self, process: Process) -> bool:
        try:
            data = process.console.recv(64 * 1024)
        except (BlockingIOError, ConnectionResetError):
            return False
        self._log += data
        del self._log[:-_LOG_BYTES]
        if self._console is not None and data:
            self._console(data)
        return bool(data)

    def _ended(self) -> SoftHostError:
        """Why it did."""
        for line in self._lines():
            if _PANIC in line:
                return self._failed(f"its kernel panicked ({line.partition(_PANIC)[2]})")
            for death in _DEATHS:
                if found := death.search(line):
                    cure = CR8_CURE if _BY_CR8 in found[1] else "start it again"
                    return SoftHostError(f"{FAILURE}: QEMU gave up ({found[1]}); {cure}")
        return self._failed("it ended by itself")

    def _lines(self) -> list[str]:
        """What the console has said, but for what QEMU says at every start: what its TCG lacks."""
        text = self._log.decode(errors="replace").replace("\r", "")
        return [line for line in text.splitlines() if line and "TCG doesn't support" not in line]

    def _failed(self, reason: str) -> SoftHostError:
        lines = self._lines()
        tail = "".join(f"\n  {line}" for line in lines[-_LOG_LINES:])
        said = f"; its console said last:{tail}" if tail else "; its console said nothing"
        return SoftHostError(f"{FAILURE}: {reason}{said}")

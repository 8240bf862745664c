"""What a guest's agent is asked to do, as conversations: commands, files.

A command is started by guest-exec, and guest-exec-status is asked until it has ended: the agent
tells of no end by itself. So it is asked after 1 ms, then after twice as long each time, up to
50 ms. From then on the connection is given up between two questions, so that others get theirs in.

The agent ends no command either: /bin/sh in the guest does that, started by guest-exec, too.

Source: QEMU 7.2, qga/commands.c, commands-posix.c.
"""

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vestige.agent import protocol
from vestige.agent.protocol import MOST_INPUT, MOST_OUTPUT, RefusedError
from vestige.agent.talk import AbsentError, Steps, Talk
from vestige.errors import GuestError, UsageError

FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.05  # seconds between two questions whether it has ended
KILL_PATIENCE = 5.0  # seconds in which a command that is killed ends
PIECE = 256 << 10  # bytes of a file at once: others wait so long
LIMIT = 1 << 30  # bytes of a file that is read, unless another is given
SIGNALLED = 128  # and the signal's number, as shells have it
MOST_SIGNAL = 127
MOST_STATUS = (1 << 32) - 1
SHELL = "/bin/sh"
# A process and its descendants; each is stopped first, so that it makes no more. proc(5).
KILL = (
    'tree() { kill -STOP "$1" || return; for child in $(cat /proc/"$1"/task/*/children);'
    ' do tree "$child"; done; kill -KILL "$1"; }; tree "$0" 2> /dev/null'
)


class Done(NamedTuple):
    """How a command has ended. `status`: its exit status, or 128 and the `signal` that ended it.

    Of each stream the agent keeps 16 MiB; of what was more it says so.
    """

    status: int
    stdout: bytes
    stderr: bytes
    signal: int | None = None
    stdout_truncated: bool = False
    stderr_truncated: bool = False


class UnfinishedError(GuestError):
    """A command's end was not waited for. `done`: how it ended when it was killed for that, with
    what it had printed; None: it could not be, and may go on in the guest.
    """

    def __init__(self, line: str, done: Done | None) -> None:
        killed = "killed in the guest" if done else "it could not be killed, and may go on there"
        super().__init__(f"{line}; {killed}")
        self.done = done


class TimedOutError(UnfinishedError):
    """It has taken longer than it may."""


class EndedError(UnfinishedError):
    """Whoever waited for it has been ended, or the agent answers no more."""


# ---- commands -------------------------------------------------------------------------------


def ping(talk: Talk) -> Steps[None]:
    """Whether an agent answers. Raises AbsentError where none does, GuestError."""
    yield from talk.open()
    yield from talk.ask("guest-ping", {})


def run(
    talk: Talk,
    words: Sequence[str],
    data: bytes = b"",
    timeout: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> Steps[Done]:
    """Run a command, and wait for its end, `timeout` seconds at most; see Asking.run."""
    asked = _command(words, data, timeout, environment)
    yield from talk.connect()
    return (yield from _execute(talk, asked, timeout, takes_turns=True))


def run_alone(talk: Talk, words: Sequence[str], data: bytes, timeout: float) -> Steps[Done]:
    """The same on the connection that is there, while nobody else asks anything."""
    asked = _command(words, data, timeout, None)
    return (yield from _execute(talk, asked, timeout, takes_turns=False))


def _execute(
    talk: Talk, asked: Mapping[str, object], timeout: float | None, *, takes_turns: bool
) -> Steps[Done]:
    """Run what guest-exec is asked, and wait for its end."""
    talk.holds = True
    process = protocol.number((yield from talk.ask("guest-exec", asked)), "pid")
    return (yield from until_ended(talk, process, timeout, takes_turns=takes_turns))


def until_ended(
    talk: Talk, process: int, timeout: float | None, *, takes_turns: bool = False
) -> Steps[Done]:
    """Wait for a command's end. `takes_turns`: others may ask meanwhile.

    Between two questions as much time passes as the agent has taken for the last answer, at least:
    it, too, may be what the command waits for.
    """
    talk.process = process
    end = None if timeout is None else talk.now + timeout
    pause = FIRST_PAUSE
    while True:
        before = talk.now
        done = yield from status(talk, process)
        took = talk.now - before
        if done is not None:
            talk.process = None
            return done
        if talk.is_stopped:
            yield from _give_up(talk, process)
        left = LONGEST_PAUSE if end is None else end - talk.now
        if left <= 0:
            line = f"the command has not ended within {timeout:g} s"
            raise TimedOutError(line, (yield from _kill(talk, process)))
        others = takes_turns and pause == LONGEST_PAUSE
        yield from _pause(talk, min(max(pause, took), left), takes_turns=others)
        pause = min(2 * pause, LONGEST_PAUSE)


def end(talk: Talk) -> Steps[None]:
    """Put in order what a conversation has left in the guest that was torn between two steps.

    Raises EndedError where that was a command.
    """
    if talk.process is not None:
        yield from _answering(talk, talk.connect())
        yield from _give_up(talk, talk.process)


def _give_up(talk: Talk, process: int) -> Steps[None]:
    done = yield from _kill(talk, process)
    raise EndedError("the command's end was not waited for", done)


def _pause(talk: Talk, seconds: float, *, takes_turns: bool) -> Steps[None]:
    """Let time pass, during which another may be the next to ask."""
    if takes_turns:
        yield from talk.open()
    yield from talk.wait(seconds)
    if takes_turns:
        yield from _answering(talk, talk.synchronise())


def _answering(talk: Talk, steps: Steps[object]) -> Steps[None]:
    """Have the agent answer while a command runs. Raises EndedError where it does so no more."""
    try:
        yield from steps
    except AbsentError:
        line = (
            "the command's end is not known: the guest agent has not answered for"
            f" {talk.patience:g} s, as the guest is paused or its agent has ended"
        )
        raise EndedError(line, None) from None


def _command(
    words: Sequence[str],
    data: bytes,
    timeout: float | None,
    environment: Mapping[str, str] | None,
) -> dict[str, object]:
    """The arguments of guest-exec. Raises UsageError."""
    if isinstance(words, str | bytes) or not words:
        raise UsageError(
            f"{words!r}: a command is a list of words; give its name and its arguments"
        )
    _check_bytes(data, "a command's input")
    if len(data) > MOST_INPUT:
        raise UsageError(
            f"{len(data)} bytes of input; the guest agent takes {MOST_INPUT >> 20} MiB, put more"
            " into a file of the guest's"
        )
    if timeout is not None and not timeout > 0:
        raise UsageError(f"a timeout of {timeout} s; give one above 0")
    path, *arguments = [text_of(word, "a word of a command") for word in words]
    asked: dict[str, object] = {"path": path, "arg": arguments, "capture-output": True}
    if not path:
        raise UsageError("a command without a name; give one")
    if environment is not None:
        asked["env"] = [_variable(name, value) for name, value in environment.items()]
    if data:
        asked["input-data"] = protocol.base64(bytes(data))
    return asked


def _variable(name: str, value: str) -> str:
    if not name or "=" in name:
        raise UsageError(f"{name!r}: no name of a variable; give one without =")
    return text_of(f"{name}={value}", "a variable")


def text_of(word: str | os.PathLike[str], what: str) -> str:
    """A text for the guest. Raises UsageError where JSON, or a C program, has none such."""
    text = os.fspath(word) if isinstance(word, os.PathLike) else word
    if not isinstance(text, str):
        raise UsageError(f"{word!r}: {what} is text, not {type(word).__name__}; decode it")
    if "\0" in text or any("\ud800" <= each <= "\udfff" for each in text):
        raise UsageError(f"{text!r}: {what} is Unicode without a NUL; give it so")
    return text


def status(talk: Talk, process: int) -> Steps[Done | None]:
    """How a process has ended; None: it has not. Once told, the agent knows it no more."""
    most = 2 * protocol.longest(MOST_OUTPUT)
    told = yield from talk.ask("guest-exec-status", {"pid": process}, most)
    if not protocol.flag(told, "exited"):
        return None
    signal = None
    if "signal" in told:
        signal = protocol.number(told, "signal", MOST_SIGNAL)
        status = SIGNALLED + signal
    else:
        status = protocol.number(told, "exitcode", MOST_STATUS)
    return Done(
        status,
        protocol.data(told, "out-data"),
        protocol.data(told, "err-data"),
        signal,
        protocol.flag(told, "out-truncated", default=False),
        protocol.flag(told, "err-truncated", default=False),
    )


def _kill(talk: Talk, process: int) -> Steps[Done | None]:
    """End a command and what it has started; how it has ended, None: that is not known."""
    talk.is_stopped = False  # once more would leave it alone
    try:
        asked = {"path": SHELL, "arg": ["-c", KILL, str(process)]}
        killer = protocol.number((yield from talk.ask("guest-exec", asked)), "pid")
        end = talk.now + KILL_PATIENCE
        is_over, done = False, None
        while talk.now < end and not (is_over and done):
            yield from talk.wait(LONGEST_PAUSE / 2)
            if not is_over:
                is_over = (yield from status(talk, killer)) is not None
            if done is None:
                done = yield from status(talk, process)
    except GuestError:  # it has no shell, or its agent has ended
        return None
    return done


# ---- files ----------------------------------------------------------------------------------


def read_file(talk: Talk, path: str | os.PathLike[str], limit: int = LIMIT) -> Steps[bytes]:
    """All that is in a file of the guest's, `limit` bytes at most; see Asking.read_file."""
    name = _path(path)
    yield from talk.connect()
    handle = yield from opened(talk, name, "r")
    talk.holds = True
    found = bytearray()
    try:
        while True:
            asked = {"handle": handle, "count": PIECE}
            told = yield from talk.ask("guest-file-read", asked, protocol.longest(PIECE))
            piece = protocol.data(told, "buf-b64")
            is_last = protocol.flag(told, "eof")
            if len(piece) > PIECE or (len(piece) < PIECE and not is_last):
                raise protocol.nonsense(
                    f"{len(piece)} bytes of a file where it was asked for {PIECE}"
                )
            found += piece
            if len(found) > limit:
                raise RefusedError(f"{name}: more than {limit} bytes; give a larger limit")
            if is_last:
                break
            yield from _turn(talk)
    except RefusedError:
        yield from _close(talk, handle)
        raise
    yield from _close(talk, handle)
    return bytes(found)


def write_file(talk: Talk, path: str | os.PathLike[str], data: bytes) -> Steps[None]:
    """Have a file of the guest's hold `data` and nothing else; see Asking.write_file."""
    name = _path(path)
    _check_bytes(data, "what is written")
    yield from talk.connect()
    handle = yield from opened(talk, name, "w")
    talk.holds = True
    view = memoryview(bytes(data))
    try:
        for start in range(0, len(view), PIECE):
            if start:
                yield from _turn(talk)
            piece = bytes(view[start : start + PIECE])
            asked = {"handle": handle, "buf-b64": protocol.base64(piece)}
            told = yield from talk.ask("guest-file-write", asked)
            written = protocol.number(told, "count")
            if written != len(piece):
                raise RefusedError(f"{name}: {written} of {len(piece)} bytes were written there")
        yield from talk.ask("guest-file-flush", {"handle": handle})
    except RefusedError:
        yield from _close(talk, handle)
        raise
    yield from _close(talk, handle)


def _check_bytes(data: object, what: str) -> None:
    if not isinstance(data, bytes | bytearray | memoryview):
        raise UsageError(f"{what} is bytes, not {type(data).__name__}; encode it")


def _path(path: str | os.PathLike[str]) -> str:
    name = text_of(path, "a path")
    if not name:
        raise UsageError("an empty path; give that of a file of the guest's")
    return name


def write(talk: Talk, handle: int, data: bytes) -> Steps[None]:
    """Have a file that is open get a few bytes at once, asked for together."""
    given = {"handle": handle, "buf-b64": protocol.base64(data)}
    told, _ = yield from talk.ask_together(
        ("guest-file-write", given), ("guest-file-flush", {"handle": handle})
    )
    if (written := protocol.number(told, "count")) != len(data):
        raise RefusedError(f"{written} of {len(data)} bytes were written")


def read(talk: Talk, handle: int, most: int) -> Steps[bytes]:
    """The next few bytes that are in a file that is open; none: there are none yet."""
    told = yield from talk.ask("guest-file-read", {"handle": handle, "count": most})
    return protocol.data(told, "buf-b64")


def opened(talk: Talk, name: str, mode: str) -> Steps[int]:
    """The agent's handle of a file, which it keeps until it is closed."""
    told = yield from talk.ask("guest-file-open", {"path": name, "mode": mode})
    if type(told) is not int or told < 0:
        raise protocol.nonsense("no handle of a file")
    return told


def _close(talk: Talk, handle: int) -> Steps[None]:
    yield from talk.ask("guest-file-close", {"handle": handle})
    talk.holds = False


def _turn(talk: Talk) -> Steps[None]:
    """Let others ask between two pieces. Raises RefusedError where nobody waits any more."""
    if talk.is_stopped:
        raise RefusedError("the file's end was not waited for")
    yield from talk.connect()

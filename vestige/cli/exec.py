"""`vestige exec`: runs a command in a guest, by the guest's agent."""

import os
import select
import stat
import time
from typing import Any

from vestige.agent import Agent, Done, EndedError, RefusedError, TimedOutError
from vestige.agent.protocol import MOST_INPUT, MOST_OUTPUT
from vestige.cli.arguments import Arguments, Option, Syntax, last
from vestige.cli.interruptible import Interrupted, interruptible
from vestige.errors import GuestError, UsageError
from vestige.host.control.client import find_within
from vestige.host.messages import UnreadError, tell
from vestige.host.options import parse_timeout
from vestige.signals import TIMED_OUT

WAIT = 10.0  # seconds for the agent to answer
SHORTEST = 0.1  # the same, where the run has taken all of it
STDIN = "-"
NOT_STARTED = 127  # exit status, as of env(1) and shells for what they do not find
MOST_STATUS = 255

SYNTAX = Syntax(
    (
        Option(
            "--input",
            "FILE",
            field="input",
            help=f"what the command reads, up to {MOST_INPUT >> 20} MiB; - is standard input"
            " (default: nothing)",
        ),
        Option(
            "--timeout",
            "TIME",
            field="timeout",
            read=last(parse_timeout),
            help="kill the command after this time, exit status 124: seconds, or 5m, 2h",
        ),
        Option(
            "--env",
            "NAME=VALUE",
            repeated=True,
            help="a variable of the command's environment, which has no others then (default: that"
            " of the agent)",
        ),
        Option(
            "--wait",
            "TIME",
            field="wait",
            read=lambda words: parse_timeout(words[-1], "--wait"),
            help=f"how long the run may take to be there, and then the agent to answer, as while"
            f" its guest starts (default: a run that is there, and {WAIT:.0f} seconds)",
        ),
    ),
    names="NAME -- COMMAND [ARGUMENT...]",
    note=(
        "The run needs --agent, and its guest an agent: in Debian the package qemu-guest-agent."
        " Output comes when the command has ended, up to"
        f" {MOST_OUTPUT >> 20} MiB of each kind. Exit status: the command's; 128 and a signal's"
        " number where that ended it; 124 the timeout; 127 it could not be started; 130 Ctrl-C,"
        " which kills the command; 1 the agent, or its guest, failed; 2 bad input, no such run, no"
        " --agent, or no agent that answers."
    ),
)


def run(arguments: Arguments) -> int:
    """Run it; its exit status. Raises UsageError, GuestError."""
    if not arguments.rest:
        raise UsageError("no name; `vestige ps` shows those that there are")
    name, *words = arguments.rest
    if not words:
        raise UsageError(f"no command for {name}; give one: vestige exec {name} -- COMMAND")
    values: dict[str, Any] = SYNTAX.values(arguments)
    environment = _environment(arguments.all("--env"))
    data = _read(values["input"]) if "input" in values else b""
    try:
        with interruptible():
            agent = agent_of(name, values.get("wait"))
    except Interrupted as interrupt:
        return interrupt.status
    timeout = values.get("timeout")
    try:
        with interruptible():
            done = agent.run(words, input=data, timeout=timeout, environment=environment)
    except RefusedError as error:
        tell(f"{name}: {error}")
        return NOT_STARTED
    except TimedOutError as error:
        _pass_on(name, error.done)
        tell(f"{name}: {error}")
        return TIMED_OUT
    except Interrupted as interrupt:
        if isinstance(interrupt.__cause__, EndedError):
            _pass_on(name, interrupt.__cause__.done)
            tell(f"{name}: {interrupt.__cause__}")
        return interrupt.status
    except (GuestError, UsageError) as error:
        kind = UsageError if isinstance(error, UsageError) else GuestError
        raise kind(f"{name}: {error}") from None
    _pass_on(name, done)
    return min(done.status, MOST_STATUS)


def agent_of(name: str, wait: float | None) -> Agent:
    """That of a run's guest. Both have so many seconds to be there; None: the run is.

    Raises UsageError, GuestError.
    """
    began = time.monotonic()
    with find_within(name, wait or 0.0) as found:
        told = found.ask({"do": "status"})
    path = told.get("agent") if isinstance(told, dict) else None
    if isinstance(path, str):
        left = WAIT if wait is None else wait - (time.monotonic() - began)
        return Agent(path, patience=max(round(left, 1), SHORTEST))
    raise UsageError(f"{name}: a run without an agent; start it with vestige run --agent")


def _environment(words: list[str]) -> dict[str, str] | None:
    """Of the words of --env. Raises UsageError."""
    for word in words:
        if not word.partition("=")[0] or "=" not in word:
            raise UsageError(f"--env {word}: give NAME=VALUE")
    return {name: value for name, _, value in (word.partition("=") for word in words)} or None


def _read(path: str) -> bytes:
    """All that is in a file, or comes from it. Raises UsageError."""
    try:
        with open(0 if path == STDIN else path, "rb", closefd=path != STDIN) as file:
            status = os.fstat(file.fileno())
            too_long = stat.S_ISREG(status.st_mode) and status.st_size > MOST_INPUT
            data = b"" if too_long else file.read(MOST_INPUT + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"--input {path}: {reason}; give a file that can be read") from None
    if too_long or len(data) > MOST_INPUT:
        raise UsageError(
            f"--input {path}: more than {MOST_INPUT >> 20} MiB, which no agent takes; put it"
            " on a disk of the guest's"
        )
    return data


def _pass_on(name: str, done: Done | None) -> None:
    """What the command has printed, as it is."""
    if done is None:
        return
    _write(1, done.stdout)
    _write(2, done.stderr)
    for stream, is_cut in (("output", done.stdout_truncated), ("errors", done.stderr_truncated)):
        if is_cut:
            tell(
                f"{name}: the command's {stream} was longer than {MOST_OUTPUT >> 20} MiB, and the"
                " rest is lost: an agent keeps no more; have it write a file of the guest's"
            )


def _write(descriptor: int, data: bytes) -> None:
    """All of it. Raises UsageError where that can't be written, UnreadError: nobody reads it."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
        except BrokenPipeError:
            raise UnreadError from None
        except OSError as error:
            raise UsageError(
                f"what the command has printed can't be written: {error.strerror}; make room or"
                " send it elsewhere"
            ) from None

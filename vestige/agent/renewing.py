"""Has a guest that goes on from a snapshot be told apart from others that do, by its agent.

It gives the guest's kernel random numbers, and has it use them at once: Linux before 5.18, and
kernels without its driver, know nothing of the virtual machine generation ID. And the guest's
network interface takes the MAC that it has on another tap: see readdressing.py.
It has the agent's ear before all others, and keeps it until it is done.

Source: random(4), for RNDADDENTROPY and RNDRESEEDCRNG.
"""

import math
import os
from _collections_abc import Callable
from contextlib import suppress
from typing import NamedTuple

from vestige import threads
from vestige.agent import operations, readdressing
from vestige.agent.blocking import drive
from vestige.agent.operations import FIRST_PAUSE, LONGEST_PAUSE, SHELL, Done
from vestige.agent.protocol import SHOWN, RefusedError
from vestige.agent.talk import Exchange, GoneError, Steps, Talk, UnreachedError
from vestige.agent.wire import Wire
from vestige.errors import GuestError, UsageError
from vestige.host.messages import in_one_line, tell

SILENCE = 60.0  # seconds without an answer of the agent's, after which that is told
RANDOM = 64  # bytes, twice what Linux makes a key of
PATIENCE = 300.0  # seconds that the guest may take, once its agent has answered: emulated, say
RNDADDENTROPY, RNDRESEEDCRNG = 0x4008_5203, 0x5207  # linux/random.h
PERL = f"""\
my $size = length $random;
my $counted = pack("l2a*", 8 * $size, $size, $random);
open(my $file, ">", "/dev/urandom") or die "/dev/urandom: $!\\n";
ioctl($file, {RNDADDENTROPY}, $counted) or die "RNDADDENTROPY: $!\\n";
ioctl($file, {RNDRESEEDCRNG}, 0) or die "RNDRESEEDCRNG: $!\\n";
"""
_PYTHON = f"""\
import fcntl, struct, sys
random = sys.stdin.buffer.read()
with open("/dev/urandom", "wb") as file:
    counts = struct.pack("2i", 8 * len(random), len(random))
    fcntl.ioctl(file, {RNDADDENTROPY}, counts + random)
    fcntl.ioctl(file, {RNDRESEEDCRNG})
"""
# A kernel that has the driver has been told anyway.
_NEITHER = """\
for device in /sys/bus/*/drivers/vmgenid/*:*; do [ ! -e "$device" ] || exit 0; done
echo "there is neither perl nor python3, nor has its kernel the driver vmgenid" >&2
exit 1
"""
_PERL = f"local $/; my $random = <STDIN>; {PERL}"
_WAYS = (["perl", "-e", _PERL], ["python3", "-c", _PYTHON], [SHELL, "-c", _NEITHER])


class Waits(NamedTuple):
    """A program that waits in the guest: the agent's handles of the FIFO by which it is `given`
    random numbers, and of the file in which it has `told` what it has done; its `process`.
    """

    given: int
    told: int
    process: int


def first_at(path: str, mac: bytes | None, waits: Waits | None = None) -> Callable[[], None]:
    """Be the first to ask the agent whose socket is at `path`; others wait behind this.

    What is returned renews the guest, once that runs, while this process does other things. `mac`:
    of the guest's network interface, None: there is none; `waits`: what was waiting in it when it
    was frozen. The agent may take any time to answer; after a while that is told, as is what can't
    be renewed. Raises UsageError where there is no such socket.
    """
    wire = Wire(path)
    wire.connect()

    def begin() -> None:
        threads.start(lambda: renew(wire, mac, waits))

    return begin


def renew(
    wire: Wire, mac: bytes | None, waits: Waits | None = None, silence: float = SILENCE
) -> None:
    """Have the conversation, on a wire that is connected. It is told if the agent is silent for
    so many seconds.
    """
    _renew(wire, mac, waits, silence)
    if waits is not None:  # behind those who wait: the guest's log is written for it
        talk = _talk()
        with suppress(GuestError, UsageError):
            drive(wire, talk, leave(talk, waits))


def _talk() -> Talk:
    return Talk(math.inf, int.from_bytes(os.urandom(4)), PATIENCE)


def _renew(wire: Wire, mac: bytes | None, waits: Waits | None, silence: float) -> None:
    talk = _talk()
    try:
        done = drive(
            wire,
            talk,
            _impatient(talk, conversation(talk, os.urandom(RANDOM), mac, waits), silence),
        )
    except (GoneError, UnreachedError):
        return  # the run has ended
    except (GuestError, UsageError) as error:
        problem = str(error)
    else:
        if done.status == 0:
            return
        said = in_one_line(done.stderr[:SHOWN].decode(errors="replace").strip())
        problem = said or f"status {done.status}"
    tell(f"the guest is not told apart from others of its snapshot: {problem}")


def _impatient(talk: Talk, steps: Steps[Done], silence: float) -> Steps[Done]:
    """The same conversation. Tells once if the agent has not answered within so many seconds."""
    step = next(steps)
    end: float | None = None
    while True:
        if isinstance(step, Exchange) and not talk.is_answered:
            step = step._replace(seconds=min(step.seconds, silence))
        came = yield step
        if end is None:
            end = came.now + silence
        try:
            step = steps.send(came)
        except StopIteration as ended:
            done: Done = ended.value
            return done
        if came.now >= end and not talk.is_answered:
            end = math.inf
            tell(
                "the guest is not told apart from others of its snapshot yet: no guest agent has"
                f" answered within {silence:g} s; it will be once one does"
            )


def conversation(
    talk: Talk, random: bytes, mac: bytes | None, waits: Waits | None = None
) -> Steps[Done]:
    """How the guest's part of it has ended, on a connection that is there already."""
    done = yield from _reseed(talk, random, waits)
    if mac is None:
        return done
    words = [SHELL, "-c", f'{readdressing.SCRIPT}readdress "$1"', "readdress", mac.hex(":")]
    other = yield from operations.run_alone(talk, words, b"", PATIENCE)
    return Done(done.status or other.status, b"", done.stderr + other.stderr)


def _reseed(talk: Talk, random: bytes, waits: Waits | None) -> Steps[Done]:
    """Have the program that waits do it, or the first of the others that can be started."""
    if waits is not None:
        try:
            yield from wake(talk, random, waits)
        except RefusedError:  # another does
            pass
        else:
            return Done(0, b"", b"")
    *others, last = _WAYS
    for words in others:
        try:
            return (yield from operations.run_alone(talk, words, random, PATIENCE))
        except RefusedError:  # there is none such
            continue
    return (yield from operations.run_alone(talk, last, random, PATIENCE))


def wake(talk: Talk, random: bytes, waits: Waits) -> Steps[None]:
    """Have what waits be given these. Raises RefusedError where it has gone, or has not done it."""
    yield from operations.write(talk, waits.given, random)
    end = talk.now + PATIENCE
    pause = FIRST_PAUSE
    while talk.now <= end:
        before = talk.now
        if (yield from operations.read(talk, waits.told, 1)):
            return
        # The guest's log is written for this: the program, which needs the CPU, comes first.
        is_late = pause == LONGEST_PAUSE
        if is_late and (yield from operations.status(talk, waits.process)) is not None:
            break
        yield from talk.wait(max(pause, talk.now - before))
        pause = min(2 * pause, LONGEST_PAUSE)
    raise RefusedError("what waited in the guest has not done what it was to")


def leave(talk: Talk, waits: Waits) -> Steps[None]:
    """Have it end, once nobody else asks the agent."""
    yield from talk.connect()
    yield from talk.ask_together(
        *(("guest-file-close", {"handle": each}) for each in (waits.given, waits.told))
    )
    yield from operations.until_ended(talk, waits.process, PATIENCE)

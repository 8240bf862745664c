"""Has a program wait in a guest that is about to be frozen, so that its copies are renewed sooner.

What renewing.py has to start in each copy, a program and all that it needs, is started once then:
in a copy it is given its random numbers, does what it is there for, and says so. It is given them
by a FIFO, and says it in a file. The agent opens both, and keeps them open: their names go at the
first byte, so that nothing else in the guest can come upon them, and a copy's agent knows them by
its handles. The program ends once the agent closes the FIFO, or ends; and by itself where nobody
comes at all.

Source: QEMU 7.2, qga/commands-posix.c. Mode "r+" makes no file, and opens a FIFO without waiting;
what has come to a file's end reads on where there is more later. Most requests have a line written
to the guest's log, for which other programs run: not guest-file-read, -write and -flush.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from vestige.agent import operations, protocol
from vestige.agent.blocking import drive
from vestige.agent.protocol import RefusedError
from vestige.agent.renewing import PERL, RANDOM, Waits, leave
from vestige.agent.talk import Steps, Talk
from vestige.agent.wire import Wire
from vestige.errors import GuestError, UsageError

PLACE = "/run/vestige-"  # and a name: where the FIFO is until it is open; and the file, with TOLD
TOLD = ".told"
PATIENCE = 2.0  # seconds in which the agent answers at all, before the guest is frozen without
ANSWERING = 30.0  # in which it then answers, and the program waits: emulated it takes one or two
PAUSE = 0.02  # seconds between two looks at anything, at least
LOOKS = 50  # whether nothing else runs
UNOPENED, LONGEST = 60, 600  # seconds that it waits to be opened, and then: by the guest's clock
# It says that it waits once nothing else runs (proc(5), loadavg): so what was logged of this is
# written then, and not in each copy. A busy guest's freeze waits for that a second.
_WAITS = f"""\
my $path = shift;
END {{ unlink $path, "$path{TOLD}" if defined $path }}
$SIG{{ALRM}} = sub {{ exit 1 }};
alarm {UNOPENED};
umask 077;
open(my $told, ">", "$path{TOLD}") or die "$path{TOLD}: $!\\n";
system("mkfifo", $path) == 0 or exit 1;
open(my $both, "+<", $path) or die "$path: $!\\n";
sysread($both, my $first, 1) or die "$path: $!\\n";
open(my $asked, "<", $path) or die "$path: $!\\n";
close $both;
unlink $path, "$path{TOLD}";
undef $path;
alarm {LONGEST};
for (1 .. {LOOKS}) {{
    select(undef, undef, undef, {PAUSE});
    open(my $load, "<", "/proc/loadavg") or last;
    last if <$load> =~ m{{ 1/}};
}}
syswrite($told, "1") or die "$!\\n";
sysread($asked, my $random, {RANDOM}) or exit;
{PERL}
syswrite($told, "1") or die "$!\\n";
sysread($asked, $random, 1);
"""


@contextmanager
def waiting(status: Mapping[str, Any], *, stays: bool) -> Iterator[Mapping[str, Any]]:
    """What a manifest is to say of the program that waits in a run's guest meanwhile.

    `status`: of the run; `stays`: the guest does not go on behind it. Nothing, where the guest has
    no agent that answers now, or no perl: its copies are renewed all the same.
    """
    path, waits = status.get("agent"), None
    if not isinstance(path, str) or status.get("state") != "running":
        yield {}
        return
    with suppress(GuestError, UsageError):
        talk = _talk()
        waits = drive(Wire(path), talk, begin(talk, os.urandom(8).hex()))
    try:
        yield {} if waits is None else {"renewing": waits._asdict()}
    except BaseException:  # nothing is frozen, and the guest goes on
        stays = False
        raise
    finally:
        if waits is not None and not stays:
            with suppress(GuestError, UsageError):
                talk = _talk()
                drive(Wire(path), talk, leave(talk, waits))


def _talk() -> Talk:
    return Talk(PATIENCE, int.from_bytes(os.urandom(4)), ANSWERING)


def begin(talk: Talk, name: str) -> Steps[Waits]:
    """Start it, and wait until it waits. Raises RefusedError where it can't be had."""
    yield from talk.connect()
    place = f"{PLACE}{name}"
    asked = {"path": "perl", "arg": ["-e", _WAITS, place], "capture-output": True}
    process = protocol.number((yield from talk.ask("guest-exec", asked)), "pid")
    end = talk.now + ANSWERING
    while True:
        before = talk.now
        try:
            given = yield from operations.opened(talk, place, "r+")
            break
        except RefusedError:  # it is not there yet
            if talk.now > end or (yield from operations.status(talk, process)) is not None:
                raise
            yield from talk.wait(max(PAUSE, talk.now - before))
    waits = Waits(given, (yield from operations.opened(talk, f"{place}{TOLD}", "r")), process)
    yield from operations.write(talk, waits.given, b"\n")
    before = talk.now
    while not (yield from operations.read(talk, waits.told, 1)):
        if talk.now > end:
            raise RefusedError(f"{place}: nothing waits there")
        yield from talk.wait(max(PAUSE, talk.now - before))
        before = talk.now
    return waits

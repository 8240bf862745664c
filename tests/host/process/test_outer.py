"""The machine's process as the run's sees it, with bodies that are no machines."""

import errno
import os
import resource
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from vestige.errors import UsageError
from vestige.host.backends.console import Console
from vestige.host.loop.wait import POWERED_OFF, wait
from vestige.host.process.link import Kind, Link, pair
from vestige.host.process.outer import MachineProcess, fork
from vestige.signals import Signals, Watch

PATIENCE = 20.0  # seconds
Body = Callable[[Link], object]


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Ends a wait that takes too long."""
    with Signals() as signals:
        yield Watch(signals, PATIENCE)


def machine(body: Body) -> MachineProcess:
    """A process that does what `body` does with its end of the link."""
    link, pid = fork(lambda link, _problem: body(link), "the machine", "it", jailed=False)
    return MachineProcess(link, pid, os.pidfd_open(pid))


def test_a_machine_starts_and_ends_as_it_says(watch: Watch) -> None:
    def body(link: Link) -> None:
        link.send(Kind.STARTS)
        assert (link.receive() or (0,))[0] == Kind.GO
        link.send_text(Kind.COUNTERS, "{}")
        link.send(Kind.OVER, b"\1")

    with closing(machine(body)) as process:
        assert process.wait_for_start(watch)
        process.go(0)
        process.stop()
        assert process.outcome is not None
        assert (process.outcome.error, process.outcome.reset) == (None, True)
        assert process.counters == b"{}"


def test_what_the_user_asked_for_and_cannot_have_is_raised(watch: Watch) -> None:
    def body(_link: Link) -> None:
        raise UsageError("vmlinuz: not a kernel; give one")

    with closing(machine(body)) as process, pytest.raises(UsageError, match=r"^vmlinuz: not"):
        process.wait_for_start(watch)


def test_a_bug_is_told_with_its_place(watch: Watch, capsys: pytest.CaptureFixture[str]) -> None:
    def body(_link: Link) -> None:
        raise KeyError("a bug of ours")

    with closing(machine(body)) as process:
        assert not process.wait_for_start(watch)
        assert process.outcome is not None
        assert process.outcome.error == "the machine's process ended with status 70"
    *places, last = capsys.readouterr().err.splitlines()
    assert last == "KeyError: 'a bug of ours'"
    assert places[-1].strip().startswith(f"{__file__}:")


def test_who_nobody_can_ask_any_more_is_not_listened_to(watch: Watch) -> None:
    """A listener whose processes are gone hangs up: poll(2) would tell of that for ever."""

    def body(link: Link) -> None:
        read, write = os.pipe()
        os.close(write)
        link.send_descriptor(Kind.LISTENER, read)
        link.send(Kind.STARTS)
        link.receive()

    with closing(machine(body)) as process:
        assert process.wait_for_start(watch)
        while len(process.waits_for()) > 2:  # the link, and the process's own end
            process.serve(watch.wait(process.waits_for()))
        began = time.process_time()
        process.stop()
        assert time.process_time() - began < 1


def test_a_message_to_who_never_reads_holds_up_nobody(watch: Watch) -> None:
    def body(link: Link) -> None:
        link.send(Kind.STARTS)
        os.read(os.pipe()[0], 1)

    with closing(machine(body)) as process:
        assert process.wait_for_start(watch)
        for size in range(10_000):
            process.tell_size(size, size)


def test_an_end_that_came_before_a_signal_counts(watch: Watch) -> None:
    with closing(machine(lambda link: link.send(Kind.OVER, b"\0"))) as process:
        watch.wait({process.ended: select.POLLIN})
        os.kill(os.getpid(), signal.SIGTERM)
        console = Console(1, None)
        assert wait(process, watch, console) == POWERED_OFF  # type: ignore[arg-type] # unused


def test_a_link_has_room_for_text_of_any_length(watch: Watch) -> None:
    def body(link: Link) -> None:
        link.send_text(Kind.COUNTERS, "x" * 100_000)
        link.send(Kind.OVER, b"\0")

    with closing(machine(body)) as process:
        while process.outcome is None:
            process.serve(watch.wait(process.waits_for()))
        assert process.counters == b"x" * 100_000


def test_orders_whose_files_are_too_many_are_refused_as_such() -> None:
    near, far = pair()
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(8)]
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    near.send_orders(b"orders", files)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(files) + 3, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files") as refused:
            far.receive_orders()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert refused.value.errno == errno.EMFILE
    for descriptor in files:
        os.close(descriptor)
    near.close()
    far.close()

"""The one process of a mould's runs: each is as alone in it as in a process of its own."""

import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.launcher.test_moulds import (
    KILLED,
    PATIENCE,
    STOPPED,
    answers,
    frozen,
    kernels,
    launcher,
    mould_of,
    parent_of,
    pytestmark,
    snapshot,
    talking,
    thawed,
    until,
)
from vestige.host.jail.namespaces import Forked, siblings
from vestige.host.process.forks import Answer, Forks, serve
from vestige.host.process.link import link_of
from vestige.launcher import GuestError, Launcher, messages
from vestige.launcher.casting import Casting, Last
from vestige.launcher.launcher import Machine

__all__ = ["frozen", "kernels", "launcher", "pytestmark", "snapshot"]

MANY = 12


def vestige(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vestige.cli.main", *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def mould_s_process(steward: int, *machines: int) -> int:
    """Its child that is no machine's process: of those that it has, the oldest."""
    return min(each for each in children_of(steward) if each not in machines)


def children_of(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def spare_s_process(steward: int, mould: int, *machines: int) -> int:
    """Its child that is neither's, once there is one."""
    until(lambda: set(children_of(steward)) - {mould, *machines})
    return max(set(children_of(steward)) - {mould, *machines})


def start_and_kill(number: int, thaw: Callable[[int], Machine]) -> None:
    for _ in range(number):
        machine = thaw(subprocess.DEVNULL)
        machine.kill()
        machine.close()


def test_what_is_told_of_one_goes_to_its_own_standard_error(
    launcher: Launcher, snapshot: Path
) -> None:
    mould_of(launcher, snapshot)
    read, write = os.pipe()
    other_read, other_write = os.pipe()
    with (
        launcher.thaw(snapshot, stdout=subprocess.DEVNULL, stderr=write) as one,
        launcher.thaw(snapshot, stdout=subprocess.DEVNULL, stderr=other_write) as other,
    ):
        os.close(write)
        os.close(other_write)
        one.statistics()  # it runs
        os.kill(one.pid, signal.SIGKILL)  # as for want of memory
        assert one.wait(PATIENCE) == KILLED
        with open(read) as lines:  # noqa: PTH123 - a descriptor
            assert lines.read() == (
                "vestige: the machine's process was killed (SIGKILL), for want of memory or by"
                " somebody\n"
            )
        assert other.poll() is None
    with open(other_read) as lines:  # noqa: PTH123 - a descriptor
        assert lines.read() == ""


def test_a_killed_one_says_nothing(launcher: Launcher, snapshot: Path) -> None:
    mould_of(launcher, snapshot)
    read, write = os.pipe()
    machine = launcher.thaw(snapshot, stdout=subprocess.DEVNULL, stderr=write)
    os.close(write)
    machine.statistics()
    machine.kill()
    assert machine.wait(PATIENCE) == KILLED
    with open(read) as lines:  # noqa: PTH123 - a descriptor
        assert lines.read() == ""
    machine.close()


def test_commands_find_each_by_its_number_and_end_it_alone(
    launcher: Launcher, snapshot: Path
) -> None:
    mould_of(launcher, snapshot)
    thaw = thawed(launcher, snapshot)
    with talking(thaw) as (one, _), talking(thaw) as (two, _), talking(thaw) as (last, ours):
        for each in (one, two, last):
            each.statistics()  # it runs, and so is listed
        told = vestige("ps").stdout
        for each in (one, two, last):
            assert f"{each.pid}  {each.pid}" in " ".join(told.split()).replace(" ", "  ")
        assert vestige("stop", str(one.pid)).returncode == 0
        assert one.wait(PATIENCE) == STOPPED
        assert vestige("stop", "--kill", str(two.pid)).returncode == 0
        assert two.wait(PATIENCE) == KILLED
        assert vestige("pause", str(last.pid)).returncode == 0
        assert vestige("resume", str(last.pid)).returncode == 0
        assert answers(ours, b"still here")


def test_machines_outlive_their_mould(launcher: Launcher, snapshot: Path) -> None:
    mould_of(launcher, snapshot)
    thaw = thawed(launcher, snapshot)
    with talking(thaw) as (machine, ours):
        steward = parent_of(machine.pid)
        mould = mould_s_process(steward, machine.pid)
        os.kill(mould, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{mould}").exists())
        with talking(thaw) as (other, theirs):  # of the template
            assert parent_of(other.pid) != steward
            assert answers(theirs, b"there")
        assert answers(ours, b"still here")
    until(lambda: not Path(f"/proc/{steward}").exists())


def test_a_signal_to_it_ends_all_its_machines_in_order(launcher: Launcher, snapshot: Path) -> None:
    mould_of(launcher, snapshot)
    machines = [launcher.thaw(snapshot, stdout=subprocess.DEVNULL) for _ in range(3)]
    for each in machines:
        each.statistics()
    os.kill(parent_of(machines[0].pid), signal.SIGTERM)
    assert [each.wait(PATIENCE) for each in machines] == [STOPPED] * 3
    for each in machines:
        each.close()


def test_runs_leave_nothing_in_it(launcher: Launcher, snapshot: Path) -> None:
    mould_of(launcher, snapshot)
    with talking(thawed(launcher, snapshot)) as (machine, ours):
        steward = Path(f"/proc/{parent_of(machine.pid)}")
        assert answers(ours, b"there")

        def there() -> tuple[int, int]:
            return len(list((steward / "fd").iterdir())), len(list((steward / "task").iterdir()))

        def has_spare() -> bool:
            for each in (steward / "fd").iterdir():
                with suppress(FileNotFoundError):  # closed meanwhile
                    if str(each.readlink()) == "anon_inode:[pidfd]":
                        return True
            return False

        until(has_spare)
        before = there()
        copies = [launcher.thaw(snapshot, stdout=subprocess.DEVNULL) for _ in range(MANY)]
        for each in copies:
            each.kill()
            assert each.wait(PATIENCE) == KILLED
            each.close()
        until(lambda: has_spare() and there() == before)
        assert answers(ours, b"still here")


def test_without_descriptors_it_refuses_a_machine_and_goes_on(
    launcher: Launcher, snapshot: Path
) -> None:
    mould_of(launcher, snapshot)
    thaw = thawed(launcher, snapshot)
    with talking(thaw) as (machine, ours):
        steward = parent_of(machine.pid)
        most = len(list(Path(f"/proc/{steward}/fd").iterdir()))
        refused = 0
        for left in range(12):
            resource.prlimit(steward, resource.RLIMIT_NOFILE, (most + left, 4096))
            with suppress(GuestError), talking(thaw) as (_, theirs):
                if answers(theirs, b"there"):
                    break
            refused += 1
        resource.prlimit(steward, resource.RLIMIT_NOFILE, (4096, 4096))
        assert 0 < refused < 12
        mould = mould_s_process(steward, machine.pid)
        most = len(list(Path(f"/proc/{mould}/fd").iterdir()))
        for left in 0, 2:  # none for a link to a machine's process; none for its pidfd
            resource.prlimit(mould, resource.RLIMIT_NOFILE, (most + left, 4096))
            with pytest.raises(GuestError, match="the machine's process: Too many open files"):
                start_and_kill(2, thaw)  # there may be a spare yet
        resource.prlimit(mould, resource.RLIMIT_NOFILE, (4096, 4096))
        until(lambda: "Z" not in map(state_of, children_of(steward)))
        with talking(thaw) as (other, theirs):
            assert parent_of(other.pid) == steward
            assert answers(theirs, b"there")
        assert answers(ours, b"still here")


def test_a_spare_that_somebody_kills_is_not_taken(launcher: Launcher, snapshot: Path) -> None:
    mould_of(launcher, snapshot)
    thaw = thawed(launcher, snapshot)
    with talking(thaw) as (machine, _):
        steward = parent_of(machine.pid)
        mould = mould_s_process(steward, machine.pid)
        spare = spare_s_process(steward, mould, machine.pid)
        os.kill(spare, signal.SIGKILL)
        until(lambda: state_of(spare) == "Z")
        with talking(thaw) as (other, theirs):
            assert parent_of(other.pid) == steward
            assert answers(theirs, b"there")
            assert not Path(f"/proc/{spare}").exists()


def test_one_that_nobody_waits_for_any_more_is_ended(
    launcher: Launcher, snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mould_of(launcher, snapshot)
    thaw = thawed(launcher, snapshot)
    with talking(thaw) as (machine, ours):
        steward = parent_of(machine.pid)
        template = parent_of(steward)
        mould = mould_s_process(steward, machine.pid)
        spare = spare_s_process(steward, mould, machine.pid)
        other_spare = spare_s_process(template, steward)
        monkeypatch.setattr("vestige.launcher.launcher.ANSWERS", 0.1)
        for each in (steward, template):
            os.kill(each, signal.SIGSTOP)
        with pytest.raises(GuestError, match="does not answer; is it stopped"):
            thaw(subprocess.DEVNULL)
        monkeypatch.undo()
        for each in (steward, template):
            os.kill(each, signal.SIGCONT)
        begun = Path(f"/proc/{spare}"), Path(f"/proc/{other_spare}")
        until(lambda: not any(each.exists() for each in begun))
        assert answers(ours, b"still here")


def test_a_held_one_that_is_closed_ends_though_its_caller_has_forked(
    launcher: Launcher, snapshot: Path
) -> None:
    mould_of(launcher, snapshot)
    machine = launcher.thaw(snapshot, stdout=subprocess.DEVNULL, held=True)
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    try:
        machine.close()
        until(lambda: not Path(f"/proc/{machine.pid}").exists())
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_what_a_mould_has_made_last_ends_with_it() -> None:
    near, far = messages.pair()
    mould, made = waiting(), waiting()
    link, other = os.pipe()
    life = os.pidfd_open(made)
    socket.send_fds(far, [bytes(Answer(process=made))], [link, life])
    casting = Casting(near, mould, Last())
    casting.is_asked = True
    casting.close()
    for each in (mould, made):
        with pytest.raises(ChildProcessError):  # it is waited for
            os.waitpid(each, 0)
    for each in (link, other, life):
        os.close(each)
    far.close()


def test_what_a_mould_was_killed_before_it_told_of_is_waited_for() -> None:
    near, far = messages.pair()
    last = Last()
    read, write = os.pipe()
    mould = os.fork()
    if mould == 0:
        near.close()
        fill(far)  # so it never gets to its answer
        place = last.keep()
        forks = Forks(requests=far.fileno(), last=place)
        if siblings(forks, serve, Forked(0)):
            has_page = f"{place:x}-" in Path("/proc/self/maps").read_text()
            os.write(write, bytes((has_page,)))
            link_of(forks.link).receive()  # until its mould is gone
        os._exit(1)
    far.close()
    casting = Casting(near, mould, last)
    casting.ask()
    assert os.read(read, 1) == b"\0"
    made = last.number
    assert made not in (0, mould)
    casting.close()
    for each in (mould, made):
        with pytest.raises(ChildProcessError):  # it is waited for
            os.waitpid(each, os.WNOHANG)
    for each in (read, write):
        os.close(each)


def fill(end: socket.socket) -> None:
    """Have no more room behind a socket."""
    end.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            end.send(b"")
    end.setblocking(True)


def test_with_other_limits_of_the_launcher_s_there_is_another_mould(
    launcher: Launcher, snapshot: Path
) -> None:
    mould_of(launcher, snapshot)
    thaw = thawed(launcher, snapshot)
    with talking(thaw) as (machine, ours):
        steward = parent_of(machine.pid)
        template = parent_of(steward)
        spare_s_process(steward, mould_s_process(steward, machine.pid), machine.pid)
        soft, hard = resource.prlimit(template, resource.RLIMIT_NOFILE)
        other = soft - 1, hard
        resource.prlimit(template, resource.RLIMIT_NOFILE, other)
        with talking(thaw) as (first, theirs):
            assert parent_of(first.pid) == template
            assert resource.prlimit(first.pid, resource.RLIMIT_NOFILE) == other
            assert answers(theirs, b"there")
        mould_of(launcher, snapshot)
        with talking(thaw) as (later, theirs):
            assert parent_of(later.pid) not in (steward, template)
            assert resource.prlimit(later.pid, resource.RLIMIT_NOFILE) == other
        assert answers(ours, b"still here")
    until(lambda: not Path(f"/proc/{steward}").exists())


def waiting() -> int:
    """A child that does."""
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    return child

"""Machines that are forks of one of their snapshot: as others are, and ended as others are."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.host.harness import why_not
from tests.host.kernel_payload import HELLO, SOME_SECTORS, Kernels
from vestige.cli.run import SYNTAX, options_of
from vestige.host import images
from vestige.host.control.folder import open_folder
from vestige.launcher import GuestError, Launcher, messages
from vestige.launcher.launcher import Machine
from vestige.launcher.moulds import MOST, SECOND, Mould, Moulds, Thawed, can_be_copied

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

PATIENCE = 60
KILLED, STOPPED = 137, 143


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    return Kernels(tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def launcher() -> Iterator[Launcher]:
    images.ensure()
    with Launcher() as made:
        yield made


@contextmanager
def talking(start: Callable[[int], Machine]) -> Iterator[tuple[Machine, socket.socket]]:
    """One, and what its console is connected to."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        machine = start(theirs.fileno())
        try:
            yield machine, ours
        finally:
            machine.kill()
            machine.wait(PATIENCE)
            machine.close()


def frozen(launcher: Launcher, kernels: Kernels, folder: Path) -> Path:
    """Of a guest that answers what it is told."""
    with talking(
        lambda end: launcher.start(kernel=kernels("echo"), memory="64M", stdin=end, stdout=end)
    ) as (machine, ours):
        assert ours.recv(len(HELLO), socket.MSG_WAITALL) == HELLO
        machine.freeze(folder, stop=True)
        assert machine.wait(PATIENCE) == STOPPED
    return folder


@pytest.fixture
def snapshot(launcher: Launcher, kernels: Kernels, tmp_path: Path) -> Path:
    return frozen(launcher, kernels, tmp_path / "snapshot")


def thawed(launcher: Launcher, snapshot: Path) -> "Callable[[int], Machine]":
    return lambda end: launcher.thaw(snapshot, stdin=end, stdout=end)


def answers(ours: socket.socket, word: bytes) -> bool:
    ours.send(word)
    return ours.recv(len(word), socket.MSG_WAITALL) == word


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def parent_of(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text().split()
    return int(status[status.index("PPid:") + 1])


def moulds(launcher: Launcher) -> list[Mould]:
    return [each.mould for each in launcher._moulds._known.values() if each.mould]


def mould_of(launcher: Launcher, snapshot: Path, **options: str) -> Mould:
    """Have one, by as many thaws as that takes; its launcher's only one."""
    for _ in range(SECOND):
        with launcher.thaw(snapshot, stdout=subprocess.DEVNULL, **options) as machine:  # type: ignore[arg-type]
            assert machine.poll() is None
    [mould] = moulds(launcher)
    until(lambda: mould.is_ready)
    return mould


def test_from_the_third_on_they_are_forks_of_a_mould_and_each_is_alone(
    launcher: Launcher, snapshot: Path, tmp_path: Path
) -> None:
    with launcher.thaw(snapshot, stdout=subprocess.DEVNULL) as machine:
        template = parent_of(machine.pid)
    mould_of(launcher, snapshot)
    thaw = thawed(launcher, snapshot)
    again = tmp_path / "again"
    with talking(thaw) as (one, to_one), talking(thaw) as (other, to_other):
        assert parent_of(one.pid) == parent_of(other.pid) != template
        assert answers(to_one, b"one")
        assert answers(to_other, b"other")
        to_one.send(b".")  # it ends
        assert one.wait(PATIENCE) == 0
        assert answers(to_other, b"still here")
        other.pause()
        other.resume()
        other.freeze(again)
        assert answers(to_other, b"still here")
    with talking(thawed(launcher, again)) as (_, ours):  # a copy of a copy
        assert answers(ours, b"copied")


def test_a_copy_of_a_mould_s_copy_has_a_mould(
    launcher: Launcher, snapshot: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    mould_of(launcher, snapshot)
    with talking(thawed(launcher, snapshot)) as (machine, ours):
        assert answers(ours, b"first")
        machine.freeze(again)
    with Launcher() as other:
        mould_of(other, again)
        with talking(thawed(other, again)) as (_, ours):
            assert answers(ours, b"second")


def test_no_machine_of_a_mould_has_the_memory_of_another(
    launcher: Launcher, snapshot: Path
) -> None:
    mould_of(launcher, snapshot)
    with talking(thawed(launcher, snapshot)) as (one, ours):
        secret = os.urandom(8).hex().encode()
        assert answers(ours, secret)
        with talking(thawed(launcher, snapshot)) as (other, theirs):
            assert answers(theirs, b"there")
            for pid in processes(other):
                assert not has(pid, secret)
            assert any(has(pid, secret) for pid in processes(one))


def processes(machine: Machine) -> list[int]:
    children = Path(f"/proc/{machine.pid}/task/{machine.pid}/children").read_text().split()
    return [machine.pid, *map(int, children)]


def has(pid: int, word: bytes) -> bool:
    """Whether it is in memory that a process can write."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, access, *_ = line.split()
            first, end = (int(each, 16) for each in place.split("-"))
            if access.startswith("rw") and end - first < 1 << 30 and "anon_inode" not in line:
                memory.seek(first)
                if word in memory.read(end - first):
                    return True
    return False


def test_one_that_is_held_waits_for_its_word(launcher: Launcher, snapshot: Path) -> None:
    mould_of(launcher, snapshot)
    with talking(lambda end: launcher.thaw(snapshot, stdin=end, stdout=end, held=True)) as (
        machine,
        ours,
    ):
        ours.send(b"asked before")
        with pytest.raises(BlockingIOError):
            ours.recv(1, socket.MSG_DONTWAIT)
        machine.go()
        assert ours.recv(12, socket.MSG_WAITALL) == b"asked before"


def test_another_snapshot_in_the_same_place_has_a_mould_of_its_own(
    launcher: Launcher, kernels: Kernels, snapshot: Path
) -> None:
    mould_of(launcher, snapshot)
    with talking(lambda end: launcher.start(kernel=kernels("hello"), memory="64M", stdout=end)) as (
        machine,
        ours,
    ):
        assert ours.recv(len(HELLO), socket.MSG_WAITALL) == HELLO
        assert machine.wait(PATIENCE) == 0
    with talking(thawed(launcher, snapshot)) as (machine, ours):
        assert answers(ours, b"old")
        machine.freeze(snapshot)  # in its own place
    with talking(thawed(launcher, snapshot)) as (machine, ours):
        assert answers(ours, b"new")
    [known] = launcher._moulds._known.values()
    assert (known.times, known.mould) == (1, None)


def test_a_mould_that_somebody_kills_is_done_without(launcher: Launcher, snapshot: Path) -> None:
    mould_of(launcher, snapshot)
    machine = launcher.thaw(snapshot, stdout=subprocess.DEVNULL)
    os.kill(parent_of(machine.pid), signal.SIGKILL)
    with pytest.raises(GuestError, match="ended with its launcher's process"):
        machine.wait(PATIENCE)
    until(lambda: not Path(f"/proc/{machine.pid}").exists())
    machine.close()
    for _ in range(2):
        with talking(thawed(launcher, snapshot)) as (_, ours):
            assert answers(ours, b"there")


def test_machines_of_a_mould_end_with_their_launcher(launcher: Launcher, snapshot: Path) -> None:
    mould_of(launcher, snapshot)
    machine = launcher.thaw(snapshot, stdout=subprocess.DEVNULL)
    mould = parent_of(machine.pid)
    launcher.close()
    assert machine.wait(PATIENCE) == STOPPED
    machine.close()
    until(lambda: not Path(f"/proc/{mould}").exists())


CALLER = """
import sys, time
from vestige.launcher import Launcher
with Launcher() as launcher:
    while True:
        machine = launcher.thaw(sys.argv[1], console="/dev/null")
        if any(each.mould and each.mould.is_ready for each in launcher._moulds._known.values()):
            machine = launcher.thaw(sys.argv[1], console="/dev/null")
            print(machine.pid, flush=True)
            machine.wait()
"""


def test_they_end_with_a_caller_that_is_killed(snapshot: Path) -> None:
    words = [sys.executable, "-c", CALLER, str(snapshot)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as caller:
        assert caller.stdout is not None
        pid = int(caller.stdout.readline())
        everything = [pid, parent_of(pid), *processes_of(pid)]
        caller.kill()
        until(lambda: not any(Path(f"/proc/{each}").exists() for each in everything))


def processes_of(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_each_writes_to_an_overlay_of_its_own(
    launcher: Launcher, kernels: Kernels, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    base.write_bytes(bytes(SOME_SECTORS * 512))
    snapshot = tmp_path / "snapshot"
    with talking(
        lambda end: launcher.start(
            kernel=kernels("virtio_some"),
            memory="64M",
            disk=f"{base},overlay=temporary",
            stdout=end,
        )
    ) as (machine, ours):
        assert ours.recv(20, socket.MSG_WAITALL) == b"." * 20
        machine.freeze(snapshot, stop=True)
        assert machine.wait(PATIENCE) == STOPPED
    said = set()
    for _ in range(5):  # forks of a mould, too
        read, write = os.pipe()
        with open(read, "rb") as output, launcher.thaw(snapshot, stdout=write) as machine:  # noqa: PTH123
            os.close(write)
            said.add(output.read())
            assert machine.wait(PATIENCE) == 0
        until(lambda: all(mould.is_ready for mould in moulds(launcher)))
    assert len(moulds(launcher)) == 1
    [dots] = said
    assert set(dots) == set(b".")
    assert base.read_bytes() == bytes(SOME_SECTORS * 512)


def test_a_killed_mould_is_made_again(launcher: Launcher, snapshot: Path) -> None:
    mould_of(launcher, snapshot)
    with launcher.thaw(snapshot, stdout=subprocess.DEVNULL) as machine:
        os.kill(parent_of(machine.pid), signal.SIGKILL)
        until(lambda: not Path(f"/proc/{machine.pid}").exists())
        machine.close()
    with launcher.thaw(snapshot, stdout=subprocess.DEVNULL):
        assert not moulds(launcher)
    mould_of(launcher, snapshot)


def test_a_caller_s_descriptors_do_not_grow_by_moulds(launcher: Launcher, snapshot: Path) -> None:
    def there() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    mould_of(launcher, snapshot)
    before = there()
    for _ in range(4):
        os.utime(snapshot / "state")
        mould_of(launcher, snapshot)
    assert there() == before


def test_one_without_a_mould_takes_no_other_s_place(launcher: Launcher, snapshot: Path) -> None:
    for number in range(MOST + 1):
        with launcher.thaw(snapshot, stdout=subprocess.DEVNULL, name=f"web{number}"):
            pass
    mould_of(launcher, snapshot)


def test_a_snapshot_is_thawed_where_the_working_directory_has_gone(
    launcher: Launcher, snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    mould_of(launcher, snapshot)
    with talking(thawed(launcher, snapshot)) as (_, ours):
        assert answers(ours, b"there")


def test_a_mould_of_another_freeze_is_not_asked() -> None:
    asked = options_of(SYNTAX.read(["--kernel", "/k"]))
    for identity in ("this", "another"):
        moulds = Moulds()
        status, _ = messages.pair()
        requests, far = messages.pair()
        messages.send(far, messages.READY, identity)
        known = Thawed(None, asked, "this")
        known.times, known.mould = 5, Mould(status, os.pidfd_open(os.getpid()), requests)
        mould = moulds.take(known, pytest.fail)
        assert (mould is not None) == (identity == "this")
        if mould is not None:
            moulds.give_back(mould)
        else:
            assert known.mould is None
            assert far.recv(1) == b""


def test_who_makes_a_mould_lists_no_run(
    snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = open_folder(make=True)
    assert folder is not None
    with closing(folder), Launcher() as launcher:
        seen = set()
        for _ in range(SECOND):
            with launcher.thaw(snapshot, stdout=subprocess.DEVNULL) as machine:
                seen.add(str(machine.pid))
        while not moulds(launcher)[0].is_ready:
            assert set(folder.names()) <= seen


@pytest.mark.parametrize(
    ("words", "can"),
    [
        ("", True),
        ("--disk /x,readonly --agent --rng", True),
        ("--disk /x,overlay=temporary --port a=/dev/null", True),
        ("--disk /x", False),
        ("--disk /x,overlay=/y", False),
        ("--disk /x,overlay=temporary,discard=unmap", False),
        ("--disk vfio:0000:01:00.0", False),
        ("--machine pc --firmware bios --cdrom /x", False),
        ("--port a=/file", False),
        ("--console unix:/x", False),
        ("--net user", False),
        ("--name web", False),
        ("--stats /x", False),
        ("--jail cgroup=/sys/fs/cgroup/x", False),
    ],
)
def test_only_what_is_the_same_each_time_has_a_mould(words: str, can: bool) -> None:
    asked = options_of(SYNTAX.read(["--kernel", "/k", *words.split()]))
    assert can_be_copied(asked) == can

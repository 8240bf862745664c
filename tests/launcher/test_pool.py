"""Guests of a snapshot that stand ready: used once, replaced, and none too many."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import vestige
from tests.host.harness import why_not
from tests.host.kernel_payload import HELLO, Kernels
from vestige.cli.run import SYNTAX, options_of
from vestige.host import images
from vestige.launcher import GuestError, Launcher, Pool, UsageError
from vestige.launcher.alone import alone_of
from vestige.launcher.launcher import command_line
from vestige.launcher.moulds import SECOND

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

PATIENCE = 60
USES = 60
KILLED = 137


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    images.ensure()
    with Launcher() as made:
        yield made


@pytest.fixture(scope="module")
def snapshot(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a guest that waits for a character."""
    folder = tmp_path_factory.mktemp("pool")
    ours, theirs = socket.socketpair()
    with ours, theirs, launcher.start(
        kernel=Kernels(folder)("echo"), memory="64M", stdin=theirs.fileno(), stdout=theirs.fileno()
    ) as machine:  # fmt: skip
        assert ours.recv(len(HELLO), socket.MSG_WAITALL) == HELLO
        machine.freeze(folder / "snapshot", stop=True)
    return folder / "snapshot"


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_guests_stand_ready_and_each_is_used_once(launcher: Launcher, snapshot: Path) -> None:
    assert vestige.Pool is Pool
    with Pool(snapshot, size=2, launcher=launcher) as pool:
        until(lambda: pool.ready == 2)
        seen = set()
        for _ in range(4):
            with pool.guest(PATIENCE) as machine:
                assert machine.poll() is None
                assert machine.pid not in seen
                seen.add(machine.pid)
            assert machine.poll() == KILLED
        until(lambda: pool.ready == 2)
    with pytest.raises(UsageError, match="the pool is closed"), pool.guest():
        pass


def test_no_more_than_the_limit_are_there_and_who_wants_one_waits(
    launcher: Launcher, snapshot: Path
) -> None:
    with Pool(snapshot, size=1, limit=2, launcher=launcher) as pool:
        with pool.guest(PATIENCE), pool.guest(PATIENCE):
            line = r"no guest stands ready within 0\.2 s"
            with pytest.raises(TimeoutError, match=line), pool.guest(0.2):
                pass
            assert pool.ready == 0
        with pool.guest(PATIENCE):
            pass


def test_threads_share_it(launcher: Launcher, snapshot: Path) -> None:
    used: list[int] = []
    with Pool(snapshot, size=2, limit=3, launcher=launcher) as pool:

        def use() -> None:
            for _ in range(3):
                with pool.guest(PATIENCE) as machine:
                    used.append(machine.pid)

        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert len(used) == len(set(used)) == 12


def test_a_guest_that_ends_by_itself_is_replaced(launcher: Launcher, snapshot: Path) -> None:
    with Pool(snapshot, size=1, launcher=launcher) as pool:
        first, _ = pool._ready[0]
        time.sleep(1.1)  # else it would count as one that never went on
        os.kill(first.pid, 9)
        until(lambda: bool(pool._ready) and pool._ready[0][0] is not first)
        with pool.guest(PATIENCE) as machine:
            assert machine.poll() is None


def test_guests_that_all_end_at_once_are_told_and_nobody_waits_for_ever(
    launcher: Launcher, snapshot: Path
) -> None:
    nowhere = subprocess.DEVNULL
    with Pool(snapshot, launcher=launcher, timeout="0.01", stderr=nowhere) as pool:
        until(lambda: pool._problem is not None)
        line = "3 guests of .* have ended as soon as they went on, the last with status 124"
        with pytest.raises(GuestError, match=line), pool.guest(PATIENCE):
            pass


def test_guests_that_somebody_kills_as_they_come_are_told_of_once(
    launcher: Launcher, snapshot: Path
) -> None:
    nowhere = subprocess.DEVNULL
    with Pool(snapshot, launcher=launcher, stderr=nowhere) as pool:
        while pool._problem is None:
            with pool._change:
                for machine, _ in pool._ready:
                    machine.kill()
        with pytest.raises(GuestError, match="the last with status 137"), pool.guest(PATIENCE):
            pass
        with pool.guest(PATIENCE) as machine:
            assert machine.statistics()["restarts"] == 0


def test_what_refuses_a_guest_does_so_no_longer_than_it_is_there(
    launcher: Launcher, snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_words: object, **_options: object) -> None:
        raise GuestError("too many open files")

    with Pool(snapshot, launcher=launcher) as pool:
        with monkeypatch.context() as patched:
            patched.setattr(launcher, "thaw", refuse)
            with pool.guest(PATIENCE):
                pass
            for _ in range(2):
                with pytest.raises(GuestError, match="too many"), pool.guest(PATIENCE):
                    pass
            until(lambda: pool._problem is not None)
        with pytest.raises(GuestError, match="too many"), pool.guest(PATIENCE):
            pass
        with pool.guest(PATIENCE) as machine:
            assert machine.statistics()["restarts"] == 0


def test_guests_that_are_held_go_on_for_who_takes_one(launcher: Launcher, snapshot: Path) -> None:
    ours, theirs = socket.socketpair()
    with (
        ours,
        theirs,
        Pool(
            snapshot, size=2, launcher=launcher, held=True, stdin=theirs.fileno(),
            stdout=theirs.fileno(), timeout=PATIENCE,
        ) as pool,
    ):  # fmt: skip
        until(lambda: pool.ready == 2)
        ours.send(b"a")
        with pool.guest(PATIENCE):
            assert ours.recv(1) == b"a"
        until(lambda: pool.ready == 2)
        with pool._change:  # the keeper does not see it
            machine, _ = pool._ready[0]
            machine.kill()
            machine.wait(PATIENCE)
            taken = pool._take(PATIENCE)
        assert taken is not machine
        pool._give_back(taken)
        with pool.guest(PATIENCE):
            ours.send(b"b")
            assert ours.recv(1) == b"b"


def test_what_can_t_be_a_pool_is_refused(launcher: Launcher, tmp_path: Path) -> None:
    before = open_files()
    for size, limit in ((0, None), (2, 1)):
        with pytest.raises(UsageError, match="give 1 or more"):
            Pool(tmp_path, size=size, limit=limit, launcher=launcher)
    with pytest.raises(UsageError, match="give the folder that `vestige freeze"):
        Pool(tmp_path / "nowhere", launcher=launcher)
    with pytest.raises(UsageError, match="no such option"):
        Pool(tmp_path, launcher=launcher, memory="64M")
    assert open_files() == before


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"name": "x", "size": 2}, "name=x: a name is one run's, and this pool has several"),
        ({"name": "x"}, "name=x: "),
        ({"console": "p.txt", "size": 2}, r"console=p\.txt: a file or socket of one run's"),
        ({"console": "unix:p"}, "console=unix:p: "),
        ({"stats": "s"}, "stats=s: "),
    ],
)
def test_what_only_one_guest_can_have_is_refused(
    launcher: Launcher, snapshot: Path, options: dict[str, Any], line: str
) -> None:
    with pytest.raises(UsageError, match=line):
        Pool(snapshot, launcher=launcher, **options)


def test_a_pool_of_one_guest_may_have_what_only_one_can(
    launcher: Launcher, snapshot: Path, tmp_path: Path
) -> None:
    own: dict[str, Any] = {"name": "alone", "console": tmp_path / "console"}
    with Pool(snapshot, limit=1, launcher=launcher, **own) as pool:
        for _ in range(2):
            with pool.guest(PATIENCE) as machine:
                assert machine.statistics()["restarts"] == 0


def test_a_disk_that_guests_write_is_one_s_but_with_an_overlay_of_each() -> None:
    def reason(**options: Any) -> str | None:
        return alone_of(options_of(SYNTAX.read(command_line({"kernel": "vmlinux"} | options))))

    assert reason(disk="d") == "--disk d: a disk without overlay=temporary is one guest's to write"
    assert reason(disk="d,overlay=o") is not None
    for each in ("d,readonly", "d,overlay=temporary"):
        assert reason(disk=each) is None
    assert reason(net="tap:t") == "net=tap:t: a tap is one guest's"
    assert reason(net="user", agent=True, console="/dev/null", port="p=/dev/null") is None
    assert reason(port="p=o") == "port=p=o: a file or socket of one run's"


def use(made: Pool, times: int) -> None:
    with made as pool:
        for _ in range(times):
            with pool.guest(PATIENCE):
                pass


@pytest.mark.parametrize("held", [False, True])
def test_uses_leak_nothing(launcher: Launcher, snapshot: Path, held: bool) -> None:
    use(
        Pool(snapshot, size=2, launcher=launcher, held=held), SECOND
    )  # the launcher has a mould then
    before = open_files(), threading.active_count()
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", "/nowhere")) / "vestige"
    names = set(runtime.iterdir()) if runtime.is_dir() else set()
    use(Pool(snapshot, size=2, launcher=launcher, held=held), USES)
    assert (open_files(), threading.active_count()) == before
    left = set(runtime.iterdir()) - names if runtime.is_dir() else set()
    assert not left


@pytest.mark.parametrize("in_use", [True, False])
def test_guests_that_end_with_their_mould_or_template_are_replaced(
    snapshot: Path, in_use: bool
) -> None:
    with Launcher() as own, Pool(snapshot, size=2, limit=2, launcher=own) as pool:
        mould = own._process.pid
        while mould == own._process.pid:  # the template
            with pool.guest(PATIENCE) as machine:
                mould = parent_of(machine.pid)
        until(lambda: pool.ready == 2)
        with pool.guest(PATIENCE) as machine:
            if in_use:
                os.kill(mould, signal.SIGKILL)
        if not in_use:
            os.kill(mould, signal.SIGKILL)
        for _ in range(3):
            with pool.guest(PATIENCE) as machine:
                until(lambda: parent_of(machine.pid) != mould)


def parent_of(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text().split()
    return int(status[status.index("PPid:") + 1])


@pytest.mark.parametrize("size", [float("nan"), 1.5, "3", None])
def test_a_pool_of_no_number_is_refused(snapshot: Path, size: Any) -> None:
    with pytest.raises(UsageError, match="give whole numbers"):
        Pool(snapshot, size=size)


def test_a_snapshot_that_is_no_path_is_refused_and_nobody_waits(launcher: Launcher) -> None:
    with pytest.raises(UsageError, match="has a NUL in it"):
        Pool("a\0b", launcher=launcher)

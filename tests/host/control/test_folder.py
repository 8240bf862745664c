"""Where the sockets are: whose folder it is, who has a name, what a killed run leaves."""

import errno
import fcntl
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from vestige import trust
from vestige.errors import UsageError
from vestige.host.control import folder as place
from vestige.host.control.client import SilentError, everyone, find
from vestige.host.control.folder import Folder, open_folder
from vestige.host.limits import line_of
from vestige.host.thread_name import STEWARD, set_thread_name


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def folder() -> Iterator[Folder]:
    found = open_folder(make=True)
    assert found is not None
    with closing(found):
        yield found


def leave(folder: Folder, name: str) -> None:
    """A socket as of a run that was killed."""
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(folder.address(name))


def test_the_folder_is_this_users_alone(folder: Folder, runtime: Path) -> None:
    assert folder.path == f"{runtime}/vestige"
    assert stat.S_IMODE((runtime / "vestige").stat().st_mode) == 0o700


def test_who_asks_makes_none(runtime: Path) -> None:
    assert open_folder(make=False) is None
    assert list(runtime.iterdir()) == []


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o777, 0o701])
def test_a_folder_that_others_may_enter_is_refused(runtime: Path, mode: int) -> None:
    (runtime / "vestige").mkdir()
    (runtime / "vestige").chmod(mode)
    with pytest.raises(UsageError, match=r"vestige: .*; .*XDG_RUNTIME_DIR"):
        open_folder(make=True)


@pytest.mark.parametrize("above", ["", "/there"])
def test_a_folder_that_can_not_be_made_is_named_by_its_path(
    monkeypatch: pytest.MonkeyPatch, runtime: Path, above: str
) -> None:
    """The kernel is given but the last part of it."""
    (runtime / "there").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", f"{runtime}{above}")
    monkeypatch.setattr(os, "mkdir", refuse_mkdir)
    with pytest.raises(UsageError) as told:
        open_folder(make=True)
    assert str(told.value) == (
        f"{runtime}{above}/vestige: Permission denied; set XDG_RUNTIME_DIR to a folder of yours"
    )


def refuse_mkdir(name: str, *_words: object, **_named: object) -> None:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)


def test_a_link_to_a_folder_is_refused(runtime: Path, tmp_path: Path) -> None:
    (tmp_path / "else").mkdir(mode=0o700)
    (runtime / "vestige").symlink_to(tmp_path / "else")
    with pytest.raises(UsageError, match="a symbolic link, not a folder"):
        open_folder(make=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
def test_anothers_folder_is_refused(runtime: Path) -> None:
    (runtime / "vestige").mkdir(mode=0o700)
    os.chown(runtime / "vestige", 12345, 12345)
    with pytest.raises(UsageError, match="belongs to user 12345"):
        open_folder(make=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
def test_anothers_runtime_directory_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As sudo leaves it in the environment."""
    (tmp_path / "theirs").mkdir(mode=0o700)
    os.chown(tmp_path / "theirs", 12345, 12345)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "theirs"))
    monkeypatch.setattr(place, "TEMPORARY", str(tmp_path))
    found = open_folder(make=True)
    assert found is not None
    with closing(found):
        assert "theirs" not in found.path


@pytest.mark.parametrize("chosen", ["", "relative", "/nowhere/at/all"])
def test_without_a_runtime_directory_it_is_among_the_temporary_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chosen: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", chosen)
    monkeypatch.setattr(place, "TEMPORARY", str(tmp_path))
    found = open_folder(make=True)
    assert found is not None
    with closing(found):
        assert found.path in (
            f"/run/user/{os.geteuid()}/vestige",
            f"{tmp_path}/vestige-runs-{os.geteuid()}",
        )


def test_a_name_is_one_runs(folder: Folder) -> None:
    listener, _ = folder.listen("one")
    with closing(listener), pytest.raises(UsageError, match="--name one: a run has that name"):
        folder.listen("one")


def test_what_killed_runs_left_is_cleared_and_others_are_not_asked(folder: Folder) -> None:
    script = "import sys, time; sys.path[:0] = sys.argv[1].split(':'); " + HOLD
    words = [sys.executable, "-c", script, os.pathsep.join(sys.path), "one"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"listens\n"
        leave(folder, "another")
        folder.clear()
        assert folder.names() == ["one"]
        with socket.socket(socket.AF_UNIX) as end:
            end.connect(folder.address("one"))
        run.communicate(b"\n")
    assert run.returncode == 0, "nobody else has connected"


HOLD = """
from vestige.host.control.folder import open_folder
folder = open_folder(make=False)
listener, _ = folder.listen(sys.argv[2])
print("listens", flush=True)
sys.stdin.read()
listener._accept()
try:
    listener._accept()
except BlockingIOError:
    sys.exit(0)
sys.exit(1)
"""


def test_an_agents_socket_is_no_run_and_goes_with_the_run(folder: Folder) -> None:
    leave(folder, "one")
    leave(folder, "one@agent")
    leave(folder, "two@agent")
    assert folder.names() == ["one"]
    assert folder.remove_stale("one")
    assert there(folder) == ["two@agent"]
    listener, _ = folder.listen("two")
    listener.close()
    assert folder.remove_stale("two")
    assert there(folder) == []


def test_an_agents_socket_that_is_listened_to_stays(folder: Folder) -> None:
    leave(folder, "one")
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(folder.address("one@agent"))
        agent.listen()
        assert folder.remove_stale("one")
        assert there(folder) == ["one@agent"]


def there(folder: Folder) -> list[str]:
    return sorted(each.name for each in Path(folder.path).iterdir())


def test_clearing_waits_for_nobody(folder: Folder, runtime: Path) -> None:
    leave(folder, "one")
    holder = os.open(runtime / "vestige", os.O_RDONLY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        folder.clear()
        assert folder.names() == ["one"]
        fcntl.flock(holder, fcntl.LOCK_UN)
        folder.clear()
        assert folder.names() == []
    finally:
        os.close(holder)


def test_a_full_queue_does_not_make_a_run_a_dead_one(folder: Folder) -> None:
    listener, _ = folder.listen("one")
    waiting = []
    with closing(listener):
        while True:
            end = socket.socket(socket.AF_UNIX)
            end.setblocking(False)
            waiting.append(end)
            if end.connect_ex(folder.address("one")):
                break
        with pytest.raises(UsageError, match="a run has that name"):
            folder.listen("one")
        for end in waiting:
            end.close()


LISTENS = """
from vestige.host.control.folder import open_folder
folder = open_folder(make=True)
kept = folder.listen("one")
print(flush=True)
input()
"""


def fill_queue(folder: Folder, name: str, stack: ExitStack) -> None:
    """Connect until no more are taken."""
    error = 0
    while not error:
        end = stack.enter_context(socket.socket(socket.AF_UNIX))
        end.setblocking(False)
        error = end.connect_ex(folder.address(name))
    assert error == errno.EAGAIN


def test_a_run_that_takes_no_connection_is_known_by_its_process(folder: Folder) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LISTENS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        with ExitStack() as stack:
            fill_queue(folder, "one", stack)
            assert folder.owner("one") == process.pid
            (told,) = map(stack.enter_context, everyone())
            found = stack.enter_context(find("one"))
            assert (told.pid, found.pid) == (process.pid, process.pid)
            with pytest.raises(SilentError, match="one: takes no request now"):
                found.ask({"do": "status"})
    finally:
        process.kill()
        process.communicate()
    assert folder.owner("one") is None
    assert folder.remove_stale("one")


def test_of_no_run_there_is_no_process(folder: Folder) -> None:
    leave(folder, "one")
    assert folder.owner("one") is None
    assert folder.owner("two") is None


def test_a_lock_is_of_one_socket(folder: Folder) -> None:
    """Whoever has the name next is not the process that had it."""
    process = subprocess.Popen(
        [sys.executable, "-c", LISTENS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        os.rename(folder.address("one"), folder.address("two"))  # noqa: PTH104
        leave(folder, "one")
        assert (folder.owner("one"), folder.owner("two")) == (None, process.pid)
    finally:
        process.kill()
        process.communicate()


def test_a_limit_of_files_is_no_fault_of_the_folder(
    monkeypatch: pytest.MonkeyPatch, runtime: Path
) -> None:
    def fail(_path: str) -> int:
        raise OSError(errno.EMFILE, "Too many open files", "/")

    monkeypatch.setattr(trust, "follow", fail)
    with pytest.raises(OSError, match="Too many open files") as refused:
        open_folder(make=True)
    line = line_of(refused.value)
    assert line is not None
    assert line.startswith(f"{runtime}/vestige: Too many open files; RLIMIT_NOFILE allows ")


def test_what_a_killed_run_left_is_taken_over(folder: Folder) -> None:
    leave(folder, "one")
    listener, identity = folder.listen("one")
    with closing(listener):
        assert folder.identity("one") == identity
        assert folder.names() == ["one"]


def test_what_a_killed_run_left_is_removed(folder: Folder) -> None:
    leave(folder, "one")
    listener, _ = folder.listen("two")
    with closing(listener):
        folder.remove_stale("one")
        folder.remove_stale("two")
        folder.remove_stale("three")
        assert folder.names() == ["two"]


def test_only_the_own_socket_is_removed(folder: Folder) -> None:
    """Somebody else may have removed it, and another run have the name since."""
    listener, identity = folder.listen("one")
    with closing(listener):
        folder.remove("one", identity)
        assert folder.names() == []
        later, _ = folder.listen("one")
        with closing(later):
            folder.remove("one", identity)
            assert folder.names() == ["one"]


def test_a_file_that_is_no_socket_stays(folder: Folder, runtime: Path) -> None:
    (runtime / "vestige" / "one").write_text("mine")
    with pytest.raises(OSError, match="in use"):
        folder.listen("one")
    folder.remove_stale("one")
    assert (runtime / "vestige" / "one").read_text() == "mine"


def test_a_long_path_is_no_matter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of a socket it may have 107 bytes."""
    deep = tmp_path / ("deep" * 40)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    found = open_folder(make=True)
    assert found is not None
    with closing(found):
        listener, _ = found.listen("n" * 64)
        listener.close()


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "PATIENCE", 0.05)


KEEPS_IT = r"/vestige: another process keeps it locked; end that one, or set XDG_RUNTIME_DIR"


@pytest.mark.usefixtures("patience")
def test_who_keeps_the_folder_locked_holds_nobody_up(folder: Folder) -> None:
    leave(folder, "killed")
    other = open_folder(make=True)
    assert other is not None
    with closing(other):
        fcntl.flock(other._descriptor, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match=KEEPS_IT):
            folder.listen("one")
        with pytest.raises(UsageError, match=KEEPS_IT):
            everyone()
    assert folder.names() == ["killed"]


def test_who_has_the_lock_for_a_moment_is_waited_for(folder: Folder) -> None:
    other = open_folder(make=True)
    assert other is not None
    fcntl.flock(other._descriptor, fcntl.LOCK_EX)
    with ThreadPoolExecutor() as pool:
        pool.submit(other.close)
        listener, _ = folder.listen("one")
    listener.close()


@contextmanager
def process(before: Callable[[], object]) -> Iterator[int]:
    """A child that has done this, and waits."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        kept = before()
        os.write(write, b"\0")
        signal.pause()
        os._exit(bool(kept))
    try:
        os.read(read, 1)
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(read)
        os.close(write)


@pytest.mark.parametrize("has_several", [True, False])
def test_whoever_ends_a_run_of_a_process_that_has_several_ends_no_other(
    folder: Folder, has_several: bool
) -> None:
    with process(lambda: None) as over:
        pass
    with process(lambda: None) as alive, process(os.setsid) as strange:
        alone = {f"{alive}": alive, f"{alive}-2": alive, f"{over}": over, f"{strange}": 0}
        names = [*alone, "web"]

        def serve() -> object:
            if has_several:
                set_thread_name(STEWARD)
            return [folder.listen(name) for name in names]

        with process(serve) as runs:
            for name in names:
                with find(name) as run:
                    assert run.pid == (alone.get(name, runs) if has_several else runs)

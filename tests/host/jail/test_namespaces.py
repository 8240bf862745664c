"""A fork into namespaces of its own, and a root without files."""

import errno
import os
import socket
import threading
from pathlib import Path

import pytest

from tests.host.jail.children import told_by_a_child
from vestige.host.jail import namespaces

NAMES = ("pid", "net", "ipc", "uts")


def own() -> list[int]:
    """The namespaces of this process."""
    return [Path(f"/proc/self/ns/{name}").stat().st_ino for name in NAMES]


def has_namespaces() -> bool:
    """Whether this user may have any."""

    def work() -> bool:
        forked = namespaces.fork()
        if forked.pid == 0:
            os._exit(0)
        os.waitpid(forked.pid, 0)
        return forked.problem is None

    return bool(told_by_a_child(work))


needs = pytest.mark.skipif(not has_namespaces(), reason="no namespaces may be made here")


@needs
def test_a_child_has_namespaces_of_its_own_and_is_the_first_process_there() -> None:
    theirs, number, user = told_by_a_child(
        lambda: (own(), os.getpid(), (os.getuid(), os.getgid())), apart=True
    )
    assert not set(theirs) & set(own())
    assert number == 1
    assert user == [os.getuid(), os.getgid()]


def mounts() -> int:
    """The namespace of mounts of this process."""
    return Path("/proc/self/ns/mnt").stat().st_ino


@needs
def test_a_child_has_the_mounts_of_all_until_it_leaves_its_files() -> None:
    """Nobody's unmounting is held up by one that waits."""

    def work() -> tuple[int, int]:
        place = os.open("/proc/self/ns", os.O_PATH)
        before = mounts()
        namespaces.leave_files()
        return before, os.stat("mnt", dir_fd=place).st_ino

    before, after = told_by_a_child(work, apart=True)
    assert before == mounts() != after


@needs
def test_a_child_has_no_network_but_a_loopback_that_is_down() -> None:
    found = told_by_a_child(lambda: [name for _, name in socket.if_nameindex()], apart=True)
    assert found == ["lo"]


@needs
def test_python_works_in_the_child_threads_too() -> None:
    def work() -> list[int]:
        numbers: list[int] = []
        thread = threading.Thread(target=lambda: numbers.append(threading.get_native_id()))
        thread.start()
        thread.join()
        return [*numbers, threading.get_native_id()]

    thread, main = told_by_a_child(work, apart=True)
    assert main == 1
    assert thread > 1


@needs
def test_no_name_of_a_file_is_left_and_none_can_be_made() -> None:
    def work() -> tuple[list[str], str, list[int]]:
        namespaces.leave_files()
        failures = []
        for path in ("/proc/self/status", "/dev/null", "../../../etc/passwd", "/made"):
            try:
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
            except OSError as error:
                failures.append(error.errno or 0)
        return [*map(str, Path("/").iterdir())], str(Path.cwd()), failures

    assert told_by_a_child(work, apart=True) == [[], "/", [errno.ENOENT] * 3 + [errno.EROFS]]


@needs
def test_files_outside_are_as_they_were(tmp_path: Path) -> None:
    told_by_a_child(namespaces.leave_files, apart=True)
    (tmp_path / "file").touch()
    assert Path("/dev/null").exists()


def test_where_they_are_refused_there_is_a_child_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(namespaces, "_fork", lambda flags: -errno.EPERM if flags else os.fork())
    forked = namespaces.fork()
    if forked.pid == 0:
        os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(forked.pid, 0)[1]) == 3
    assert forked.problem == os.strerror(errno.EPERM)


def test_where_no_process_can_be_had_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "_fork", lambda _flags: -errno.EAGAIN)
    with pytest.raises(BlockingIOError):
        namespaces.fork()

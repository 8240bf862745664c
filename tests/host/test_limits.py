"""What a limit refuses is told with its name and what raises it, wherever a start runs into it."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.host.harness import Payload, why_not
from tests.host.kernel_payload import Kernels
from vestige.cli.main import EXIT_FAILED, EXIT_USAGE, told
from vestige.errors import GuestError, UsageError
from vestige.host import images, limits
from vestige.host.backends import disks
from vestige.host.loop import session
from vestige.host.options import DiskOption

PATIENCE = 60
needs_kvm = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture
def tight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every limit is 65,536."""
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (65536, 65536))


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are no limits."""
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (resource.RLIM_INFINITY,) * 2)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EMFILE, "RLIMIT_NOFILE allows 65536 open files, raise it: ulimit -n 4096"),
        (errno.EFBIG, "RLIMIT_FSIZE allows 64 KiB of a file, raise it: ulimit -f unlimited"),
        (errno.ENOMEM, "RLIMIT_AS allows 64 KiB of addresses, raise it: ulimit -v unlimited, or "),
        (errno.EAGAIN, "RLIMIT_NPROC allows 65536 threads, raise it: ulimit -u unlimited"),
    ],
)
@pytest.mark.usefixtures("tight")
def test_a_limit_is_named_with_what_raises_it(number: int, words: str) -> None:
    assert words in limits.cure(number)
    error = limits.refusal("x", number)
    assert isinstance(error, UsageError)
    assert str(error).startswith(f"x: {os.strerror(number)}; RLIMIT_")


@pytest.mark.usefixtures("tight")
def test_a_ring_without_memory_lacks_locked_memory() -> None:
    line = str(limits.ring_refusal("x", errno.ENOMEM))
    assert line.endswith("RLIMIT_MEMLOCK allows 64 KiB of locked memory, raise it: ulimit -l 8192")


@pytest.mark.usefixtures("free")
def test_without_a_limit_the_machine_is_the_reason() -> None:
    assert "no memory is left" in str(limits.ring_refusal("x", errno.ENOMEM))
    assert isinstance(limits.refusal("x", errno.EINVAL), GuestError)
    assert limits.cure(errno.EMFILE) == ""


@pytest.mark.usefixtures("tight")
def test_a_line_about_a_file_gets_the_cure_of_the_limit_behind_it() -> None:
    def opens() -> int:
        try:
            raise OSError(errno.EMFILE, "Too many open files", "k")
        except OSError as error:
            raise UsageError(f"k: {error.strerror}; give a kernel") from error

    with pytest.raises(UsageError) as raised:
        opens()
    assert limits.line_of(raised.value) == (
        "k: Too many open files; RLIMIT_NOFILE allows 65536 open files, raise it: ulimit -n 4096"
    )


@pytest.mark.usefixtures("tight")
def test_a_locked_image_is_no_limit_of_threads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(512))
    taken = disks.open_disk(DiskOption(str(image)))
    try:
        assert told(lambda: disks.open_disk(DiskOption(str(image))).sectors) == EXIT_USAGE
    finally:
        taken.close()
    assert capsys.readouterr().err == (
        f"vestige: {image}: in use by another run; end that one first, or give both of them"
        " ,readonly\n"
    )


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (OSError(errno.EMFILE, "Too many open files"), EXIT_USAGE, "Too many open files; RLIMIT_N"),
        (OSError(errno.EIO, "Input/output error", "a\nb"), EXIT_USAGE, r"a\nb: Input/output error"),
        (MemoryError(), EXIT_USAGE, "no memory; RLIMIT_AS allows 64 KiB"),
        (RuntimeError("can't start new thread"), EXIT_USAGE, "no thread can be started; RLIMIT_"),
        (GuestError("two\nlines"), EXIT_FAILED, r"two\nlines"),
    ],
)
@pytest.mark.usefixtures("tight")
def test_every_error_of_a_start_has_its_line(
    error: Exception, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> int:
        raise error

    assert told(fail) == status
    assert capsys.readouterr().err.startswith(f"vestige: {line}")


def test_a_working_directory_that_is_gone_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(FileNotFoundError) as raised:
        Path.cwd()
    assert limits.line_of(raised.value) == (
        "the working directory is gone; change into one that exists"
    )


def test_a_bug_keeps_its_traceback() -> None:
    def fail() -> int:
        raise RuntimeError("dictionary changed size during iteration")

    with pytest.raises(RuntimeError, match="dictionary"):
        told(fail)


@pytest.mark.usefixtures("tight")
def test_who_needs_more_files_than_there_may_be_says_so() -> None:
    limits.require_files(65536, "the host")
    with pytest.raises(UsageError, match=r"^the host needs 65537 open files; .* ulimit -n 4096$"):
        limits.require_files(65537, "the host")


# ---- real limits ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> str:
    images.ensure()
    return Kernels(tmp_path_factory.mktemp("kernels"))("hello")


def run(limit: str, *words: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vestige.cli.main", "run", "--accel", "kvm", *words]
    return subprocess.run(
        [*before, "bash", "-c", f'ulimit {limit} && exec "$@"', "bash", *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.kvm
@needs_kvm
@pytest.mark.parametrize("files", range(6, 18, 2))
def test_few_open_files_end_a_start_wherever_they_run_out(kernel: str, files: int) -> None:
    done = run(f"-n {files}", "--kernel", kernel)
    assert done.returncode == 2
    assert done.stderr.endswith(
        f"; RLIMIT_NOFILE allows {files} open files, raise it: ulimit -n 4096\n"
    )
    assert done.stderr.count("\n") == 1


@pytest.mark.kvm
@needs_kvm
def test_little_locked_memory_ends_a_start(kernel: str, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(4096))
    unprivileged = ("setpriv", "--bounding-set=-ipc_lock") if os.geteuid() == 0 else ()
    done = run("-l 64", "--kernel", kernel, "--disk", str(disk), before=unprivileged)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(
        "; RLIMIT_MEMLOCK allows 64 KiB of locked memory, raise it: ulimit -l 8192\n"
    )


@pytest.mark.kvm
@needs_kvm
def test_a_small_address_space_ends_a_start(kernel: str) -> None:
    done = run("-v 300000", "--kernel", kernel)
    assert done.returncode == 2
    assert done.stderr.endswith("RLIMIT_AS allows 300000 KiB of addresses, raise it: ulimit -v"
                                " unlimited\n")  # fmt: skip


@pytest.mark.kvm
@needs_kvm
def test_a_thread_that_cannot_be_started_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError(limits.NO_THREAD)

    payload = Payload()
    try:
        monkeypatch.setattr(session, "start_new_thread", refuse)
        with pytest.raises(RuntimeError, match=limits.NO_THREAD):
            payload.start()
    finally:
        payload.close()

"""Whole runs with `--net`: how they end, what is said, and that nothing is left of passt."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.host import kernel_payload
from tests.host.harness import why_not
from vestige.host import images

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

COMMAND = [sys.executable, "-m", "vestige.cli.main", "run", "--accel", "kvm", "--memory", "64M"]
PATIENCE = 60


@pytest.fixture
def hello(tmp_path: Path) -> str:
    """A kernel that says something and powers off."""
    return kernel(tmp_path, "hello")


@pytest.fixture
def idle(tmp_path: Path) -> str:
    """A kernel that does nothing, for ever."""
    return kernel(tmp_path, "idle")


def kernel(folder: Path, name: str) -> str:
    images.ensure()
    kernel_payload.write(name, folder / name)
    return str(folder / name)


@pytest.fixture
def passt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder first on the PATH; in it passt, which says who it is and ends with its socket."""
    os.mkfifo(tmp_path / "began")
    program = tmp_path / "passt"
    program.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/began\nexec cat <&3 >/dev/null\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def run(*words: str) -> tuple[int, list[str]]:
    """Status and the lines of errors."""
    done = subprocess.run(
        [*COMMAND, *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stderr.decode().splitlines()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--net", "tap:vestigeX"), "vestige: --net tap:vestigeX: no such interface"),
        (("--net", "tap:lo"), "vestige: --net tap:lo: not a tap"),
        (("--net", "user", "--net", "tap:vestigeX"), "vestige: 2 times --net: "),
        (("--net", "slirp"), "vestige: --net slirp: give user (passt) or tap:NAME"),
    ],
)
def test_a_network_that_can_not_be_is_one_line(
    hello: str, words: tuple[str, ...], said: str
) -> None:
    status, lines = run("--kernel", hello, *words)
    assert status == 2
    assert len(lines) == 1
    assert lines[0].startswith(said)


def test_a_run_without_passt_is_one_line(hello: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    status, lines = run("--kernel", hello, "--net", "user")
    assert (status, lines) == (
        2, ["vestige: --net user: passt not found; install it: sudo apt install passt"]
    )  # fmt: skip


def test_a_run_whose_passt_ends_goes_on_and_says_so(idle: str, passt: Path) -> None:
    (passt / "passt").write_text("#!/bin/sh\necho no route >&2; exit 3\n")
    process = subprocess.Popen(
        [*COMMAND, "--kernel", idle, "--net", "user"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    with process.stderr as errors:
        assert errors.readline() == (
            "vestige: passt has ended (status 3): the guest's network is down;"
            " passt says: no route\n"
        )
        assert process.poll() is None
        process.terminate()
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM


def test_passt_has_nothing_open_that_is_its_callers(idle: str, passt: Path) -> None:
    (passt / "passt").write_text(
        f"#!/bin/sh\nls -l /proc/$$/fd >{passt}/seen.new\nmv {passt}/seen.new {passt}/seen\ncat\n"
    )
    (passt / "secret").write_text("secret")
    with (passt / "secret").open() as secret, (passt / "other").open("w") as other:
        process = subprocess.Popen(
            [*COMMAND, "--kernel", idle, "--net", "user", "--timeout", "1"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=(secret.fileno(), other.fileno()),
        )  # fmt: skip
        process.wait(PATIENCE)
    seen = (passt / "seen").read_text()
    assert f"{passt}/passt" in seen, "the script, which its shell reads"
    assert "secret" not in seen
    assert f"{passt}/other" not in seen


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_passt_does_not_outlive_its_run(idle: str, passt: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--kernel", idle, "--net", "user"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    watch = os.pidfd_open(int((passt / "began").read_text()))
    process.send_signal(number)
    process.wait(PATIENCE)
    ended, _, _ = select.select([watch], [], [], PATIENCE)
    os.close(watch)
    assert ended

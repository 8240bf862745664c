"""What cannot be printed: one line at most, the right status, nothing of Python's at the end."""

import subprocess
import sys

import pytest

from vestige.host.messages import LONGEST_LINE, bounded, tell

PATIENCE = 60
COMMAND = f"{sys.executable} -m vestige.cli.main"
FULL = (
    b"vestige: standard output can't be written: No space left on device; make room or send it"
    b" elsewhere\n"
)


def shell(words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{COMMAND} {words}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize("words", ["--help", "run --help", "doctor"])
def test_a_full_disk_is_told_in_a_line(words: str) -> None:
    done = shell(f"{words} >/dev/full")
    assert (done.returncode, done.stderr) == (2, FULL)


@pytest.mark.parametrize("words", ["--help", "run --help", "doctor"])
def test_a_pipe_that_nobody_reads_ends_a_command_without_a_word(words: str) -> None:
    done = shell(f"{words} | true")
    assert done.returncode in (0, 1)  # 0: `true` was slower
    assert (done.stdout, done.stderr) == (b"", b"")


@pytest.mark.parametrize(
    ("words", "status"), [("frob", 2), ("--help", 0), ("run --accel kvm --kernel /nothing", 2)]
)
@pytest.mark.parametrize("errors", ["2>/dev/full", "2>&-"])
def test_a_line_that_cannot_be_told_changes_no_status(words: str, errors: str, status: int) -> None:
    done = shell(f"{words} {errors}")
    assert (done.returncode, done.stderr) == (status, b"")


@pytest.mark.parametrize("files", ["<&-", ">&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    ("words", "status"),
    [("--help", 0), ("frob", 2), ("doctor", None), ("run --accel kvm --kernel /nothing", 2)],
)
def test_commands_do_without_standard_files(words: str, status: int | None, files: str) -> None:
    done = shell(f"{words} {files}")
    assert done.returncode == status or (status is None and done.returncode in (0, 1))
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("f\n\x1b[31mx: waiting", r"f\n\x1b[31mx: waiting"),
        ("\r\t\x00\x7f\x9b", r"\r\t\x00\x7f\x9b"),
        ("a\u2028b\u202ec\udcff", r"a\u2028b\u202ec\udcff"),
        ("größe \\n", "größe \\n"),
    ],
)
def test_whatever_is_told_is_one_line_that_can_be_printed(
    text: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tell(text)
    assert capsys.readouterr().err == f"vestige: {line}\n"


@pytest.mark.parametrize(
    ("words", "begins", "ends"),
    [
        (("x" * 100_000,), "vestige: 'xxx", "xxx' is not a command; there are "),
        (("run", "--memory", "x" * 100_000), "vestige: --memory xxx", "K, M or G, like 512M\n"),
        (("run", "--memory", "x " * 50_000), "vestige: --memory x x", "K, M or G, like 512M\n"),
        (("run", "--disk", "d,bus=" + "x" * 100_000), "vestige: --disk d,bus=xx", "virtio, ide\n"),
        (("stop", "x" * 100_000), "vestige: no run 'xx", "\n"),
        (("run", *("x" * 999 for _ in range(99))), "vestige: unrecognized", "--help`\n"),
        (("run", "--memory", "\n" * 100_000), "vestige: --memory \\n\\n", "like 512M\n"),
    ],
)
def test_what_was_given_is_repeated_in_part(words: tuple[str, ...], begins: str, ends: str) -> None:
    command = [*COMMAND.split(), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(begins)
    assert ends in done.stderr[-200:]
    assert len(done.stderr) < LONGEST_LINE + 100
    assert " characters ...]" in done.stderr


def test_a_line_of_a_usual_length_is_told_as_it_is() -> None:
    line = f"{'/long/path' * 50}: no such file; give {'one ' * 100}"
    assert bounded(line) == line

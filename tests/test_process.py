"""What a process of ours makes of closed files, of any encoding, and of Ctrl-C."""

import os
import signal
import subprocess
import sys

import pytest

PATIENCE = 60
SCRIPT = "import os, sys; from vestige.process import prepare; prepare(); "
CLOSED = ("<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-")


def run(script: str, files: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run `script` in a prepared process that a shell starts with `files`."""
    return subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {files}', sys.executable, SCRIPT + script],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize("files", [*CLOSED, ""])
def test_closed_standard_files_are_not_taken_by_others(files: str) -> None:
    assert run("sys.exit(os.open('/', os.O_RDONLY))", files).returncode >= 3


@pytest.mark.parametrize("files", CLOSED)
def test_children_have_no_closed_standard_files_either(files: str) -> None:
    script = "os.execv('/bin/sh', ['sh', '-c', 'exec 3<&0 3>&1 3>&2 && exit 7'])"
    assert run(script, files).returncode == 7


@pytest.mark.parametrize("files", CLOSED)
def test_printing_into_closed_files_goes_nowhere(files: str) -> None:
    done = run("print('out'); print('err', file=sys.stderr); sys.stdin.read(); sys.exit(7)", files)
    assert done.returncode == 7
    assert done.stdout == (b"" if ">&-" in files.replace("2>&-", "") else b"out\n")
    assert done.stderr == (b"" if "2>&-" in files else b"err\n")


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("ascii", rb"\udcff \xe4 \u2192"),
        ("latin-1", b"\\udcff \xe4 \\u2192"),
        ("utf-8:strict", b"\\udcff \xc3\xa4 \xe2\x86\x92"),
    ],
)
def test_what_an_encoding_lacks_is_printed_as_escapes(encoding: str, printed: bytes) -> None:
    text = r"'\udcff \xe4 \u2192'"
    done = run(f"print({text}); print({text}, file=sys.stderr)", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stdout, done.stderr) == (0, printed + b"\n", printed + b"\n")


INTERRUPTED = "import signal; os.kill(os.getpid(), signal.SIGINT); sys.exit(7)"


def test_ctrl_c_ends_a_process_at_once() -> None:
    child = [sys.executable, "-c", SCRIPT + INTERRUPTED]
    done = subprocess.run(child, capture_output=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


def test_ctrl_c_is_ignored_where_it_was() -> None:
    done = subprocess.run(
        ["sh", "-c", 'trap "" INT; exec "$0" -c "$1"', sys.executable, SCRIPT + INTERRUPTED],
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 7

"""What a process of ours makes of closed files, of any encoding, and of Ctrl-C."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vestige.process import search_path

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


# ---- an empty part of PYTHONPATH ------------------------------------------------------------

PROGRAM = Path(__file__).parents[1] / "bin" / "vestige"


def helped(path: str, folder: Path) -> str:
    """What `vestige build --help` prints in `folder` with that PYTHONPATH."""
    return subprocess.run(
        [sys.executable, PROGRAM, "build", "--help"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    ).stdout


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A working directory with modules that print that they have been imported."""
    (tmp_path / "vestige").mkdir()
    for name in ("vestige/__init__.py", "textwrap.py"):
        (tmp_path / name).write_text("print('imported'); raise SystemExit")
    return tmp_path


@pytest.mark.parametrize("path", [":/x", "/x:", "/x::/y", ":"])
def test_the_working_directory_is_not_imported_from(path: str, trap: Path) -> None:
    assert helped(path, trap).startswith("usage: vestige build")


@pytest.mark.parametrize("path", [":{folder}", ":.", "{folder}"])
def test_a_directory_that_is_named_is_imported_from(path: str, trap: Path) -> None:
    assert helped(path.format(folder=trap), trap) == "imported\n"


@pytest.mark.parametrize("folder", [PROGRAM.parents[1], Path(os.__file__).parent])
def test_a_working_directory_that_python_has_anyway_stays(folder: Path) -> None:
    assert helped(":/x", folder).startswith("usage: vestige build")


def test_a_child_is_not_told_of_the_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", ":/x::.")
    assert search_path("/own") == "/own:/x:."
    monkeypatch.delenv("PYTHONPATH")
    assert search_path() == ""

"""What `vestige run` is given and can't have: one line, status 2, and nothing is touched."""

import fcntl
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host import iso
from tests.machine import images
from vestige.cli import main as cli

VARIABLES = (bytes(0x20) + (4096).to_bytes(8, "little") + b"_FVH").ljust(4096)
KERNEL = ("--kernel", "kernel")
UEFI = ("--firmware", "OVMF_CODE.fd", "--disk", "disk", "--vga", "none")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Files of each kind, one of variables and a socket in use, and what is written, with words."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    images.write(Path(), images.bzimage(), "kernel")
    Path("OVMF_CODE.fd").write_bytes(bytes(4096))
    Path("OVMF_VARS.fd").write_bytes(VARIABLES)
    Path("disk").write_bytes(bytes(1 << 16))
    Path("cut.iso").write_bytes(iso.disc(b"", b"A")[:-1024])
    Path("large.vars").write_bytes(VARIABLES.ljust(8192))
    Path("used.vars").write_bytes(VARIABLES)
    Path("password").write_text("secret\n")
    Path("password").chmod(0o644)
    for name in ("console", "stats"):
        Path(name).write_text("precious")
    with socket.socket(socket.AF_UNIX) as listener, Path("used.vars").open("rb") as used:
        listener.bind("used.socket")
        listener.listen()
        fcntl.flock(used, fcntl.LOCK_EX)
        yield


def found() -> dict[str, bytes | None]:
    """All that is there."""
    return {path.name: path.read_bytes() if path.is_file() else None for path in Path().iterdir()}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((*KERNEL, "--cdrom", "disk"), "disk: no ISO image"),
        ((*KERNEL, "--cdrom", "cut.iso"), "cut.iso: 818176 bytes, not a multiple of 2048"),
        ((*KERNEL, "--disk", "cut.iso"), "cut.iso: an ISO 9660 image, which a write would ruin"),
        ((*UEFI, "--variables", "large.vars"), "--variables large.vars: 8192 bytes"),
        ((*UEFI, "--variables", "used.vars"), "--variables used.vars: in use by another run"),
        ((*UEFI, "--variables", "disk"), "--variables disk: given twice, as --disk disk too"),
        (
            (*UEFI, "--variables", "new.vars", "--port", "p=new", "--display", "vnc"),
            "--display: a PC's screen; give --machine pc without --vga none",
        ),
        (
            (*UEFI, "--variables", "new.vars", "--port", "p=new", "--keys", "unix:used.socket"),
            "--keys unix:used.socket: another process listens",
        ),
        (
            (*KERNEL, "--port", "p=new", "--display", "vnc:unix:used.socket"),
            "--display vnc:unix:used.socket: another process listens",
        ),
        (
            (*KERNEL, "--port", "p=new", "--display", "vnc,password-file=password"),
            "--display: password-file=password: others can read or change it; chmod 600 password",
        ),
        ((*KERNEL, "--display", "text"), "--display text: standard input is no terminal"),
    ],
)
def test_what_can_not_be_had_gets_one_line_and_nothing_is_touched(
    words: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = found()
    common = ("run", "--accel", "kvm", "--machine", "pc", "--stats", "stats")
    console = () if "text" in words else ("--console", "console")
    assert cli.main([*common, *console, *words]) == cli.EXIT_USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"vestige: {line}")
    assert shown.err.count("\n") == 1
    assert found() == before

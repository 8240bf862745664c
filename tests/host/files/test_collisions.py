"""One file that is named twice for a run, by whichever names."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vestige.errors import UsageError
from vestige.host.files import collisions
from vestige.host.options import ConsoleOption, DiskOption, PortOption, RunOptions

PATIENCE = 60


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`disk` has three names: `link` and `hard`, too."""
    monkeypatch.chdir(tmp_path)
    for name in ("disk", "other", "kernel", "initrd"):
        Path(name).write_bytes(bytes(512))
    Path("link").symlink_to("disk")
    Path("hard").hardlink_to("disk")


def options(*disks: DiskOption, **others: object) -> RunOptions:
    return RunOptions("kernel", disks=disks, **others)  # type: ignore[arg-type]


DISK = DiskOption("disk")
UNIX = ConsoleOption("unix:s")


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (options(DISK, DISK), "--disk disk: given twice; give it once, or both of them ,readonly"),
        (options(DISK, DiskOption("link")), "--disk link: given twice, as --disk disk too; give"),
        (options(DISK, DiskOption("hard", "ide")), "--disk hard: given twice, as --disk disk too"),
        (options(DISK, DiskOption("./disk", read_only=True)), "--disk ./disk: given twice, as"),
        (options(DISK, stats="link"), "--stats link: this would overwrite --disk disk; give anoth"),
        (options(DISK, console=ConsoleOption("hard")), "--console hard: this would overwrite --di"),
        (options(DISK, ports=(PortOption("p", "disk"),)), "--port p=disk: this would overwrite"),
        (options(DiskOption("disk", read_only=True), stats="disk"), "this would overwrite"),
        (options(stats="kernel"), "--stats kernel: this would overwrite --kernel kernel; give"),
        (options(stats="initrd", initrd="initrd"), "this would overwrite --initrd initrd"),
        (options(DISK, initrd="link"), "--initrd link: the guest may write it, as --disk disk; ad"),
        (options(DiskOption("kernel")), "--kernel kernel: the guest may write it, as --disk kern"),
        (options(DISK, variables="link"), "twice, as --disk disk too; give another file"),
        (options(DISK, variables="hard"), "--variables hard: given twice, as --disk disk too; gi"),
        (options(initrd="link", variables="disk"), "as --variables disk; give another file"),
        (options(keys="link", variables="disk"), "--keys link: the guest may write it, as --va"),
        (options(stats="new", console=ConsoleOption("./new")), "this would overwrite --console ./"),
        (options(console=UNIX, keys="unix:./s"), "--keys unix:./s: --console unix:s listens there"),
        (options(console=UNIX, ports=(PortOption("p", "unix:s"),)), "--port p=unix:s: --console u"),
    ],
)  # fmt: skip
def test_a_file_that_would_be_lost_is_refused_by_name(asked: RunOptions, line: str) -> None:
    with pytest.raises(UsageError) as refused:
        collisions.check(asked)
    assert line in str(refused.value)


@pytest.mark.parametrize(
    "asked",
    [
        options(DISK, DiskOption("other")),
        options(DiskOption("disk", read_only=True), DiskOption("link", read_only=True)),
        options(DiskOption("disk", read_only=True), initrd="disk"),
        options(DISK, stats="new", console=ConsoleOption("newer")),
        options(stats="/dev/null", console=ConsoleOption("/dev/null")),
        options(DISK, console=ConsoleOption("unix:disk")),
        options(console=UNIX, ports=(PortOption("p", "unix:t"),), keys="s"),
        options(DiskOption("vfio:0000:00:10.0")),
        options(DiskOption("missing"), stats="a/missing/folder"),
        options(DiskOption("\0"), DiskOption("disk/below")),
        options(),
    ],
)
def test_other_files_are_nobodys_business_here(asked: RunOptions) -> None:
    collisions.check(asked)


def test_a_block_device_is_itself_by_any_name() -> None:
    device = next((path for path in Path("/dev").iterdir() if path.is_block_device()), None)
    if device is None:
        pytest.skip("needs a block device")
    Path("name").symlink_to(device)
    with pytest.raises(UsageError, match="given twice"):
        collisions.check(options(DiskOption(str(device)), DiskOption("name")))


@pytest.fixture
def loop_device() -> Iterator[str]:
    """Of `disk`."""
    command = ["losetup", "--show", "-f", "disk"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode:
        pytest.skip("needs a free loop device, and root")
    yield done.stdout.strip()
    subprocess.run(["losetup", "-d", done.stdout.strip()], timeout=PATIENCE, check=True)


@pytest.mark.xdist_group("loop devices")
def test_a_loop_device_is_its_file(loop_device: str) -> None:
    with pytest.raises(UsageError, match=f"--disk {loop_device}: given twice, as --disk disk too"):
        collisions.check(options(DISK, DiskOption(loop_device)))
    with pytest.raises(
        UsageError, match=f"--stats hard: this would overwrite --disk {loop_device}"
    ):
        collisions.check(options(DiskOption(loop_device), stats="hard"))
    collisions.check(options(DiskOption(loop_device), stats="other"))


def shell(words: str) -> subprocess.CompletedProcess[bytes]:
    """`vestige run` with `words`; its kernel is none, which ends it."""
    command = f'"$0" -m vestige.cli.main run --accel kvm --kernel kernel {words}'
    return subprocess.run(
        ["sh", "-c", command, sys.executable],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--disk disk >>disk", b"--disk disk: standard output goes into this image; send it else"),
        ("--disk disk 2>>disk", b"--disk disk: standard error goes into this image; send it elsew"),
        ("--disk disk --stats /dev/stdout >>disk", b"--disk disk: --stats /dev/stdout goes into"),
        ("--disk disk --stats /dev/fd/3 3>>disk", b"--disk disk: --stats /dev/fd/3 goes into thi"),
        ("--console other >>other", b"--console other: standard output goes into this file, which"
         b" would be emptied; give another file, or /dev/stdout"),
        ("--stats ./other >>other", b"--stats ./other: standard output goes into this file, which"),
        ("--port p=other 2>>other", b"--port p=other: standard error goes into this file, which w"),
        ("--console other --stats /dev/fd/3 3>>other", b"--console other: --stats /dev/fd/3 goes"),
    ],
)  # fmt: skip
def test_what_is_written_to_an_open_file_is_no_file_of_the_run(words: str, line: bytes) -> None:
    done = shell(words)
    left = [Path(name).read_bytes() for name in ("disk", "other")]
    assert done.returncode == 2
    assert line in done.stderr + b"".join(left)
    assert all(each.startswith(bytes(512)) for each in left)


@pytest.mark.parametrize(
    "words",
    [
        "--stats /dev/stdout >>other",
        "--console /dev/stdout --stats /dev/fd/1 --port p=/proc/self/fd/1 >>other",
        "--console /dev/stderr 2>>other",
    ],
)
def test_standard_files_may_be_named(words: str) -> None:
    done = shell(words)
    assert b"not a bzImage" in done.stderr + Path("other").read_bytes()


@pytest.mark.parametrize("words", ["--disk disk --disk link", "--disk disk --stats disk"])
def test_nothing_is_emptied_before_that_is_told(words: str) -> None:
    Path("disk").write_bytes(b"x" * 512)
    assert shell(words).returncode == 2
    assert Path("disk").read_bytes() == b"x" * 512


def test_in_a_removed_working_directory_opening_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    collisions.check(options(DISK, stats="new", console=ConsoleOption("./new")))


KEYS = (
    "import sys; from vestige.host.files import collisions; from vestige.host.options import *;"
    " from vestige.host.viewer.option import parse_display;"
    " keys, console, *more = sys.argv[1:]; display = parse_display(*more) if more else None;"
    " asked = RunOptions('kernel', machine='pc', keys=keys, console=parse_console(console),"
    " display=display); collisions.check(asked)"
)
SHARED = "standard input is the console's; give another file, or the console another place"
SHOWN = "standard input is the screen's; give another file, or --display vnc"


def shares_input(
    keys: str, console: str, stdin: int, display: str | None = None, line: str = SHARED
) -> bool:
    """Whether keys of there are refused by this line beside this console and standard input."""
    words = (keys, console) if display is None else (keys, console, display)
    done = subprocess.run(
        [sys.executable, "-c", KEYS, *words],
        stdin=stdin,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(collisions.__file__).parents[3])},
    )
    assert done.returncode == int(line.encode() in done.stderr), done.stderr
    return bool(done.returncode)


@pytest.mark.parametrize(
    ("console", "shared"), [("stdio", True), ("virtio", True), ("log", False), ("unix:s", False)]
)
def test_keys_do_not_come_from_the_console_s_input(console: str, shared: bool) -> None:
    reader, writer = os.pipe()
    controller, terminal = os.openpty()
    try:
        assert shares_input("/dev/stdin", console, reader) == shared
        assert shares_input("/proc/self/fd/0", console, terminal) == shared
        assert shares_input(os.ttyname(terminal), console, terminal) == shared
        assert not shares_input(os.ttyname(terminal), console, reader)
    finally:
        for each in (reader, writer, controller, terminal):
            os.close(each)


@pytest.mark.parametrize(("display", "shared"), [("text", True), ("vnc", False)])
def test_keys_do_not_come_from_the_terminal_of_the_screen(display: str, shared: bool) -> None:
    controller, terminal = os.openpty()
    try:
        for name in ("/dev/stdin", os.ttyname(terminal)):
            assert shares_input(name, "log", terminal, display, SHOWN) == shared
    finally:
        for each in (controller, terminal):
            os.close(each)


def test_a_file_that_is_standard_input_has_keys_for_all() -> None:
    with Path("other").open("rb") as file:
        assert not shares_input("/dev/stdin", "stdio", file.fileno())
        assert not shares_input("other", "stdio", file.fileno())

"""The screen of a PC on this KVM as VNC viewers see it, one of them vncdotool, which isn't ours."""

import fcntl
import importlib.util
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.host import graphics_sector
from tests.host.harness import PATIENCE, why_not
from tests.host.test_graphics_runs import NAME, Ours, ended
from tests.viewer.rfb.client import OPENING, Picture, encodings, key, request
from tests.viewer.test_drawn import Terminal
from vestige.host.options import BIOS, FIRMWARES, VGA_BIOS
from vestige.host.viewer.inner import MOST_CLIENTS
from vestige.viewer.drawn import END
from vestige.viewer.rfb.spec import VERSION, Encoding

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.skipif(
        not (Path(FIRMWARES[BIOS]).exists() and Path(VGA_BIOS).exists()), reason="needs seabios"
    ),
]
MODES = {0x144: (1024, 768), 0x103: (800, 600), 0x10E: (320, 200), 0x13: (640, 400)}
PASSWORD = "swordf1s"
ENTER = 0xFF0D
HAS_JUDGE = importlib.util.find_spec("vncdotool") is not None


# Echoes what is typed, by the BIOS.
ECHO = (
    bytes.fromhex(
        "31c0"  # xor ax, ax
        "8ed8"  # mov ds, ax
        "be1d7c"  # mov si, 0x7c00 + 0x1d
        "ac"  # next: lodsb
        "84c0"  # test al, al
        "7407"  # jz echo
        "b40e"  # mov ah, 0x0e
        "cd10"  # int 0x10
        "ebf5"  # jmp next
        "90"  # nop
        "b400"  # echo: mov ah, 0
        "cd16"  # int 0x16
        "b40e"  # mov ah, 0x0e
        "cd10"  # int 0x10
        "ebf6"  # jmp echo
    )
    + b"type: \0"
)
# Resets the machine at a key, in place of echo and what follows.
RESET = (
    ECHO[:0x13]
    + bytes.fromhex(
        "b400"  # mov ah, 0
        "cd16"  # int 0x16
        "baf90c"  # mov dx, 0xcf9
        "b006"  # mov al, 6
        "ee"  # out dx, al
    )
    + b"reset at a key\0"
)


def connected(path: Path) -> socket.socket:
    """One that looks on at a Unix socket, and has not said a word."""
    end = socket.socket(socket.AF_UNIX)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            end.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            assert time.monotonic() < deadline
        else:
            end.settimeout(PATIENCE)  # not before: where many connect at once, this waits
            return end


class Seen:
    """The run's screen there, as our own client has it."""

    def __init__(self, path: Path) -> None:
        self.socket = connected(path)
        self.picture = Picture()
        self._data = b""
        self.socket.sendall(OPENING)
        opening = self._read(18)
        assert opening[:12] == VERSION
        self._until(self.picture.start)
        self.socket.sendall(encodings(Encoding.ZRLE, Encoding.DESKTOP_SIZE))

    def _read(self, size: int) -> bytes:
        while len(self._data) < size:
            more = self.socket.recv(1 << 16)
            assert more
            self._data += more
        data, self._data = self._data[:size], self._data[size:]
        return data

    def _until(self, take: Callable[[bytes], int]) -> None:
        while True:
            try:
                used = take(self._data)
            except (IndexError, struct.error):  # it isn't whole
                more = self.socket.recv(1 << 16)
                assert more, "the viewer was let go"
                self._data += more
            else:
                self._data = self._data[used:]
                return

    def look(self, *, again: bool = True) -> None:
        """Ask for an update, and wait for it."""
        self.socket.sendall(request(16_384, 16_384, again=again))
        self._until(self.picture.take)

    def dots(self) -> bytes:
        """Of the picture, red, green and blue each."""
        rows = b"".join(self.picture.rows)
        dots = bytearray(len(rows) // 4 * 3)
        for part in range(3):
            dots[part::3] = rows[2 - part :: 4]
        return bytes(dots)

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One that goes through MODES, each with the next key."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    path = tmp_path / "disk.img"
    path.write_bytes(graphics_sector.disk(list(MODES)))
    return path


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def vncdo(port: int, *words: str) -> None:
    """What vncdotool does there."""
    program = "import sys; from vncdotool.command import vncdo; sys.exit(vncdo())"
    server = ("-s", f"127.0.0.1::{port}", "-p", PASSWORD, "-t", "60")
    command = (sys.executable, "-W", "ignore", "-c", program, *server, *words)
    done = subprocess.run(command, check=False, capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not HAS_JUDGE, reason="needs vncdotool")
def test_another_viewer_sees_what_there_is_and_its_keys_reach_the_guest(
    disk: Path, tmp_path: Path
) -> None:
    from PIL import Image  # noqa: PLC0415 - comes with vncdotool

    password = tmp_path / "password"
    password.write_text(f"{PASSWORD}\n")
    password.chmod(0o600)
    port = free_port()
    run = Ours(disk, "--display", f"vnc:127.0.0.1:{port},password-file={password}")
    with ended(run.process):
        for number, (mode, size) in enumerate(MODES.items(), 1):
            run.wait(number)
            path = tmp_path / "picture.png"
            vncdo(port, "capture", str(path))
            picture = Image.open(path).convert("RGB")
            assert (*picture.size, picture.tobytes()) == run.picture(), hex(mode)
            assert picture.size == size
            vncdo(port, "key", "enter")


def test_several_look_on_while_others_stall_talk_nonsense_or_say_nothing(
    disk: Path, tmp_path: Path
) -> None:
    path = tmp_path / "screen"
    run = Ours(disk, "--display", f"vnc:unix:{path}")
    with ended(run.process):
        run.wait(1)
        assert path.stat().st_mode & 0o777 == 0o600
        silent = [connected(path) for _ in range(2 * MOST_CLIENTS)]
        with closing(Seen(path)) as first, closing(Seen(path)) as second:
            stalls = Seen(path)
            for _ in range(100):
                stalls.socket.sendall(request(1024, 768, again=False))
            nonsense = Seen(path)
            nonsense.socket.sendall(b"\xee" * 1000)
            assert not nonsense.socket.recv(1)
            for number in range(1, len(MODES) + 1):
                run.wait(number)
                size = list(MODES.values())[number - 1]
                for viewer in (first, second):
                    while (viewer.picture.width, viewer.picture.height, viewer.dots()) != (
                        run.picture()
                    ):
                        viewer.look()
                    assert (viewer.picture.width, viewer.picture.height) == size
                first.socket.sendall(key(ENTER, down=True) + key(ENTER, down=False))
            stalls.close()
        for each in silent:
            each.close()


def test_a_viewer_stays_while_the_guest_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    disk, path = tmp_path / "disk.img", tmp_path / "screen"
    disk.write_bytes(RESET.ljust(510, b"\0") + b"\x55\xaa" + bytes((1 << 20) - 512))
    run = Ours(disk, "--display", f"vnc:unix:{path}", "--on-reboot", "restart")
    assert run.process.stdout is not None
    with ended(run.process), closing(Seen(path)) as viewer:
        said = b""
        for restarts in range(1, 3):
            while said.count(b"reset at a key") < restarts:
                said += os.read(run.process.stdout.fileno(), 1 << 12)
            viewer.look(again=False)
            while (viewer.picture.width, viewer.picture.height, viewer.dots()) != run.picture():
                viewer.look()
            viewer.socket.sendall(key(ENTER, down=True) + key(ENTER, down=False))


def test_the_guest_goes_on_without_a_viewer_and_has_one_again_once_it_is_thawed(
    disk: Path, tmp_path: Path
) -> None:
    """The socket goes with the run. What a viewer sees of a snapshot is the thawed run's own."""
    path = tmp_path / "screen"
    run = Ours(disk, "--display", f"vnc:unix:{path}")
    with ended(run.process):
        run.wait(1)
        with closing(Seen(path)) as viewer:
            viewer.look(again=False)
            os.kill(viewer_of(run.process.pid), signal.SIGKILL)
            assert not viewer.socket.recv(1)
        run.press()
        run.wait(2)
        before = run.picture()
        freeze(run, tmp_path / "first")
        assert not path.exists()
    thaw(run, tmp_path / "first", "--display", f"vnc:unix:{path}")
    with ended(run.process):
        with closing(Seen(path)) as viewer:
            viewer.look(again=False)
            while (viewer.picture.width, viewer.picture.height, viewer.dots()) != before:
                viewer.look()
            viewer.socket.sendall(key(ENTER, down=True) + key(ENTER, down=False))
            run.wait(3)
            assert run.picture() != before
            while (viewer.picture.width, viewer.picture.height, viewer.dots()) != run.picture():
                viewer.look()
        last = run.picture()
        freeze(run, tmp_path / "second")
    for snapshot, picture in (("second", last), ("first", before)):
        thaw(run, tmp_path / snapshot)
        with ended(run.process):
            while not run.shows(*picture[:2]):
                assert run.process.poll() is None
            assert run.picture() == picture


def freeze(run: Ours, snapshot: Path) -> None:
    """And end it."""
    command = (sys.executable, "-m", "vestige.cli.main", "freeze", NAME, str(snapshot), "--stop")
    assert subprocess.run(command, check=False, timeout=PATIENCE).returncode == 0
    assert run.process.wait(PATIENCE) == 128 + signal.SIGTERM


def thaw(run: Ours, snapshot: Path, *words: str) -> None:
    """Have it go on."""
    command = (sys.executable, "-m", "vestige.cli.main", "thaw", str(snapshot), "--name", NAME)
    run.process = subprocess.Popen(
        (*command, *words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )


def viewer_of(run: int) -> int:
    """The number of its viewer's process."""
    (found,) = [
        int(place.name)
        for place in Path("/proc").iterdir()
        if place.name.isdigit() and _is_viewer(place, run)
    ]
    return found


def _is_viewer(place: Path, run: int) -> bool:
    try:
        text = (place / "stat").read_text()
    except OSError:  # it has ended
        return False
    name, _, rest = text.partition("(")[2].rpartition(")")
    return name == "the viewer" and int(rest.split()[1]) == run


def test_a_terminal_is_the_screen_and_the_keyboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    disk = tmp_path / "disk.img"
    disk.write_bytes(ECHO.ljust(510, b"\0") + b"\x55\xaa" + bytes((1 << 20) - 512))
    near, far = os.openpty()
    termios.tcsetwinsize(far, (25, 80))
    before = termios.tcgetattr(far)
    command = (sys.executable, "-m", "vestige.cli.main", "run", "--accel", "kvm", "--name", "tty")
    words = ("--memory", "64M", "--machine", "pc", "--disk", f"{disk},bus=ide", "--timeout", "100")
    process = subprocess.Popen(
        (*command, *words, "--display", "text"),
        stdin=far,
        stdout=far,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - one thread
    )
    with ended(process):
        seen = Terminal(80, 25)

        def until(words: str) -> None:
            deadline = time.monotonic() + PATIENCE
            while not any(words in seen.line(row) for row in range(25)):
                assert time.monotonic() < deadline, seen.line(0)
                if select.select([near], [], [], 1)[0]:
                    seen.take(os.read(near, 1 << 16))

        until("type: ")
        os.write(near, b"Hi!\x1b[D")
        until("type: Hi!")
        termios.tcsetwinsize(far, (10, 80))
        until("make the terminal as large")
        os.write(near, b"\x1d")  # Ctrl-]
        assert process.wait(PATIENCE) == 128 + signal.SIGINT
        assert os.read(near, 1 << 16).endswith(END.replace("\n", "\r\n").encode())
    assert termios.tcgetattr(far) == before
    for end in (near, far):
        os.close(end)

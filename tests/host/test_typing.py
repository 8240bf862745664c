"""What is typed at a PC, as SeaBIOS reads it: its own driver of the keyboard is the judge."""

import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.harness import PATIENCE, why_not
from vestige.host.options import BIOS, FIRMWARES

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.skipif(not Path(FIRMWARES[BIOS]).exists(), reason="needs seabios"),
]

VESTIGE = [sys.executable, "-m", "vestige.cli.main"]
SECTOR = 512
# Sends what INT 16h reads to the serial port; after a full stop powers off. Before, it waits for a
# tick of the BIOS's clock, at which SeaBIOS says the last that it has to say on that port.
ECHO = bytes.fromhex(
    "31c0"  # xor ax, ax
    "8ed8"  # mov ds, ax
    "a06c04"  # mov al, [0x46c]: ticks
    "3a066c04"  # wait: cmp al, [0x46c]
    "74fa"  # je wait
    "b400"  # next: mov ah, 0
    "cd16"  # int 0x16: the next key's character
    "baf803"  # mov dx, 0x3f8
    "ee"  # out dx, al
    "3c2e"  # cmp al, '.'
    "75f4"  # jne next
    "ba0406"  # mov dx, 0x604: the PIIX4's PM1 control, where SeaBIOS puts it
    "b80020"  # mov ax, 0x2000: soft off
    "ef"  # out dx, ax
    "f4"  # hlt
    "ebfd"  # jmp to that
)
PRINTABLE = "".join(each for each in string.printable[:95] if each not in "\\.")
READY = b"Booting from Hard Disk...\r\n"


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """Of a run whose first sector is ECHO."""
    disk = tmp_path / "disk.img"
    sector = ECHO.ljust(SECTOR - 2, b"\0") + b"\x55\xaa"
    disk.write_bytes(sector.ljust(1 << 20, b"\0"))
    machine = ("--machine", "pc", "--vga", "none", "--memory", "64M", "--timeout", str(PATIENCE))
    return [*VESTIGE, "run", "--accel", "kvm", *machine, "--disk", f"{disk},bus=ide"]


@pytest.fixture
def guest(words: list[str]) -> "Iterator[subprocess.Popen[bytes]]":
    """One that is ready to be typed at, by the name `typed`."""
    process = subprocess.Popen(
        [*words, "--name", "typed"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        while process.stdout.readline() != READY:
            assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.communicate()


def types(*words: str) -> tuple[int, bytes]:
    done = subprocess.run(
        [*VESTIGE, "type", "typed", *words], capture_output=True, timeout=PATIENCE, check=False
    )
    assert done.stdout == b""
    return done.returncode, done.stderr


def test_all_that_is_typed_arrives_in_order(guest: "subprocess.Popen[bytes]") -> None:
    status, errors = types("a", "entre", "b")
    assert status == 2
    assert errors.startswith(b"vestige: typed: 'entre' is no key: is it enter or kpenter?")
    assert errors.count(b"\n") == 1
    assert types("--text", PRINTABLE + r"\\", "f1", "enter", "B", "--text", "end") == (0, b"")
    types("--text", ".")  # the guest ends by it, maybe before the answer
    assert guest.stdout is not None
    assert guest.stdout.read() == PRINTABLE.encode() + b"\\\0\rBend."
    assert guest.wait(PATIENCE) == 0


def test_a_file_of_keys_is_typed(words: list[str], tmp_path: Path) -> None:
    """From the beginning on: it waits until the BIOS has found the keyboard."""
    keys = tmp_path / "keys"
    keys.write_text("text hello\nshift-a\ntext .\n")
    done = subprocess.run(
        [*words, "--keys", str(keys)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert done.stdout.endswith(READY + b"helloA."), done
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_file_of_keys_that_are_none_ends_with_2_and_one_line(
    words: list[str], tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a\nfrob\n")
    done = subprocess.run([*words, "--keys", str(keys)], capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"vestige: --keys {keys}, line 2: 'frob' is no key".encode())
    assert done.stderr.count(b"\n") == 1

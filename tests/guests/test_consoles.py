"""Debian's kernel on the virtio console and the entropy device: a shell, a port, random bytes.

One boot in the software host, where consoles_inside.py talks to it, and one through sockets.
"""

import hashlib
import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.guests import initramfs, kernels
from tests.guests.consoles_inside import COLUMNS, PATIENCE, PORT, ROWS, TEXT, Person, echo
from vestige.host import images
from vestige.softhost import SoftHost

pytestmark = [
    pytest.mark.softhost,
    pytest.mark.skipif(
        not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64 (software host)"
    ),
]


@pytest.fixture(scope="module")
def found(softhost: SoftHost, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What consoles_inside found."""
    kernel = kernels.kernel("cloud").vmlinux
    initrd = initramfs.consoles("cloud")
    images.ensure()
    done = softhost.capture(
        [
            *(sys.executable, "-m", "tests.guests.consoles_inside"),
            *(kernel, initrd, tmp_path_factory.mktemp("consoles")),
        ],
        timeout=2 * PATIENCE,
    )
    assert done.status == 0, done.stderr.decode()
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_text_goes_in_and_out_of_hvc0_unharmed(found: dict[str, Any]) -> None:
    assert len(TEXT) > 1024
    assert found["received"] == hashlib.sha256(TEXT.encode()).hexdigest()
    assert found["sent"] == TEXT


def test_hvc0_is_the_kernels_console(found: dict[str, Any]) -> None:
    assert [line.split()[0] for line in found["consoles"].splitlines()] == ["hvc0"]
    assert "console [hvc0] enabled" in found["messages"]
    assert found["kernel"].rstrip().endswith("]")


def test_the_terminals_keys_and_size_are_the_guests(found: dict[str, Any]) -> None:
    assert found["raw"]
    assert found["interrupted"] == "130"
    assert found["size"] == f"{ROWS} {COLUMNS}"


def test_a_new_size_of_the_terminal_reaches_the_guest(found: dict[str, Any]) -> None:
    assert found["larger"] == ""


def test_the_terminal_is_put_back(found: dict[str, Any]) -> None:
    assert found["restored"]
    assert (found["status"], found["errors"]) == (
        0,
        "vestige: Ctrl-] ends the guest, Ctrl-C is the guest's\n",
    )


def test_ports_have_their_names(found: dict[str, Any]) -> None:
    assert found["ports"] == [f"vport0p1 {PORT}", "vport0p2 log"]


def test_a_program_answers_through_a_socket(found: dict[str, Any]) -> None:
    assert found["echoed"] is True


def test_a_port_writes_a_file(found: dict[str, Any]) -> None:
    assert found["log"] == "to the log\n"


def test_the_entropy_device_gives_other_bytes_each_time(found: dict[str, Any]) -> None:
    assert found["generator"] == "virtio_rng.0"
    first, second = found["random"]
    assert first != second
    nothing = hashlib.sha256(b"").hexdigest()
    assert nothing not in (first.split()[0], second.split()[0])


def test_no_driver_broke_a_device(found: dict[str, Any]) -> None:
    assert [counters["failures"] for counters in found["counters"]] == [0, 0]
    assert [counters["notifications"] for counters in found["counters"]] == [0, 0]


def test_console_and_ports_have_their_sockets_where_the_command_was_typed(tmp_path: Path) -> None:
    """A shell by the console's socket starts a program that answers by a port's."""
    shell, port = tmp_path / "shell", tmp_path / "port"
    guest = subprocess.Popen(
        [
            *(sys.executable, "-m", "vestige.cli.main", "run"),
            *("--kernel", kernels.kernel("cloud").vmlinux, "--initrd", initramfs.consoles("cloud")),
            *("--append", "console=hvc0 loglevel=1 panic=-1", "--timeout", str(PATIENCE)),
            *("--console", f"virtio:unix:{shell}", "--port", f"{PORT}=unix:{port}"),
        ],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            connect(client, shell, guest)
            person = Person(client.fileno(), guest)
            person.type("(cat <> /dev/vport0p1 >&0 &)\n")  # before there is a hvc0
            person.read_until(b"# ")
            assert echo(str(port))
            person.type("exit\n")
            errors = guest.communicate(timeout=PATIENCE)[1]
    finally:
        guest.kill()
    assert guest.returncode == 0, errors
    assert list(tmp_path.iterdir()) == []


def connect(client: socket.socket, path: Path, guest: subprocess.Popen[bytes]) -> None:
    """Connect once `guest` listens at `path`."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            client.connect(str(path))
        except OSError:
            assert guest.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return

"""A stock machine of QEMU's emulator, with OVMF and a folder's files on a disk that it boots."""

import json
import re
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.guests import images, newest
from tests.guests.store import unpacked
from vestige.errors import UsageError
from vestige.softhost import emulator, packages, suites

CPU = "EPYC,+svm,+npt,-xsave,-cx16"
LIMIT = 600.0  # seconds, of a machine that has much else to do
POWERED_OFF = "guest-shutdown"  # as QMP's ShutdownCause has it; a reset is "guest-reset"
LAST_LINES = 12  # that are told of a machine that has failed
# One thread for all processors. With a thread each, a change of the first one's state is lost at
# times where another one executes FXRSTOR just then, since QEMU's cpu_clear_ignne takes no lock. If
# that is the end of nested paging, at an exit, the machine is reset: docs/efiemu.md, Limits.
ACCELERATOR = "tcg,thread=single"
_ESCAPES = re.compile(r"\x1b\[[0-9;=?]*[A-Za-z]|[\r\x00]")


class SecureFirmware(NamedTuple):
    """As QEMU is given it."""

    words: tuple[str, ...]
    later: str | None  # the version of Debian's package, where it is one of a later suite


@cache
def files() -> Path:
    """Debian's OVMF: the folder of packages' files."""
    return unpacked("ovmf", ["ovmf"])


def firmware() -> Path:
    """The one without SMM."""
    return files() / "usr/share/ovmf/OVMF.fd"


def firmware_with_smm(folder: Path, variables: Path) -> SecureFirmware:
    """The newest one with SMM, for `q35,smm=on`; its variables are in a file.

    It is the strict one, with which no memory can be both written and executed. It has no shell,
    which is put in the folder that it boots, therefore. Where later suites can't be had it is
    the machine's own, which has one.
    """
    try:
        later = suites.configuration(*newest.LATER)
        names = ("ovmf-generic", "efi-shell-x64")
        tree = unpacked("ovmf-newest", names, later)
        (version,) = (each.version for each in packages.describe(names[:1], later))
    except UsageError:
        tree, code, version = files(), "OVMF_CODE_4M.secboot.fd", None
    else:
        code = "OVMF_CODE_4M.secboot.strictnx.fd"
        shell = folder / "EFI/BOOT/BOOTX64.EFI"
        shell.parent.mkdir(parents=True)
        shutil.copy(tree / "usr/share/efi-shell-x64/shellx64.efi", shell)
    shutil.copy(tree / "usr/share/OVMF/OVMF_VARS_4M.fd", variables)
    words = (
        *("-global", "driver=cfi.pflash01,property=secure,value=on"),
        *("-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={tree}/usr/share/OVMF/{code}"),
        *("-drive", f"if=pflash,format=raw,unit=1,file={variables}"),
    )
    return SecureFirmware(words, version)


def stick(image: Path, files: Mapping[str, Path]) -> tuple[str, ...]:
    """QEMU's words for a USB stick that is booted first: one FAT with `files`."""
    images.partitioned(image, [images.SystemPartition(files)])
    return (
        *("-drive", f"file={image},format=raw,if=none,id=stick", "-device", "qemu-xhci"),
        *("-device", "usb-storage,drive=stick,bootindex=0"),
    )


def boot(
    folder: Path, *words: str, machine: str = "pc", cpu: str = CPU, of: Sequence[str] | None = None
) -> list[str]:
    """What is on its serial port until it powers off: `folder` holds startup.nsh and the rest.

    `of` is another firmware than the one without SMM. Where it ends otherwise, the test has failed.
    """
    end, said, complaint = _run(command_of(folder, *words, machine=machine, cpu=cpu, of=of))
    lines = lines_of(said)
    if end != POWERED_OFF:
        pytest.fail(f"ended by {end}, not {POWERED_OFF}; {complaint}{_last(lines)}", pytrace=False)
    return lines


def _run(command: list[str]) -> tuple[str, bytes, str]:
    """Run QEMU to its end: why it ended, what is on the serial port, what it complains of."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b'{"execute": "qmp_capabilities"}\n')  # it tells of events after that
        chardev = f"socket,id=events,fd={theirs.fileno()}"
        with subprocess.Popen(
            [*command, "-chardev", chardev, "-mon", "chardev=events,mode=control"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
        ) as emulated:
            theirs.close()
            try:
                said, complaint = emulated.communicate(timeout=LIMIT)
                end = _end_of(ours) or f"status {emulated.returncode}"
            except subprocess.TimeoutExpired:
                emulated.kill()
                said, complaint = emulated.communicate()
                end = f"nothing in {LIMIT:.0f} s"
    complaints = complaint.decode(errors="replace").splitlines(keepends=True)
    return end, said, "".join(line for line in complaints if ": warning: " not in line)


def _end_of(events: socket.socket) -> str | None:
    """Why QEMU, which is gone, stopped its machine; None: it did not say so."""
    with suppress(ConnectionResetError), events.makefile(encoding="utf-8") as told:
        for event in map(json.loads, told):
            if event.get("event") == "SHUTDOWN":
                return str(event["data"]["reason"])
    return None


def _last(lines: list[str]) -> str:
    """The last ones, for who looks for what went wrong."""
    return "\n".join(["the last lines on the serial port:", *lines[-LAST_LINES:]])


def boot_until(
    text: str, times: int, folder: Path, *words: str, whole_line: bool = True
) -> list[str]:
    """The same until a text has been there so often, and the line has ended, if it does."""
    seen, limit = b"", time.monotonic() + LIMIT
    with subprocess.Popen(
        command_of(folder, *words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0
    ) as emulated:
        assert emulated.stdout is not None
        try:
            end = b"\n" if whole_line else b""
            while seen.count(text.encode()) < times or not seen.endswith(end):
                left = limit - time.monotonic()
                if not select.select([emulated.stdout], [], [], max(left, 0))[0]:
                    pytest.fail(f"no {text} in {LIMIT:.0f} s; {_last(lines_of(seen))}", False)
                data = emulated.stdout.read(1 << 16)
                if not data:
                    pytest.fail(f"ended without {text}; {_last(lines_of(seen))}", False)
                seen += data
        finally:
            emulated.kill()
    return lines_of(seen)


def command_of(
    folder: Path, *words: str, machine: str = "pc", cpu: str = CPU, of: Sequence[str] | None = None
) -> list[str]:
    """The command: a disk with a folder's files, and what else is given."""
    qemu = emulator.ensure(print).words
    disk = f"file=fat:rw:{folder},format=raw,if=none,id=files"
    return [
        *(*qemu, "-machine", machine, "-accel", ACCELERATOR, "-cpu", cpu, "-m", "2G"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"),
        *(of or ("-bios", str(firmware()))),
        *("-drive", disk, "-device", "virtio-blk-pci,drive=files"),
        *words,
    ]


def lines_of(data: bytes) -> list[str]:
    """Without what moves a terminal's cursor."""
    return _ESCAPES.sub("", data.decode(errors="replace")).split("\n")

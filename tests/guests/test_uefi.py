"""A PC whose firmware is Debian's OVMF: its shell, and a Debian that its signed GRUB boots.

OVMF writes CR8, by which QEMU's emulator ends where KVM waits to interrupt its guest: an assertion
that one of QEMU's locks is held fails, and that matters for no device of the software host. So
these tests have a copy of QEMU without that assertion, where each byte around it is as known.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.efiemu import ovmf
from tests.guests import debian, fat, images
from tests.guests.dialogue import Dialogue
from vestige.softhost import emulator, packages

pytestmark = [
    pytest.mark.slow,
    pytest.mark.softhost,
    pytest.mark.skipif(
        not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64 (software host)"
    ),
]


class Assertion(NamedTuple):
    """Where a build of QEMU has it: at an offset of the program, `before`, to become `after`."""

    offset: int
    before: bytes
    after: bytes


# 10.0.2 of Debian 12's backports: a jump that is to be taken always.
KNOWN = Assertion(0x7A2EF0, bytes.fromhex("84c075244c8d05db"), bytes.fromhex("84c0eb244c8d05db"))
PATIENCE = 900.0  # seconds for what comes next, on a busy machine
GUID = "2f5e1b6c-93a4-4d0e-8a57-0c6b7d1e9f42"  # no known one: those of others are guarded
NAME, VALUE = "VestigeTest", "kept"
ATTRIBUTES = 7  # non-volatile, at boot and at run time
# The first time it sets the variable and resets the machine, then it says what is set, and
# switches the machine off.
SCRIPT = f"""@echo -off
fs0:
if exist again.txt then
  echo after the reset
  dmpstore {NAME} -guid {GUID}
  reset -s
endif
setvar {NAME} -guid {GUID} -nv -bs -rt =S"{VALUE}"
echo again > again.txt
reset
"""


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with a cache of its own, in which QEMU is that copy."""
    program = emulator.ensure(print).program
    if program.parent != emulator.cached():
        pytest.skip("needs the QEMU of Debian 12's backports, in which the assertion is known")
    with program.open("rb") as file:
        file.seek(KNOWN.offset)
        if file.read(len(KNOWN.before)) != KNOWN.before:
            pytest.skip(f"the assertion is not where it is known to be in {program}")
    ours = packages.cache_directory("softhost")
    home = tmp_path_factory.mktemp("cache")
    cache = home / ours.parent.name
    cache.mkdir(mode=0o700)
    for name in ("softhost", "images"):
        shutil.copytree(ours.parent / name, cache / name)
    with (cache / program.relative_to(ours.parent)).open("r+b") as file:
        file.seek(KNOWN.offset)
        file.write(KNOWN.after)
    return {**os.environ, "XDG_CACHE_HOME": str(home)}


class Left(NamedTuple):
    """What the run of the shell leaves: what it said behind the reset, and the variables' file."""

    said: str
    variables: Path


@contextmanager
def run(
    environment: dict[str, str], *words: str
) -> "Iterator[tuple[subprocess.Popen[bytes], Dialogue]]":
    """A PC with OVMF, and somebody at its serial console."""
    code = ovmf.files() / "usr/share/OVMF/OVMF_CODE_4M.fd"
    command = (sys.executable, "-m", "vestige.cli.main", "run", "--accel", "soft")
    machine = ("--machine", "pc", "--vga", "none", "--timeout", str(2 * PATIENCE))
    with subprocess.Popen(
        [*command, *machine, "--firmware", str(code), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process, Dialogue(process.stdout.fileno(), process.stdin.fileno(), PATIENCE)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def shell(surroundings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Left:
    """OVMF's own shell has set a variable, reset the machine and switched it off.

    The file wasn't there before.
    """
    folder = tmp_path_factory.mktemp("shell")
    script, disk, variables = folder / "startup.nsh", folder / "disk.img", folder / "ovmf.vars"
    script.write_text(SCRIPT)
    disk.write_bytes(bytes(16 << 20))
    fat.make(disk, 16, {"startup.nsh": script})
    words = ("--variables", str(variables), "--disk", str(disk), "--on-reboot", "restart")
    with run(surroundings, *words) as (process, person):
        person.read_until("after the reset")
        said = "\n".join(person.lines())
        assert process.wait(PATIENCE) == 0
    return Left(said, variables)


def test_ovmf_finds_a_variable_after_a_reset(shell: Left) -> None:
    assert f"Variable NV+RT+BS '{GUID}:{NAME}'".lower() in shell.said.lower()
    assert " ".join(f"{byte:02X}" for byte in VALUE.encode()) in shell.said


def test_the_variables_file_is_the_template_with_the_variable_in_it(shell: Left) -> None:
    template = (ovmf.files() / "usr/share/OVMF/OVMF_VARS_4M.fd").read_bytes()
    variables = shell.variables.read_bytes()
    assert len(variables) == len(template)
    name = NAME.encode("utf-16-le")
    assert (variables.count(name), template.count(name)) == (1, 0)


def last_line(said: str) -> str:
    """Of what a shell says, which says again what was typed first."""
    return said.splitlines()[-1]


@pytest.mark.skipif(
    os.geteuid() != 0 or not Path(images.tool("debootstrap")).is_file(),
    reason="needs debootstrap, and root's rights for it",
)
def test_debian_s_signed_grub_boots_to_a_login_and_linux_finds_the_variable(
    surroundings: dict[str, str], shell: Left, tmp_path: Path
) -> None:
    disk = images.copy(debian.efi_disk(), tmp_path / "disk.img")
    words = ("--variables", str(shell.variables), "--disk", f"{disk},bus=ide")
    with run(surroundings, *words) as (process, person):
        before = person.log_in()
        value = last_line(person.ask(f"od -An -tx1 /sys/firmware/efi/efivars/{NAME}-{GUID}"))
        mounted = last_line(person.ask("findmnt -no SOURCE /"))
        person.type("poweroff\n")
        person.lines()
        assert process.wait(PATIENCE) == 0
    assert "Debian GNU/Linux" in before
    assert bytes.fromhex(value) == ATTRIBUTES.to_bytes(4, "little") + VALUE.encode()
    assert mounted.startswith("/dev/sda")
    images.check_ext4(disk, images.partition_offset(disk, debian.EFI_ROOT))

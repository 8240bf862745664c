"""A PC whose firmware is Debian's OVMF: its shell, and a Debian that its signed GRUB boots."""

import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.efiemu import ovmf
from tests.guests import debian, fat, images
from tests.guests.uefi import PATIENCE, run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.softhost,
    pytest.mark.skipif(
        not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64 (software host)"
    ),
]

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


class Left(NamedTuple):
    """What the run of the shell leaves: what it said behind the reset, and the variables' file."""

    said: str
    variables: Path


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


def line(pattern: str, said: str) -> str:
    """The one that is like this of what a shell says; the kernel may say others between."""
    found = re.search(f"^{pattern}$", said, re.MULTILINE)
    assert found is not None, said
    return found[0]


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
        variable = f"/sys/firmware/efi/efivars/{NAME}-{GUID}"
        value = line("( [0-9a-f]{2})+", person.ask(f"od -An -tx1 {variable}"))
        line("/dev/sda[0-9]+", person.ask("findmnt -no SOURCE /"))
        person.type("poweroff\n")
        person.lines()
        assert process.wait(PATIENCE) == 0
    assert "Debian GNU/Linux" in before
    assert bytes.fromhex(value) == ATTRIBUTES.to_bytes(4, "little") + VALUE.encode()
    images.check_ext4(disk, images.partition_offset(disk, debian.EFI_ROOT))

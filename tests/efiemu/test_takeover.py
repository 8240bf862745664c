"""efiemu.efi on a stock machine: OVMF starts it, is taken over, and boots Linux as a guest.

One boot: OVMF's own shell starts the application with one load option after the other.
"""

import pytest

from tests.efiemu import failing, ovmf
from tests.guests import initramfs, kernels
from vestige.efiemu.build import application

SCRIPT = (
    "fs0:",
    "\\efiemu.efi",
    "\\efiemu.efi nvme=00:1f.0",
    "\\efiemu.efi bus=ide",
    "\\failing.efi nvme=00:03.0",
    "\\efiemu.efi nvme=00:03.0",
    "\\efiemu.efi",
    "\\vmlinuz.efi console=ttyS0 panic=-1 tsc=reliable initrd=\\initrd.img",
)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("esp")
    (folder / "efiemu.efi").write_bytes(application())
    (folder / "failing.efi").write_bytes(application(failing.image()))
    (folder / "vmlinuz.efi").write_bytes(kernels.kernel("cloud").bzimage.read_bytes())
    (folder / "initrd.img").write_bytes(initramfs.reached().read_bytes())
    (folder / "startup.nsh").write_text("".join(f"{line}\r\n" for line in SCRIPT))
    images = tmp_path_factory.mktemp("nvme")
    words = []
    for number in (3, 4):
        image = images / f"{number}.img"
        image.write_bytes(bytes(1 << 20))
        words += ["-drive", f"file={image},format=raw,if=none,id=nvme{number}"]
        words += ["-device", f"nvme,serial={number},drive=nvme{number},addr={number}"]
    return ovmf.boot(folder, *words)


def test_each_refusal_is_one_line_and_the_firmware_goes_on(lines: list[str]) -> None:
    said = [line.removeprefix("efiemu: ") for line in lines if line.startswith("efiemu: ")]
    assert len(said) == 6
    assert said[0].startswith("there are several NVMe controllers; name one")
    assert said[1] == "there is no NVMe controller where the load options name one"
    assert said[2].startswith("load options are nvme=BUS:DEVICE.FUNCTION")
    assert said[3].startswith("PANIC: the monitor failed at tests/efiemu/failing.py:11: check")
    assert said[4] == "NVMe 1b36:0010 at 00:03.0: taken over; this firmware goes on as a guest"
    assert said[5].startswith("the processor shows no SVM"), "what has taken it over hides it"


def test_the_guest_is_a_whole_machine(lines: list[str]) -> None:
    assert any("INIT-REACHED" in line for line in lines)

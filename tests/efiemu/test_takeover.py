"""efiemu.efi on a stock machine of two processors: OVMF starts it, is taken over, and boots Linux.

One boot. OVMF's own shell starts the application with one load option after the other. The last
time OVMF's driver of IDE disks finds one where an NVMe controller was, behind a bridge as most
are, and boots a kernel that is on it.
"""

import hashlib
import os
import re
import subprocess
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from tests import compiling
from tests.efiemu import failing, failing_later, hoarding, lone, ovmf
from tests.guests import images, initramfs, kernels, programs, roots
from vestige.efiemu.build import application
from vestige.efiemu.shell.pages import PAGE

pytestmark = pytest.mark.xdist_group("efiemu takeover")  # its tests share one boot

SCRIPT = (
    "fs0:",
    "\\efiemu.efi",
    "\\efiemu.efi nvme=00:1f.0",
    "\\efiemu.efi bus=ide",
    "setvar EfiemuOff -guid b5a3e3a0-6b1c-4b7e-9c57-5d6f0c0a1e13 -bs -rt =01",
    "\\efiemu.efi nvme=01:04.0",
    "setvar EfiemuOff -guid b5a3e3a0-6b1c-4b7e-9c57-5d6f0c0a1e13 =",
    "\\efiemu.efi nvme=00:05.0",
    "\\efiemu.efi nvme=00:07.0",
    "\\failing.efi nvme=01:04.0",
    "\\hoarding.efi",
    "\\efiemu.efi nvme=01:04.0",
    "\\hoarding.efi",
    "\\efiemu.efi nvme=01:04.0",
    "\\hoarding.efi",
    "\\efiemu.efi nvme=01:04.0 boot=\\vmlinuz.efi initrd=\\initrd.img console=ttyS0"
    " tsc=reliable no_timer_check"  # an emulator's timer may be late
    f" programs=UUID={images.file_system_uuid(0)}",
)
MEBIBYTES = 88
READ, WRITTEN, WRITTEN_AT = 8 << 20, 1 << 20, 72 << 20  # by the guest: scripts/efiemu-init
COMMAND = 64 << 10
FIO = initramfs.SCRIPTS / "efiemu.fio"
FIO_SIZE, FIO_END = 1 << 20, 80 << 20
FIO_JOBS = {"4k": 73, "16k": 74, "64k": 75, "128k": 76, "256k": 77, "512k": 78, "1m": 79}


class Boot(NamedTuple):
    """What was on the serial port, and the disk before and after."""

    lines: list[str]
    before: bytes
    after: bytes
    disk: Path

    def after_word(self, word: str) -> list[str]:
        """Lines of the guest's that begin so, without that."""
        return [line[len(word) :].strip() for line in self.lines if line.startswith(word)]


def application_with(monitor: ModuleType) -> bytes:
    """The file with one of the monitors that fail."""
    return compiling.kept(monitor.__name__, lambda: application(monitor.image()))


@pytest.fixture(scope="module")
def boot(tmp_path_factory: pytest.TempPathFactory) -> Boot:
    folder = tmp_path_factory.mktemp("esp")
    (folder / "efiemu.efi").write_bytes(compiling.kept("efiemu.efi", application))
    (folder / "failing.efi").write_bytes(application_with(failing))
    (folder / "hoarding.efi").write_bytes(lone.application(hoarding.efi_main))
    (folder / "startup.nsh").write_text("".join(f"{line}\r\n" for line in SCRIPT))
    disks = tmp_path_factory.mktemp("nvme")
    other, disk, large = disks / "3.img", disks / "4.img", disks / "7.img"
    for image in (other, large):
        image.write_bytes(bytes(1 << 20))
    files = {
        "vmlinuz.efi": kernels.kernel("cloud").bzimage,
        "initrd.img": initramfs.efiemu("cloud"),
    }
    images.partitioned(disk, [images.SystemPartition(files)])
    os.truncate(disk, MEBIBYTES << 20)
    before = disk.read_bytes()
    words = ["-smp", "2", "-device", "pci-bridge,id=bridge,chassis_nr=1,addr=6"]
    for image, more in (
        *((other, "bus=pci.0"), (disk, "bus=bridge")),
        (large, "bus=pci.0,logical_block_size=4096,physical_block_size=4096"),
    ):
        name, number = f"nvme{image.stem}", image.stem
        words += ["-drive", f"file={image},format=raw,if=none,id={name}"]
        words += ["-device", f"nvme,serial={number},drive={name},{more},addr={number}"]
    words += ["-device", "nvme,serial=5,addr=5"]  # without a namespace
    tools = roots.programs_disk("fio")
    words += ["-drive", f"file={tools},format=raw,if=none,id=tools,readonly=on"]
    words += ["-device", "virtio-blk-pci,drive=tools"]
    return Boot(ovmf.boot(folder, *words), before, disk.read_bytes(), disk)


def digest(data: bytes) -> str:
    return f"{hashlib.sha256(data).hexdigest()}  -"


def test_each_refusal_is_one_line_and_the_firmware_goes_on(boot: Boot) -> None:
    said = boot.after_word("efiemu: ")
    assert len(said) == 10
    assert said[0].startswith("there are several NVMe controllers; name one, as in nvme=")
    those = "; those there are:"
    assert said[1] == f"there is no NVMe controller at 00:1f.0{those}{said[0].partition(those)[2]}"
    assert said[2] == "a load option is nvme=BUS:DEVICE.FUNCTION or boot=FILE, not bus=ide"
    assert said[3].startswith("it is switched off: the firmware has the variable EfiemuOff-b5a3")
    no_namespace = "it has no active namespace; make one with nvme-cli"
    assert said[4] == f"the NVMe controller can't be used: {no_namespace}"
    blocks = "its blocks are larger than an IDE's sectors, so that its partitions would be misread"
    assert said[5].startswith(f"the NVMe controller can't be used: {blocks}; format it with")
    assert said[6].startswith("PANIC: the monitor failed at tests/efiemu/failing.py:11: check")
    few = "there are no 9 MiB of memory free, or no 8 KiB below 1 MiB"
    assert said[7:9] == [few, few]
    assert said[9] == "NVMe 1b36:0010 at 01:04.0: taken over; this firmware goes on as a guest"


def test_memory_was_too_little_anywhere_and_then_below_1_mib_alone(boot: Boot) -> None:
    hoards = [[int(pages, 16) for pages in line.split()] for line in boot.after_word("hoarding: ")]
    far, near = hoards[0][1], hoards[1][1]
    assert hoards == [[0, far], [far, near], [near, 0]]
    assert far * PAGE > 1 << 30
    assert 0 < near * PAGE < 1 << 20


def test_linux_is_booted_as_the_load_options_say_and_sees_no_svm(boot: Boot) -> None:
    assert boot.after_word("command line: ") == [SCRIPT[-1].partition("boot=")[2]]
    of_each = [line.split() for line in boot.after_word("flags: ")]
    assert len(of_each) == 2
    assert all("lm" in flags and "svm" not in flags for flags in of_each)


def test_the_machine_says_in_acpi_that_it_was_taken_over(boot: Boot) -> None:
    assert "VSTG" in boot.after_word("tables: ")[0].split()


def test_linux_finds_it_where_the_controller_was(boot: Boot) -> None:
    functions = dict(line.split(maxsplit=1) for line in boot.after_word("pci: "))
    assert functions["0000:01:04.0"] == "0x8086 0x7010 0x01018a"
    assert functions["0000:00:06.0"] == "0x1b36 0x0001 0x060401", "a subtractive bridge"
    assert functions["0000:00:03.0"] == "0x1b36 0x0010 0x010802", "this one is the guest's"
    assert functions["0000:00:05.0"] == "0x1b36 0x0010 0x010802", "and this one"
    assert "0000:00:01.1" not in functions, "the chip set's own"
    log = "\n".join(boot.after_word("log: "))
    assert re.search(r"ata1: PATA .* cmd 0x1f0 ctl 0x3f6 bmdma 0x\w+ irq 14", log)
    assert "ata1.00: ATA-7: QEMU NVMe Ctrl" in log
    assert f"ata1.00: {MEBIBYTES << 11} sectors" in log
    assert re.search(r"ata\d.*(error|exception|failed|timeout)", log, re.IGNORECASE) is None


def test_what_it_reads_and_writes_is_on_the_image(boot: Boot) -> None:
    halves = (boot.before[: READ // 2], boot.before[READ // 2 : READ])
    assert boot.after_word("read: ") == [" ".join(digest(half) for half in halves)]
    written = boot.after[WRITTEN_AT : WRITTEN_AT + WRITTEN]
    assert boot.after_word("pattern: ") == boot.after_word("verify: ") == [digest(written)]
    assert boot.after[:WRITTEN_AT] == boot.before[:WRITTEN_AT]
    assert boot.after[FIO_END:] == boot.before[FIO_END:]
    assert boot.after_word("guest: ") == ["done"]


def verified(disk: Path) -> bool:
    """Whether this machine's fio finds on an image what the guest's has written."""
    files = programs.programs("fio")
    words: list[str | Path] = [files["lib64/ld-linux-x86-64.so.2"], "--library-path"]
    words += [files["lib/x86_64-linux-gnu/libc.so.6"].parent, files["bin/fio"]]
    words += ["--verify_only", f"--filename={disk}", FIO]
    done = subprocess.run(words, capture_output=True, timeout=60, check=False)
    return done.returncode == 0


def test_fio_verifies_what_it_has_written_in_blocks_of_any_size(boot: Boot) -> None:
    jobs = [line.split(";") for line in boot.after_word("fio: ")]
    assert [(job[2], job[4]) for job in jobs] == [(name, "0") for name in FIO_JOBS]
    read, written = ([int(job[place]) for job in jobs] for place in (5, 46))
    assert read == written == [FIO_SIZE >> 10] * len(jobs)
    assert verified(boot.disk)
    image = images.copy(boot.disk, boot.disk.with_name("broken.img"))
    for start in FIO_JOBS.values():
        place = (start << 20) + FIO_SIZE - 1
        with image.open("r+b", buffering=0) as file:
            file.seek(place)
            file.write(bytes([boot.after[place] ^ 1]))
            assert not verified(image)
            file.seek(place)
            file.write(boot.after[place : place + 1])
    assert verified(image)


def test_a_command_takes_one_interrupt_and_the_guest_has_no_nmi(boot: Boot) -> None:
    before, read, moved, written = (
        [int(count) for count in boot.after_word(f"count {name}: ")[0].split()]
        for name in ("before", "read", "moved", "written")
    )
    assert sum(read) - sum(before) == READ // COMMAND
    assert sum(written) - sum(moved) == WRITTEN // COMMAND + 1, "and a flush"
    assert boot.after_word("interrupts: ")[0].split()[:3] == ["NMI:", "0", "0"]
    at_second = written[1] - moved[1]  # where the guest wants them; Linux moves them at the next
    assert at_second > WRITTEN // COMMAND // 2


def test_the_guests_own_nmis_reach_it(boot: Boot) -> None:
    assert boot.after_word("own: ")[0].split()[:3] == ["NMI:", "1", "1"]


def test_its_processors_are_its_own_and_start_again(boot: Boot) -> None:
    numbers = [boot.after_word(f"{word}: ") for word in ("cpus", "without", "again")]
    assert numbers == [["2"], ["1"], ["2"]]


def test_a_monitor_that_fails_later_ends_the_machine_with_one_line_on_both_consoles(
    tmp_path: Path,
) -> None:
    """OVMF's own console is on the same serial port: each shows it once. It boots a USB stick."""
    folder, file, disk = tmp_path / "none", tmp_path / "failing.efi", tmp_path / "4.img"
    folder.mkdir()
    file.write_bytes(application_with(failing_later))
    disk.write_bytes(bytes(1 << 20))
    words = [*ovmf.stick(tmp_path / "stick.img", {"EFI/BOOT/BOOTX64.EFI": file})]
    words += ["-drive", f"file={disk},format=raw,if=none,id=nvme4"]
    words += ["-device", "nvme,serial=4,drive=nvme4,addr=4"]
    lines = ovmf.boot_until("efiemu: PANIC", 2, folder, *words)
    said = [line for line in lines if line.startswith("efiemu: ")]
    assert len(said) == 2
    assert said[0] == said[1]
    where = "tests/efiemu/failing_later.py:17: exception 0e, error code 00000006, address 00"
    assert said[0].startswith(f"efiemu: PANIC: the monitor failed at {where}")

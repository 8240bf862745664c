"""Resets of a PC on this KVM: by SeaBIOS and a boot sector, and by a firmware of a few bytes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.host.harness import why_not
from tests.host.test_firmware import SEABIOS, SECTOR, vestige

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

ORIGIN = 0x7C00
BACK = 0x3C  # offsets in the sector
DESCRIPTOR_TABLE = 0x65
WAYS = 0x7B
# Each way back from protected mode: a port, what is written there, what is said in real mode.
RESETS = ((0x64, 0xFE, b"k"), (0x92, 0x01, b"f"), (0xCF9, 0x04, b"c"))


def address(offset: int) -> str:
    return (ORIGIN + offset).to_bytes(2, "little").hex()


# Goes to protected mode and comes back by a reset of the processor, as a program of the 80286 does,
# in each way; then writes 0x20 to the high byte of PM1 control: power off.
THERE_AND_BACK = bytes.fromhex(
    "fa"  # cli
    "31db 8edb"  # xor bx, bx; mov ds, bx
    "b08f e670"  # again: mov al, 0x8f; out 0x70, al: the shutdown code
    "b00a e671"  # mov al, 0x0a; out 0x71, al: go on where 0040:0067 says
    f"c7066704 {address(BACK)}"  # mov word [0x467], back
    "8c1e6904"  # mov [0x469], ds
    "891e0050"  # mov [0x5000], bx
    f"0f0116 {address(DESCRIPTOR_TABLE)}"  # lgdt
    "0f20c0 40 0f22c0"  # mov eax, cr0; inc ax; mov cr0, eax
    "ea2c7c0800"  # jmp 8:protected
    f"8a97 {address(WAYS)}"  # protected: mov dl, [bx + ways]
    f"8a87 {address(WAYS + 1)}"  # mov al, [bx + ways + 1]
    f"8ab7 {address(WAYS + 2)}"  # mov dh, [bx + ways + 2]
    "ee"  # out dx, al
    "f4 ebfd"  # hlt; jmp to that
    "31c0 8ed8"  # back: xor ax, ax; mov ds, ax
    "8b1e0050"  # mov bx, [0x5000]
    f"baf803 8a87 {address(WAYS + 3)} ee"  # mov dx, 0x3f8; mov al, [bx + ways + 3]; out dx, al
    "0f20c0 a801 7509"  # mov eax, cr0; test al, 1; jnz end: still in protected mode
    "83c304 81fb0c00 75a9"  # add bx, 4; cmp bx, 12; jne again
    "ba0506 b020 ee"  # end: mov dx, 0x605; mov al, 0x20; out dx, al
    "f4 ebfd"  # hlt; jmp to that
    f"0f00 {address(DESCRIPTOR_TABLE + 6)} 0000"  # two descriptors: none, 16-bit code
    "0000000000000000 ffff0000009a0000"
) + b"".join(bytes((port & 0xFF, value, port >> 8)) + said for port, value, said in RESETS)

IMAGE_SIZE = 128 << 10


def firmware(port: int, value: int) -> bytes:
    """Resets the processor, says b when it is back, and then resets the machine by that port."""
    code = bytes.fromhex(
        "31c0 8ed8"  # xor ax, ax; mov ds, ax
        "813e00503412 7415"  # cmp word [0x5000], 0x1234; je back
        "c70600503412"  # mov word [0x5000], 0x1234
        "b00f e670 b005 e671"  # the shutdown code is 5
        "b0fe e664"  # the keyboard controller's pulse
        "f4 ebfd"  # hlt; jmp to that
        "baf803 b062 ee"  # back: b
        "b00f e670 b000 e671"  # the shutdown code is 0
        f"ba{port.to_bytes(2, 'little').hex()} b0{value:02x} ee"
        "f4 ebfd"
    )
    entry = IMAGE_SIZE - 16
    return (bytes(IMAGE_SIZE // 2) + code).ljust(entry, b"\0") + b"\xe9\x0d\x00".ljust(16, b"\0")


def image(path: Path, sector: bytes = b"") -> str:
    path.write_bytes((sector.ljust(SECTOR - 2, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0"))
    return f"{path},bus=ide"


@pytest.mark.skipif(not SEABIOS.exists(), reason="needs seabios")
def test_a_program_comes_back_from_protected_mode_by_each_reset_of_the_processor(
    tmp_path: Path,
) -> None:
    assert THERE_AND_BACK.index(b"\x31\xc0\x8e\xd8") == BACK
    assert THERE_AND_BACK.index(b"\x64\xfe\0k") == WAYS
    disk = image(tmp_path / "disk.img", THERE_AND_BACK)
    words = ("--machine", "pc", "--memory", "64M", "--disk", disk, "--timeout", "50")
    done = vestige(*words)
    assert done.stdout.endswith(b"".join(said for _, _, said in RESETS)), done
    assert done.returncode == 0


@pytest.mark.parametrize(("port", "value"), [(0x92, 1), (0x64, 0xFE)])
def test_a_firmware_is_reset_in_memory_it_has_written_and_then_with_all_else(
    tmp_path: Path, port: int, value: int
) -> None:
    """Its processor's local APIC is as at power-on: it gets the message all the same."""
    rom = tmp_path / "rom"
    rom.write_bytes(firmware(port, value))
    disk = image(tmp_path / "disk.img")
    words = ("--machine", "pc", "--firmware", str(rom), "--memory", "64M", "--disk", disk)
    done = vestige(*words, "--cpus", "2", "--timeout", "50")
    assert (done.returncode, done.stdout) == (3, b"b"), done
    assert b"vestige: the guest reset itself" in done.stderr
    command = (sys.executable, "-m", "vestige.cli.main", "run", "--accel", "kvm", *words)
    with subprocess.Popen(
        [*command, "--on-reboot", "restart", "--timeout", "50"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        said = process.stdout.read(2)
        process.terminate()
    assert (said, process.returncode) == (b"bb", 143), "RAM is 0 at each start"


@pytest.mark.skipif(not SEABIOS.exists(), reason="needs seabios")
def test_a_bios_that_finds_nothing_to_boot_resets_the_machine(tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_bytes(bytes(1 << 20))
    words = ("--machine", "pc", "--memory", "64M", "--vga", "none", "--timeout", "50")
    done = vestige(*words, "--disk", f"{tmp_path}/disk.img,bus=ide")
    assert b"No bootable device." in done.stdout
    assert done.returncode == 3
    assert b"vestige: the guest reset itself" in done.stderr
    assert b"its console, standard output, says why (a BIOS that finds nothing" in done.stderr


# To protected mode without an IDT, and INT3: a triple fault, or what KVM's emulator can't do.
STUCK = bytes.fromhex(
    "fa 31db 8edb"  # cli; xor bx, bx; mov ds, bx
    "0f0116 2f7c"  # lgdt [descriptor_table]
    "0f011e 357c"  # lidt [nothing]
    "0f20c0 40 0f22c0"  # mov eax, cr0; inc ax; mov cr0, eax
    "ea1b7c0800"  # jmp 8:protected
    "cc"  # protected: int3
).ljust(0x1F, b"\0") + bytes.fromhex(
    "0000000000000000 ffff0000009a0000"  # two descriptors: none, 16-bit code
    "0f00 1f7c0000"  # at 0x2f
    "0000 00000000"  # at 0x35
)


@pytest.mark.skipif(not SEABIOS.exists(), reason="needs seabios")
def test_a_guest_that_kvm_cannot_go_on_with_ends_with_a_line(tmp_path: Path) -> None:
    """KVM's emulator knows no interrupt of protected mode; a processor has a triple fault."""
    disk = image(tmp_path / "disk.img", STUCK)
    done = vestige("--machine", "pc", "--memory", "64M", "--disk", disk, "--timeout", "50")
    stuck = b"vestige: KVM could not go on with the guest on CPU 0: instruction emulation failed"
    ends = {1: stuck, 3: b"vestige: the guest had a triple fault on CPU 0"}
    assert done.stderr.startswith(ends[done.returncode])
    assert done.stderr.count(b"\n") == 1

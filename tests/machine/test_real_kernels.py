"""Debian's own kernels: what the hand-made ones stand for is really so."""

import struct
from pathlib import Path

import pytest

from tests.guests import kernels
from tests.guests.kernels import Kernel
from tests.machine.images import MIB, load, ram
from vestige.errors import UsageError
from vestige.machine.config import MachineConfig
from vestige.machine.cpu import CpuState
from vestige.machine.kernel import AUTO, LINUX_64, PVH

SIZE = 512 * MIB
CONFIG = MachineConfig(memory=SIZE)


@pytest.fixture(scope="module", params=["cloud", "standard"])
def kernel(request: pytest.FixtureRequest) -> Kernel:
    try:
        return kernels.kernel(request.param)
    except UsageError as error:
        pytest.skip(f"no Debian kernel: {error}")


def start(path: Path, protocol: str) -> tuple[memoryview, CpuState]:
    memory = ram(SIZE)
    return memory, load(memory, CONFIG, str(path), protocol=protocol)


def test_the_bzimage_s_code_is_in_ram_to_its_last_byte(kernel: Kernel) -> None:
    image = kernel.bzimage.read_bytes()
    memory, state = start(kernel.bzimage, AUTO)
    code = image[(image[0x1F1] + 1) * 512 :][: struct.unpack_from("<I", image, 0x1F4)[0] * 16]
    at = struct.unpack_from("<Q", image, 0x258)[0]
    assert memory[at : at + len(code)] == code
    assert state.rip == at + 0x200
    assert not any(memory[at + len(code) : at + len(code) + MIB])


def test_boot_params_hold_the_bzimage_s_header(kernel: Kernel) -> None:
    image = kernel.bzimage.read_bytes()
    memory, state = start(kernel.bzimage, AUTO)
    page = bytes(memory[state.rsi : state.rsi + 4096])
    assert page[0x22C:0x268] == image[0x22C:0x268]  # initrd_addr_max to handover_offset


def test_the_vmlinux_starts_by_pvh_unless_told_otherwise(kernel: Kernel) -> None:
    _, automatic = start(kernel.vmlinux, AUTO)
    _, pvh = start(kernel.vmlinux, PVH)
    memory, linux = start(kernel.vmlinux, LINUX_64)
    assert automatic.rip == pvh.rip != linux.rip
    assert (automatic.efer, pvh.efer) == (0, 0)
    assert (linux.rip,) == struct.unpack_from("<Q", kernel.vmlinux.read_bytes(), 24)  # e_entry
    assert linux.efer
    entry = memory[linux.rip : linux.rip + 16]
    assert any(entry)


def test_too_little_memory_is_refused_with_what_the_kernel_needs(kernel: Kernel) -> None:
    image = kernel.bzimage.read_bytes()
    preferred, size = struct.unpack_from("<QI", image, 0x258)
    needed = -(-(preferred + size) // MIB)
    assert needed > 64
    with pytest.raises(UsageError) as error:
        load(ram(64 * MIB), MachineConfig(memory=64 * MIB), str(kernel.bzimage))
    assert f"needs memory up to {needed} MiB to start" in str(error.value)

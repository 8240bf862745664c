"""KVM's bindings: the kernel's layouts, and what is said where KVM can't be used."""

import ctypes
import errno
from contextlib import closing
from pathlib import Path

import pytest

from tests.host.backends.test_disks import as_a_user, open_the_way_to
from vestige.errors import GuestError, UsageError
from vestige.host import steps
from vestige.host.kvm import api as kvm


@pytest.mark.parametrize(
    ("struct", "size"),
    [
        (kvm.MemoryRegion, 32),
        (kvm.CoalescedZone, 16),
        (kvm.Irqfd, 32),
        (kvm.Ioeventfd, 64),
        (kvm.RoutingEntry, 48),
        (kvm.EnableCapability, 104),
        (kvm.Registers, 0x90),
        (kvm.SystemRegisters, 0x138),
        (kvm.CpuidEntry, 40),
        (kvm.ModelSpecificRegister, 16),
    ],
)
def test_structures_have_the_size_their_request_encodes(
    struct: type[ctypes.Structure], size: int
) -> None:
    assert ctypes.sizeof(struct) == size


def test_a_missing_device_is_told_with_the_module_to_load(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such device: .* \(modprobe kvm-intel"):
        kvm.open_system(str(tmp_path / "kvm"))


def test_missing_permission_is_told_with_the_group_to_join(tmp_path: Path) -> None:
    device = tmp_path / "kvm"
    device.touch(mode=0)
    device.chmod(0)
    open_the_way_to(device)
    with as_a_user(), pytest.raises(UsageError, match=r"no permission; join its group"):
        kvm.open_system(str(device))


def test_another_device_is_not_kvm() -> None:
    with pytest.raises(UsageError, match="/dev/null: not KVM's device"):
        kvm.open_system("/dev/null")


def fake(monkeypatch: pytest.MonkeyPatch, answers: dict[int, int]) -> None:
    """A kernel whose answer to each request, or to each capability, is in `answers`."""

    def call(_descriptor: int, request: kvm.Request, argument: int = 0) -> int:
        return answers.get(argument if request == kvm.Request.CHECK_EXTENSION else request, 1)

    monkeypatch.setattr(kvm, "call", call)


def test_another_api_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, {kvm.Request.GET_API_VERSION: 11})
    with pytest.raises(UsageError, match="API version 11, Vestige needs 12"):
        kvm.open_system("/dev/null")


@pytest.mark.parametrize("capability", list(kvm.REQUIRED))
def test_a_kernel_that_is_too_old_is_told_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, capability: kvm.Capability
) -> None:
    fake(monkeypatch, {kvm.Request.GET_API_VERSION: 12, capability: 0})
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(UsageError, match=rf"KVM_CAP_{capability.name}; use Linux \d"):
        kvm.open_system("/dev/null")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("most", "recommended", "allowed"), [(1024, 8, 32), (17, 8, 16), (0, 9, 8), (0, 0, 3)]
)
def test_more_cpus_than_kvm_allows_are_refused(
    monkeypatch: pytest.MonkeyPatch, most: int, recommended: int, allowed: int
) -> None:
    numbers: dict[int, int] = {kvm.Request.GET_API_VERSION: 12}
    numbers |= {kvm.Capability.MAX_VCPUS: most, kvm.Capability.NR_VCPUS: recommended}
    fake(monkeypatch, numbers)
    with closing(kvm.open_system("/dev/null")) as system:
        system.check_cpus(allowed)
        if allowed < 32:
            with pytest.raises(UsageError, match=f"--cpus 33: .*; give at most {allowed}$"):
                system.check_cpus(33)


def test_what_one_system_has_learnt_another_need_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, {kvm.Request.GET_API_VERSION: 12, kvm.Capability.COALESCED_MMIO: 2})
    with closing(kvm.open_system("/dev/null")) as system:
        known = system.learn()
    monkeypatch.setattr(kvm, "call", lambda *_: pytest.fail("KVM was asked again"))
    with closing(kvm.open_system("/dev/null", known)) as system:
        assert system.has(kvm.Capability.COALESCED_MMIO) == 2
        assert system.run_size == known.run_size
        assert system.supported_cpuid() is known.cpuid
        system.check_cpus(1, 0)


def test_cpuid_goes_to_the_kernel_and_comes_back() -> None:
    entries = [(1, 0, 0, 2, 3, 4, 5), (0xB, 1, 1, 0, 0, 0xFFFF_FFFF, 7)]
    table = kvm.cpuid_table(entries)
    assert table.count == 2
    last = table.entries[1]
    assert (last.function, last.index, last.flags, last.ecx, last.edx) == (0xB, 1, 1, 2**32 - 1, 7)


def test_requests_are_repeated_when_a_signal_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [-errno.EINTR, -errno.EINTR, 5]
    monkeypatch.setattr(steps, "syscall", lambda *_: answers.pop(0))
    assert kvm.call(0, kvm.Request.GET_TSC_KHZ) == 5


def test_a_failed_request_is_named_with_the_kernels_reason() -> None:
    with pytest.raises(GuestError, match="KVM_CREATE_VM: Bad file descriptor"):
        kvm.call(-1, kvm.Request.CREATE_VM)


def test_exit_reasons_have_names() -> None:
    assert kvm.exit_name(8) == "SHUTDOWN"
    assert kvm.exit_name(99) == "reason 99"

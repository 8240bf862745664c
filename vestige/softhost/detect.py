"""What the KVM of this machine is good for, in a word and in plain words.

Source: Linux, Documentation/virt/kvm/api.rst (KVM_GET_API_VERSION, KVM_CREATE_VM).
"""

import errno
import fcntl
import os
from enum import Enum
from pathlib import Path

_KVM_GET_API_VERSION = 0xAE00
_KVM_CREATE_VM = 0xAE01
_API_VERSION = 12  # the only one since Linux 2.6.22


class Kvm(Enum):
    """Whether /dev/kvm can run a guest."""

    GOOD = "good"
    ABSENT = "absent"  # there is no /dev/kvm
    FORBIDDEN = "forbidden"  # this user may not open it
    UNUSABLE = "unusable"  # it opens and then fails
    EMULATES_RING_0 = "emulates ring 0"  # guest kernels run instruction by instruction


class KvmState:
    """A finding: what, in plain words why, and what can be done about it ("" if nothing)."""

    __slots__ = ("cure", "kvm", "words")

    def __init__(self, kvm: Kvm, words: str, cure: str = "") -> None:
        self.kvm = kvm
        self.words = words
        self.cure = cure

    @property
    def is_good(self) -> bool:
        """Whether guests run on it directly; otherwise the software host is the better place."""
        return self.kvm is Kvm.GOOD


def kvm_state(device: Path = Path("/dev/kvm"), modules: Path = Path("/sys/module")) -> KvmState:
    """Find out what this machine's KVM can do, by asking it for an empty virtual machine.

    `device` and `modules` are there for tests.
    """
    try:
        descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return _absent(device)
    except PermissionError:
        return KvmState(
            Kvm.FORBIDDEN,
            f"{device} is there, but this user may not open it",
            "as root: adduser YOUR-USER kvm; then log in again",
        )
    except OSError as error:
        return KvmState(Kvm.UNUSABLE, f"{device} does not open: {error.strerror}")
    try:
        return _ask(descriptor, device, modules)
    finally:
        os.close(descriptor)


def _absent(device: Path) -> KvmState:
    flags = _cpu_flags()
    if "vmx" in flags:
        return KvmState(Kvm.ABSENT, f"there is no {device}", "as root: modprobe kvm-intel")
    if "svm" in flags:
        return KvmState(Kvm.ABSENT, f"there is no {device}", "as root: modprobe kvm-amd")
    return KvmState(
        Kvm.ABSENT,
        f"there is no {device}, and the CPU shows no virtualisation (neither vmx nor svm)",
        "switch virtualisation on in the firmware, or nested virtualisation in the machine outside",
    )


def _ask(descriptor: int, device: Path, modules: Path) -> KvmState:
    try:
        version = fcntl.ioctl(descriptor, _KVM_GET_API_VERSION, 0)
        if version != _API_VERSION:
            return KvmState(Kvm.UNUSABLE, f"{device} speaks KVM API {version}, not {_API_VERSION}")
        os.close(fcntl.ioctl(descriptor, _KVM_CREATE_VM, 0))
    except OSError as error:
        if error.errno == errno.ENOTTY:
            return KvmState(Kvm.UNUSABLE, f"{device} is not a KVM device")
        cure = "end the other hypervisor that uses the CPU" if error.errno == errno.EBUSY else ""
        return KvmState(Kvm.UNUSABLE, f"{device} makes no virtual machine: {error.strerror}", cure)
    if (modules / "kvm_pvm").exists():
        return KvmState(
            Kvm.EMULATES_RING_0,
            f"{device} belongs to kvm_pvm, which runs guest kernels instruction by instruction "
            "(no unmodified kernel boots on it)",
        )
    return KvmState(Kvm.GOOD, f"{device} works")


def _cpu_flags() -> set[str]:
    """The CPU's feature flags, as Linux lists them; empty where it doesn't."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    for line in text.splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()

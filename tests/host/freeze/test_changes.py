"""What of guest RAM is written once more: KVM's bitmaps, and a KVM that has none."""

from types import SimpleNamespace
from typing import Any

import pytest

from vestige import abi
from vestige.host.freeze.changes import Changes, pages_of
from vestige.host.kvm import api as kvm
from vestige.host.kvm.api import Request

PAGES = [
    ("", []),
    ("00", []),
    ("01", [(0, 1)]),
    ("80", [(7, 8)]),
    ("0000f0 0f00", [(20, 28)]),
    ("05 00 ffff", [(0, 1), (2, 3), (16, 32)]),
]
RAM = 0x10000000000
CHUNK = 64 << 10  # of a ring's: what the memory says
GUEST, MONITOR = 7, 8  # descriptors


@pytest.mark.parametrize(("bitmap", "pages"), PAGES)
def test_bits_are_pages_from_the_lowest_on(bitmap: str, pages: list[tuple[int, int]]) -> None:
    assert list(pages_of(bytes.fromhex(bitmap))) == pages


def twin(*, is_pc: bool = False) -> Any:
    """Of 64 MiB, of which the guest has all, and the monitor all and something more."""

    def machine(descriptor: int, *shown: kvm.MemoryRegion) -> SimpleNamespace:
        return SimpleNamespace(descriptor=descriptor, mapped=list(shown))

    ram = {"size": 64 * abi.MIB, "host_address": RAM}
    more = kvm.MemoryRegion(slot=1, size=1 << 12, host_address=RAM - (1 << 21))
    return SimpleNamespace(
        memory=SimpleNamespace(
            region=SimpleNamespace(address=RAM, size=ram["size"]),
            chunk=lambda number: (RAM + number * CHUNK, CHUNK),
        ),
        guest=machine(GUEST, kvm.MemoryRegion(**ram)),
        monitor=machine(MONITOR, kvm.MemoryRegion(**ram), more),
        gate=object() if is_pc else None,
        regions=None,
    )


class Kvm:
    """In the place of KVM: which VMs keep a log."""

    def __init__(self, *refuses: int) -> None:
        self.refuses, self.logs = refuses, set[int]()

    def __call__(self, descriptor: int, request: Request, argument: Any) -> int:
        if request == Request.GET_DIRTY_LOG:
            return 0
        assert request == Request.SET_USER_MEMORY_REGION
        assert argument.slot == 0
        if argument.flags and descriptor in self.refuses:
            return -22
        (self.logs.add if argument.flags else self.logs.discard)(descriptor)
        return 0


def begun(monkeypatch: pytest.MonkeyPatch, kvm_: Kvm, *, is_pc: bool = False) -> Changes:
    monkeypatch.setattr(kvm, "attempt", kvm_)
    monkeypatch.setattr(kvm, "call", kvm_)
    rings: Any = [SimpleNamespace(ever_pinned={5, 31}), SimpleNamespace(ever_pinned={5})]
    found = Changes(twin(is_pc=is_pc), rings)
    found.begin()
    return found


def test_both_vms_log_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    kvm_ = Kvm()
    found = begun(monkeypatch, kvm_)
    assert found.is_on
    assert kvm_.logs == {GUEST, MONITOR}
    found.end()
    assert kvm_.logs == set()


def test_without_a_log_of_one_vm_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    kvm_ = Kvm(MONITOR)
    found = begun(monkeypatch, kvm_)
    assert not found.is_on
    assert kvm_.logs == set()


@pytest.mark.parametrize("is_pc", [False, True])
def test_what_no_log_has_counts_as_written(monkeypatch: pytest.MonkeyPatch, is_pc: bool) -> None:
    found = begun(monkeypatch, Kvm(), is_pc=is_pc).written()
    chunks = {(chunk * CHUNK, (chunk + 1) * CHUNK) for chunk in (5, 31)}
    assert set(found) == chunks | ({(0, 2 * abi.MIB)} if is_pc else set())

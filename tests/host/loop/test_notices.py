"""Who serves a guest's disks: stores that are moved to the eventfd and away from it."""

import errno

import pytest

from vestige import abi
from vestige.host.kvm.requests import Ioeventfd, Request
from vestige.host.loop import notices as module
from vestige.host.loop.notices import DEASSIGN, EARLIER, STAY, Notices

GUEST, EVENTFD = 5, 9


class Kernel:
    """KVM's stores, of two disks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.notices = Notices(guest=GUEST, count=2)
        self.eventfds = set()
        self.refuses = 0  # an errno
        for number in range(2):
            store = self.notices.stores[number]
            store.address, store.length = abi.VIRTIO_BARS + number, abi.VIRTIO_NOTIFY_SIZE
            store.descriptor = EVENTFD
            self.eventfds.add(store.address)
        self.places = set(self.eventfds)
        monkeypatch.setattr(module, "syscall", self.syscall)

    def syscall(self, number: int, descriptor: int, request: int, place: int, *_rest: int) -> int:
        assert (number, descriptor, request) == (module.SYS_IOCTL, GUEST, Request.IOEVENTFD)
        store = Ioeventfd.at(place)
        assert store.descriptor == EVENTFD
        assert store.length == abi.VIRTIO_NOTIFY_SIZE
        if self.refuses:
            return -self.refuses
        there = store.address in self.eventfds
        if store.flags & DEASSIGN:
            self.eventfds.discard(store.address)
            return 0 if there else -errno.ENOENT
        self.eventfds.add(store.address)
        return -errno.EEXIST if there else 0


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


def test_the_cpu_serves_for_so_many_kicks(kernel: Kernel) -> None:
    notices = kernel.notices
    assert notices.give_to_cpu()
    assert notices.exits
    assert not kernel.eventfds
    for _ in range(STAY - 1):
        notices.kicked(True)
    assert notices.exits
    notices.kicked(True)
    assert not notices.exits
    assert kernel.eventfds == kernel.places


def test_requests_that_come_together_or_wait_end_that_earlier(kernel: Kernel) -> None:
    notices = kernel.notices
    assert notices.give_to_cpu()
    for _ in range(STAY // EARLIER):
        assert notices.exits
        notices.kicked(False)
    assert not notices.exits
    assert kernel.eventfds == kernel.places


def test_what_kvm_refuses_to_take_away_stays_the_workers(kernel: Kernel) -> None:
    kernel.refuses = errno.EINVAL
    assert not kernel.notices.give_to_cpu()
    assert not kernel.notices.exits
    assert kernel.notices.count == 0


def test_what_kvm_can_t_have_back_now_is_given_later(kernel: Kernel) -> None:
    notices = kernel.notices
    assert notices.give_to_cpu()
    kernel.refuses = errno.ENOMEM
    for _ in range(STAY):
        notices.kicked(True)
    assert notices.exits
    kernel.refuses = 0
    for _ in range(STAY):
        notices.kicked(True)
    assert not notices.exits
    assert kernel.eventfds == kernel.places

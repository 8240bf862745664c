"""Our virtio tablet and QEMU's, for the same driver; who moves QEMU's does so by its monitor."""

import contextlib
import json
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tests.devices.virtio.reference import Buffer, Driver
from tests.devices.virtio_input.bench import SIZE, TabletBench, at
from tests.qtest.client import qemu
from tests.qtest.virtio_pair import PATIENCE, SLOT, Guest, Ours, Qemus
from vestige.monitor.events import Taken

DATA = 0x13000  # guest-physical, for what buffers hold
BUTTONS = ("left", "right", "middle", "side", "extra")  # as QEMU calls them
QUEUES = 2


class Hand(Protocol):
    """Who moves the pointer."""

    def put(self, x: int, y: int, buttons: int, wheel: int) -> None:
        """It is there now, these buttons are down, the wheel has turned so far."""


class Side(NamedTuple):
    """The tablet on one side: its driver, and who moves it."""

    guest: Guest
    hand: Hand


class OurHand:
    """By records."""

    def __init__(self) -> None:
        self.bench = TabletBench()

    def put(self, x: int, y: int, buttons: int, wheel: int) -> None:
        assert self.bench.bring(at(x, y, buttons, wheel)) == Taken.DONE


class QemusHand:
    """By input-send-event, QEMU's docs/interop/qemu-qmp-ref."""

    def __init__(self, link: socket.socket) -> None:
        self.link, self.unread = link, b""
        self.buttons = 0
        self.answer()
        self.tell("qmp_capabilities")

    def tell(self, command: str, **arguments: Any) -> None:
        self.link.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while "return" not in (answer := self.answer()):
            assert "error" not in answer, answer

    def answer(self) -> Any:
        while b"\n" not in self.unread:
            self.unread += self.link.recv(4096)
        line, _, self.unread = self.unread.partition(b"\n")
        return json.loads(line)

    def put(self, x: int, y: int, buttons: int, wheel: int) -> None:
        events: list[tuple[str, dict[str, Any]]] = [
            ("abs", {"axis": "x", "value": x}),
            ("abs", {"axis": "y", "value": y}),
        ]
        for number, name in enumerate(BUTTONS):
            if (buttons ^ self.buttons) >> number & 1:
                events.append(("btn", {"button": name, "down": bool(buttons >> number & 1)}))
        if wheel:
            name = "wheel-down" if wheel > 0 else "wheel-up"
            events.append(("btn", {"button": name, "down": True}))
        self.buttons = buttons
        self.tell("input-send-event", events=[{"type": kind, "data": d} for kind, d in events])


def ours() -> Side:
    hand = OurHand()
    return Side(Guest(Ours(hand.bench, hand.bench.service)), hand)


@contextlib.contextmanager
def qemus(folder: Path) -> Iterator[Side]:
    """QEMU's."""
    near, far = socket.socketpair()
    near.settimeout(PATIENCE)
    with near, far:
        number = far.fileno()
        arguments = [
            *("-chardev", f"socket,id=hand,fd={number}", "-mon", "chardev=hand,mode=control"),
            *("-device", f"virtio-tablet-pci,addr={SLOT},vectors=3,disable-legacy=on,packed=on"),
        ]
        with qemu(folder, arguments, files=[number], running=True) as qtest:
            side = Qemus(qtest)
            guest = Guest(side)
            try:
                yield Side(guest, QemusHand(near))
            finally:
                del guest.ram
                side.close()


def ask(guest: Guest, select: int, subselect: int) -> bytes:
    """What the configuration structure says of it."""
    guest.side.write("device", 0, 1, select)
    guest.side.write("device", 1, 1, subselect)
    size = guest.side.read("device", 2, 1)
    return bytes(guest.side.read("device", 8 + number, 1) for number in range(size))


def give(guest: Guest, driver: Driver, count: int) -> None:
    """Buffers for so many events."""
    for number in range(count):
        assert driver.add([Buffer(DATA + SIZE * number, SIZE, writable=True)]) is not None
    guest.notify(0)


def got(guest: Guest, driver: Driver, count: int) -> list[tuple[int, int, int]]:
    """The next events, each of type, code and value."""
    before = dict(driver.outstanding)
    events = []
    for number, written in guest.side.settle([driver], count):
        assert written == SIZE
        (buffer,) = before[number]
        events.append(struct.unpack("<HHi", guest.ram.get(buffer.address, SIZE)))
    return events

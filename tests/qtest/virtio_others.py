"""Virtio devices of ours and of QEMU's that are no disks: entropy, console and network.

What is on their other sides is the test's: the console's two ports and the network are sockets
to QEMU, and to ours the core's side of the models. One QEMU has all three.
"""

import contextlib
import select
import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from tests.devices.virtio.reference import Buffer, Driver
from tests.devices.virtio_console.bench import ConsoleBench
from tests.devices.virtio_net.bench import NetBench, prefixed
from tests.devices.virtio_rng.bench import EntropyBench
from tests.qtest.client import qemu
from tests.qtest.virtio_pair import PATIENCE, SLOT, Guest, Ours, Qemus, Side
from vestige.abi import NetBackend
from vestige.monitor.devices.virtio_rng.model import VirtioEntropy

DATA = 0x13000  # guest-physical, for what buffers hold
PORT_NAME = "log"
MAC = "52:54:00:12:34:56"
MTU = 65_520
# By number of QEMU's function: what is the same of both sides is set to ours.
COMMON = "disable-legacy=on,packed=on,ioeventfd=off"
ENTROPY, CONSOLE, NETWORK = range(3)
QUEUES = (1, 6, 3)


class Other(Protocol):
    """The other side of a device, as the test has it."""

    def bring(self, place: int, data: bytes) -> None:
        """These bytes come for the guest: at a port by number, or as a frame."""

    def sent(self, place: int, length: int) -> bytes:
        """What the guest sent: `length` bytes of a port, or the frames of that length in all."""


class Pair(NamedTuple):
    """One device on one side: its driver, and what is behind it."""

    guest: Guest
    other: Other


# ---- ours ---------------------------------------------------------------------------------


class OurEntropy:
    """Random bytes as long as any are wanted."""

    def __init__(self) -> None:
        self.bench = EntropyBench()

    def answer(self) -> None:
        """What the core does."""
        self.bench.service()
        while VirtioEntropy.wants(self.bench.entropy, self.bench.device):
            self.bench.fill()
            if self.bench.entropy.count:
                return

    def bring(self, place: int, data: bytes) -> None:
        """Nothing comes from outside."""

    def sent(self, place: int, length: int) -> bytes:
        return b""


class OurConsole:
    """A console and one named port."""

    def __init__(self) -> None:
        self.bench = ConsoleBench(PORT_NAME.encode())

    def answer(self) -> None:
        """What the core does."""
        self.bench.service()

    def bring(self, place: int, data: bytes) -> None:
        self.bench.come(place, data)

    def sent(self, place: int, length: int) -> bytes:
        data = b""
        while part := self.bench.written(place):
            data += part
        return data


class OurNetwork:
    """An interface with a stream on the other side."""

    def __init__(self) -> None:
        self.bench = NetBench(NetBackend.STREAM)

    def answer(self) -> None:
        """What the core does."""
        self.bench.step()

    def bring(self, place: int, data: bytes) -> None:
        self.bench.bring(prefixed(data))

    def sent(self, place: int, length: int) -> bytes:
        return b"".join(self.bench.take_all())


def ours(number: int) -> Pair:
    """Our device of this number."""
    device: OurEntropy | OurConsole | OurNetwork
    match number:
        case 0:
            device = OurEntropy()
        case 1:
            device = OurConsole()
        case _:
            device = OurNetwork()
    return Pair(Guest(Ours(device.bench, device.answer)), device)


# ---- QEMU's -------------------------------------------------------------------------------


class Sockets:
    """Our ends: of ports by number, or the network's stream, of which a frame is as passt's."""

    def __init__(self, ends: Sequence[socket.socket], *, framed: bool) -> None:
        self.ends = ends
        self.framed = framed

    def bring(self, place: int, data: bytes) -> None:
        self.ends[place].sendall(prefixed(data) if self.framed else data)

    def sent(self, place: int, length: int) -> bytes:
        """Once there are as many as that; and what is there beyond."""
        data = b""
        end = self.ends[place]
        while len(data) < length or select.select([end], [], [], 0)[0]:
            data += end.recv(1 << 16)
        return data


@contextlib.contextmanager
def qemus(folder: Path) -> Iterator[list[Pair]]:
    """A QEMU with all three, by number."""
    with contextlib.ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(3)]
        for near, far in pairs:
            near.settimeout(PATIENCE)
            stack.enter_context(near)
            stack.enter_context(far)
        files = [far.fileno() for _, far in pairs]
        qtest = stack.enter_context(qemu(folder, arguments(files), files=files, running=True))
        sides = [Qemus(qtest, number) for number in range(3)]
        ends = [near for near, _ in pairs]
        others = [Sockets([], framed=False), Sockets(ends[:2], framed=False)]
        others.append(Sockets(ends[2:], framed=True))
        guests = [Guest(side) for side in sides]
        try:
            yield [Pair(guest, other) for guest, other in zip(guests, others, strict=True)]
        finally:
            for guest, side in zip(guests, sides, strict=True):
                del guest.ram
                side.close()


def arguments(files: Sequence[int]) -> list[str]:
    """QEMU's devices, as ours are."""
    return [
        *("-object", "rng-builtin,id=rng"),
        *("-device", f"virtio-rng-pci,rng=rng,addr={SLOT},vectors=2,{COMMON}"),
        *("-chardev", f"socket,id=hvc,fd={files[0]}", "-chardev", f"socket,id=port,fd={files[1]}"),
        *("-device", f"virtio-serial-pci,id=serial,addr={SLOT + 1},max_ports=2,vectors=7,"
                     f"emergency-write=off,{COMMON}"),
        *("-device", "virtconsole,bus=serial.0,nr=0,chardev=hvc"),
        *("-device", f"virtserialport,bus=serial.0,nr=1,chardev=port,name={PORT_NAME}"),
        *("-netdev", f"socket,id=net,fd={files[2]}"),
        *("-device", f"virtio-net-pci,netdev=net,addr={SLOT + 2},mac={MAC},host_mtu={MTU},"
                     f"vectors=4,tx_queue_size=256,{COMMON}"),
    ]  # fmt: skip


# ---- what a driver does -------------------------------------------------------------------


def receive(side: Side, driver: Driver) -> list[bytes]:
    """The next buffer that comes back of this driver, whole, by its pieces."""
    before = dict(driver.outstanding)
    ((number, written),) = side.settle([driver], 1)
    data = []
    for each in before[number]:
        part = min(each.length, written)
        data.append(side.ram.get(each.address, part))
        written -= part
    return data


def room(driver: Driver, *sizes: int, at: int = DATA) -> None:
    """One buffer of these pieces to be written."""
    pieces = []
    for size in sizes:
        pieces.append(Buffer(at, size, writable=True))
        at += size
    assert driver.add(pieces) is not None


def message(port: int, event: int, value: int = 1) -> bytes:
    """One of the console's control messages."""
    return struct.pack("<IHH", port, event, value)

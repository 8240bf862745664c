"""Holes in images, which the monitor asks for and this process makes.

The kernel's operation for it, fallocate(2), goes far beyond holes: it makes files longer, moves
their bytes, and takes room behind their end, which no limit on the size of files stops. A ring's
restriction knows no modes. So the rings have a socket instead, one each, and a thread takes orders
out of it: abi.DiscardOrder.
"""

import _socket
import os
import select
from _collections_abc import Callable, Mapping
from _thread import allocate_lock, start_new_thread

from vestige import abi
from vestige.host.backends.disks import punch
from vestige.host.thread_name import set_thread_name

EBADF, EINVAL = 9, 22


class Discards:
    """The sockets' ends for the rings in `descriptors`, and the thread at the others."""

    def __init__(self, images: Mapping[int, tuple[int, int, int]], rings: int) -> None:
        """`images` that may have holes, by their numbers among the rings' files: descriptors, where
        the disks begin there, and sizes in sectors.
        """
        self._images = images
        self._near: dict[int, _socket.socket] = {}
        self._far: list[_socket.socket] = []
        for _ in range(rings):
            near, far = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
            near.setblocking(False)
            self._near[near.fileno()] = near
            self._far.append(far)
        self.descriptors = [far.fileno() for far in self._far]
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._running = allocate_lock()

    def start(self) -> None:
        """Begin to take orders: the thread is there, and waits for them."""
        is_ready = allocate_lock()
        is_ready.acquire()
        self._running.acquire()
        try:
            start_new_thread(self._run, (is_ready.release,))
        except BaseException:
            self._running.release()
            raise
        is_ready.acquire()

    def _run(self, be_ready: Callable[[], None]) -> None:
        set_thread_name("discards")
        be_ready()
        poll = select.poll()
        for descriptor in (self._stop, *self._near):
            poll.register(descriptor, select.POLLIN)
        try:
            while True:
                ready = [descriptor for descriptor, _ in poll.poll()]
                if self._stop in ready:
                    return
                for descriptor in ready:
                    self._serve(self._near[descriptor])
        finally:
            self._running.release()

    def _serve(self, near: _socket.socket) -> None:
        """Take an order, and answer. An honest monitor awaits each answer: there is room for it."""
        try:  # noqa: SIM105 - contextlib is slow to import
            near.send(self._carry_out(near.recv(abi.DISCARD_ORDER_SIZE + 1)))
        except BlockingIOError:
            pass

    def _carry_out(self, message: bytes) -> bytes:
        error = EINVAL
        if len(message) == abi.DISCARD_ORDER_SIZE:
            order = abi.DiscardOrder.from_buffer_copy(message)
            image = self._images.get(order.file)
            error = EBADF if image is None else punch(*image, order.sector, order.sectors)
        return error.to_bytes(abi.DISCARD_ANSWER_SIZE, "little")

    def close(self) -> None:
        """End the thread, once what it is about is done, and close all."""
        os.eventfd_write(self._stop, 1)
        with self._running:
            pass
        os.close(self._stop)
        for end in (*self._near.values(), *self._far):
            end.close()

"""A machine that is built in one process, for forks of it that are the same machine each."""

import os

from vestige.errors import UsageError
from vestige.host import steps
from vestige.host.compiled import Compiled
from vestige.host.jail import namespaces
from vestige.host.kvm import api as kvm
from vestige.host.kvm.twin import Blank
from vestige.host.process import inner
from vestige.host.process.forks import Forks
from vestige.host.process.inner import Machine
from vestige.host.process.link import Link, link_of, pair
from vestige.host.process.orders import Orders
from vestige.host.resources import Resources
from vestige.lang.types import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # signal itself makes enumerations of all numbers, and imports enum

# Of its machine; those of who builds it, and those that come along with orders, are below.
FIRST_DESCRIPTOR = 64


class Mould:
    """A thawed machine, as it is built, but for what the kernel keeps for its process: this has the
    kernel know of a fork's as it knew of this one's, when that is to be the same machine.

    Nothing has run in it, neither guest nor monitor.
    """

    def __init__(self, orders: Orders, compiled: Compiled, known: kvm.Known) -> None:
        """Build it. Raises as Machine does, and UsageError for one that no fork can be."""
        if orders.holes or orders.controllers or orders.shows or orders.group:
            raise UsageError("a machine with files that only one process has")
        if len(orders.descriptors) > FIRST_DESCRIPTOR // 2:
            raise UsageError("a machine with too many files")
        self._steps = steps.Steps(FIRST_DESCRIPTOR, compiled.replayer)
        self._numbers = [self._steps.place(each) for each in orders.descriptors]
        self._orders = orders = orders.over(self._numbers)
        with self._steps:
            blank = Blank(kvm.open_system(known=known), compiled.code)
            near, far = pair()
            near.close()
            far.close()  # a fork has another
            self._machine = Machine(orders, compiled, blank, Resources(), far)
        self._steps.give_up()

    def begin_again(self) -> None:
        """In a fork: have what each of them has. Raises GuestError."""
        self._steps.again()

    def copy(self, orders: Orders, link: Link) -> "Machine | None":
        """The machine of a fork that has begun; None: the orders are other than those of this one.

        Raises GuestError.
        """
        if not orders.are_as(self._orders):
            return None
        steps.take(orders.descriptors, self._numbers)
        self._steps.again_late()
        self._machine.be_of(link, orders.over(self._numbers))
        return self._machine


def cast(mould: Mould, requests: int, last: int, compiled: Compiled, known: kvm.Known) -> None:
    """Have a machine's process be forked each time that somebody asks at a socket, see forks.py.

    It is a child of this process's parent, and `last` the address where its number is written.
    Returns once nobody is there who could ask. Raises OSError where no process can be had.
    """
    forked = namespaces.fork()  # tells whether there are namespaces
    if forked.pid == 0:
        os._exit(0)
    os.waitpid(forked.pid, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, inner.IGNORED)  # until a fork has its own handlers
    forks = Forks(requests=requests, last=last)
    if namespaces.siblings(forks, compiled.forker, forked):
        link = link_of(forks.link)

        def body() -> None:
            inner.live(compiled, known, link, forked.problem, mould)

        inner.become(link, body, inner.NAME)

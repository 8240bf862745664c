"""The lines of a domain's virtio functions, on their way to the first domain's I/O APIC."""

from vestige.lang.intrinsics import (
    address_of,
    atomic_exchange32,
    load_acquire32,
    store_release32,
)
from vestige.lang.types import Struct, u32, u64

ROSE = 4  # offset of Wires.rose


class Wires(Struct):
    """Sets of pins. The domain's lock guards what is put in; taking out needs none.

    First the level is shown, then the edges, then the first domain is told: so it finds either
    the newest of both, or will be told once more.
    """

    asserted: u32
    rose: u32  # edges the first domain has not taken yet
    news: u32  # 1: it has to be told

    def show(self, asserted: u32, rose: u32) -> None:
        """The level of all pins now, and which of them rose since the last call."""
        if asserted == self.asserted and rose == 0:
            return
        store_release32(address_of(self), asserted)
        if rose:
            edges = u64(address_of(self) + ROSE)
            store_release32(edges, atomic_exchange32(edges, 0) | rose)
        self.news = 1

    def take_news(self) -> bool:
        """Whether to tell the first domain, once the lock has been given back."""
        news = self.news != 0
        self.news = 0
        return news

    def level(self) -> u32:
        """The pins asserted; for the first domain."""
        return load_acquire32(address_of(self))

    def take_edges(self) -> u32:
        """The pins that rose since the last call; for the first domain, its lock held."""
        return atomic_exchange32(u64(address_of(self) + ROSE), 0)

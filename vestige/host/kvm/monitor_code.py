"""The monitor's compiled image as the host needs it: where it starts, and what its words mean."""

from vestige import abi
from vestige.host.kvm import monitor_tables
from vestige.lang.image import Image
from vestige.rows import POSTS

EXCEPTIONS = 32
WAKE = "interrupt_wake"
SIGNAL = "interrupt_signal_{}"  # and the index into Cpu.signals
GATE = "gate"


class MonitorCode:
    """An image linked at abi.IMAGE; all addresses are the monitor's.

    `memory_size` is that of the code and the data behind it, in bytes; `interrupts` is the IDT.
    """

    __slots__ = ("_image", "_key", "code", "interrupts", "memory_size", "vcpu_main", "worker_main")

    def __init__(self, image: Image) -> None:
        self._image, self._key = image, ""
        self.code = image.code
        self.memory_size = image.memory_size
        symbols = {name: abi.IMAGE + offset for name, offset in image.symbols.items()}
        self.vcpu_main, self.worker_main = symbols["vcpu_main"], symbols["worker_main"]
        names = {vector: f"exception_{vector}" for vector in range(EXCEPTIONS)}
        names |= {abi.WORKER_VECTOR: WAKE, abi.TIMER_VECTOR: SIGNAL.format(abi.TIMER_SIGNAL)}
        names |= {abi.START_VECTOR + n: SIGNAL.format(n) for n in range(len(POSTS))}
        names |= {abi.FENCE_VECTOR: SIGNAL.format(abi.FENCE_SIGNAL)}
        handlers = {vector: symbols[name] for vector, name in names.items() if name in symbols}
        self.interrupts = monitor_tables.interrupt_table(handlers, symbols[GATE])

    @property
    def key(self) -> str:
        """What tells it from any other."""
        if not self._key:
            from hashlib import sha256  # noqa: PLC0415 - few runs need it

            self._key = sha256(self.code + self.interrupts).hexdigest()
        return self._key

    def site(self, number: int) -> str | None:
        """A check's number as "FILE:LINE: REASON"."""
        if not 0 < number < len(self._image.sites):
            return None
        file, line, reason = self._image.sites[number]
        return f"{file}:{line}: {reason}"

    def line(self, address: int) -> str | None:
        """An address as "FILE:LINE"."""
        place = self._image.line_of(address - abi.IMAGE)
        return None if place is None else f"{place[0]}:{place[1]}"

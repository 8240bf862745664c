"""Our IDE and QEMU's, side by side: every access goes to both, every value read is compared."""

import contextlib
import mmap
import time
from collections.abc import Iterator
from pathlib import Path

from tests.devices.piix3_ide.rig import BUS_MASTER, CONTROL, PRIMARY, SECONDARY, FakeDisk, Rig
from tests.qtest.client import Qtest, qemu
from vestige.monitor.block import Operation
from vestige.monitor.devices.piix3_ide.channel import Channel
from vestige.monitor.devices.piix3_ide.drive import Drive
from vestige.monitor.devices.piix3_ide.spec import Command, Control, Status

BASES = (PRIMARY, SECONDARY)
SECTORS = 2048  # of each disk: 2 cylinders of 16 heads of 63 sectors, and some
UNITS = (0, 1, 2)  # the secondary channel has no device 1
CONFIG = 0x8000_0900  # configuration address of QEMU's function, 00:01.1
SHARED_RAM = (0x1_0000, 0x8_0000)  # where tables and data lie
POLLS = 10_000  # of a QEMU that isn't busy
PATIENCE = 60  # seconds for a disk access of QEMU's, on a machine that may be busy
# Words of IDENTIFY DEVICE that differ; docs/devices/piix3-ide.md says why.
IDENTIFY_WORDS = frozenset((
    2, *range(10, 20), 20, 21, 22, *range(23, 27), *range(27, 47), 48, 49, 50, 52, 59, 62,
    63, 69, 80, 81, 82, 85, 88, 93, 106, 169,
))  # fmt: skip


class Access:
    """One access. `kind`: read, write, _string or _config of either, or poke."""

    def __init__(
        self, kind: str, port: int, size: int = 1, value: int = 0, data: bytes = b""
    ) -> None:
        self.kind, self.size, self.data = kind, size, data
        self.port = port  # or offset in configuration space, or address in RAM
        self.value = value  # written; of read_string how many
        self.writes = kind == "write"
        self.channel: int | None = None  # whose register it is
        self.register: int | None = None  # offset in the command block
        self.bus_master_register: int | None = None  # offset in the channel's part
        self.is_control = port in CONTROL.values()  # Device Control or Alternate Status
        if kind in ("read_config", "write_config", "poke"):
            return
        for number, base in enumerate(BASES):
            if base <= port < base + 8 or port == CONTROL[base]:
                self.channel = number
            if base <= port < base + 8:
                self.register = port - base
        if BUS_MASTER <= port < BUS_MASTER + 16:
            self.channel, self.bus_master_register = divmod(port - BUS_MASTER, 8)

    def __str__(self) -> str:
        return f"{self.kind} {self.port:#x} size {self.size} value {self.value:#x}"


class Difference(AssertionError):
    """Ours and QEMU's disagree."""


class Pair:
    """`rig` is ours, `qtest` QEMU; what happened since `begin` is in `history`."""

    def __init__(self, rig: Rig, qtest: Qtest, files: list[mmap.mmap]) -> None:
        self.rig, self.qtest, self.files = rig, qtest, files
        self.history: list[str] = []
        # Access, our value, which of its bits count, index of QEMU's.
        self.expected: list[tuple[str, int, int, int]] = []
        self.served = 0
        self.commands: dict[int | None, int] = {}  # the last one of each channel
        self.reset_drives: set[tuple[int, int]] = set()
        self.values_compared = 0

    def channel(self, number: int) -> Channel:
        return self.rig.ide.channels[number]

    def selected(self, number: int) -> Drive:
        channel = self.channel(number)
        return channel.drives[channel.selected]

    # ---- accesses -------------------------------------------------------------------------

    def perform(self, access: Access) -> None:
        """Do it on both sides; wait for QEMU's disk where ours worked."""
        self.history.append(str(access))
        self._note(access)
        getattr(self, f"_{access.kind}")(access)
        if len(self.rig.requests) > self.served or (access.writes and access.is_control):
            self.settle(access.channel or 0)
        if len(self.expected) > 2000:
            self.flush()

    def _note(self, access: Access) -> None:
        """Remember which drives a reset has left without READ MULTIPLE, and what is executed."""
        if not access.writes or access.channel is None:
            return
        if access.register == 7 and not self.channel(access.channel).busy():
            self.commands[access.channel] = access.value & 0xFF
        if access.is_control and access.value & Control.SRST:
            self.reset_drives |= {(access.channel, 0), (access.channel, 1)}
        elif access.register == 7 and access.value == Command.SET_MULTIPLE_MODE:
            if self.selected(access.channel).count in (0, 1, 2, 4, 8, 16):
                self.reset_drives.discard((access.channel, self.channel(access.channel).selected))

    def was_reset(self, number: int) -> bool:
        """Whether the selected drive was reset since its last SET MULTIPLE MODE."""
        return (number, self.channel(number).selected) in self.reset_drives

    def _read(self, access: Access) -> None:
        mask = self._data_mask(access, 0)
        value = self.rig.read(access.port, access.size)
        self._expect(str(access), value, self.qtest.read(access.port, access.size), mask)

    def _write(self, access: Access) -> None:
        self.rig.write(access.port, access.value, access.size)
        self.qtest.write(access.port, access.value, access.size)

    def _read_string(self, access: Access) -> None:
        masks = [self._data_mask(access, i) for i in range(access.value)]
        data = self.rig.read_string(access.port, access.size, access.value)
        for i in range(access.value):
            value = int.from_bytes(data[i * access.size : (i + 1) * access.size], "little")
            index = self.qtest.read(access.port, access.size)
            self._expect(f"{access} [{i}]", value, index, masks[i])

    def _write_string(self, access: Access) -> None:
        self.rig.write_string(access.port, access.size, access.data)
        for i in range(0, len(access.data), access.size):
            value = int.from_bytes(access.data[i : i + access.size], "little")
            self.qtest.write(access.port, value, access.size)

    def _poke(self, access: Access) -> None:
        self.poke(access.port, access.data)

    def _read_config(self, access: Access) -> None:
        self._address(access)
        index = self.qtest.read(0xCFC + (access.port & 3), access.size)
        value = self.rig.read_config(access.port, access.size)
        self._expect(str(access), value, index, 0xFFFF_FFFF)

    def _write_config(self, access: Access) -> None:
        self._address(access)
        self.qtest.write(0xCFC + (access.port & 3), access.value, access.size)
        self.rig.write_config(access.port, access.size, access.value)

    def _address(self, access: Access) -> None:
        self.qtest.write(0xCF8, CONFIG | access.port & 0xFC, 4)

    def _data_mask(self, access: Access, index: int) -> int:
        """Which bits of a data read count: IDENTIFY DEVICE has words that differ."""
        if access.register != 0 or self.commands.get(access.channel) != Command.IDENTIFY_DEVICE:
            return 0xFFFF_FFFF
        word = (self.channel(access.channel or 0).position + index * access.size) // 2
        mask = 0
        for half in range(max(1, access.size // 2)):
            mask |= 0 if word + half in IDENTIFY_WORDS else 0xFFFF << 16 * half
        return mask

    def _expect(self, what: str, ours: int, index: int, mask: int) -> None:
        self.expected.append((what, ours, mask, index))

    def poke(self, address: int, data: bytes) -> None:
        """Put bytes into both RAMs."""
        self.rig.poke(address, data)
        self.qtest.ram[address : address + len(data)] = data

    # ---- comparing ------------------------------------------------------------------------

    def flush(self) -> None:
        """Send what is queued and compare the values read."""
        expected, self.expected = self.expected, []
        values = self.qtest.flush()
        for what, ours, mask, index in expected:
            if (values[index] ^ ours) & mask:
                self.fail(f"{what}: ours {ours:#x}, QEMU's {values[index]:#x}")
        self.values_compared += len(expected)

    def settle(self, number: int) -> None:
        """Wait until QEMU's Alternate Status is ours: ours needs no time for a disk access."""
        self.served = len(self.rig.requests)
        self.flush()
        port = CONTROL[BASES[number]]
        ours = self.rig.read(port)
        resetting = self.channel(number).resetting != 0  # QEMU's reset doesn't wait for SRST's end
        deadline = time.monotonic() + PATIENCE
        polls = 0
        while polls < POLLS and time.monotonic() < deadline:
            theirs = self.qtest.inb(port)
            if theirs == ours or (resetting and not theirs & Status.BSY):
                return
            if not theirs & Status.BSY:
                polls += 1
        self.fail(f"Alternate Status after a disk access: ours {ours:#x}, QEMU's {theirs:#x}")

    def finish(self) -> None:
        """The end of a sequence: interrupts, memory and disks must agree too."""
        self.flush()
        for number, pin in enumerate((14, 15)):
            line = self.channel(number).line
            theirs = self.qtest.interrupts.get(pin, 0), self.qtest.levels.get(pin, False)
            ours = self.rig.edges[number], bool(line.level)
            if ours != theirs:
                self.fail(f"IRQ {pin} (edges, level): ours {ours}, QEMU's {theirs}")
        start, end = SHARED_RAM
        if self.rig.memory[start:end] != self.qtest.ram[start:end]:
            self.fail("RAM differs")
        for unit, file in zip(UNITS, self.files, strict=True):
            if file[:] != bytes(self.rig.disks[unit].data):
                self.fail(f"disk {unit} differs")

    def begin(self) -> None:
        """Forget the history; count interrupts afresh."""
        self.flush()
        self.history.clear()
        self.rig.edges = [0, 0]
        self.qtest.interrupts.clear()

    def fail(self, what: str) -> None:
        """Raise a Difference with the accesses that led to it."""
        raise Difference("\n".join([what, "after:", *self.history[-60:]]))

    def sectors_written(self) -> int:
        """How many sectors our side has written so far."""
        return sum(
            sectors
            for operation, _, sectors, _ in self.rig.requests
            if operation == Operation.WRITE
        )


@contextlib.contextmanager
def pair(folder: Path, rig_calls: object = None) -> Iterator[Pair]:
    """Both, with the same three disks: ports and bus master enabled, in compatibility mode."""
    disks = [FakeDisk(SECTORS, unit) for unit in UNITS]
    arguments = []
    with contextlib.ExitStack() as stack:
        files = []
        for disk in disks:
            path = folder / f"disk-{disk.unit}"
            path.write_bytes(disk.data)
            file = stack.enter_context(path.open("rb"))
            size = len(disk.data)
            files.append(stack.enter_context(mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ)))
            arguments += ["-drive", f"file={path},if=ide,index={disk.unit},format=raw"]
        qtest = stack.enter_context(qemu(folder, arguments))
        qtest.send("irq_intercept_in ioapic")
        both = Pair(Rig(disks, calls=rig_calls), qtest, files)  # type: ignore[arg-type]
        for offset, value in ((0x40, 0x8000), (0x42, 0x8000), (0x20, BUS_MASTER), (0x04, 0x0005)):
            both.perform(Access("write_config", offset, 2, value))
        yield both

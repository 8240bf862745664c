"""An NVMe controller in this process's memory. NVM Express base specification, revision 1.4.

Registers and queues are plain memory; `step` is the controller's turn: it looks at CC and the
doorbells, carries out what is new and answers. Drivers in CPython and compiled ones alike run
between steps. It is strict: what a driver may not do fails an assertion. And it fails as told.
"""

import ctypes
import mmap
import struct
from collections.abc import Callable
from typing import NamedTuple

BAR_SIZE = 4 * 4096
PAGE = 4096
CAP, CC, CSTS, AQA, ASQ, ACQ, DOORBELLS = 0x00, 0x14, 0x1C, 0x24, 0x28, 0x30, 0x1000
READY, FATAL = 1, 2
DO_NOT_RETRY = 1 << 14
INVALID_FIELD, ABORT_REQUESTED, OUT_OF_RANGE = 0x02, 0x07, 0x80
UNRECOVERED_READ = 0x281
CREATE_SQ, CREATE_CQ, IDENTIFY, ABORT, SET_FEATURES = 0x01, 0x05, 0x06, 0x08, 0x09
FLUSH, WRITE, READ, DATASET_MANAGEMENT = 0x00, 0x01, 0x02, 0x09


class Command(NamedTuple):
    """A submission queue entry and the queue it came by."""

    queue: int
    opcode: int
    flags: int
    identifier: int
    namespace: int
    prp1: int
    prp2: int
    dwords: tuple[int, ...]  # 10 to 15

    @property
    def block(self) -> int:
        """First block of a read or write."""
        return self.dwords[0] | self.dwords[1] << 32

    @property
    def blocks(self) -> int:
        """Number of blocks of a read or write."""
        return (self.dwords[2] & 0xFFFF) + 1


class Ends:
    """One queue pair as the controller sees it."""

    def __init__(self, completions: int, completion_depth: int) -> None:
        self.completions, self.completion_depth = completions, completion_depth
        self.commands = self.depth = 0
        self.head = 0  # of the submission queue
        self.tail = 0  # of the completion queue
        self.phase = 1
        self.used = 0  # completions posted since reset


class FakeNvme:
    """One controller with one namespace on `disk`; `allowed` is what its IOMMU lets it reach.

    Faults: `status(command)` may give a status to end a command with, None to do it; `lost`
    says which commands are never answered; with `holding`, I/O commands wait in `held`.
    """

    def __init__(
        self,
        disk: bytearray,
        *,
        block_size: int = 512,
        mdts: int = 0,
        stride: int = 0,
        queues: int = 8,
        entries: int = 64,
        can_discard: bool = True,
    ) -> None:
        self.disk, self.block_size, self.mdts = disk, block_size, mdts
        self.stride, self.queues, self.entries = stride, queues, entries
        self.can_discard, self.write_protected = can_discard, False
        self.metadata, self.namespaces = 0, [1]
        self.blocks = len(disk) // block_size
        self.names = (b"S3R1AL", b"A Model of a Drive", b"FW 1.0")
        self.bar = mmap.mmap(-1, BAR_SIZE)
        self.registers = ctypes.addressof(ctypes.c_uint8.from_buffer(self.bar))
        self.allowed: list[tuple[int, int]] = []
        self.moved: dict[int, int] = {}  # of the first address of one of these: what it is to DMA
        self.capabilities = entries - 1 | 1 << 16 | 1 << 24 | stride << 32 | 1 << 37
        self.set(CAP, self.capabilities, 8)
        self.set(CSTS, 0, 4)
        self.ends: dict[int, Ends] = {}
        self.enabled = False
        self.ready_after = 1  # steps until CSTS.RDY follows CC.EN
        self.countdown: int | None = None
        self.fatal_on_enable = False
        self.removed = False
        self.deaf = False  # looks at no doorbell
        self.resets = 0
        self.status: Callable[[Command], int | None] = lambda command: None
        self.lost: Callable[[Command], bool] = lambda command: False
        self.holding = False
        self.held: list[Command] = []
        self.log: list[Command] = []  # I/O commands carried out
        self.admin_log: list[Command] = []
        self.vectors: dict[int, int] = {}
        self.interrupts: list[int] = []
        self.discarded: list[tuple[int, int]] = []
        self.unflushed = 0  # writes since the last flush
        self.can_abort = True

    # ---- registers -------------------------------------------------------------------------

    def get(self, offset: int, size: int = 4) -> int:
        """What is in a register."""
        return int.from_bytes(self.bar[offset : offset + size], "little")

    def set(self, offset: int, value: int, size: int = 4) -> None:
        """Put a value into a register."""
        self.bar[offset : offset + size] = value.to_bytes(size, "little")

    def doorbell(self, number: int) -> int:
        """Offset of a doorbell: 2 * queue for the tail, one more for the head."""
        return DOORBELLS + number * (4 << self.stride)

    def fail_fatally(self) -> None:
        """CSTS.CFS: it does nothing more until it is reset."""
        self.set(CSTS, self.get(CSTS) | FATAL)
        self.deaf = True

    def remove(self) -> None:
        """Pull it out: every register reads as ones."""
        self.removed = True
        self.bar[:] = b"\xff" * BAR_SIZE

    # ---- its turn --------------------------------------------------------------------------

    def step(self) -> bool:
        """Do what there is to do; whether there was anything."""
        if self.removed:
            self.bar[:] = b"\xff" * BAR_SIZE
            return False
        assert self.get(CAP, 8) == self.capabilities, "CAP is read-only"
        enable = self.get(CC) & 1 != 0
        if enable != self.enabled:
            self.enabled = enable
            self.countdown = self.ready_after
            if not enable:
                self.reset()
        if self.countdown is not None:
            self.countdown -= 1
            if self.countdown > 0:
                return False
            self.countdown = None
            self.switch()
            return True
        if not self.get(CSTS) & READY or self.deaf:
            return False
        busy = False
        for number in list(self.ends):
            busy |= self.serve(number)
        return busy

    def reset(self) -> None:
        """CC.EN fell: queues are gone, commands are forgotten."""
        self.resets += 1
        self.ends.clear()
        self.held.clear()
        self.vectors.clear()

    def switch(self) -> None:
        """CSTS.RDY follows CC.EN."""
        if not self.enabled:
            self.set(CSTS, 0)
            self.deaf = False
            self.bar[DOORBELLS:] = bytes(BAR_SIZE - DOORBELLS)
            return
        if self.fatal_on_enable:
            self.set(CSTS, FATAL)
            return
        assert self.get(CC) == 1 | 6 << 16 | 4 << 20, "64-byte commands, 4 KiB pages"
        sizes = self.get(AQA)
        admin = Ends(self.get(ACQ, 8), (sizes >> 16 & 0xFFF) + 1)
        admin.commands, admin.depth = self.get(ASQ, 8), (sizes & 0xFFF) + 1
        assert admin.commands % PAGE == 0
        assert admin.completions % PAGE == 0
        self.ends[0] = admin
        self.set(CSTS, READY)

    def serve(self, number: int) -> bool:
        """Take the new commands of one queue."""
        ends = self.ends[number]
        if ends.depth == 0:
            return False
        tail = self.get(self.doorbell(2 * number))
        assert tail < ends.depth, "tail doorbell beyond the queue"
        any_new = ends.head != tail
        while ends.head != tail and number in self.ends:
            data = self.load(ends.commands + 64 * ends.head, 64)
            ends.head = (ends.head + 1) % ends.depth
            opcode, flags, identifier, namespace = struct.unpack_from("<BBHI", data)
            prp1, prp2 = struct.unpack_from("<QQ", data, 24)
            dwords = struct.unpack_from("<6I", data, 40)
            command = Command(number, opcode, flags, identifier, namespace, prp1, prp2, dwords)
            self.take(command)
        return any_new

    def take(self, command: Command) -> None:
        """Carry out a command, or keep it, or forget it."""
        assert command.flags == 0
        if command.queue == 0:
            self.admin_log.append(command)
        elif self.holding:
            assert command.identifier not in [other.identifier for other in self.held]
            self.held.append(command)
            return
        self.finish(command)

    def release(self, number: int = 0) -> None:
        """Answer one of the commands held."""
        self.finish(self.held.pop(number))

    def finish(self, command: Command) -> None:
        """Carry out a command and answer it."""
        if self.lost(command):
            if command.queue:
                self.held.append(command)
            return
        status = self.status(command)
        result = 0
        if status is None:
            if command.queue == 0:
                result, status = self.administer(command)
            else:
                self.log.append(command)
                status = self.perform(command)
        self.answer(command, status, result)

    def answer(self, command: Command, status: int, result: int = 0) -> None:
        """Post a completion, its phase tag last."""
        ends = self.ends[command.queue]
        head = self.get(self.doorbell(2 * command.queue + 1))
        assert head < ends.completion_depth, "head doorbell beyond the queue"
        assert (ends.tail + 1) % ends.completion_depth != head, "completion queue overflow"
        place = ends.completions + 16 * ends.tail
        self.store(place, struct.pack("<IIHH", result, 0, ends.head, command.queue))
        self.store(place + 12, struct.pack("<HH", command.identifier, status << 1 | ends.phase))
        ends.tail = (ends.tail + 1) % ends.completion_depth
        if ends.tail == 0:
            ends.phase ^= 1
        self.interrupts.append(self.vectors.get(command.queue, 0))

    # ---- memory, through the IOMMU ---------------------------------------------------------

    def reach(self, address: int, length: int) -> int:
        """Where that is in this process; fail where the IOMMU would."""
        for base, size in self.allowed:
            begin = self.moved.get(base, base)
            if begin <= address <= begin + size - length:
                return base + address - begin
        raise AssertionError(f"DMA to {address:#x}, {length} bytes")

    def load(self, address: int, length: int) -> bytes:
        """DMA from memory."""
        return ctypes.string_at(self.reach(address, length), length)

    def store(self, address: int, data: bytes) -> None:
        """DMA to memory."""
        ctypes.memmove(self.reach(address, len(data)), data, len(data))

    def pages(self, command: Command, length: int) -> list[tuple[int, int]]:
        """(address, length) of each page the PRPs name; 4.3's rules are asserted."""
        assert command.prp1 & 3 == 0, "PRP 1 is aligned to doublewords"
        first = min(length, PAGE - command.prp1 % PAGE)
        pages, left = [(command.prp1, first)], length - first
        if left <= PAGE:
            entries = [command.prp2] if left else []
        else:
            count = -(-left // PAGE)
            entries = list(struct.unpack(f"<{count}Q", self.load(command.prp2, 8 * count)))
            assert command.prp2 % 8 == 0
            assert command.prp2 % PAGE + 8 * count <= PAGE, "one page of list"
        for entry in entries:
            assert entry % PAGE == 0, "PRPs but the first are aligned to pages"
            pages.append((entry, min(left, PAGE)))
            left -= PAGE
        return pages

    # ---- commands --------------------------------------------------------------------------

    def perform(self, command: Command) -> int:
        """An I/O command; its status."""
        assert command.namespace == self.namespaces[0]
        if command.opcode == FLUSH:
            self.unflushed = 0
            return 0
        if command.opcode == DATASET_MANAGEMENT:
            return self.discard(command)
        assert command.opcode in (READ, WRITE)
        length = command.blocks * self.block_size
        if self.mdts:
            assert length <= PAGE << self.mdts, "MDTS"
        if command.block + command.blocks > self.blocks:
            return OUT_OF_RANGE | DO_NOT_RETRY
        at = command.block * self.block_size
        for address, size in self.pages(command, length):
            if command.opcode == READ:
                self.store(address, bytes(self.disk[at : at + size]))
            else:
                self.disk[at : at + size] = self.load(address, size)
            at += size
        self.unflushed += command.opcode == WRITE
        return 0

    def discard(self, command: Command) -> int:
        """DATASET MANAGEMENT with Deallocate."""
        assert self.can_discard
        assert command.dwords[1] == 4
        count = (command.dwords[0] & 0xFF) + 1
        for number in range(count):
            data = self.load(command.prp1 + 16 * number, 16)
            _, blocks, first = struct.unpack("<IIQ", data)
            if first + blocks > self.blocks:
                return OUT_OF_RANGE | DO_NOT_RETRY
            self.discarded.append((first, blocks))
            self.disk[first * self.block_size : (first + blocks) * self.block_size] = bytes(
                blocks * self.block_size
            )
        return 0

    def administer(self, command: Command) -> tuple[int, int]:
        """An admin command: its result and status."""
        match command.opcode:
            case 0x06:
                self.identify(command)
            case 0x09:
                assert command.dwords[0] == 7
                return (self.queues - 1) * 0x10001, 0
            case 0x05:
                number, depth = command.dwords[0] & 0xFFFF, (command.dwords[0] >> 16) + 1
                assert command.dwords[1] & 3 == 3
                assert command.prp1 % PAGE == 0
                assert 1 <= number <= self.queues
                assert depth <= self.entries
                self.ends[number] = Ends(command.prp1, depth)
                self.vectors[number] = command.dwords[1] >> 16
            case 0x01:
                number, depth = command.dwords[0] & 0xFFFF, (command.dwords[0] >> 16) + 1
                assert command.dwords[1] == number << 16 | 1
                assert command.prp1 % PAGE == 0
                self.ends[number].commands, self.ends[number].depth = command.prp1, depth
            case 0x08:
                return self.abort(command), 0
            case _:
                return 0, 1 | DO_NOT_RETRY
        return 0, 0

    def abort(self, command: Command) -> int:
        """ABORT: 0 if the command was still there."""
        queue, identifier = command.dwords[0] & 0xFFFF, command.dwords[0] >> 16
        for number, other in enumerate(self.held):
            if self.can_abort and (other.queue, other.identifier) == (queue, identifier):
                self.answer(self.held.pop(number), ABORT_REQUESTED)
                return 0
        return 1

    def identify(self, command: Command) -> None:
        """IDENTIFY: one page."""
        data = bytearray(PAGE)
        structure = command.dwords[0] & 0xFF
        if structure == 1:
            serial, model, firmware = self.names
            data[4:24], data[24:64] = serial.ljust(20), model.ljust(40)
            data[64:72], data[77] = firmware.ljust(8), self.mdts
            data[520] = 4 if self.can_discard else 0
        elif structure == 2:
            struct.pack_into(f"<{len(self.namespaces)}I", data, 0, *self.namespaces)
        else:
            assert structure == 0
            assert command.namespace == self.namespaces[0]
            struct.pack_into("<Q", data, 0, self.blocks)
            data[26], data[99] = 1, self.write_protected
            shift = self.block_size.bit_length() - 1
            struct.pack_into("<I", data, 128 + 4, self.metadata | shift << 16)
        self.store(command.prp1, bytes(data))

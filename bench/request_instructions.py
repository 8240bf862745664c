"""How many instructions the monitor takes for a virtio disk's request: no clock, as for traps.

    python -m bench.request_instructions

The core is compiled to where the monitor's image is, and a child of this process is stepped through
whole turns of a machine with one virtio disk and one CPU: a worker's, woken by a notification, and
a CPU's, whose notification exits. Each takes 4 KiB from the page cache: the KICK ends with the
completion there.
"""

import argparse
import ctypes
import os
import sys
from functools import partial

from bench.trap_instructions import mapped
from tests.devices.virtio.reference import Buffer
from tests.lang.stepping import NoSteppingError, instructions
from tests.monitor.fake_ring import FakeRing, Words
from tests.monitor.rig import Rig
from tests.monitor.virtio_guest import DATA, IN, VirtioDisk
from vestige import abi
from vestige.lang.build import compile_functions
from vestige.lang.intrinsics import address_of
from vestige.lang.types import Struct
from vestige.monitor.core.trap_turn import serve
from vestige.monitor.core.worker_turn import work
from vestige.monitor.drivers.ring.spec import Completion, Submission

BLOCK = 4096  # bytes of a request


class Turn:
    """One of the core's functions, of a CPU, its Machine and its Shared."""

    def __init__(self, address: int) -> None:
        self.address = address
        self._call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3)(address)

    def __call__(self, *arguments: Struct) -> None:
        """Take it."""
        self._call(*(ctypes.addressof(argument) for argument in arguments))


def main() -> int:
    """The command line."""
    argparse.ArgumentParser(
        description="Count the monitor's instructions for a request."
    ).parse_args()
    image = compile_functions([serve, work], base=abi.IMAGE, runtime="monitor")
    try:
        mapped(image)
        for name, words in (("work", "by the worker"), ("serve", "by its CPU")):
            turn = Turn(abi.IMAGE + image.symbols[name])
            print(f"{count(turn, by_cpu=name == 'serve'):6} a read of 4 KiB, {words}")
    except NoSteppingError as error:
        print(f"request_instructions: {error}", file=sys.stderr)
        return 1
    return 0


def count(turn: Turn, *, by_cpu: bool) -> int:
    """The instructions of a turn for one request, after some that have made all routes."""
    rig = Rig(disks=[bytearray(1 << 20)], virtio=True, console=False).start()
    disk = VirtioDisk(rig)
    place = Buffer(DATA, BLOCK, writable=True)
    for sector in range(3):
        disk.do(IN, sector, place)
    disk.ask(IN, 0, place)
    if not disk.driver.kick():
        raise NoSteppingError("the device has not asked for a notification")
    shown = rig.cpus[0].exit
    shown.reason = abi.ExitReason.MMIO
    record = abi.RunMmio.at(address_of(shown.union))
    record.address, record.length, record.is_write = disk.bar + abi.VIRTIO_NOTIFY, 2, 1
    who = rig.cpus[0] if by_cpu else rig.worker
    leave = partial(carry_out, rig.ring)
    return instructions(turn, who, rig.machine, rig.shared, leave=leave)


def carry_out(ring: FakeRing, child: int, port: int, value: int) -> None:
    """The host's part in the child's memory: a KICK completes what is submitted."""
    if (port, value) != (abi.PORT_CALL, abi.Call.KICK):
        return
    memory = os.open(f"/proc/{child}/mem", os.O_RDWR)
    try:
        words = Words.from_buffer_copy(_read(memory, ring.words))
        while words.sq_head != words.sq_tail:
            number = words.sq_head % ring.entries
            submission = Submission.from_buffer_copy(_read(memory, ring.submissions[number]))
            done = Completion(user_data=submission.user_data, result=submission.length)
            completion = ring.completions[words.cq_tail % len(ring.completions)]
            os.pwrite(memory, bytes(done), address_of(completion))
            words.sq_head += 1
            words.cq_tail += 1
        os.pwrite(memory, bytes(words), address_of(ring.words))
    finally:
        os.close(memory)


def _read(memory: int, struct: Struct) -> bytes:
    """What is at that place in the child."""
    return os.pread(memory, ctypes.sizeof(struct), address_of(struct))


if __name__ == "__main__":
    sys.exit(main())

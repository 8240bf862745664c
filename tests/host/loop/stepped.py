"""How many instructions the run loop takes for a trap: the one that runs use, without a kernel."""

from tests.lang.stepping import between_system_calls
from vestige import abi
from vestige.host import images
from vestige.host.loop.runloop import Loop
from vestige.lang.intrinsics import address_of, store8
from vestige.lang.native import NativeImage
from vestige.lang.types import Struct, u8, u64

DATA_OFFSET = 4096  # of an access's byte in a kvm_run mapping, as KVM has it


class Mapping(Struct):
    """Of kvm_run."""

    page: abi.RunPage
    io: abi.RunIo
    rest: u8[8192]


def between_runs(reason: int, *, answered: bool = False) -> int:
    """From the guest's exit for `reason` to its next entry, where the monitor answers at once.

    `answered`: a read, the last of those that it has answered before. System calls are left out but
    for the instructions themselves. Raises NoSteppingError.
    """
    guest, monitor, shown, cpu = Mapping(), Mapping(), abi.GuestExit(), abi.Cpu()
    answers, queue = abi.Answers(), abi.CoalescedRing()
    guest.io.size, guest.io.count, guest.io.port, guest.io.data_offset = 1, 1, 0x1F7, DATA_OFFSET
    if answered:
        answers.known[abi.ANSWERS - 1] = abi.answer_of(guest.io.port, 0x50)
    guest.page.exit_reason, monitor.page.exit_reason = reason, abi.ExitReason.IO
    monitor.io.direction, monitor.io.size, monitor.io.count = 1, 1, 1
    monitor.io.port, monitor.io.data_offset = abi.PORT_CALL, DATA_OFFSET
    store8(u64(address_of(monitor) + DATA_OFFSET), abi.Call.DONE)
    loop = Loop(
        guest_run=address_of(guest),
        monitor_run=address_of(monitor),
        run_size=2 * DATA_OFFSET,
        guest_exit=address_of(shown),
        bell_asked=address_of(cpu.bell),
        answers=address_of(answers),
        queue=address_of(queue),
        boots=1,
    )
    run = NativeImage(images.run_loop_image())["run"]
    return sum(between_system_calls(run, loop, calls=2 if answered else 3)[1:])

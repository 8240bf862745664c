"""A monitor that drives an NVMe controller a little, and its guest; typed Python.

It brings the admin queue up, sends IDENTIFY twice (into guest RAM, and to memory the controller
may not reach), and counts in the worker. NVM Express 1.4: 3.1 registers, 4.2 and 4.6 entries,
5.15 IDENTIFY, 7.6.1 initialization.
"""

from enum import IntEnum

from tests.host.guest_payload import Report
from vestige.abi import (
    PORT_CALL,
    SHARED,
    STATE,
    Call,
    Cpu,
    Nvme,
    Power,
    RunIo,
    Shared,
)
from vestige.lang.intrinsics import (
    address_of,
    load32,
    load64,
    port_in32,
    port_out8,
    store32,
    store64,
    wait_for_interrupt,
    write_msr,
)
from vestige.lang.types import Struct, u32, u64

X2APIC_SPURIOUS = 0x80F
IDENTIFIED = 0x30_0000  # in guest RAM
QUEUE = 4096  # bytes
CONTROLLER_CONFIGURATION, CONTROLLER_STATUS = 0x14, 0x1C
QUEUE_SIZES, SUBMISSION, COMPLETION = 0x24, 0x28, 0x30
ENABLE = 1 | 6 << 16 | 4 << 20  # entries of 64 and of 16 bytes
DOORBELL = 0x1000
IDENTIFY = 6


class Port(IntEnum):
    """What the guest asks for."""

    VERSION = 0x200  # in: the controller's version register
    START = 0x201  # out: enable the controller
    IDENTIFY = 0x202  # out: IDENTIFY to guest RAM
    OVERREACH = 0x203  # out: IDENTIFY to the monitor's Shared
    INTERRUPTS = 0x204  # in: how many completions the worker saw
    POWER = 0x604


class State(Struct):
    """At abi.STATE."""

    tail: u32
    completions: u32


def vcpu_main(cpu: Cpu) -> None:
    """Answer traps."""
    nvme = Shared.at(SHARED).config.nvme[0]
    while True:
        port_out8(PORT_CALL, Call.DONE)
        record = RunIo.at(address_of(cpu.exit.union))
        data = u64(cpu.run + record.data_offset)
        match record.port:
            case Port.VERSION:
                store32(data, load32(u64(nvme.bar + 8)))
            case Port.START:
                start(nvme)
            case Port.IDENTIFY:
                identify(nvme, IDENTIFIED)
            case Port.OVERREACH:
                identify(nvme, SHARED + 0x2000)
            case Port.INTERRUPTS:
                store32(data, State.at(STATE).completions)
            case _:
                cpu.argument[0] = Power.OFF
                port_out8(PORT_CALL, Call.POWER)


def start(nvme: Nvme) -> None:
    """Disable, name the admin queues, enable."""
    store32(u64(nvme.bar + CONTROLLER_CONFIGURATION), 0)
    while load32(u64(nvme.bar + CONTROLLER_STATUS)) & 1 != 0:
        pass
    store32(u64(nvme.bar + QUEUE_SIZES), 0xF << 16 | 0xF)
    store64(u64(nvme.bar + SUBMISSION), nvme.queues)
    store64(u64(nvme.bar + COMPLETION), u64(nvme.queues + QUEUE))
    store32(u64(nvme.bar + CONTROLLER_CONFIGURATION), ENABLE)
    while load32(u64(nvme.bar + CONTROLLER_STATUS)) & 1 != 1:
        pass


def identify(nvme: Nvme, destination: u64) -> None:
    """IDENTIFY controller, by PRP 1."""
    state = State.at(STATE)
    entry = u64(nvme.queues + u64(state.tail & 15) * 64)
    for word in range(8):
        store64(u64(entry + u64(word) * 8), 0)
    store32(entry, IDENTIFY)
    store64(u64(entry + 24), destination)
    store32(u64(entry + 40), 1)
    state.tail = u32(state.tail + 1)
    store32(u64(nvme.bar + DOORBELL), state.tail & 15)


def worker_main(cpu: Cpu) -> None:
    """Count completions at each interrupt. Phase tags are of the first round alone."""
    state = State.at(STATE)
    nvme = Shared.at(SHARED).config.nvme[0]
    queue = u64(nvme.queues + QUEUE)
    write_msr(X2APIC_SPURIOUS, 0x1FF)
    port_out8(PORT_CALL, Call.DONE)
    while True:
        wait_for_interrupt()
        while load32(u64(queue + u64(state.completions & 15) * 16 + 12)) & 1 << 16 != 0:
            state.completions = u32(state.completions + 1)
            store32(u64(nvme.bar + DOORBELL + 4), state.completions & 15)


def guest_main(report: Report) -> None:
    """Have it all done, report what came of it."""
    report.values[0] = port_in32(Port.VERSION)
    port_out8(Port.START, 0)
    port_out8(Port.IDENTIFY, 0)
    while port_in32(Port.INTERRUPTS) == 0:
        pass
    for word in range(8):  # serial and model number, 5.15.2.2
        report.values[1 + word] = load64(u64(IDENTIFIED + u64(word) * 8))
    port_out8(Port.OVERREACH, 0)
    while port_in32(Port.INTERRUPTS) == 1:
        pass
    report.values[9] = port_in32(Port.INTERRUPTS)
    port_out8(Port.POWER, 0)

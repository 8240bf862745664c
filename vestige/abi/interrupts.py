"""Interrupts: the guest's GSIs and the doorbells that raise them, and what wakes the monitor."""

from vestige.abi.layout import MAX_DOMAINS, MAX_VIRTIO, PINS, VIRTIO_VECTORS
from vestige.lang import vcpu
from vestige.lang.enumeration import IntEnum
from vestige.lang.types import Struct, u32, u64

# Vector v of function n, sent by replica s of it: GSI VIRTIO_GSI + (s * MAX_VIRTIO + n) *
# VIRTIO_VECTORS + v. Two replicas may send the same vector; who sends knows what is routed.
VIRTIO_GSI = PINS
INIT_GSI = VIRTIO_GSI + MAX_DOMAINS * MAX_VIRTIO * VIRTIO_VECTORS  # resets a processor alone
GSIS = INIT_GSI + 1

# A port of the monitor VM, OUT only, not memory.
PORT_DOORBELL = 0x1000  # OUT AL to PORT_DOORBELL + n: eventfd of GSI n, no exit
PORT_ATTEND = PORT_DOORBELL + GSIS  # the same: as Call.ATTEND, where Config.attend_port is set

WORKER_VECTOR = 0x40  # interrupt that wakes the worker
TIMER_VECTOR = 0x41
# These are noted in Cpu.signals. One register of the local APIC holds all of them, and START is
# more urgent than FENCE: a start that was posted before a fence is taken before it.
FENCE_VECTOR = 0x42
START_VECTOR = 0x50  # START_VECTOR + n for Irq.START + n
FENCE_SIGNAL = 4  # index into Cpu.signals; a start's is n
TIMER_SIGNAL = 5
SIGNALS = vcpu.SIGNALS


class Irq(IntEnum):
    """GSIs of the monitor VM: what wakes the workers."""

    # RING + d: completions of domain d's ring, to RING + MAX_DOMAINS - 1; to RING itself also the
    # host's word that a terminal has another size
    RING = 0
    VIRTIO = 8  # VIRTIO + d: a driver has notified a virtio function of domain d; which queue the
    # monitor looks for
    NVME = 16  # NVME + n: MSI-X of controller n, to NVME + MAX_NVME - 1
    START = 20  # START + n: the n-th of vestige.devices.POSTS
    COUNT = 24


class Route(Struct):
    """The MSI message of a GSI, as the IOAPIC's entry or the MSI-X table's says."""

    address: u64
    data: u32

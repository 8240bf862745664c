"""Where the virtio functions are: a slot each, and a BAR each, before the first instruction."""

from vestige.abi import (
    MAX_VIRTIO,
    PIN_PCI_INTA,
    VIRTIO_BAR_SIZE,
    VIRTIO_BARS,
    VIRTIO_SLOT,
    VIRTIO_SLOT_PC,
    Bus,
)
from vestige.place import Bar, Function, Pci, Place, Routed

INTERRUPT_PINS = tuple(range(PIN_PCI_INTA, PIN_PCI_INTA + 4))  # INTA to INTD
BAR = Bar(0, VIRTIO_BARS, VIRTIO_BAR_SIZE)
VIRTIO = Place(
    "virtio",
    "virtio",
    pci=Pci(VIRTIO_SLOT, MAX_VIRTIO, (BAR,), spread=True, on_pc=Function(VIRTIO_SLOT_PC, 0)),
    routed=(Routed("functions", MAX_VIRTIO, INTERRUPT_PINS, within="device"),),
    configured=True,
    in_use="count",
    disks=Bus.VIRTIO,
)

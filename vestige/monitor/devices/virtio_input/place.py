"""Which type of virtio function this is, and where its models are."""

from vestige.abi import VirtioKind
from vestige.place import VirtioType

PCI_CLASS = 0x0980  # an input device, of another kind

VIRTIO_TABLET = VirtioType(
    VirtioKind.INPUT,
    "tablets",
    "virtio-input",
    count=1,
    class_code=PCI_CLASS,
    writes=True,
    takes_events=True,
)

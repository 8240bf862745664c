"""Which type of virtio function this is, and where its models and their link are."""

from vestige.abi import VirtioKind
from vestige.place import VirtioType

PCI_CLASS = 0x0780  # simple communication controller, other

VIRTIO_CONSOLE = VirtioType(
    VirtioKind.CONSOLE,
    "consoles",
    "virtio-console",
    count=1,
    class_code=PCI_CLASS,
    link="ports",
)

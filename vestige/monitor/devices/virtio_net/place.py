"""Which type of virtio function this is, and where its models and their link are."""

from vestige.abi import VirtioKind
from vestige.place import VirtioType

PCI_CLASS = 0x0200  # Ethernet controller

VIRTIO_NET = VirtioType(
    VirtioKind.NET,
    "networks",
    "virtio-net",
    count=1,
    class_code=PCI_CLASS,
    link="networks",
)

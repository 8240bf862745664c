"""Which type of virtio function this is, and where its models and their link are."""

from vestige.abi import VirtioKind
from vestige.monitor.devices.virtio_console.spec import PCI_CLASS
from vestige.place import VirtioType

VIRTIO_CONSOLE = VirtioType(
    VirtioKind.CONSOLE,
    "consoles",
    "virtio-console",
    count=1,
    class_code=PCI_CLASS,
    link="ports",
)

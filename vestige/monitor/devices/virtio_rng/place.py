"""Which type of virtio function this is, and where its models and their link are."""

from vestige.abi import VirtioKind
from vestige.place import VirtioType

PCI_CLASS = 0x00FF  # of no class: what the devices of other hypervisors say

VIRTIO_ENTROPY = VirtioType(
    VirtioKind.ENTROPY,
    "entropies",
    "virtio-rng",
    count=1,
    class_code=PCI_CLASS,
    link="entropy",
)

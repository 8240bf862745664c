"""Which type of virtio function this is, and where its models and their link are."""

from vestige.abi import MAX_DISKS, VirtioKind
from vestige.monitor.block import DISK_REQUESTS, IDE_REQUESTS
from vestige.place import Requests, VirtioType

PCI_CLASS = 0x0100  # SCSI storage controller: what the devices of other hypervisors say

VIRTIO_BLOCK = VirtioType(
    VirtioKind.BLOCK,
    "blocks",
    "virtio-blk",
    count=MAX_DISKS,
    class_code=PCI_CLASS,
    requests=Requests("requests", DISK_REQUESTS, IDE_REQUESTS),
)

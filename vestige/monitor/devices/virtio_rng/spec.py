"""The entropy device. Virtio 1.2, 5.4: one queue, no features, no configuration structure."""

PCI_CLASS = 0x00FF  # of no class: what the devices of other hypervisors say
QUEUES = 1

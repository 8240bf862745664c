"""The entropy device. Virtio 1.2, 5.4: one queue, no features, no configuration structure."""

QUEUES = 1

"""Virtio: queues, transport, PCI function."""

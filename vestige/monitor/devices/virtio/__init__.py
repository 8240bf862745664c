"""Virtio 1.2 devices on PCI: the transport, its queues, and the devices behind them."""

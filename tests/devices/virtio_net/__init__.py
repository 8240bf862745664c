"""The virtio network device and its way to the ring."""

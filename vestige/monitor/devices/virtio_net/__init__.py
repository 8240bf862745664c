"""The virtio network device."""

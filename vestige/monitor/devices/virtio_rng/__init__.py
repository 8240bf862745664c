"""The virtio entropy device."""

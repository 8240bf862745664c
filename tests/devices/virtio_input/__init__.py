"""The virtio tablet."""

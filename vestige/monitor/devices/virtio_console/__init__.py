"""The virtio console."""

"""The virtio input device: a tablet."""

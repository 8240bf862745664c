"""QEMU's firmware configuration device: what the firmware is told of its machine."""

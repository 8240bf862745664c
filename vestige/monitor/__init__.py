"""What runs inside the monitor VM: the core, the device models, the block drivers."""

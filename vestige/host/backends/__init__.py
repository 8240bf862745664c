"""The other side of the guest's devices: the ring, disks, consoles, the network."""

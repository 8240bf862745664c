"""PCI: configuration space, the mechanisms that reach it, the host bridge."""

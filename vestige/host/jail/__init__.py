"""What the machine's process may do once its guest runs: next to nothing. docs/security.md.

Everything is opened and both VMs are built before; then the process locks itself in, layer by
layer, each of which would do by itself: layers.py has their order.
"""

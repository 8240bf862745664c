"""How large a machine may be. Imports nothing, as a command line reads it before all else."""

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

CHUNK = 2 * MIB  # guest RAM is registered with the ring by chunks
MINIMUM_MEMORY = 64 * MIB
MAXIMUM_MEMORY = 30 * GIB  # io_uring's table of buffers has room for 16,384 chunks
DEFAULT_MEMORY = 512 * MIB

MAX_CPUS = 32
MAX_DISKS = 4
MAX_FLOPPIES = 2  # drives
MAX_PORTS = 7  # of the virtio console: a pair of queues each, and one to talk about them
PORT_NAME_SIZE = 32  # bytes

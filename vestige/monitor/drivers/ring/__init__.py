"""The driver of the host's restricted io_uring."""

"""Flash memory with the commands of Intel's 28F640J5, which keeps a firmware's variables."""

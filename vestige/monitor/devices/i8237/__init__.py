"""The DMA controllers of a PC: two Intel 8237A, and the page registers."""

"""The driver of NVMe controllers handed over by the host."""

"""The first talk's demo: `make demo-nvme`."""

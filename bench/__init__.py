"""Measurements that speed claims rest on; each module is run by itself: `make bench`."""

"""The demo of clones: a Debian with NumPy imported, frozen once, and thawed twenty times."""

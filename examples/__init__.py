"""Examples: whole guests to look at and start from."""

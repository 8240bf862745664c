"""A device that is not the project's moves in: one folder, one row, one field, and it works."""

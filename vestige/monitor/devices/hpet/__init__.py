"""The high precision event timer."""

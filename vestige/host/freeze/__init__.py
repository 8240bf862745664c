"""Freezing a machine into a folder, and thawing it: docs/freezing.md."""
